"""The contract of every source: frames in order, each with its exact time; closes whatever happens."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.frame import Chapter, Frame, VideoInfo


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture that is turned into RGB only when somebody wants it."""

    pts: int
    time_base: Fraction
    duration: int | None
    rgb: Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class Window:
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


class Tracks(ABC):
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
    def until(self, seconds: float) -> Iterator[Any]:
        """The packets up to a time on the source's clock that have not been given yet."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; harmless when done twice."""


class VideoReader(ABC):
    """Frames of one source, once, in order. A context manager; `close` may be called at any time.

    Attributes:
        info: what the source says of itself.
        begin: seconds on the source's clock that `Window.start` counts from.
        damaged: packets that could not be decoded so far; reading went on after them.
        ahead: whether a thread may read ahead; not where the caller's own code makes the pictures.
    """

    info: VideoInfo
    begin: Fraction = Fraction(0)
    damaged: int = 0
    ahead: bool = True

    def __init__(self, window: Window) -> None:
        self.window = window

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """Decoded pictures in order, from `window.start` or somewhat before."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or device; harmless when done twice."""

    def tracks(self) -> Tracks | None:
        """What lies beside the pictures, where the source can be read a second time for it."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        window, index = self.window, 0
        for picture in self.pictures():
            time = picture.pts * picture.time_base - self.begin
            # A time that is meant to be the limit may lie a rounding beside it.
            slack = picture.time_base / 2
            if time < window.start - slack:
                continue
            if window.stop is not None and time >= window.stop - slack:
                return
            if index % window.stride == 0:
                yield Frame(picture.rgb(), index, picture.pts, picture.time_base, picture.duration)
            index += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
