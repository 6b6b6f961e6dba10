"""Decoded pictures kept as Y'CbCr: converting to full-size RGB is expensive, and most jobs do not need it."""

import threading
from functools import cached_property
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from liquidvision.errors import SourceError
from liquidvision.video.color import LUMA_WEIGHTS, planes_to_rgb
from liquidvision.video.pixels import WHOLE_PICTURE, Pixels, Planes
from liquidvision.video.read.orientation import Orientation
from liquidvision.video.read.to_rgb import BT2020, BT2020_CONSTANT_LUMINANCE, HLG, PQ, color_matrix, frame_to_rgb

YUV = ("yuv4", "yuvj4", "nv", "p01", "yuyv", "uyvy")  # prefixes of FFmpeg's names of Y'CbCr formats without alpha


class Scaler:
    """Caches one reader's conversion contexts: setting one up costs as much as converting a picture. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reformatters: dict[tuple[str, int, int], VideoReformatter] = {}

    def convert(self, frame: av.VideoFrame, form: str, width: int, height: int) -> av.VideoFrame:
        """Convert a Y'CbCr picture to another pixel format and size; matrix and range stay the same."""
        span = color_range(frame)
        if frame.colorspace == BT2020_CONSTANT_LUMINANCE:  # swscale does not support it: see `color_matrix`
            frame.colorspace = BT2020
        with self._lock:
            if len(self._reformatters) > 8:  # a stream may change its size repeatedly
                self._reformatters.clear()
            reformatter = self._reformatters.setdefault((form, width, height), VideoReformatter())
            # For shrinking, swscale's bilinear filter is as wide as torchvision's with antialias.
            return reformatter.reformat(
                frame,
                width,
                height,
                form,
                src_color_range=span,
                dst_color_range=span,
                interpolation=Interpolation.BILINEAR,
                threads=1,
            )


class DecodedPixels(Pixels):
    """A decoded frame, rotated and mirrored upright on request."""

    def __init__(self, frame: av.VideoFrame, orientation: Orientation, scaler: Scaler) -> None:
        self._frame, self._orientation, self._scaler = frame, orientation, scaler
        self.size = (frame.width, frame.height) if orientation.swaps_sides else (frame.height, frame.width)

    @cached_property
    def _rgb(self) -> np.ndarray:
        return frame_to_rgb(self._frame, self._orientation)

    def rgb(self) -> np.ndarray:
        return self._rgb

    @property
    def _luma(self) -> tuple[float, float] | None:
        """Kr and Kb; None if the picture is not Y'CbCr of standard dynamic range."""
        frame, name = self._frame, self._frame.format.name
        if not name.startswith(YUV) or frame.color_trc in (PQ, HLG):
            return None
        return LUMA_WEIGHTS.get(color_matrix(frame))

    def resized(self, height: int, width: int, region: tuple[slice, slice] = WHOLE_PICTURE) -> np.ndarray | None:
        luma = self._luma
        if luma is None:
            return None
        stored = (width, height) if self._orientation.swaps_sides else (height, width)
        try:
            small = self._scaler.convert(self._frame, "yuv444p10le", stored[1], stored[0])
        except (av.error.FFmpegError, ValueError) as error:
            raise SourceError(f"a picture of format {self._frame.format.name} cannot be resized: {error}") from error
        upright = (self._orientation.apply(plane_array(plane, stored[1], "<u2"))[region] for plane in small.planes)
        return planes_to_rgb(np.stack(list(upright)), luma, 10, full_range=color_range(self._frame) == ColorRange.JPEG)

    def planes(self) -> Planes | None:
        frame = self._frame
        if self._luma is None:
            return None
        if frame.format.name not in ("yuv420p", "yuvj420p"):
            try:
                frame = self._scaler.convert(frame, "yuv420p", frame.width, frame.height)
            except (av.error.FFmpegError, ValueError) as error:
                raise SourceError(f"a picture of format {frame.format.name} cannot be converted: {error}") from error
        width = frame.width
        y, u, v = (
            plane_array(plane, size)
            for plane, size in zip(frame.planes, (width, -(-width // 2), -(-width // 2)), strict=True)
        )
        if y.shape[0] % 2 or y.shape[1] % 2:
            y = np.pad(y, ((0, y.shape[0] % 2), (0, y.shape[1] % 2)), "edge")
        y, u, v = (self._orientation.apply(plane) for plane in (y, u, v))
        full = color_range(self._frame) == ColorRange.JPEG
        return Planes(
            y, u, v, color_matrix(self._frame), full, int(self._frame.color_primaries), int(self._frame.color_trc)
        )


def color_range(frame: av.VideoFrame) -> ColorRange:
    """Return JPEG (full range) if the pixel format or the stream states it, otherwise MPEG (limited range)."""
    full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    return ColorRange.JPEG if full else ColorRange.MPEG


def plane_array(plane: Any, width: int, dtype: str = "u1") -> np.ndarray:
    """Return a plane as a (height, width) view of its memory, without the padding of its rows."""
    return np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, :width]
