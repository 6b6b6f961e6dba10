"""Annotated videos: clips with their labels or intervals, and datasets of clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """The label of a video from `start` (inclusive) to `end` (exclusive), in seconds from the file's beginning."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Clip:
    """One annotated video file.

    Attributes:
        path: of the file.
        name: its path relative to the dataset's root, with forward slashes; unique in a dataset.
        group: what must not be split between training and test: a person, a camera, a source video.
        label: the one label of the whole file; None if the labels are in `intervals`.
        intervals: by start, the longer first; where two overlap, the later in this order applies.
    """

    path: Path
    name: str
    group: str
    label: str | None
    intervals: tuple[Interval, ...] = ()

    def targets(self, times: np.ndarray, labels: Sequence[str], background: str | None) -> np.ndarray:
        """Return the class of each frame, (n,) int64 indices into `labels`.

        Args:
            times: (n,) seconds from the file's beginning.
            labels: all classes.
            background: the class outside all intervals; may be None if the file has one label.
        """
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
        root: the folder that names are relative to, as an absolute path; its name is the dataset's name.
        clips: sorted by name.
        labels: all classes, sorted; the background, if there is one, comes first.
        background: the class of frames outside all intervals; None if every file has one label.
        grouped: whether groups were given; if not, each file is its own group.
        notes: what was left out when the annotations were read, for the person who made them.
    """

    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    background: str | None
    grouped: bool
    notes: tuple[str, ...] = ()

    def select(self, names: Iterable[str]) -> "Dataset":
        """Return the dataset with the clips of these names only; the labels stay."""
        wanted = set(names)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.name in wanted))

    @property
    def whole_clip(self) -> bool:
        """Whether one label holds for each whole clip."""
        return self.background is None


def make_interval(start: Any, end: Any, label: str, where: str) -> Interval:
    """Return a valid interval.

    Raises:
        UsageError: start or end is no number, or the interval is empty; the message names `where`.
    """
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
    source: str,
    background: str | None,
    grouped: bool,
    notes: Sequence[str] = (),
) -> Dataset:
    """Return a dataset with clips, intervals and labels in order.

    Args:
        root, clips, background, grouped, notes: see `Dataset`.
        source: the file or folder of the annotations, for error messages.

    Raises:
        UsageError: there are no clips, or there is one class only.
    """
    ordered = tuple(
        replace(clip, intervals=tuple(sorted(clip.intervals, key=lambda i: (i.start, -i.end, i.label))))
        for clip in sorted(clips, key=lambda clip: clip.name)
    )
    if not ordered:
        raise UsageError(f"{source} lists no video; expected one or more")
    labels = labels_in(ordered, background)
    if len(labels) < 2:
        raise UsageError(f"{source} has only one class, {', '.join(labels)}; expected two or more")
    return Dataset(root.resolve(), ordered, labels, background, grouped, tuple(notes))


def labels_in(clips: Iterable[Clip], background: str | None) -> tuple[str, ...]:
    """Return the classes that clips show, sorted; the background, if there is one, comes first."""
    named = {name for clip in clips for name in (clip.label, *(i.label for i in clip.intervals)) if name is not None}
    return (*(() if background is None else (background,)), *sorted(named - {background}))
