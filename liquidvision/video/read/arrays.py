"""Reads frames from any Python iterable of arrays."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader

MICROSECOND = Fraction(1, 1_000_000)
TimedArray = tuple[float, np.ndarray]


class ArrayReader(VideoReader):
    """Reads (seconds, picture) pairs, or pictures at a constant rate. The iterable is consumed lazily.

    Args:
        items: pairs of a time in seconds and an (h, w, 3) uint8 array, or arrays alone if `rate` is given.
        rate: frames per second of arrays without times.
        color: "rgb", or "bgr" for arrays from OpenCV.
        window: the part to read; None reads everything.

    Raises:
        UsageError: an unknown colour order, a rate that is not positive, or an item of another kind.
        SourceError: the iterable is empty.
    """

    allows_prefetch = False

    def __init__(
        self,
        items: Iterable[TimedArray] | Iterable[np.ndarray],
        *,
        rate: float | Fraction | None = None,
        color: str = "rgb",
        window: ReadWindow | None = None,
    ) -> None:
        super().__init__(window or ReadWindow())
        if color not in ("rgb", "bgr"):
            raise UsageError(f'color is {color!r}; expected "rgb" or "bgr"')
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError(f"rate is {rate}; expected frames per second above 0")
        self._rate = None if rate is None else Fraction(rate).limit_denominator(100_000)
        self._bgr = color == "bgr"
        timed = self._timed(items)
        first = next(timed, None)
        if first is None:
            raise SourceError("the iterable is empty; expected at least one picture")
        self.start_time = first[0] * first[1]
        self._items: Iterator[tuple[int, Fraction, np.ndarray]] = chain([first], timed)
        height, width = first[2].shape[:2]
        self.info = VideoInfo("arrays", width, height, rate=self._rate, live=True, codec="arrays")

    def _timed(self, items: Iterable[Any]) -> Iterator[tuple[int, Fraction, np.ndarray]]:
        for number, item in enumerate(items):
            if self._rate is not None:
                yield number, 1 / self._rate, check_array(item, number).copy()
                continue
            try:
                seconds, image = item
                pts = round(float(seconds) / MICROSECOND)
            except (TypeError, ValueError, OverflowError):
                raise UsageError(
                    f"item {number} is not a pair (seconds, picture); give pairs, or rate= for pictures without times"
                ) from None
            yield pts, MICROSECOND, check_array(image, number).copy()  # the caller may reuse its buffer

    def pictures(self) -> Iterator[DecodedPicture]:
        for pts, time_base, image in self._items:
            yield DecodedPicture(pts, time_base, None, partial(self._rgb, image))

    def _rgb(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[..., ::-1]) if self._bgr else image

    def close(self) -> None:
        self._items = iter(())


def check_array(image: object, number: int) -> np.ndarray:
    """Return the array; raise UsageError if it is not (h, w, 3) uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"picture {number} is {got}; expected a numpy array (height, width, 3) of uint8")
    return image
