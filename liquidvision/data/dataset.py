"""What annotated videos are: clips with their labels or intervals, and datasets of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """What a video shows from `start` until before `end`, in seconds from the file's beginning."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Clip:
    """One annotated video file.

    Attributes:
        path: of the file.
        name: its path beside the data's root, with forward slashes; unique in a dataset.
        group: what must not be split between training and test: a person, a camera, a source video.
        label: the one label of the whole file; None where intervals say.
        intervals: by start, the longer first; where two overlap, the later in this order counts.
    """

    path: Path
    name: str
    group: str
    label: str | None
    intervals: tuple[Interval, ...] = ()

    def targets(self, times: np.ndarray, labels: Sequence[str], background: str | None) -> np.ndarray:
        """The class of each frame, (n,) int64 places in `labels`; times (n,) are seconds from the file's beginning."""
        if self.label is not None:
            return np.full(len(times), labels.index(self.label), np.int64)
        assert background is not None
        targets = np.full(len(times), labels.index(background), np.int64)
        for interval in self.intervals:
            targets[(times >= interval.start) & (times < interval.end)] = labels.index(interval.label)
        return targets


@dataclass(frozen=True, slots=True)
class Dataset:
    """Annotated videos.

    Attributes:
        root: the folder that names are relative to, as an absolute path: it names the dataset, also where it is ".".
        clips: by name.
        labels: all classes, by name; the background, where there is one, first.
        background: the class of frames that no interval covers; None where every file has one label.
        grouped: whether groups were given; where not, each file is its own.
        notes: what was left out, to be told to the person who made the data.
    """

    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    background: str | None
    grouped: bool
    notes: tuple[str, ...] = ()

    def only(self, names: Iterable[str]) -> "Dataset":
        """The same with these clips alone; the labels stay."""
        wanted = set(names)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.name in wanted))

    @property
    def whole(self) -> bool:
        """Whether one label holds for each file."""
        return self.background is None


def make_interval(start: Any, end: Any, label: str, where: str) -> Interval:
    """A checked interval, or UsageError with its place."""
    try:
        begin, stop = float(start), float(end)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: start is {start!r} and end {end!r}; expected seconds") from error
    if not 0 <= begin < stop < float("inf"):
        raise UsageError(f"{where}: the interval goes from {begin:g} to {stop:g} s; expected 0 <= start < end")
    return Interval(begin, stop, label)


def make_dataset(
    root: Path,
    clips: Iterable[Clip],
    what: str,
    background: str | None,
    grouped: bool,
    notes: Sequence[str] = (),
) -> Dataset:
    """A dataset in order, or UsageError where it has no clips or one class alone."""
    ordered = tuple(
        replace(clip, intervals=tuple(sorted(clip.intervals, key=lambda i: (i.start, -i.end, i.label))))
        for clip in sorted(clips, key=lambda clip: clip.name)
    )
    if not ordered:
        raise UsageError(f"{what} names no video")
    labels = labels_in(ordered, background)
    if len(labels) < 2:
        raise UsageError(f"{what} has one class alone, {', '.join(labels)}; expected two or more to tell apart")
    return Dataset(root.resolve(), ordered, labels, background, grouped, tuple(notes))


def labels_in(clips: Iterable[Clip], background: str | None) -> tuple[str, ...]:
    """The classes of clips, by name; the background, where there is one, first."""
    named = {name for clip in clips for name in (clip.label, *(i.label for i in clip.intervals)) if name is not None}
    return (*(() if background is None else (background,)), *sorted(named - {background}))
