"""The contract of every source: frames in order, each with its exact time; closes whatever happens."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from liquidvision.concurrency.counts import SourceCounts
from liquidvision.errors import UsageError
from liquidvision.video.frame import Chapter, Frame, VideoInfo
from liquidvision.video.pixels import Pixels

MAX_PIXELS = 100_000_000  # of one picture: more than 12,000 x 8,000; in RGB 300 MB
LIVE_POLICIES = ("wait", "drop-oldest", "latest")  # what happens to frames that come quicker than they are used


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded picture at its tick.

    Attributes:
        pixels: what makes its RGB, (height, width, 3) uint8, or gives it in other forms too.
    """

    pts: int
    time_base: Fraction
    duration: int | None
    pixels: Callable[[], np.ndarray] | Pixels

    def frame_pixels(self) -> np.ndarray | Pixels:
        """What a Frame holds of it."""
        return self.pixels if isinstance(self.pixels, Pixels) else self.pixels()


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a source is read that does not wait: a camera or a stream.

    Attributes:
        policy: what happens when frames come quicker than they are used: see `Ahead`.
        max_staleness: seconds after which a waiting frame is left out; None: none is.
        reconnect: new tries in a row before a lost source is given up; None: for ever.
        timeout: seconds without data after which a stream counts as lost.

    Raises:
        UsageError: an unknown policy, or a number that cannot be.
    """

    policy: str = "drop-oldest"
    max_staleness: float | None = None
    reconnect: int | None = 5
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if self.policy not in LIVE_POLICIES:
            raise UsageError(f"policy is {self.policy!r}; expected one of {', '.join(LIVE_POLICIES)}")
        if self.max_staleness is not None and not 0 < self.max_staleness < float("inf"):
            raise UsageError(f"max_staleness is {self.max_staleness}; expected seconds above 0")
        if self.reconnect is not None and self.reconnect < 0:
            raise UsageError(f"reconnect is {self.reconnect}; expected how many times, 0 or more")
        if not 0 < self.timeout < float("inf"):
            raise UsageError(f"timeout is {self.timeout}; expected seconds above 0")


@dataclass(frozen=True, slots=True)
class ReadWindow:
    """Which part of a source is wanted.

    Attributes:
        start: seconds from the source's beginning.
        stop: seconds from the source's beginning at which to end, None for all.
        stride: every how-manieth frame is wanted.

    Raises:
        UsageError: a negative start, a stop not after it, or a stride below 1.
    """

    start: float = 0.0
    stop: float | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < float("inf"):
            raise UsageError(f"start is {self.start}; expected seconds from the beginning, 0 or more")
        if self.stop is not None and not self.stop > self.start:
            raise UsageError(f"end is {self.stop}; expected seconds after the start at {self.start}")
        if self.stride < 1:
            raise UsageError(f"stride is {self.stride}; expected 1 (every frame) or more")


class SideTracks(ABC):
    """What belongs to a reader's pictures, within its window: sound and subtitles still compressed, and names.

    Attributes:
        streams: one for each track, to make an output's streams after.
        chapters: the parts that have names, cut to the window.
        tags: title, artist and the like.
        picture_tags: the same, of the track of the pictures.
    """

    streams: Sequence[Any]
    chapters: Sequence[Chapter]
    tags: Mapping[str, str]
    picture_tags: Mapping[str, str]

    @abstractmethod
    def packets_until(self, seconds: float) -> Iterator[Any]:
        """The packets up to a time on the source's clock that have not been given yet."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; harmless when done twice."""


class VideoReader(ABC):
    """Frames of one source, once, in order. A context manager; `close` may be called at any time.

    Attributes:
        info: what the source says of itself.
        start_time: seconds on the source's clock that `ReadWindow.start` counts from.
        counts: what was damaged or left out so far.
        live_options: how a live source is read; None for sources that wait until a frame is wanted.
        allows_prefetch: whether a thread may read ahead; not where the caller's own code makes the pictures.
    """

    info: VideoInfo
    start_time: Fraction = Fraction(0)
    live_options: LiveOptions | None = None
    allows_prefetch: bool = True

    def __init__(self, window: ReadWindow) -> None:
        self.window, self.counts = window, SourceCounts()

    @abstractmethod
    def pictures(self) -> Iterator[DecodedPicture]:
        """Decoded pictures in order, from `window.start` or somewhat before."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or device; harmless when done twice."""

    def side_tracks(self) -> SideTracks | None:
        """What lies beside the pictures, where the source can be read a second time for it."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        window, index = self.window, 0
        for picture in self.pictures():
            time = picture.pts * picture.time_base - self.start_time
            # A time that is meant to be the limit may lie a rounding beside it.
            slack = picture.time_base / 2
            if time < window.start - slack:
                continue
            if window.stop is not None and time >= window.stop - slack:
                return
            if index % window.stride == 0:
                yield Frame(picture.frame_pixels(), index, picture.pts, picture.time_base, picture.duration)
            index += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
