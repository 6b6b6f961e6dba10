"""The interface of all readers: frames in order, each with its exact time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from liquidvision.concurrency.counts import SourceCounts
from liquidvision.errors import UsageError
from liquidvision.video.frame import Chapter, Frame, VideoInfo
from liquidvision.video.pixels import Pixels

MAX_PIXELS = 100_000_000  # of one picture: more than 12,000 x 8,000, or 300 MB in RGB
LIVE_POLICIES = ("wait", "drop-oldest", "latest")  # for frames that arrive faster than they are used


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded picture and its time.

    Attributes:
        pts, time_base, duration: see `Frame`.
        pixels: a function that returns the RGB pixels, (height, width, 3) uint8, or a `Pixels`.
    """

    pts: int
    time_base: Fraction
    duration: int | None
    pixels: Callable[[], np.ndarray] | Pixels

    def frame_pixels(self) -> np.ndarray | Pixels:
        """Return the value for `Frame.pixels`."""
        return self.pixels if isinstance(self.pixels, Pixels) else self.pixels()


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to read a camera or a stream, which do not wait for their reader.

    Attributes:
        policy: what happens to frames that arrive faster than they are used. "wait": none is dropped, and a source
            that cannot wait breaks off. "drop-oldest": up to 16 wait, then the oldest is dropped. "latest": only the
            newest waits.
        max_staleness: seconds after which a waiting frame is dropped; None: never.
        reconnect: number of attempts in a row to reopen a lost source; None: no limit.
        timeout: seconds without data after which a stream counts as lost.

    Raises:
        UsageError: an unknown policy or a number out of range.
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
            raise UsageError(f"reconnect is {self.reconnect}; expected a number of attempts, 0 or more")
        if not 0 < self.timeout < float("inf"):
            raise UsageError(f"timeout is {self.timeout}; expected seconds above 0")


@dataclass(frozen=True, slots=True)
class ReadWindow:
    """The part of a source to read.

    Attributes:
        start: seconds from the beginning of the source.
        stop: seconds from the beginning of the source at which to stop; None reads to the end.
        stride: read every Nth frame.

    Raises:
        UsageError: a negative start, a stop that is not after the start, or a stride below 1.
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
    """The sound, subtitles, chapters and tags that accompany a reader's frames, cut to its window.

    Sound and subtitles stay compressed.

    Attributes:
        streams: PyAV's stream of each track, as templates for the output's streams.
        chapters: chapters, cut to the window.
        tags: metadata of the file: title, artist and so on.
        picture_tags: metadata of the video track.
    """

    streams: Sequence[Any]
    chapters: Sequence[Chapter]
    tags: Mapping[str, str]
    picture_tags: Mapping[str, str]

    @abstractmethod
    def packets_until(self, seconds: float) -> Iterator[Any]:
        """Yield the packets up to a time on the source's clock, from where the previous call stopped."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; harmless when called twice."""


class VideoReader(ABC):
    """Iterator over the frames of one source, in order and once. A context manager.

    `close` may be called at any time, also from another thread.

    Attributes:
        info: what the source reports about itself.
        start_time: time on the source's clock, in seconds, at which the source begins; the window counts from it.
        counts: damaged and dropped frames so far.
        live_options: how a live source is read; None for a source that waits for its reader.
        path: the local file that is read; None for other sources.
        read_once: whether the source gives its data once, as a pipe does; its sound cannot be copied.
        reopen: opens the same source with the same options again; None where that is not possible.
        allows_prefetch: whether a thread may read ahead; False where the caller's own code produces the pictures.
    """

    info: VideoInfo
    start_time: Fraction = Fraction(0)
    live_options: LiveOptions | None = None
    path: Path | None = None
    read_once: bool = False
    reopen: Callable[[], "VideoReader"] | None = None
    allows_prefetch: bool = True

    def __init__(self, window: ReadWindow) -> None:
        self.window, self.counts = window, SourceCounts()

    @abstractmethod
    def pictures(self) -> Iterator[DecodedPicture]:
        """Yield the decoded pictures in order, from `window.start` or a little before it."""

    @abstractmethod
    def close(self) -> None:
        """Close the file or device; harmless when called twice."""

    def side_tracks(self) -> SideTracks | None:
        """Open the sound, subtitles, chapters and tags; None if the source has none or cannot be read a second time."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        window, index = self.window, 0
        for picture in self.pictures():
            time = picture.pts * picture.time_base - self.start_time
            # A time that equals a limit may differ from it by a rounding error.
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
