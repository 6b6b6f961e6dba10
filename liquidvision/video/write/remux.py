"""Copies a video's packets bit for bit into another container, with a track of subtitles added."""

import heapq
import io
import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from liquidvision.errors import SinkError
from liquidvision.video.write.copied_tracks import MovTextGaps, default_subtitle_header, to_ticks

log = logging.getLogger(__name__)
MILLI = Fraction(1, 1000)
CONTAINERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".webm": "webm"}
TEXT_CODECS = {".mkv": "ass", ".mp4": "mov_text", ".mov": "mov_text", ".webm": "webvtt"}


class Cue(NamedTuple):
    """A subtitle.

    Attributes:
        start, end: seconds from the beginning of the video.
        data: its content, as the track's codec has it in a packet.
    """

    start: float
    end: float
    data: bytes


def remux_with_subtitles(
    source: Path, target: Path, suffix: str, header: bytes | None, cues: Iterable[Cue], start_time: Fraction, title: str
) -> list[str]:
    """Copy all tracks of a file, and add a track of subtitles that players show by default.

    Args:
        source: the file to copy.
        target: the file to write.
        suffix: chooses the container and the kind of subtitles, a key of `TEXT_CODECS`.
        header: the head of an ASS file; None for other kinds.
        cues: by their starts.
        start_time: time on the source's clock, in seconds, that becomes 0.
        title: the name of the track.

    Returns:
        Notes on what the container cannot hold.

    Raises:
        SinkError: the container cannot hold the video, or the file cannot be written.
    """
    notes: list[str] = []
    try:
        with av.open(str(source)) as old, av.open(str(target), "w", format=CONTAINERS[suffix]) as new:
            tracks = _copy_tracks(old, new, suffix, notes)
            new.metadata.update(old.metadata)
            new.set_chapters(old.chapters())
            text: Any = new.add_stream(TEXT_CODECS[suffix])
            text.metadata["title"] = title
            text.disposition = av.stream.Disposition.default
            context = text.codec_context
            context.subtitle_header = header or default_subtitle_header()
            context.time_base = MILLI
            context.open()
            gaps = MovTextGaps(text) if TEXT_CODECS[suffix] == "mov_text" else None
            waiting = iter(cues)
            cue = next(waiting, None)
            for packet in old.demux(list(tracks)):
                stamp = packet.pts if packet.dts is None else packet.dts
                if stamp is None:  # marks the end of a stream
                    continue
                shift = to_ticks(start_time, packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                seconds = float((stamp - shift) * packet.time_base)
                while cue is not None and cue.start <= seconds:
                    new.mux(list(_text_packets(cue, text, gaps)))
                    cue = next(waiting, None)
                packet.stream = tracks[packet.stream]
                new.mux(packet)
            while cue is not None:
                new.mux(list(_text_packets(cue, text, gaps)))
                cue = next(waiting, None)
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SinkError(f"cannot copy {source} into {suffix}: {reason}; write another container") from error
    return notes


def check_container(source: Path, suffix: str) -> None:
    """Raise SinkError if a container cannot hold the video of a file."""
    try:
        with av.open(str(source)) as old:
            name = old.streams.video[0].codec_context.codec.canonical_name
    except (av.error.FFmpegError, IndexError):
        return  # the reader says what is wrong with it
    if name not in _held_codecs(suffix):
        raise SinkError(f"{suffix} cannot hold {name}; write .mkv, or --annotate drawn")


def _held_codecs(suffix: str) -> set[str]:
    """Return the names of the codecs that a container can hold."""
    with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as empty:
        return set(empty.supported_codecs)


def _copy_tracks(old: Any, new: Any, suffix: str, notes: list[str]) -> dict[Any, Any]:
    """Add a track to the new container for each of the old that it can hold."""
    tracks = {}
    for stream in old.streams:
        context = stream.codec_context
        name = context.name if context is not None else stream.type
        if stream.type not in ("video", "audio", "subtitle") or context is None:
            notes.append(f"a track of {stream.type} was left out")
            continue
        if context.codec.canonical_name not in new.supported_codecs and name not in new.supported_codecs:
            notes.append(f"{stream.type} left out: {suffix} cannot hold {name}; write .mkv to keep it")
            continue
        tracks[stream] = new.add_stream_from_template(stream)
        tracks[stream].metadata.update(stream.metadata)
        if stream.type == "subtitle":  # the overlay is the one that players show
            tracks[stream].disposition = stream.disposition & ~av.stream.Disposition.default
        else:
            tracks[stream].disposition = stream.disposition
    return tracks


def _text_packets(cue: Cue, stream: Any, gaps: MovTextGaps | None) -> Iterator[Any]:
    """Yield the packets of a subtitle."""
    packet = av.Packet(cue.data)
    packet.time_base = MILLI
    packet.pts = packet.dts = to_ticks(Fraction(cue.start), MILLI)
    packet.duration = max(1, to_ticks(Fraction(cue.end), MILLI) - packet.pts)
    if gaps is not None:
        yield from gaps.before(packet)
    packet.stream = stream
    yield packet


def in_order(cues: Iterable[Cue], longest: float) -> Iterator[Cue]:
    """Yield cues by their starts, given by their ends; none is longer than `longest` seconds."""
    waiting: list[tuple[float, int, Cue]] = []
    for number, cue in enumerate(cues):
        heapq.heappush(waiting, (cue.start, number, cue))
        while waiting and waiting[0][0] < cue.end - longest:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
