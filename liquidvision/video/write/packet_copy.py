"""Cuts a part out of a video file by copying its packets: nothing is decoded or encoded again."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av

from liquidvision.errors import SinkError, SourceError
from liquidvision.video.read.container import belongs_to, main_video_stream, open_container, start_time, video_streams
from liquidvision.video.write.copied_tracks import CopiedTrack
from liquidvision.video.write.sink import create_part_file

SAME_CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")  # a part of another kind of file is written as Matroska
SEEK_BACK = (0.0, 10.0, 60.0)  # seconds before the start to look for a key frame; then from the beginning


def part_suffix(path: Path) -> str:
    """Return the suffix of a part of a file."""
    return path.suffix.lower() if path.suffix.lower() in SAME_CONTAINERS else ".mkv"


def copy_part(source: Path, target: Path, start: float, stop: float, *, video_track: int | None = None) -> float:
    """Copy video and sound of a part of a file, from the key frame before its start.

    The file appears under its name only when it is complete.

    Args:
        source: a video file.
        target: the file to write; its suffix selects the container, see `part_suffix`.
        start, stop: seconds from the beginning of the source.
        video_track: the video track, counted from 0; None: the main one.

    Returns:
        When the part begins, in seconds from the beginning of the source.

    Raises:
        SourceError: the source cannot be read, or has no key frame before `stop`.
        SinkError: the target cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = create_part_file(target)
    except OSError as error:
        raise SinkError(f"cannot write {target}: {error.strerror}") from error
    try:
        for back in (*SEEK_BACK, start):
            seek = max(0.0, start - back)
            begin = _copy(source, part, start, stop, seek, video_track)
            if seek == 0 or begin <= start:
                break
        if begin == math.inf:
            raise SourceError(f"{source.name} has no key frame before {stop:.1f} s")
        part.replace(target)
    except av.error.FFmpegError as error:
        raise SourceError(f"{source.name}: from {start:.1f} to {stop:.1f} s cannot be copied: {error}") from error
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SinkError(f"cannot write {target}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return begin


def _copy(source: Path, part: Path, start: float, stop: float, seek: float, video_track: int | None) -> float:
    """Write the part from the last key frame before `start` that follows `seek`; return when it begins, inf: never."""
    with open_container(source) as container, av.open(str(part), "w") as output:
        streams = video_streams(container)
        video = main_video_stream(streams) if video_track is None else streams[video_track]
        origin = start_time(container, video)
        sound = [stream for stream in container.streams.audio if belongs_to(container, stream, video)]
        if seek > 0:
            container.seek(int((origin + Fraction(seek)) * av.time_base), backward=True)
        packets = _from_key_frame(container.demux([video, *sound]), video.index, origin + Fraction(start))
        first = next(packets, None)
        begin = None if first is None else shown_at(first)
        if first is None or begin is None or begin >= origin + Fraction(stop):
            return math.inf
        tracks = {stream.index: CopiedTrack(output, stream, begin) for stream in (video, *sound)}
        running = set(tracks)
        for packet in chain([first], packets):
            seconds, own = shown_at(packet), packet.stream_index
            if seconds is None or seconds < begin:  # sound before it, and frames that need earlier ones
                continue
            decoded = packet.dts * packet.time_base if packet.dts is not None else seconds
            if min(seconds, decoded) >= origin + Fraction(stop):
                running.discard(own)
                if not running:
                    break
                continue
            if own in running:
                for ready in tracks[own].convert(packet):
                    output.mux(ready)
    return float(begin - origin)


def _from_key_frame(packets: Iterator[av.Packet], video: int, start: Fraction) -> Iterator[av.Packet]:
    """Yield packets from the last key frame of the video that is not later than `start`, or else from the first one."""
    kept: list[av.Packet] = []
    for packet in packets:
        if not packet.size:  # marks the end of a stream
            continue
        seconds = shown_at(packet)
        is_key = packet.stream_index == video and packet.is_keyframe
        if is_key and seconds is not None and (not kept or seconds <= start):
            kept = [packet]
            continue
        if kept:
            kept.append(packet)
            if packet.stream_index == video and seconds is not None and seconds > start:
                break
    yield from kept
    yield from (packet for packet in packets if packet.size)


def shown_at(packet: av.Packet) -> Fraction | None:
    """Return when a packet is shown, in seconds on the source's clock; None where that is not known."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None or packet.time_base is None else ticks * packet.time_base
