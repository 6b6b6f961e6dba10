"""Labelled intervals of a video, in seconds or in frames."""

from dataclasses import dataclass
from typing import Any

from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """A labelled stretch of a video.

    Attributes:
        start: seconds from the file's beginning, inclusive.
        end: seconds from the file's beginning, exclusive.
        label: what is there.
        subject: who shows it; "" if that is not known.
        score: how certain the label is, 0 to 1; None if that is not known.
        file: the recording: a path, or the name of a stream; "" where it is clear.
    """

    start: float
    end: float
    label: str
    subject: str = ""
    score: float | None = None
    file: str = ""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class FrameInterval:
    """A labelled stretch of a video from frame `start` (inclusive) to frame `end` (exclusive); the first is frame 0."""

    start: int
    end: int
    label: str
    subject: str = ""


def make_interval(start: Any, end: Any, label: str, where: str) -> Interval:
    """Return a valid interval.

    Raises:
        UsageError: start or end is no number, or the interval is empty; the message names `where`.
    """
    try:
        begin, stop = float(start), float(end)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: start is {start!r} and end {end!r}; expected seconds, or h:mm:ss") from error
    if not 0 <= begin < stop < float("inf"):
        raise UsageError(f"{where}: the interval goes from {begin:g} to {stop:g} s; expected 0 <= start < end")
    return Interval(begin, stop, label)
