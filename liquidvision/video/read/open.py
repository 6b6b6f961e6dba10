"""Picks the reader for a source."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from liquidvision.errors import UsageError
from liquidvision.video.frame import Frame
from liquidvision.video.read.live import LiveReader
from liquidvision.video.read.reader import MAX_PIXELS, LiveOptions, ReadWindow, VideoReader

READERS = ("auto", "av", "opencv")


def open_video(
    source: str | Path | int,
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
) -> VideoReader:
    """Open a file, a URL or a camera for reading.

    Args:
        source: a path, a URL, or a camera's index (0, "0").
        start: seconds from the source's beginning.
        stop: seconds from the source's beginning at which to end.
        stride: every how-manieth frame is wanted; the frames keep their own times.
        reader: "av" (FFmpeg's libraries: exact times), "opencv", or "auto": OpenCV for cameras, else av.

        strict: break off where a decoder reports damage; else it is counted, and reading goes on.
        max_pixels: of one picture of a file or URL; a larger one is refused.
        live: how a camera or stream is read, see `LiveOptions`; it says nothing for what does not run by itself.
        follow: at the end of a file wait for more, as of one that is being written, until nothing has come
            for `live.timeout` seconds.
        hwaccel: the kind of GPU that decodes: cuda, vaapi, videotoolbox or another that FFmpeg knows, or "auto",
            the first that works here, if one does. What it cannot decode is decoded without it.

    Raises:
        UsageError: an unknown reader, a window that cannot be, or a GPU that is not there.
        SourceError: the source cannot be opened or holds no video.
    """
    if reader not in READERS:
        raise UsageError(f"reader is {reader!r}; expected one of {', '.join(READERS)}")
    window = ReadWindow(start, stop, stride)
    camera = camera_index(source)
    if camera is not None and reader == "av":
        raise UsageError("cameras are read by OpenCV; leave out --reader av")
    live = live or LiveOptions()
    if follow and (camera is not None or reader == "opencv" or "://" in str(source)):
        raise UsageError("only a file that av reads can be followed")
    if hwaccel and (camera is not None or reader == "opencv"):
        raise UsageError("hwaccel is for what av reads; leave it out for cameras and for OpenCV's reader")
    # Imported here, so that a file costs no OpenCV and a camera no PyAV.
    if camera is not None or reader == "opencv":
        from liquidvision.video.read.opencv_reader import OpenCVReader

        if camera is None:
            return OpenCVReader(source, window)
        return LiveReader(OpenCVReader(camera), partial(OpenCVReader, camera), window, live)
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
    )
    opened = connect(window=window)
    if not opened.info.live or follow:
        return opened
    return LiveReader(opened, connect, window, live)


def as_reader(source: str | Path | int | VideoReader | Iterable[Frame]) -> VideoReader:
    """Return a reader for anything that `predict` and `infer` take; a reader is returned as it is.

    Args:
        source: a path, a URL, a camera index, a reader, or an iterable of frames.

    Raises:
        UsageError: something else.
        SourceError: the source cannot be opened or holds no video.
    """
    if isinstance(source, VideoReader):
        return source
    if isinstance(source, str | Path | int):
        return open_video(source)
    if isinstance(source, Iterable):
        from liquidvision.video.read.frames import FrameReader

        return FrameReader(source)
    raise UsageError(f"the source is {type(source).__name__}; expected a path, URL, camera index, reader or frames")


def camera_index(source: str | Path | int) -> int | None:
    """The index of a camera, given as a number or as a name of digits that is no file."""
    if isinstance(source, int):
        return source
    name = str(source)
    return int(name) if name.isdecimal() and not Path(name).exists() else None
