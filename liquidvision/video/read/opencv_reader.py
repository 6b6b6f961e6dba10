"""Reads cameras, and files on request, with OpenCV."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read.cropping import Cropping, Storage, file_storage
from liquidvision.video.read.orientation import Orientation
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader

log = logging.getLogger(__name__)
MICROSECOND = Fraction(1, 1_000_000)


class OpenCVReader(VideoReader):
    """Reads a camera by its index, or a file by its path.

    The time of a camera's frame is the monotonic clock at its capture, counted from 0. The time of a file's frame is
    the one that OpenCV reports, rounded to microseconds; where that does not increase, the frame before plus one step.

    Args:
        source: index of a camera, or path of a file.
        window: the part to read.
        deinterlace: whether to warn of a file that is interlaced; OpenCV cannot deinterlace.

    Raises:
        UsageError: the source is a URL.
        SourceError: the camera or file cannot be opened, or delivers no picture.
    """

    def __init__(
        self, source: int | str | Path, window: ReadWindow | None = None, *, deinterlace: bool = False
    ) -> None:
        super().__init__(window or ReadWindow())
        live = isinstance(source, int)
        self._lock, self._closed = threading.Lock(), False
        if not live and "://" in str(source):
            raise UsageError("URLs can only be read with av; leave out --reader opencv")
        if isinstance(source, int):
            self._capture, name = open_capture(source), f"camera {source}"
        elif Path(source).is_file():
            self._capture, name = open_capture(str(source)), Path(source).name
        elif Path(source).is_dir():
            raise SourceError(f"{source} is a folder; expected a video file")
        else:
            raise SourceError(f"no such file: {source}")
        if not self._capture.isOpened():
            hint = "check that it is plugged in and not in use" if live else "try the other reader: --reader av"
            raise SourceError(f"{name} cannot be opened by OpenCV; {hint}")
        storage = Storage()
        if not live:  # OpenCV would rotate, but neither mirror nor crop
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
            storage = file_storage(str(source))
            if storage.interlaced and deinterlace:
                log.warning("%s is interlaced, which only --reader av can change; its pictures show both fields", name)
        self._cropping, self._orientation = storage.cropping, storage.orientation
        ok, first = self._capture.read()
        if not ok:
            self.close()
            hint = "" if live else "; try the other reader: --reader av"
            raise SourceError(f"{name} delivers no picture{hint}")
        self._live, self._first, self._name, self._origin = live, first, name, time.monotonic()
        get = self._capture.get
        rate = Fraction(get(cv2.CAP_PROP_FPS)).limit_denominator(1001) if get(cv2.CAP_PROP_FPS) > 0 else None
        count = int(get(cv2.CAP_PROP_FRAME_COUNT))
        height, width = self._cropping.apply(first).shape[:2]
        if self._orientation.swaps_sides:
            height, width = width, height
        self._step = round(1 / (rate * MICROSECOND)) if rate else 33_333
        self.info = VideoInfo(
            name=name,
            width=width,
            height=height,
            rate=rate,
            duration=None if live or not rate or count <= 0 else float(count / rate),
            live=live,
            codec=self._capture.getBackendName().lower(),
            num_frames_from_header=count if not live and count > 0 else None,
            rotation=self._orientation.quarter_turns * 90,
            mirrored=self._orientation.mirrored,
            interlaced=storage.interlaced,
        )

    def pictures(self) -> Iterator[DecodedPicture]:
        last, image, captured = None, self._first, self._origin
        while True:
            seconds = captured - self._origin if self._live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            pts = round(seconds / MICROSECOND)
            if last is not None and pts <= last:  # OpenCV may report 0 for a file's last frames
                pts = last + self._step
            last = pts
            yield DecodedPicture(pts, MICROSECOND, None, partial(upright_rgb, image, self._cropping, self._orientation))
            with self._lock:  # the capture must not be read while it is closed
                if self._closed:
                    return
                ok, image = self._capture.read()
            captured = time.monotonic()
            if not ok:
                if self._live:
                    raise SourceError(f"{self._name} stopped delivering pictures; check that it is plugged in")
                return

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._capture.release()


def open_capture(source: int | str) -> cv2.VideoCapture:
    """Open a capture without OpenCV's own messages on the error stream; failures are reported as SourceError."""
    # -8 is quiet. The FFmpeg inside OpenCV reads the variable when it is first used.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source)
    finally:
        cv2.utils.logging.setLogLevel(level)


def upright_rgb(image: np.ndarray, cropping: Cropping, orientation: Orientation) -> np.ndarray:
    """Convert a picture in OpenCV's channel order to upright RGB."""
    return np.ascontiguousarray(orientation.apply(cv2.cvtColor(cropping.apply(image), cv2.COLOR_BGR2RGB)))
