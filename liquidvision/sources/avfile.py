"""Files and URLs by PyAV: exact time stamps, upright pictures, right colours."""

import errno
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Colorspace

from liquidvision.errors import SourceError
from liquidvision.frame import VideoInfo
from liquidvision.sources.reader import Picture, Sound, VideoReader, Window

log = logging.getLogger(__name__)

# What a source may open in its turn: a playlist on disk must not reach for hosts.
NETWORK = "http,https,tcp,tls,crypto,rtsp,rtp,rtsps,udp,rtmp,rtmps,srt,httpproxy"
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt")
OPEN_SECONDS, READ_SECONDS = 15.0, 15.0
BT2020_CONSTANT_LUMINANCE, BT2020, UNSPECIFIED = 10, 9, 2


class AVFileReader(VideoReader):
    """Reads a file or URL with FFmpeg's libraries.

    Raises:
        SourceError: the source cannot be opened, holds no video, or cannot be decoded.
    """

    def __init__(self, source: str | Path, window: Window | None = None) -> None:
        super().__init__(window or Window())
        self._source = source
        # FFmpeg crashes when it is read after, or while, it is closed.
        self._lock, self._closed = threading.Lock(), False
        self._container = open_container(source)
        stream = video_stream(self._container)
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            self._container.close()
            raise SourceError(
                f"{public_name(source)} holds no video (only {kinds}); expected a file with a video stream"
            )
        self._stream = stream
        self._stream.thread_type = "AUTO"
        # AVI stores no pts: what stands there is the order of storing, and only the dts runs evenly.
        by_dts = self._container.format.name == "avi"
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._stamps = Stamps(stream.guessed_rate, self._time_base, by_dts=by_dts)
        start = self._container.start_time
        self.begin = Fraction(start, av.time_base) if start is not None else Fraction(0)
        self._seek()
        self._first: Picture | None = None
        self._decoded = self._decode()
        # The first picture tells what a header does not: whether it can be decoded, and how it is turned.
        self._first = next(self._decoded, None)
        if self._first is None:
            self.close()
            raise SourceError(f"{public_name(source)} holds no picture that can be decoded")
        self.info = self._describe(source)

    def _seek(self) -> None:
        if self.window.start > 0:
            tick = int((self.begin + Fraction(self.window.start)) / self._time_base)
            try:
                self._container.seek(tick, stream=self._stream, backward=True)
            except av.error.FFmpegError:  # not seekable: the frames before are decoded and passed over
                log.info("cannot seek; reading from the beginning")

    def _describe(self, source: str | Path) -> VideoInfo:
        stream, container = self._stream, self._container
        width, height, aspect = self._size[0], self._size[1], stream.sample_aspect_ratio or Fraction(1)
        if self._turns % 2:
            width, height, aspect = height, width, 1 / aspect
        duration = None
        if stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif container.duration:
            duration = container.duration / av.time_base
        url = str(source)
        audio = known(container.streams.audio)
        return VideoInfo(
            name=public_name(source),
            width=width,
            height=height,
            rate=stream.average_rate or stream.guessed_rate,
            duration=duration,
            live="://" in url and (urlsplit(url).scheme in LIVE_SCHEMES or duration is None),
            has_audio=bool(audio),
            pixel_aspect=aspect,
            codec=stream.codec_context.name,
            num_frames_from_header=stream.frames or None,
            rotation=self._turns * 90,
            container=container.format.name,
            pixel_format=stream.codec_context.pix_fmt or "",
            audio_codec=audio[0].codec_context.name if audio else "",
        )

    def pictures(self) -> Iterator[Picture]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._decoded

    def _decode(self) -> Iterator[Picture]:
        packets = self._container.demux(self._stream)
        while True:
            with self._lock:
                if self._closed:
                    return
                try:
                    packet = next(packets, None)
                    pictures = [] if packet is None else list(self._decode_packet(packet))
                except av.error.InvalidDataError:  # a broken packet in the container: go on behind it
                    self.damaged += 1
                    if self.damaged > 10_000:
                        raise SourceError("the file is damaged beyond reading: 10,000 broken packets") from None
                    packets = self._container.demux(self._stream)
                    continue
                except av.error.FFmpegError as error:
                    raise SourceError(f"reading broke off: {reason(error)}") from error
            if packet is None:
                return
            yield from pictures

    def _decode_packet(self, packet: av.Packet) -> Iterator[Picture]:
        try:
            frames = packet.decode()
        except (av.error.InvalidDataError, av.error.PermissionError) as error:
            self.damaged += 1
            log.info("a damaged packet was passed over: %s", reason(error))
            return
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            self._turns = round(frame.rotation / 90) % 4  # counter-clockwise
            self._size = frame.width, frame.height
            pts = self._stamps.of(frame.pts, frame.dts, frame.duration)
            upright = partial(rgb, frame, self._turns)
            yield Picture(pts, frame.time_base or self._time_base, frame.duration or None, upright)

    def sound(self) -> "AVSound | None":
        if self.info.live or not self.info.has_audio:
            return None
        return AVSound(self._source, self.window, self.begin)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._container.close()


class AVSound(Sound):
    """The audio packets of a file, read a second time beside its pictures, with a container of its own.

    `streams` are PyAV's, to make the output's streams after; packets keep their own time base.
    """

    def __init__(self, source: str | Path, window: Window, begin: Fraction) -> None:
        self._container = open_container(source)
        self.streams = known(self._container.streams.audio)
        self._late, self._from = window.start > 0, begin + Fraction(window.start)
        self._to = None if window.stop is None else begin + Fraction(window.stop)
        if window.start > 0:
            with suppress(av.error.FFmpegError):  # not seekable: packets before are passed over below
                self._container.seek(int(self._from * av.time_base), backward=True)
        self._packets = self._read()
        self._next: av.Packet | None = next(self._packets, None)

    def _read(self) -> Iterator[av.Packet]:
        ended: set[int] = set()  # tracks that have passed the window's end
        try:
            for packet in self._container.demux(self.streams):
                if not packet.size:  # the mark of a stream's end
                    continue
                seconds = packet_seconds(packet)
                if self._late and seconds < self._from:  # from the beginning on, nothing is too early
                    continue
                if self._to is not None and seconds >= self._to:
                    ended.add(packet.stream_index)
                    if len(ended) == len(self.streams):
                        return
                    continue
                yield packet
        except av.error.FFmpegError as error:
            log.warning("the sound broke off: %s", reason(error))

    def until(self, seconds: float) -> Iterator[av.Packet]:
        while self._next is not None and packet_seconds(self._next) <= seconds:
            packet, self._next = self._next, next(self._packets, None)
            yield packet

    def close(self) -> None:
        self._next = None  # nothing more is read from the closed container
        self._container.close()


def known(streams: Sequence[av.AudioStream]) -> list[av.AudioStream]:
    """Those whose codec FFmpeg knows: a broken header names others, and nothing can be done with them."""
    return [stream for stream in streams if stream.codec_context is not None]


def packet_seconds(packet: av.Packet) -> Fraction:
    """When a packet is played, on the source's clock."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return (stamp or 0) * packet.time_base


class Stamps:
    """Time stamps of frames, made up only where a container has none."""

    def __init__(self, rate: Fraction | None, time_base: Fraction, *, by_dts: bool) -> None:
        self._by_dts = by_dts
        self._step = max(1, round(1 / (rate * time_base))) if rate else 1
        self._last: int | None = None

    def of(self, pts: int | None, dts: int | None, duration: int) -> int:
        """The pts (the dts, if `by_dts`) as it is, be it repeated or before the last; without one, one frame on."""
        stamp = dts if self._by_dts else pts if pts is not None else dts
        if stamp is None:
            stamp = 0 if self._last is None else self._last + (duration or self._step)
        self._last = stamp
        return stamp


def open_container(source: str | Path) -> av.container.InputContainer:
    """Open for reading, with no more protocols allowed than the source itself needs."""
    url = str(source)
    if url.startswith("file://"):
        url = url2pathname(urlsplit(url).path)
    remote = "://" in url
    if not remote and not Path(url).exists():
        raise SourceError(f"no such file: {url}")
    if not remote and Path(url).is_dir():
        raise SourceError(f"{url} is a folder; expected a video file, or a folder that holds some")
    options = {"protocol_whitelist": NETWORK if remote else "file,crypto,data"}
    timeout = (OPEN_SECONDS, READ_SECONDS) if remote else None
    try:
        # No tag is used here: one that is not UTF-8, as old cameras write, must not refuse the file.
        return av.open(url if remote else f"file:{url}", options=options, timeout=timeout, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise SourceError(f"{public_name(source)} cannot be opened as video: {reason(error)}") from error


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def rgb(frame: av.VideoFrame, quarter_turns: int) -> np.ndarray:
    """Upright RGB pixels (h, w, 3) uint8 of a decoded frame, turned counter-clockwise."""
    if frame.colorspace == BT2020_CONSTANT_LUMINANCE:
        frame.colorspace = BT2020  # swscale knows no constant luminance; phones that tag it do not use it either
    matrix = None
    if frame.colorspace == UNSPECIFIED and frame.format.name.startswith("yuv"):
        # Untagged video: high definition is BT.709, the rest BT.601, as players take it.
        high = frame.height > 576 or frame.width >= 1280
        matrix = Colorspace.ITU709 if high else Colorspace.ITU601
    try:
        image = frame.to_ndarray(format="rgb24", src_colorspace=matrix)
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceError(f"a picture of format {frame.format.name} cannot be turned into RGB: {error}") from error
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def public_name(source: str | Path) -> str:
    """A source's name to show: a file's own name, a URL without user and password."""
    url = str(source)
    if "://" not in url:
        return Path(url).name
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def reason(error: Exception) -> str:
    """FFmpeg's reason in its own words, without the numbers and the name around it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "not found"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
