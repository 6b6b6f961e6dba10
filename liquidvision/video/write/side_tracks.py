"""Writes the sound, subtitles, chapters and tags of a source into an output video."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext

from liquidvision.video.read.reader import SideTracks

log = logging.getLogger(__name__)

SUBTITLES = "subtitle"  # PyAV's name of this type of stream
# Sound codecs that every player supports: FFmpeg's encoder, name for display, bits per second and channel.
OPUS, AAC = ("libopus", "Opus", 64_000), ("aac", "AAC", 96_000)
COPIED_TAGS = ("language", "title")  # tags of a track that also apply to its copy
# Channel layouts that both encoders support in the usual order; any other is mixed to stereo.
CHANNEL_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
# Seconds. Sound that begins this close to the end of the sound before it follows without a gap.
MAX_JOIN_GAP = Fraction(1, 100)


class SideTrackWriter:
    """Copies a source's side tracks into a container.

    Sound that the container cannot hold is re-encoded; subtitles that it cannot hold are left out.

    Args:
        container: the output; its video stream exists, and its header is not written yet.
        tracks: the side tracks to copy.
        start_time: time on the source's clock, in seconds, that becomes 0 in the output.
        suffix: the container's file suffix.
        piped: whether the output can only be appended to.

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
    ) -> None:
        self.notes: list[str] = []
        self._container, self._source, self._start_time = container, tracks, start_time
        self._tracks: dict[int, CopiedTrack | EncodedTrack] = {}
        self._last: dict[int, int] = {}  # time of each track's last packet, in its ticks
        container.metadata.update(tracks.tags)
        copy_track_tags(container.streams.video[0], tracks.picture_tags)
        # Matroska files can take chapters last, when the end of the pictures is known; MP4 and pipes only first.
        self._chapters_last = suffix in (".mkv", ".webm") and not piped
        if not self._chapters_last:
            self._set_chapters(float("inf"))
        holds = container.supported_codecs
        for source in tracks.streams:
            track = self._open(source, suffix, holds)
            if track is not None:
                track.stream.disposition = source.disposition
                copy_track_tags(track.stream, source.metadata)
                self._tracks[source.index] = track

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

    def _open(self, source: Any, suffix: str, holds: set[str]) -> "CopiedTrack | EncodedTrack | None":
        kind = "subtitles" if source.type == SUBTITLES else "sound"
        if source.codec_context is None:
            self._note(f"{kind} left out: FFmpeg has no decoder for the source's codec")
            return None
        if source.codec_context.name in holds:
            return CopiedTrack(self._container, source, self._start_time)
        name = source.codec_context.codec.canonical_name
        why = f"{suffix} cannot hold {name}"
        if kind == "sound":
            encoder, shown, bits = OPUS if suffix == ".webm" else AAC
            try:
                track = EncodedTrack(self._container, source, self._start_time, encoder, bits)
            except (av.error.FFmpegError, ValueError) as error:
                log.info("%s: %s", encoder, error)
            else:
                self._note(f"sound re-encoded from {name} to {shown}: {why}")
                return track
        self._note(f"{kind} left out: {why}; write {'.mp4' if name == 'mov_text' else '.mkv'} to keep {kind}")
        return None

    def _note(self, note: str) -> None:
        if note not in self.notes:  # one note is enough for several tracks
            self.notes.append(note)

    def write(self, seconds: float) -> None:
        """Write the packets that are played up to a time on the source's clock."""
        for packet in self._source.packets_until(seconds):
            track, stamp = self._tracks.get(packet.stream_index), packet.pts if packet.dts is None else packet.dts
            if track is None or stamp is None:
                continue
            last, is_text = self._last.get(packet.stream_index), packet.stream.type == SUBTITLES
            # Concatenated files have such clocks. Only subtitles may share a time: MP4 refuses sound packets that do.
            if last is not None and (stamp < last or (stamp == last and not is_text)):
                kind = "subtitles" if is_text else "sound"
                self._note(f"{kind} left out where the clock of the {kind} runs backwards")
                continue
            self._last[packet.stream_index] = stamp
            self._container.mux(list(track.convert(packet)))

    def finish(self, seconds: float) -> None:
        """Write what encoders still hold and, if they go last, the chapters up to a time on the source's clock."""
        if self._chapters_last:
            self._set_chapters(seconds)
        for track in self._tracks.values():
            self._container.mux(list(track.flush()))


class CopiedTrack:
    """A track whose packets are copied; only their times change."""

    def __init__(self, container: av.container.OutputContainer, source: Any, start_time: Fraction) -> None:
        self.stream = container.add_stream_from_template(source)
        self._start_time = start_time
        # AAC from MPEG-TS has a header in every packet, which has to move into the container.
        bare = source.codec_context.name != "aac" or source.codec_context.extradata
        self._adts_filter = None if bare else BitStreamFilterContext("aac_adtstoasc", source)
        # MP4 needs empty subtitles in between; those that FFmpeg adds lose their length at the end of a fragment.
        self._filled = 0 if source.codec_context.name == "mov_text" else None

    def convert(self, packet: Any) -> Iterator[Any]:
        """Yield the packets to write for a packet of the source."""
        shift = to_ticks(self._start_time, packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if self._filled is not None:
            if packet.pts > self._filled:
                nothing = av.Packet(b"\0\0")  # a text of length 0
                nothing.pts = nothing.dts = self._filled
                nothing.duration, nothing.time_base = packet.pts - self._filled, packet.time_base
                nothing.stream = self.stream
                yield nothing
            self._filled = packet.pts + packet.duration
        for ready in [packet] if self._adts_filter is None else self._adts_filter.filter(packet):
            ready.stream = self.stream
            yield ready

    def flush(self) -> Iterable[Any]:
        """Return the packets still held: none."""
        return ()


class EncodedTrack:
    """A sound track that is decoded and re-encoded, in sync with the source's times."""

    def __init__(
        self, container: av.container.OutputContainer, source: Any, start_time: Fraction, encoder: str, bits: int
    ) -> None:
        rate, layout = source.codec_context.sample_rate, source.codec_context.layout.name.removesuffix("(side)")
        stream = container.add_stream(encoder)
        assert isinstance(stream, av.AudioStream)
        self.stream, context = stream, stream.codec_context
        context.sample_rate = rate if rate in (context.codec.audio_rates or ()) else 48_000
        context.layout = layout if layout in CHANNEL_LAYOUTS else "stereo"
        context.bit_rate = bits * context.layout.nb_channels
        context.open()  # fails now if the settings are not supported
        self._source, self._start_time = source, start_time
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._end: Fraction | None = None  # seconds at which the encoded sound ends

    def convert(self, packet: Any) -> Iterator[Any]:
        """Yield the encoded packets that a packet of the source completes."""
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            log.info("skipped damaged sound: %s", error.strerror)
            return
        for frame in frames:
            yield from self._encode(frame)

    def _encode(self, frame: av.AudioFrame) -> Iterator[Any]:
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form:  # a broadcast may switch between mono and stereo
            yield from self._drain()
            to = self.stream.codec_context
            self._resampler = AudioResampler(to.format, to.layout, to.sample_rate)
            self._form = form
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * frame.time_base - self._start_time
            if self._end is None or time - self._end > MAX_JOIN_GAP:
                self._end = time
            elif self._end - time > MAX_JOIN_GAP:  # overlaps sound that is already encoded
                return
        start = self._end or Fraction(0)
        frame.pts, frame.time_base = round(start * frame.sample_rate), Fraction(1, frame.sample_rate)
        self._end = start + Fraction(frame.samples, frame.sample_rate)
        assert self._resampler is not None
        for ready in self._resampler.resample(frame):
            yield from self.stream.encode(ready)

    def _drain(self) -> Iterator[Any]:
        for frame in self._resampler.resample(None) if self._resampler else ():
            if frame is not None:
                yield from self.stream.encode(frame)

    def flush(self) -> Iterator[Any]:
        """Yield the packets that decoder, resampler and encoder still hold."""
        for frame in self._source.codec_context.decode(None):
            yield from self._encode(frame)
        yield from self._drain()
        yield from self.stream.encode(None)


def copy_track_tags(stream: Any, tags: Mapping[str, str]) -> None:
    """Copy language and title from a source track's tags to an output track."""
    stream.metadata.update({key: tags[key] for key in COPIED_TAGS if key in tags})


def to_ticks(seconds: Fraction, time_base: Fraction) -> int:
    """Return the nearest tick."""
    return round(seconds / time_base)
