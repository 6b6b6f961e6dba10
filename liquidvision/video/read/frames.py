"""Frames that the caller already has: any iterable of `Frame` objects as a reader."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.pixels import Pixels
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader


class FrameReader(VideoReader):
    """Reads `Frame` objects one at a time, as the iterable yields them; indices and times stay as they are.

    The first frame is taken at once, since it gives the size. The iterable stays open: what is not read from it here
    can be read from it afterwards.

    Args:
        frames: the frames, in order.

    Raises:
        UsageError: an item is not a Frame.
    """

    allows_prefetch = False

    def __init__(self, frames: Iterable[Frame]) -> None:
        super().__init__(ReadWindow())
        rest = iter(frames)
        first = next(rest, None)
        self.info = VideoInfo("frames", 0, 0, live=True, codec="frames")
        self._frames: Iterator[Frame] = iter(())
        if first is not None:
            pixels = check_frame(first).pixels
            height, width = pixels.size if isinstance(pixels, Pixels) else pixels.shape[:2]
            self.info = VideoInfo("frames", width, height, live=True, codec="frames")
            self.start_time = first.pts * first.time_base
            self._frames = chain([first], rest)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            yield check_frame(frame)

    def pictures(self) -> Iterator[DecodedPicture]:
        for frame in self:
            pixels = frame.pixels if isinstance(frame.pixels, Pixels) else partial(np.asarray, frame.pixels)
            yield DecodedPicture(frame.pts, frame.time_base, frame.duration, pixels)

    def close(self) -> None:
        self._frames = iter(())


def check_frame(item: object) -> Frame:
    """Return the item, or raise UsageError where it is not a Frame."""
    if not isinstance(item, Frame):
        raise UsageError(f"got {type(item).__name__}; expected Frames (ArrayReader makes them of arrays)")
    return item
