"""The tracks of sound and subtitles that are copied, re-encoded or converted into an output video."""

import logging
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext
from av.codec.codec import Properties

log = logging.getLogger(__name__)

# Sound codecs that every player supports: FFmpeg's encoder, name for display, bits per second and channel.
OPUS, AAC = ("libopus", "Opus", 64_000), ("aac", "AAC", 96_000)
# Channel layouts that both encoders support in the usual order; any other is mixed to stereo.
CHANNEL_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
# Seconds. Sound that begins this close to the end of the sound before it follows without a gap.
MAX_JOIN_GAP = Fraction(1, 100)
EQUAL_TIMES_ALLOWED = 0x20000  # libavformat's flag of containers whose packets may share a time: AVFMT_TS_NONSTRICT


# MP4 and MOV store the time from one packet to the next in 32 bits; FFmpeg drops a longer one of pictures, and ends the
# process at one of sound. In a longer gap, the packet before it is repeated; one that would take too many is left out.
MAX_STEP_TICKS, MAX_REPEATS = 2**30, 1000
EMPTY_TEXT_SIZE = 2  # bytes of a subtitle of MP4 without text
MILLISECOND = Fraction(1, 1000)
MAX_SILENCE = 600  # seconds of uncompressed silence that are written


class CopiedTrack:
    """A track whose packets are copied; only their times change."""

    def __init__(self, container: av.container.OutputContainer, source: Any, start_time: Fraction) -> None:
        self.stream = container.add_stream_from_template(source)
        self._start_time = start_time
        # AAC from MPEG-TS has a header in every packet, which has to move into the container.
        bare = source.codec_context.name != "aac" or source.codec_context.extradata
        self._adts_filter = None if bare else BitStreamFilterContext("aac_adtstoasc", source)
        self._is_mov_text = source.codec_context.name == "mov_text"
        if self._is_mov_text:
            self.stream.time_base = MILLISECOND
        # The last time in ticks of the output, where packets of sound must not share one.
        self._strict = source.type == "audio" and not container.format.flags & EQUAL_TIMES_ALLOWED
        self._last_dts: int | None = None

    def convert(self, packet: Any) -> Iterator[Any]:
        """Yield the packets to write for a packet of the source."""
        shift = to_ticks(self._start_time, packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if self._is_mov_text and packet.size <= EMPTY_TEXT_SIZE:  # see `MovTextGaps`
            return
        for ready in [packet] if self._adts_filter is None else self._adts_filter.filter(packet):
            if self._strict and ready.dts is not None:
                self._separate(ready)
            ready.stream = self.stream
            yield ready

    def _separate(self, packet: Any) -> None:
        """Move a packet that shares its time with the one before it by a tick of the output."""
        ticks, tick = to_ticks(packet.dts * packet.time_base, self.stream.time_base), self.stream.time_base
        if self._last_dts is not None and ticks <= self._last_dts:
            ticks = self._last_dts + 1
            packet.duration = to_ticks((packet.duration or 0) * packet.time_base, tick)
            packet.pts, packet.dts, packet.time_base = ticks, ticks, tick
        self._last_dts = ticks

    def flush(self) -> Iterable[Any]:
        """Return the packets still held: none."""
        return ()


class ConvertedSubtitles:
    """A track of subtitles that is decoded and encoded as another kind of text."""

    def __init__(self, container: av.container.OutputContainer, source: Any, start_time: Fraction, codec: str) -> None:
        self._source, self._start_time = source, start_time
        if not source.codec_context.codec.properties & Properties.TEXT_SUB.value:
            raise ValueError("the source's subtitles are pictures")
        source.codec_context.open(strict=False)
        stream: Any = container.add_stream(codec)
        self.stream = stream
        context: Any = self.stream.codec_context
        context.subtitle_header = source.codec_context.subtitle_header or default_subtitle_header()
        context.time_base = MILLISECOND
        if codec == "mov_text":
            stream.time_base = MILLISECOND
        context.open()

    def convert(self, packet: Any) -> Iterator[Any]:
        """Yield the packets to write for a packet of the source."""
        try:
            subtitle = self._source.codec_context.decode2(packet)
        except av.error.InvalidDataError as error:
            log.info("skipped a damaged subtitle: %s", error.strerror)
            return
        if subtitle is None or not len(subtitle):
            return
        text = self.stream.codec_context.encode_subtitle(subtitle)
        text.time_base = packet.time_base
        text.pts = text.dts = packet.pts - to_ticks(self._start_time, packet.time_base)
        text.duration = packet.duration or round(text.duration / 1000 / packet.time_base)
        text.stream = self.stream
        yield text

    def flush(self) -> Iterable[Any]:
        """Return the packets still held: none."""
        return ()


class MovTextGaps:
    """Fills the time between subtitles in MP4 with empty ones; those that FFmpeg adds lose their length."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._end = stream, Fraction(0)  # seconds at which the last subtitle ends

    def before(self, packet: Any) -> Iterator[Any]:
        """Yield empty subtitles where there is time before a packet; its times are those of the output.

        Raises:
            ValueError: the gap is too long.
        """
        filled = to_ticks(self._end, packet.time_base)
        longest = max(1, int(MAX_STEP_TICKS * self._stream.time_base / packet.time_base))
        if packet.pts - filled > MAX_REPEATS * longest:
            raise gap_error((packet.pts - filled) * packet.time_base)
        while filled < packet.pts:
            nothing = av.Packet(b"\0\0")  # a text of length 0
            nothing.pts = nothing.dts = filled
            nothing.duration, nothing.time_base = min(longest, packet.pts - filled), packet.time_base
            nothing.stream = self._stream
            yield nothing
            filled += nothing.duration
        self._end = (packet.pts + packet.duration) * packet.time_base


class SoundGaps:
    """Repeats the packet of sound before a gap that MP4 and MOV cannot hold."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._before: Any = None
        self._ticks = 0  # of the packet before

    def before(self, packet: Any) -> Iterator[Any]:
        """Yield packets for the time before a packet of the output.

        Raises:
            ValueError: the gap is too long.
        """
        tick = self._stream.time_base
        ticks = to_ticks(packet.dts * packet.time_base, tick)
        if self._before is not None and ticks - self._ticks > MAX_REPEATS * MAX_STEP_TICKS:
            raise gap_error((ticks - self._ticks) * tick)
        for stamp in range(self._ticks + MAX_STEP_TICKS, ticks, MAX_STEP_TICKS) if self._before is not None else ():
            repeated = av.Packet(bytes(self._before))
            repeated.pts = repeated.dts = stamp
            repeated.duration = to_ticks((self._before.duration or 0) * self._before.time_base, tick)
            repeated.time_base, repeated.stream = tick, self._stream
            yield repeated
        self._before, self._ticks = packet, ticks


class PcmGaps:
    """Fills gaps in uncompressed sound with silence: MP4 and MOV store its samples without times."""

    def __init__(self, stream: Any, source: Any) -> None:
        self._stream, context = stream, source.codec_context
        name = context.name
        bits = re.search(r"\d+", name)
        self._frame_size = context.layout.nb_channels * (int(bits[0]) if bits else 8) // 8  # of all channels
        self._rate = context.sample_rate
        self._silence = {"pcm_u8": b"\x80", "pcm_mulaw": b"\xff", "pcm_alaw": b"\xd5"}.get(name, b"\0")
        self._end: Fraction | None = None  # seconds at which the sound written so far ends

    def before(self, packet: Any) -> Iterator[Any]:
        """Yield silence for the time before a packet of the output.

        Raises:
            ValueError: the gap is too long.
        """
        start = packet.dts * packet.time_base
        self._end = start if self._end is None else self._end
        if start - self._end > MAX_SILENCE:
            raise gap_error(start - self._end)
        if start - self._end > MAX_JOIN_GAP:
            missing = to_ticks(start - self._end, Fraction(1, self._rate))
            for done in range(0, missing, self._rate):
                count = min(self._rate, missing - done)
                silent = av.Packet(self._silence * (count * self._frame_size))
                silent.time_base, silent.stream = Fraction(1, self._rate), self._stream
                silent.pts = silent.dts = to_ticks(self._end, silent.time_base) + done
                silent.duration = count
                yield silent
            self._end += Fraction(missing, self._rate)
        self._end += Fraction(packet.size // self._frame_size, self._rate)


def gap_error(seconds: Fraction) -> ValueError:
    """Return the error of a gap that an MP4 or MOV file cannot hold."""
    return ValueError(f"it has a gap of {float(seconds):,.0f} s, which .mkv can hold")


class EncodedSound:
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


def to_ticks(seconds: Fraction, time_base: Fraction) -> int:
    """Return the nearest tick."""
    return round(seconds / time_base)


def default_subtitle_header() -> bytes | None:
    """Return the styles of subtitles that state none."""
    decoder: Any = av.CodecContext.create("subrip", "r")
    decoder.open()
    return decoder.subtitle_header
