"""Opens containers with PyAV, limited to the protocols, formats and pixels that the source itself needs."""

import errno
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import av
from av.codec.hwaccel import HWAccel
from av.stream import Disposition

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.read.file_objects import FileSource
from liquidvision.video.read.local_files import STDIN, local_path
from liquidvision.video.read.names import JPEG_SUFFIXES
from liquidvision.video.read.reader import MAX_PIXELS

DEFAULT_TIMEOUT = 15.0  # seconds without data after which a URL counts as lost

_HTTP = "http,https,tcp,tls,crypto,httpproxy"
_RTSP = "rtsp,rtsps,rtp,udp,tcp,tls"
_RTMP = "rtmp,rtmps,rtmpt,rtmpts,rtmpe,rtmpte,ffrtmphttp,ffrtmpcrypt,tcp,tls,http,https"
# The protocols that a source may use to open further data, by its own scheme: a stream must not open local files.
ALLOWED_PROTOCOLS = {
    "http": _HTTP,
    "https": _HTTP,
    "rtsp": _RTSP,
    "rtsps": _RTSP,
    "rtmp": _RTMP,
    "rtmps": _RTMP,
    "rtmpt": _RTMP,
    "rtp": "rtp,udp",
    "udp": "udp",
    "srt": "srt,udp",
    "tcp": "tcp",
}
HTTP_SCHEMES = ("http", "https")  # live if the container states no duration
ALWAYS_LIVE = frozenset(ALLOWED_PROTOCOLS).difference(HTTP_SCHEMES)
# Demuxers that open what a file names: another file, a host, a device, the output of a script.
FORMATS_OPENING_OTHERS = frozenset({"hls", "dash", "concat", "imf", "sdp", "avs", "vapoursynth", "lavfi", "image2"})
# libavformat's flags of formats: they open their input themselves; they store no times.
AVFMT_NOFILE, AVFMT_NOTIMESTAMPS = 0x1, 0x80
# Formats that carry no times: FFmpeg assumes 25 frames per second.
FORMATS_WITHOUT_TIMES = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v")
PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"v=0")


def open_container(
    source: str | Path | FileSource,
    *,
    max_pixels: int = MAX_PIXELS,
    timeout: float = DEFAULT_TIMEOUT,
    follow: bool = False,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a file, a URL or a file object for reading; for the arguments see `AVReader`.

    Raises:
        UsageError: a URL scheme that is not supported.
        SourceError: the source does not exist or is not a video.
    """
    if isinstance(source, FileSource):
        return open_file_object(source, max_pixels=max_pixels, hwaccel=hwaccel)
    url = str(source)
    if (path := local_path(source)) is not None:
        url = str(path)
    remote = "://" in url
    options = {"max_pixels": str(max_pixels)}  # also limits pictures decoded while FFmpeg probes the streams
    if remote:
        options["protocol_whitelist"] = allowed_protocols(url)
        url, listen = split_listen_option(url)
        options |= listen
    else:
        check_is_file(url)
        options["protocol_whitelist"] = "file,crypto,data"
        options["format_whitelist"] = self_contained_formats()
        if follow:
            options["follow"] = "1"
    connect = partial(
        av.open,
        url if remote else f"file:{url}",
        options=options,
        timeout=timeout if remote or follow else None,
        # Tags are not needed to decode. Some, as old cameras write them, are not UTF-8, which must not matter.
        metadata_errors="replace",
        hwaccel=hwaccel,
    )
    try:
        return connect(format=None if remote else picture_format(Path(url)))
    except av.error.FFmpegError as error:
        if isinstance(error, av.error.InvalidDataError) and urlsplit(url).scheme.lower() in HTTP_SCHEMES:
            jpegs = open_as_jpegs(connect)
            if jpegs is not None:
                return jpegs
        if not remote and is_playlist(Path(url)):
            raise SourceError(
                f"{public_name(source)} is a playlist, and a file may not open others; give the videos that it names"
            ) from error
        # PyAV's error contains the URL with its password; a traceback must not show it.
        cause = None if remote else error
        raise SourceError(f"{public_name(source)} cannot be opened as video: {error_reason(error)}") from cause


def open_as_jpegs(connect: Callable[..., av.container.InputContainer]) -> av.container.InputContainer | None:
    """Open a stream as JPEG pictures with anything between them; None if there is no such picture.

    FFmpeg reads a camera's multipart stream only if it begins with a boundary line, which some cameras leave out.
    """
    try:
        container = connect(format="mjpeg", container_options={"analyzeduration": "100000"})
    except av.error.FFmpegError:
        return None
    if container.streams.video and container.streams.video[0].width:
        return container
    container.close()
    return None


def open_file_object(source: FileSource, *, max_pixels: int, hwaccel: HWAccel | None) -> av.container.InputContainer:
    """Open a file object for reading.

    Raises:
        SourceError: its content is not a video, or cannot be read.
    """
    options = {
        "max_pixels": str(max_pixels),
        "protocol_whitelist": "crypto,data",  # it may not open files
        "format_whitelist": self_contained_formats(),
    }
    try:
        return av.open(source.open(), "r", options=options, metadata_errors="replace", hwaccel=hwaccel)
    except av.error.FFmpegError as error:
        why = error_reason(error)
        raise SourceError(f"{source.name} cannot be opened as video: {why}{source.hint}") from error


def picture_format(path: Path) -> str | None:
    """Return the format of a picture whose name FFmpeg would take for a pattern of several files; None for others."""
    if path.suffix.lower() not in JPEG_SUFFIXES or not os.path.isfile(path):  # a pipe must not be opened for this
        return None
    try:
        with path.open("rb") as file:
            return "jpeg_pipe" if file.read(3) == b"\xff\xd8\xff" else None
    except OSError:
        return None


def allowed_protocols(url: str) -> str:
    """Return the protocols that a URL may use; raise UsageError for a scheme that is not supported."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ALLOWED_PROTOCOLS:
        raise UsageError(f"{scheme}:// is not supported; expected a file or one of {', '.join(ALLOWED_PROTOCOLS)}")
    return ALLOWED_PROTOCOLS[scheme]


def split_listen_option(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL and FFmpeg's options for it: with RTMP, unlike TCP, `?listen=1` has to be passed as an option."""
    parts = urlsplit(url)
    if not parts.scheme.lower().startswith("rtmp") or parts.query != "listen=1":
        return url, {}
    return urlunsplit(parts._replace(query="")), {"listen": "1"}


def check_is_file(path: str) -> None:
    """Raise SourceError if a path does not exist or is a folder."""
    if not os.path.exists(path):
        raise SourceError(f"no such file: {path}")
    if os.path.isdir(path):
        try:
            os.listdir(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        raise SourceError(f"{path} is a folder; expected a video file, or a folder that holds some")


@cache
def self_contained_formats() -> str:
    """Return FFmpeg's list of the demuxers that read only the file itself, separated by commas."""
    names = []
    for name in sorted(av.formats_available):
        try:
            demuxer = av.ContainerFormat(name, "r")
        except ValueError:  # a format that can only be written
            continue
        if not demuxer.flags & AVFMT_NOFILE and not FORMATS_OPENING_OTHERS & set(name.split(",")):
            names.append(name)
    return ",".join(names)


def can_seek(container_format: av.ContainerFormat) -> bool:
    """Return whether times are still right after a seek; bare streams and rows of pictures count from the beginning."""
    name = container_format.name
    return not (container_format.flags & AVFMT_NOTIMESTAMPS or name.endswith("_pipe") or name in FORMATS_WITHOUT_TIMES)


def is_playlist(path: Path) -> bool:
    """Return whether a file begins like a playlist, manifest or session description."""
    if not os.path.isfile(path):  # a pipe would have to be opened a second time
        return False
    try:
        with path.open("rb") as file:
            return file.read(16).lstrip().startswith(PLAYLIST_STARTS)
    except OSError:
        return False


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the video streams that have a known codec and are not cover pictures, in the container's order."""
    return [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]


def main_video_stream(streams: Sequence[av.VideoStream]) -> av.VideoStream:
    """Return the stream that is the video: no still picture, then the default one, then the largest, then the first."""
    return max(
        streams,
        key=lambda stream: (
            *is_moving(stream),
            bool(stream.disposition & Disposition.default),
            stream.width * stream.height,
        ),
    )


def check_untiled(container: av.container.InputContainer, name: str) -> None:
    """Raise SourceError for a picture that is stored in tiles, as in HEIC files of phones: PyAV shows only tiles."""
    tiles = sum(bool(stream.disposition & Disposition.dependent) for stream in container.streams.video)
    if tiles and all(stream.frames == 1 for stream in container.streams.video):
        raise SourceError(
            f"{name} is a picture in {tiles} tiles, which cannot be put together here; convert it to JPEG or PNG"
        )


def is_moving(stream: av.VideoStream) -> tuple[bool, bool]:
    """Return whether a stream holds more than one picture, and whether it is not marked as still pictures."""
    still = stream.disposition & (Disposition.timed_thumbnails | Disposition.still_image)
    return stream.frames != 1, not still  # an AVIF file has a stream of one picture beside its animation


def belongs_to(container: av.container.InputContainer, stream: av.stream.Stream, video: av.VideoStream) -> bool:
    """Return whether a stream of sound or subtitles is in the program of a video stream.

    A transport stream may hold several programs. PyAV does not list them, but finds the best stream of a program.
    """
    best = container.streams.best
    # Without the second kind, a program of sound alone would seem to have the best video of all.
    pairs = [(best(kind, related=video), best(kind, related=stream)) for kind in ("video", "audio")]
    if all(mine is its for mine, its in pairs):
        return True
    kind: Any = stream.type
    return best(kind, related=video) is stream  # it is in several programs, of which another one was found


def start_time(container: av.container.InputContainer, video: av.VideoStream) -> Fraction:
    """Return the time in seconds at which a container begins; of several programs, that of the video."""
    mine = [stream for stream in container.streams if belongs_to(container, stream, video)]
    begins = [s.start_time * s.time_base for s in mine if s.start_time is not None and s.time_base]
    if len(mine) < len(container.streams) and begins:
        return min(begins)
    return Fraction(container.start_time or 0, av.time_base)


def public_name(source: str | Path | FileSource) -> str:
    """Return a source's name for display: a file's name, or a URL without user, password and query."""
    if isinstance(source, FileSource):
        return source.name
    url = str(source)
    if url == STDIN:
        return "standard input"
    if "://" not in url:
        return Path(url).name
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def error_reason(error: Exception) -> str:
    """Return FFmpeg's reason for an error, without error numbers and file names."""
    if isinstance(error, av.error.ExitError):  # the timeout
        return "no data arrived in time"
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "not found"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
