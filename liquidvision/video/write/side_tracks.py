"""Writes the sound, subtitles, chapters and tags of a source into an output video."""

import errno
import io
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from math import isfinite
from typing import Any

import av

from liquidvision.video.read.reader import SideTracks
from liquidvision.video.write.copied_tracks import (
    AAC,
    OPUS,
    ConvertedSubtitles,
    CopiedTrack,
    EncodedSound,
    MovTextGaps,
    PcmGaps,
    SoundGaps,
    to_ticks,
)

log = logging.getLogger(__name__)

MAX_LATE_FAILURES = 100  # packets that may still wait when their track is given up
SUBTITLES = "subtitle"  # PyAV's name of this type of stream
SOUND = "audio"
COPIED_TAGS = ("language", "title")  # tags of a track that also apply to its copy
# The text format of subtitles in each container.
SUBTITLE_CODECS = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
LIMITED_STEPS = (".mp4", ".mov")  # containers that cannot hold long gaps
# Tags from which FFmpeg makes a track. The track of a time code cannot be written to a fragmented file.
TRACK_TAGS = {".mp4": ("timecode",), ".mov": ("timecode",)}
# Failures of the file itself, for which no track is to blame.
FILE_FAULTS = {
    getattr(errno, name)
    for name in ("EACCES", "EBADF", "EDQUOT", "EFBIG", "EIO", "ENOENT", "ENOSPC", "EPIPE", "EROFS")
    if hasattr(errno, name)
}
Track = CopiedTrack | EncodedSound | ConvertedSubtitles


class SideTrackWriter:
    """Copies a source's side tracks into a container.

    Sound that the container cannot hold is re-encoded, and subtitles of text are converted. A track that cannot be
    written at all is left out with a note; it never ends the run.

    Args:
        container: the output; its video stream exists, and its header is not written yet.
        tracks: the side tracks to copy.
        start_time: time on the source's clock, in seconds, that becomes 0 in the output.
        suffix: the container's file suffix.
        piped: whether the output can only be appended to.
        sound: whether to write sound.

    Attributes:
        notes: what was changed or left out, one line each.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        tracks: SideTracks,
        start_time: Fraction,
        suffix: str,
        *,
        piped: bool = False,
        sound: bool = True,
    ) -> None:
        self.notes: list[str] = []
        self._container, self._source, self._start_time = container, tracks, start_time
        self._tracks: dict[int, Track] = {}
        self._gaps: dict[int, SoundGaps | PcmGaps | MovTextGaps] = {}
        # Subtitles of MP4 and MOV are written last: in fragments, FFmpeg misplaces them or ends the process.
        self._held: dict[int, list[Any]] = {}
        self._late_failures = 0
        self._time = start_time  # seconds on the source's clock up to which packets are written
        self._last: dict[int, int] = {}  # time of each track's last packet, in its ticks
        for key, value in tracks.tags.items():
            if key.lower() in TRACK_TAGS.get(suffix, ()):
                self._note(f"{key} {value} left out: {suffix} cannot hold it; write .mkv to keep it")
            else:
                container.metadata[key] = value
        copy_track_tags(container.streams.video[0], tracks.picture_tags)
        # Matroska files can take chapters last, when the end of the pictures is known; MP4 and pipes only first.
        self._chapters_last = suffix in (".mkv", ".webm") and not piped
        if not self._chapters_last:
            self._set_chapters(float("inf"))
        holds = container.supported_codecs
        for source in tracks.streams:
            if source.type == SOUND and not sound:
                continue
            track = self._open(source, suffix, holds)
            if track is not None:
                track.stream.disposition = source.disposition
                copy_track_tags(track.stream, source.metadata)
                self._tracks[source.index] = track
                if suffix in LIMITED_STEPS:
                    self._gaps[source.index] = gaps_of(track, source)
                    if source.type == SUBTITLES:
                        self._held[source.index] = []

    def _set_chapters(self, stop: float) -> None:
        """Set the container's chapters, up to a time on the source's clock."""
        milli = Fraction(1, 1000)
        chapters = [(c.start, c.stop if c.stop < stop else Fraction(stop), c.tags) for c in self._source.chapters]
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": max(0, to_ticks(start - self._start_time, milli)),
                    "end": to_ticks(end - self._start_time, milli),
                    "time_base": milli,
                    "metadata": tags,
                }
                for number, (start, end, tags) in enumerate(chapters, start=1)
                if start < end
            ]
        )

    def _open(self, source: Any, suffix: str, holds: set[str]) -> Track | None:
        """Add a track to the container, in the first form that it can be written in; None if there is none."""
        kind = "subtitles" if source.type == SUBTITLES else "sound"
        context = source.codec_context
        if context is None:
            self._note(f"{kind} left out: FFmpeg has no decoder for the source's codec")
            return None
        if kind == "sound" and not context.sample_rate:
            self._note("sound left out: the source declares a track of sound without a sample rate")
            return None
        if context.name in holds:
            # MP4 refuses uncompressed sound of some channels only when it writes the table of tracks: here at once.
            at_once = {"movflags": "empty_moov"} if suffix == ".mp4" and context.name.startswith("pcm_") else None
            track = self._try(lambda container: CopiedTrack(container, source, self._start_time), at_once)
            if track is not None:
                return track
        name = context.codec.canonical_name
        why = f"{suffix} cannot hold {name}"
        if kind == "sound":
            encoder, shown, bits = OPUS if suffix == ".webm" else AAC
            track = self._try(lambda container: EncodedSound(container, source, self._start_time, encoder, bits))
            if track is not None:
                self._note(f"sound re-encoded from {name} to {shown}: {why}")
        else:
            codec = SUBTITLE_CODECS[suffix]
            track = self._try(lambda container: ConvertedSubtitles(container, source, self._start_time, codec))
            if track is not None:
                self._note(f"subtitles converted from {name} to {codec}: {why}")
        if track is None:
            self._note(f"{kind} left out: {why}; write {'.mp4' if name == 'mov_text' else '.mkv'} to keep {kind}")
        return track

    def _try(
        self, open_track: Callable[[av.container.OutputContainer], Track], options: dict[str, str] | None = None
    ) -> Track | None:
        """Add a track to the container, if a container in memory with that track alone can be begun; else None."""
        try:
            trial = av.open(io.BytesIO(), "w", format=self._container.format.name, options=options)
            try:
                open_track(trial)
                trial.start_encoding()
            finally:
                with suppress(av.error.FFmpegError):  # a trailer without packets, of no interest
                    trial.close()
            return open_track(self._container)
        except (av.error.FFmpegError, ValueError) as error:
            log.info("a track cannot be written: %s", error)
            return None

    def _note(self, note: str) -> None:
        if note not in self.notes:  # one note is enough for several tracks
            self.notes.append(note)

    def write(self, seconds: float) -> None:
        """Write the packets that are played up to a time on the source's clock."""
        self._time = Fraction(seconds) if isfinite(seconds) else self._time
        for packet in self._source.packets_until(seconds):
            track, stamp = self._tracks.get(packet.stream_index), packet.pts if packet.dts is None else packet.dts
            if track is None or stamp is None:
                continue
            last, is_text = self._last.get(packet.stream_index), packet.stream.type == SUBTITLES
            kind = "subtitles" if is_text else "sound"
            if last is not None and stamp < last:  # concatenated files have such clocks
                self._note(f"{kind} left out where the clock of the {kind} steps back")
                continue
            self._last[packet.stream_index] = stamp
            time, index = packet_seconds(packet) - self._start_time, packet.stream_index
            try:
                self._mux(index, track.convert(packet))
            except (av.error.FFmpegError, ValueError) as error:
                self._leave_out(index, error, f"{kind} left out from {max(0.0, float(time)):.1f} s on")

    def _mux(self, index: int, packets: Iterable[Any]) -> None:
        """Write packets of a track, and what fills the gaps before them."""
        if index in self._held:
            self._held[index] += packets
            return
        for packet in packets:
            if index in self._gaps and packet.dts is not None:
                self._container.mux(list(self._gaps[index].before(packet)))
            self._container.mux(packet)

    def _leave_out(self, index: int, error: Exception, what: str) -> None:
        """Write no more of a track; raise the error if the file is to blame and not the track."""
        if is_file_fault(error):
            raise error
        del self._tracks[index]
        self._note(f"{what}: {getattr(error, 'strerror', None) or error}")

    def take_blame(self, error: Exception) -> bool:
        """Leave out all tracks from now on, since writing a picture failed; return whether a track may be the reason.

        FFmpeg lets packets wait for those of other tracks. A packet that it cannot write fails when its turn comes.
        """
        if is_file_fault(error) or not (self._tracks or 0 < self._late_failures < MAX_LATE_FAILURES):
            return False
        self._late_failures += 1
        if self._tracks:
            why, seconds = getattr(error, "strerror", None) or error, float(self._time - self._start_time)
            self._tracks.clear()
            self._note(f"sound and subtitles left out from about {max(0.0, seconds):.1f} s on: {why}")
        return True

    def finish(self, seconds: float) -> None:
        """Write what encoders still hold and, if they go last, the chapters up to a time on the source's clock."""
        if self._chapters_last:
            self._set_chapters(seconds)
        for index, track in list(self._tracks.items()):
            kind = "subtitles" if index in self._held else "sound"
            try:
                self._mux(index, chain(self._held.pop(index, ()), track.flush()))
            except (av.error.FFmpegError, ValueError) as error:
                self._leave_out(index, error, f"the end of the {kind} left out")


def gaps_of(track: Track, source: Any) -> SoundGaps | PcmGaps | MovTextGaps:
    """Return what handles the gaps of a track in MP4 and MOV."""
    if source.type == SUBTITLES:
        return MovTextGaps(track.stream)
    pcm = isinstance(track, CopiedTrack) and source.codec_context.name.startswith("pcm_")
    return PcmGaps(track.stream, source) if pcm else SoundGaps(track.stream)


def copy_track_tags(stream: Any, tags: Mapping[str, str]) -> None:
    """Copy language and title from a source track's tags to an output track."""
    stream.metadata.update({key: tags[key] for key in COPIED_TAGS if key in tags})


def packet_seconds(packet: Any) -> Fraction:
    """Return the time in seconds at which a packet is decoded, on the source's clock."""
    return Fraction((packet.pts if packet.dts is None else packet.dts) * packet.time_base)


def is_file_fault(error: Exception) -> bool:
    """Return whether a failed write is the fault of the file or its disk, not of what was written."""
    return getattr(error, "errno", None) in FILE_FAULTS
