"""Video files by PyAV: every frame at its own time, the source's audio packets beside it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from liquidvision.errors import SinkError, UsageError
from liquidvision.frame import Frame, VideoInfo
from liquidvision.sinks.sink import VideoSink

log = logging.getLogger(__name__)
BT709, LIMITED = 1, 1  # as ISO/IEC 23091-2 (H.273) and FFmpeg number them


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder, its settings, and the file endings whose containers hold its streams."""

    encoder: str
    suffixes: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None


CODECS = {
    "h264": Codec("libx264", (".mp4", ".mov", ".mkv"), {"preset": "veryfast", "crf": "20"}),
    "h265": Codec(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        {"preset": "veryfast", "crf": "22", "x265-params": "log-level=error:rc-lookahead=10:bframes=3:frame-threads=2"},
        tag="hvc1",  # Apple's players know HEVC by no other
    ),
    "vp9": Codec(
        "libvpx-vp9",
        (".mp4", ".webm", ".mkv"),
        {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "30", "b": "0", "lag-in-frames": "0"},
    ),
    "av1": Codec(
        "libsvtav1",
        (".mp4", ".webm", ".mkv"),
        {"preset": "10", "crf": "32", "svtav1-params": "hierarchical-levels=3:lookahead=0"},
    ),
}


class Sound(Protocol):
    """Audio packets to be copied: PyAV's streams, and its packets up to a time."""

    streams: Sequence[Any]

    def until(self, seconds: float) -> Iterator[Any]: ...


def check_codec(path: Path, codec: str) -> Codec:
    """The codec's settings.

    Raises:
        UsageError: an unknown codec, or one that the file's container does not hold.
    """
    if codec not in CODECS:
        raise UsageError(f"codec is {codec!r}; expected one of {', '.join(CODECS)}")
    chosen = CODECS[codec]
    if path.suffix.lower() not in chosen.suffixes:
        ending = path.suffix or "a name without ending"
        raise UsageError(f"{path.name}: {codec} video goes into {', '.join(chosen.suffixes)}, not {ending}")
    return chosen


class AVVideoSink(VideoSink):
    """Writes H.264 (or another of `CODECS`) at the frames' own times, exact to the tick.

    While it is written, an MP4 is fragmented, so that what is there plays also after a crash.

    Args:
        path: the file; its ending chooses the container.
        info: the source's size, aspect and mean rate.
        begin: seconds on the source's clock that become 0 in the output.
        codec: one of `CODECS`.
        sound: audio packets to copy, or None.

    Raises:
        UsageError: an unknown codec, or one that the container does not hold.
        SinkError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        *,
        begin: Fraction = Fraction(0),
        codec: str = "h264",
        sound: Sound | None = None,
    ) -> None:
        self._codec = check_codec(Path(path), codec)
        super().__init__(path)
        self.notes: list[str] = []
        self._info, self._begin, self._sound = info, begin, sound
        # Fragments play after a crash; a delayed header can say where each track begins (edit lists),
        # to 1/90000 s.
        fragments = {"movflags": "hybrid_fragmented+delay_moov", "movie_timescale": "90000", "frag_duration": "500000"}
        form = fragments if self.path.suffix.lower() in (".mp4", ".mov") else {"cluster_time_limit": "500"}
        # On disk at once, not when 32 KiB have come together: of a small picture that is a minute. Nor does
        # one track wait for packets of another for longer than half a second.
        options = {"flush_packets": "1", "max_interleave_delta": "500000", **form}
        try:
            self._container = av.open(f"file:{self.part}", "w", options=options)
        except OSError as error:
            raise self.failure(error) from error
        self._reformatter = VideoReformatter()  # kept: to set one up costs as much as a conversion
        self._stream: av.VideoStream | None = None
        self._audio: dict[int, av.AudioStream] = {}
        self._unframe: dict[int, BitStreamFilterContext] = {}
        self._last_pts: int | None = None
        self._last_source_pts = self._offset = 0
        self._frames = 0
        self._end = 0.0  # seconds on the source's clock at which the last frame ends

    def _open_streams(self, frame: Frame) -> av.VideoStream:
        height, width = frame.image.shape[:2]
        rate = self._info.rate or Fraction(30)
        stream = self._container.add_stream(self._codec.encoder, rate=rate, options=self._codec.options)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        # Chroma of 4:2:0 goes by twos: an odd side is padded by one row or column.
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt = "yuv420p"
        context.gop_size = max(1, round(2 * rate))  # a key frame every two seconds, to seek and to recover
        context.time_base = stream.time_base = frame.time_base
        context.sample_aspect_ratio = self._info.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        if self._codec.tag:
            context.codec_tag = self._codec.tag
        for source in self._sound.streams if self._sound else ():
            name = source.codec_context.name
            if source.codec_context.codec.canonical_name not in self._container.supported_codecs:
                self.notes.append(f"sound left out: {self.path.suffix} cannot hold {name}; write .mkv to keep it")
                continue
            stream_of_sound = self._container.add_stream_from_template(source)
            self._audio[source.index] = stream_of_sound
            if name == "aac" and not source.codec_context.extradata:
                # As MPEG-TS carries AAC: its headers go from each packet into the container.
                self._unframe[source.index] = BitStreamFilterContext("aac_adtstoasc", source)
        return stream

    def write(self, frame: Frame) -> None:
        try:
            if self._stream is None:
                self._stream = self._open_streams(frame)
            context = self._stream.codec_context
            picture = av.VideoFrame.from_ndarray(pad_even(frame.image), format="rgb24")
            picture = self._reformatter.reformat(
                picture,
                context.width,
                context.height,
                "yuv420p",
                src_color_range=ColorRange.JPEG,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            pts = self._place(ticks(frame.time_base * frame.pts - self._begin, context.time_base))
            self._frames += 1
            picture.pts, picture.time_base = pts, context.time_base
            picture.duration = ticks((frame.duration or 0) * frame.time_base, context.time_base)
            picture.pict_type = 0
            self._container.mux(self._stream.encode(picture))
            self._end = frame.time + (frame.seconds or 0.0)
            self._copy_sound(frame.time)
        except (OSError, av.error.FFmpegError) as error:
            raise self.failure(error) from error

    def _place(self, source_pts: int) -> int:
        """The output's pts: the source's own, but increasing, since a container takes no two pictures at one time."""
        pts = source_pts + self._offset
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
            if source_pts < self._last_source_pts:  # the clock started anew: what follows keeps its distances
                self._offset = pts - source_pts
        self._last_pts, self._last_source_pts = pts, source_pts
        return pts

    def _copy_sound(self, seconds: float) -> None:
        for packet in self._sound.until(seconds) if self._sound else ():
            stream = self._audio.get(packet.stream_index)
            if stream is None:
                continue
            shift = ticks(self._begin, packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            unframe = self._unframe.get(packet.stream_index)
            for ready in unframe.filter(packet) if unframe else [packet]:
                ready.stream = stream
                self._container.mux(ready)

    def end(self, *, whole: bool) -> None:
        try:
            self._copy_sound(float("inf") if whole else self._end)
        except (OSError, av.error.FFmpegError) as error:
            raise self.failure(error) from error

    def _finish(self) -> None:
        if self._stream is None:
            self._container.close()
            raise SinkError(f"{self.path} was not written: there was no frame")
        try:
            packets = self._stream.encode(None)
            if packets and self._last_pts is not None and packets[-1].pts is not None:
                # FFmpeg's edit list ends with the last packet, which need not be that of the last picture.
                step = ticks(1 / (self._info.rate or Fraction(30)), self._stream.codec_context.time_base)
                packets[-1].duration = self._last_pts - packets[-1].pts + max(1, step)
            for packet in packets:
                if self._frames <= 2:  # of so few libx265 leaves the dts to chance
                    packet.dts = packet.pts
                self._container.mux(packet)
            self._container.close()
        except av.error.FFmpegError as error:
            raise self.failure(error) from error

    def _release(self) -> None:
        try:
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            log.info("closing %s: %s", self.part, error)


def pad_even(image: np.ndarray) -> np.ndarray:
    """The picture with even sides, its last row and column repeated where that takes one more."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else image


def ticks(seconds: Fraction, time_base: Fraction) -> int:
    """The nearest tick."""
    return round(seconds / time_base)


def available_codecs() -> list[tuple[str, str, bool]]:
    """Name, encoder, and whether this build of PyAV has it, for each of `CODECS`."""
    return [(name, codec.encoder, codec.encoder in av.codecs_available) for name, codec in CODECS.items()]
