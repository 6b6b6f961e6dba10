"""Opens a source with the right reader."""

import os
import re
from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

from liquidvision.errors import UsageError
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_objects import BinaryFile, FileSource, is_file_object
from liquidvision.video.read.live import LiveReader
from liquidvision.video.read.local_files import local_path
from liquidvision.video.read.names import names_pictures
from liquidvision.video.read.reader import MAX_PIXELS, LiveOptions, ReadWindow, VideoReader

CAMERA_DEVICE = re.compile(r"/dev/video(\d+)")
READERS = ("auto", "av", "opencv")
DEINTERLACE = ("auto", "off")


def open_video(
    source: str | Path | int | BinaryFile | bytes,
    *,
    start: float = 0.0,
    stop: float | None = None,
    stride: int = 1,
    reader: str = "auto",
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
    live: LiveOptions | None = None,
    follow: bool = False,
    hwaccel: str | None = None,
    video_track: int | None = None,
    rate: float | Fraction | None = None,
    deinterlace: str = "auto",
) -> VideoReader:
    """Open a file, a URL, a camera or a sequence of pictures for reading.

    Args:
        source: a path, a URL, the index of a camera (0 or "0"), a folder of pictures, or a pattern of their names; or
            a file object (anything with `read`, opened in binary mode), or the content of a file as bytes. A file
            object is read from its beginning where it can seek, and is not closed.
        start: seconds from the beginning of the source at which to start.
        stop: seconds from the beginning of the source at which to stop; None reads to the end.
        stride: read every Nth frame; the frames keep their own times.
        reader: "av" (FFmpeg's libraries, exact times), "opencv", or "auto" (OpenCV for cameras, otherwise av).
        strict: stop with a SourceError if the decoder reports damage. By default damage is counted and reading
            continues.
        max_pixels: maximum number of pixels of one picture of a file or URL; larger pictures are refused.
        live: how a camera or stream is read, see `LiveOptions`. Has no effect on files.
        follow: at the end of a file, wait for more data, as for a file that is still being written. Reading ends when
            no data has arrived for `live.timeout` seconds.
        hwaccel: kind of GPU to decode with: "cuda", "vaapi", "videotoolbox" or another that FFmpeg supports, or "auto"
            (the first that works on this machine, if any). What the GPU cannot decode is decoded on the CPU.
        video_track: the video track to read, counted from 0. By default the one that the file marks as default, else
            the largest; still pictures come last.
        deinterlace: "auto" deinterlaces the pictures that a file marks as interlaced, "off" none.
        rate: pictures per second of a folder of pictures, or of a pattern such as "shots/%05d.jpg".

    Returns:
        A reader. Use it as a context manager and iterate over its frames.

    Raises:
        UsageError: an unknown reader, an impossible window, a GPU that is not available, or no such track.
        SourceError: the source cannot be opened or has no video.
    """
    resolved = as_path(source)
    options: dict[str, Any] = {
        "start": start,
        "stop": stop,
        "stride": stride,
        "reader": reader,
        "strict": strict,
        "max_pixels": max_pixels,
        "live": live,
        "follow": follow,
        "hwaccel": hwaccel,
        "video_track": video_track,
        "rate": rate,
        "deinterlace": deinterlace,
    }
    opened = _open(resolved, **options)
    if not (opened.info.live or follow or opened.read_once):
        opened.reopen = partial(_open, resolved, **options)
    return opened


def _open(
    source: str | Path | int | FileSource,
    *,
    start: float,
    stop: float | None,
    stride: int,
    reader: str,
    strict: bool,
    max_pixels: int,
    live: LiveOptions | None,
    follow: bool,
    hwaccel: str | None,
    video_track: int | None,
    rate: float | Fraction | None,
    deinterlace: str,
) -> VideoReader:
    """Open a source; see `open_video`."""
    if reader not in READERS:
        raise UsageError(f"reader is {reader!r}; expected one of {', '.join(READERS)}")
    check_deinterlace(deinterlace)
    window = ReadWindow(start, stop, stride)
    camera = camera_index(source)
    if camera is not None and reader == "av":
        raise UsageError("cameras can only be read with OpenCV; leave out --reader av")
    live = live or LiveOptions()
    if follow and (camera is not None or reader == "opencv" or "://" in str(source)):
        raise UsageError(
            "only files read with av can be followed; leave out --follow for cameras, URLs and --reader opencv"
        )
    if hwaccel and (camera is not None or reader == "opencv"):
        raise UsageError("hwaccel works only with the av reader; leave it out for cameras and for --reader opencv")
    if video_track is not None and (camera is not None or reader == "opencv"):
        raise UsageError("video_track works only with the av reader; leave it out for cameras and for --reader opencv")
    if video_track is not None and video_track < 0:
        raise UsageError(f"video_track is {video_track}; expected the number of a track, counted from 0")
    if isinstance(source, FileSource) and (reader == "opencv" or follow or rate is not None):
        raise UsageError(f"{source.name} is read as a file object; leave out reader='opencv', follow and rate")
    if isinstance(source, str | Path) and camera is None and names_pictures(source):
        from liquidvision.video.read.stills import open_stills

        if reader == "opencv" or follow or hwaccel or video_track is not None:
            raise UsageError("pictures are read one by one; leave out --reader opencv, follow, hwaccel and video_track")
        return open_stills(Path(source), rate, window, strict=strict, max_pixels=max_pixels)
    if rate is not None:
        raise UsageError(f"rate applies to folders and patterns of pictures, and {source} is neither; leave it out")
    # Imported here, so that files do not load OpenCV and cameras do not load PyAV.
    if camera is not None or reader == "opencv":
        return _open_with_opencv(source, camera, window, live, deinterlace=deinterlace == "auto")
    from liquidvision.video.read.av_reader import AVReader

    assert not isinstance(source, int)
    connect = partial(
        AVReader,
        source,
        strict=strict,
        max_pixels=max_pixels,
        timeout=live.timeout,
        follow=follow,
        hwaccel=hwaccel,
        video_track=video_track,
        deinterlace=deinterlace,
    )
    opened = connect(window=window)
    opened.path = source.path if isinstance(source, FileSource) else local_path(source)
    if not opened.info.live or follow:
        return opened
    return LiveReader(opened, connect, window, live)


def _open_with_opencv(
    source: str | Path | int | FileSource,
    camera: int | None,
    window: ReadWindow,
    live: LiveOptions,
    *,
    deinterlace: bool,
) -> VideoReader:
    from liquidvision.video.read.opencv_reader import OpenCVReader

    if camera is not None:
        return LiveReader(OpenCVReader(camera), partial(OpenCVReader, camera), window, live)
    assert isinstance(source, str | Path)
    read = OpenCVReader(source, window, deinterlace=deinterlace)
    read.path = local_path(source)
    return read


def check_deinterlace(word: str) -> None:
    """Raise UsageError for a word that `open_video` does not take as `deinterlace`."""
    if word not in DEINTERLACE:
        raise UsageError(f"deinterlace is {word!r}; expected one of {', '.join(DEINTERLACE)}")


def as_path(source: "str | Path | int | os.PathLike[str] | BinaryFile | bytes") -> str | Path | int | FileSource:
    """Return a source as text, path, camera index or file object.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(source, str | Path | int):
        return source
    if is_file_object(source):
        return FileSource(source)
    if isinstance(source, os.PathLike):
        return Path(source)
    raise UsageError(f"{describe_type(source)}; expected a path, a URL, a camera index or a file object")


def as_reader(
    source: str | Path | int | BinaryFile | bytes | VideoReader | Iterable[Frame],
) -> VideoReader:
    """Return a reader for anything that `predict` and `infer` take; a reader is returned as it is.

    Args:
        source: a path, a URL, a camera index, a file object, a file's content, a reader, or an iterable of frames.

    Raises:
        UsageError: something else.
        SourceError: the source cannot be opened or holds no video.
    """
    if isinstance(source, VideoReader):
        return source
    if isinstance(source, str | Path | int | os.PathLike) or is_file_object(source):
        return open_video(source)
    if isinstance(source, Iterable):
        from liquidvision.video.read.frames import FrameReader

        return FrameReader(cast(Iterable[Frame], source))
    raise UsageError(f"{describe_type(source)}; expected a path, URL, camera index, file object, reader or frames")


def describe_type(source: object) -> str:
    """Return what a source is that cannot be used."""
    hint = ", whose open() gives a file object" if callable(getattr(source, "open", None)) else ""
    return f"the source is {type(source).__name__}{hint}"


def camera_index(source: str | Path | int | FileSource) -> int | None:
    """Return a camera's index; None for other sources.

    Args:
        source: a number, digits that do not name a file, or the path of a camera or a link to it: /dev/video0.
    """
    if isinstance(source, FileSource):
        return None
    if isinstance(source, int):
        return source
    name = str(source)
    device = CAMERA_DEVICE.fullmatch(os.path.realpath(name)) if name.startswith("/dev/") else None
    if device is not None:
        return int(device[1])
    return int(name) if name.isdecimal() and not os.path.exists(name) else None
