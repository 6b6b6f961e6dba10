"""What a file of annotations says of one video, and what its writers must know of the video."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from liquidvision.annotation.interval import FrameInterval, Interval

TICK = 0.0005  # seconds; two times closer than this are the same frame, since most formats round to milliseconds


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """When the frames of a video are shown, and how large they are.

    Attributes:
        times: seconds from the file's beginning, ascending.
        end: when the last frame ends, in seconds.
        width, height: of a frame as it is shown, in pixels.
    """

    times: Sequence[float]
    end: float
    width: int
    height: int

    @property
    def rate(self) -> float:
        """Mean frames a second, for formats that state one; 25 for a video of no length."""
        return len(self.times) / self.end if self.end > 0 else 25.0

    def frame_at(self, seconds: float) -> int:
        """Return the number of the first frame that is not before a time; the number of frames, if all are."""
        return bisect_left(self.times, seconds - TICK)

    def time_of(self, frame: int) -> float:
        """Return when a frame begins, in seconds; after the last frame, the video's end."""
        return self.times[frame] if frame < len(self.times) else self.end


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """What a file of annotations says of one video.

    Attributes:
        file: the video as the annotations name it; "" where the format names none.
        intervals: what was given in seconds.
        frame_intervals: what was given in frames.
        notes: what was left out, for the person who made the annotations.
        timeline: for writers; None if the video is not at hand.
    """

    file: str
    intervals: tuple[Interval, ...] = ()
    frame_intervals: tuple[FrameInterval, ...] = ()
    notes: tuple[str, ...] = ()
    timeline: Timeline | None = field(default=None, compare=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted({i.label for i in self.intervals} | {i.label for i in self.frame_intervals}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, sorted; "" is one."""
        return tuple(sorted({i.subject for i in self.intervals} | {i.subject for i in self.frame_intervals}))


def to_frames(intervals: Iterable[Interval], timeline: Timeline) -> tuple[FrameInterval, ...]:
    """Return intervals in frames, by the times of a video's frames. One that holds no frame gets the next."""
    found = []
    for interval in intervals:
        start = min(timeline.frame_at(interval.start), max(0, len(timeline.times) - 1))
        end = max(timeline.frame_at(interval.end), start + 1)
        found.append(FrameInterval(start, end, interval.label, interval.subject))
    return tuple(found)


def to_seconds(intervals: Iterable[FrameInterval], timeline: Timeline) -> tuple[Interval, ...]:
    """Return intervals in seconds, by the times of a video's frames."""
    return tuple(
        Interval(timeline.time_of(i.start), timeline.time_of(i.end), i.label, i.subject)
        for i in intervals
        if i.start < len(timeline.times)
    )


def find_runs(flags: Iterable[bool]) -> list[tuple[int, int]]:
    """Return the stretches where flags are set, as (first, one after the last)."""
    runs, start, number = [], None, -1
    for number, flag in enumerate(flags):
        if flag and start is None:
            start = number
        elif not flag and start is not None:
            runs.append((start, number))
            start = None
    if start is not None:
        runs.append((start, number + 1))
    return runs


def separate_overlaps(intervals: Iterable[Interval]) -> list[list[Interval]]:
    """Divide intervals, in order of their starts, into as few rows as needed so that none in a row overlap."""
    rows: list[list[Interval]] = []
    for interval in sorted(intervals, key=lambda i: (i.start, i.end)):
        for row in rows:
            if row[-1].end <= interval.start:
                row.append(interval)
                break
        else:
            rows.append([interval])
    return rows
