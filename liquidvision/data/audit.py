"""Reads every annotated video and says what is wrong with them, before time is spent on training."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from liquidvision.data.dataset import Clip, Dataset, Interval
from liquidvision.errors import SourceError
from liquidvision.video.frame import Frame
from liquidvision.video.read.open import open_video

ERROR, WARNING = "error", "warning"
SLACK_SECONDS = 0.1  # by which an interval may end after its video: annotations are rounded
PARTS = 3  # training, validation and test, in each of which a class should be
IMBALANCE = 5  # times as much of one class as of another, from which accuracy says little


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """Something wrong with the data.

    Attributes:
        level: "error" where a file cannot be used, else "warning".
        name: of the clip; empty where it is about the data as a whole.
        text: what is wrong.
    """

    level: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ClassExtent:
    """How much there is of a class: clips and groups that show it, frames, seconds."""

    clips: int
    groups: int
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `audit_dataset` found.

    Attributes:
        problems: errors first; of the clips by name, then of the whole.
        usable: the dataset without unreadable files, its intervals cut at the ends of the videos; its labels stay.
        classes: how much there is of each class in the usable clips, in the order of the dataset's labels; a class
            of which nothing is left has an extent of nothing.
        seconds: of each usable clip, by name: from its first frame to the end of the last.
        frames: of each usable clip, by name.
        copies: names of clips of the same content, where training and test could share them.
    """

    problems: tuple[AuditProblem, ...]
    usable: Dataset
    classes: Mapping[str, ClassExtent]
    seconds: Mapping[str, float]
    frames: Mapping[str, int]
    copies: tuple[tuple[str, ...], ...]

    @property
    def errors(self) -> tuple[AuditProblem, ...]:
        """The files that cannot be used, and why."""
        return tuple(problem for problem in self.problems if problem.level == ERROR)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSpan:
    """What reading a video shows: its frames' times from its beginning (n,) and for how long each is shown (n,)."""

    times: np.ndarray
    held: np.ndarray
    damaged: int

    @property
    def end(self) -> float:
        """When the last frame's time is over, in seconds from the file's beginning."""
        return float((self.times + self.held).max())


def audit_dataset(dataset: Dataset, *, on_file: Callable[[str], None] = lambda _: None) -> AuditReport:
    """Decode every file and compare it with its annotations.

    Args:
        dataset: as `read_data` gives it.
        on_file: called with each clip's name when it has been read.

    Returns:
        What was found; also where no file can be used.
    """
    problems = [AuditProblem(WARNING, "", note) for note in dataset.notes]
    usable: list[Clip] = []
    seen: dict[str, FrameSpan] = {}
    for clip in dataset.clips:
        try:
            seen[clip.name] = read_frame_span(clip.path)
        except OSError as error:  # a SourceError too
            problems.append(AuditProblem(ERROR, clip.name, str(error)))
        else:
            fitted, texts = fit_to_video(clip, seen[clip.name])
            usable.append(fitted)
            problems += [AuditProblem(WARNING, clip.name, text) for text in texts]
        on_file(clip.name)
    copies = list(copied(usable))
    problems += [AuditProblem(WARNING, same[0].name, of_copies(*same)) for same in copies]
    classes = extents(usable, seen, dataset)
    kept = replace(dataset, clips=tuple(usable))
    if usable:
        problems += [AuditProblem(WARNING, "", text) for text in of_classes(kept, classes)]
    problems.sort(key=lambda problem: (problem.level != ERROR, not problem.name, problem.name))
    return AuditReport(
        tuple(problems),
        kept,
        classes,
        {name: float(shown.end - shown.times.min()) for name, shown in seen.items()},
        {name: len(shown.times) for name, shown in seen.items()},
        tuple(tuple(clip.name for clip in same) for same in copies),
    )


def read_frame_span(path: Path) -> FrameSpan:
    """Decode a file to its end.

    Raises:
        SourceError: it is missing or cannot be read.
        OSError: so says the system.
    """
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    with open_video(path) as reader:
        times: list[Fraction] = []
        last: Fraction | None = None
        for picture in reader.pictures():
            if not times:
                # That its colours can be read; doing so for every frame would take most of the time.
                _ = Frame(picture.frame_pixels(), 0, picture.pts, picture.time_base).image
            times.append(picture.pts * picture.time_base - reader.start_time)
            last = None if picture.duration is None else picture.duration * picture.time_base
        if not times:
            raise SourceError(f"{path.name} holds no picture that can be decoded")
        seconds = np.array([float(time) for time in times])
        steps = np.maximum(np.diff(seconds), 0.0)
        final = float(last) if last is not None else float(np.median(steps)) if len(steps) else 0.0
        return FrameSpan(seconds, np.append(steps, final), reader.counts.damaged)


def fit_to_video(clip: Clip, seen: FrameSpan) -> tuple[Clip, list[str]]:
    """The clip with its intervals as far as there are frames, and what was wrong with it."""
    texts = []
    if seen.damaged:
        texts.append(f"{seen.damaged} damaged packets; what they held is missing")
    if backwards := int((np.diff(seen.times) < 0).sum()):
        texts.append(f"time runs backwards at {backwards} frames; the memory stands still there")
    intervals, outside, between, cut = [], [], [], []
    for interval in clip.intervals:
        if interval.start >= seen.end:
            outside.append(interval)
        elif not ((seen.times >= interval.start) & (seen.times < interval.end)).any():
            between.append(interval)
        else:
            if interval.end > seen.end + SLACK_SECONDS:
                cut.append(interval)
            intervals.append(replace(interval, end=min(interval.end, seen.end)))
    past = f"the video's end at {seen.end:.2f} s"
    for found, what in (
        (outside, f"after {past}; left out"),
        (between, "between two frames; left out"),
        (cut, f"beyond {past}; cut there"),
    ):
        if found:
            texts.append(f"{shown(found[0])}{and_more(found)}: {what}")
    if pairs := list(overlaps(intervals)):
        one, other = pairs[0]
        texts.append(f"{shown(other)} overlaps {shown(one)}{and_more(pairs)}: the one that begins later counts")
    return replace(clip, intervals=tuple(intervals)), texts


def shown(interval: Interval) -> str:
    """An interval in words."""
    return f"{interval.label} {interval.start:g}–{interval.end:g} s"


def and_more(found: Sequence[object]) -> str:
    """What follows the first of several."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names, of many the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def overlaps(intervals: Sequence[Interval]) -> Iterator[tuple[Interval, Interval]]:
    """Pairs of intervals, in order of their starts, that overlap and have different labels."""
    for i, one in enumerate(intervals):
        for other in intervals[i + 1 :]:
            if other.start >= one.end:
                break
            if other.label != one.label:
                yield one, other


def copied(clips: Sequence[Clip]) -> Iterator[tuple[Clip, ...]]:
    """Clips of the same bytes that are of different groups, or annotated differently."""
    for same_size in alike(clips, lambda clip: clip.path.stat().st_size):
        for same in alike(same_size, digest):
            if len({(clip.group, clip.label, clip.intervals) for clip in same}) > 1:
                yield same


def alike(clips: Iterable[Clip], key: Callable[[Clip], Hashable]) -> list[tuple[Clip, ...]]:
    """Those clips that share their key with another, together."""
    found = defaultdict(list)
    for clip in clips:
        found[key(clip)].append(clip)
    return [tuple(same) for same in found.values() if len(same) > 1]


def digest(clip: Clip) -> bytes:
    """A hash of a clip's bytes."""
    with clip.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def of_copies(first: Clip, *others: Clip) -> str:
    """What is wrong with clips of the same bytes."""
    other = next((o for o in others if (o.label, o.intervals) != (first.label, first.intervals)), None)
    if other is not None:
        said = f": here it is {first.label}, there {other.label}" if first.label else ", which is annotated otherwise"
        return f"the same content as {other.name}{said}"
    return f"the same content as {others[0].name}{and_more(others)}: training and test may share it; use one group"


def extents(clips: Sequence[Clip], seen: Mapping[str, FrameSpan], dataset: Dataset) -> dict[str, ClassExtent]:
    """How much there is of each of a dataset's classes in these clips of it."""
    labels = dataset.labels
    clip_names: list[set[str]] = [set() for _ in labels]
    groups: list[set[str]] = [set() for _ in labels]
    frames, seconds = np.zeros(len(labels), int), np.zeros(len(labels))
    for clip in clips:
        times, held = seen[clip.name].times, seen[clip.name].held
        targets = clip.targets(times, labels, dataset.background)
        frames += np.bincount(targets, minlength=len(labels))
        seconds += np.bincount(targets, held, minlength=len(labels))
        for target in np.unique(targets):
            clip_names[target].add(clip.name)
            groups[target].add(clip.group)
    return {
        label: ClassExtent(len(clip_names[i]), len(groups[i]), int(frames[i]), float(seconds[i]))
        for i, label in enumerate(labels)
    }


def of_classes(dataset: Dataset, classes: Mapping[str, ClassExtent]) -> Iterator[str]:
    """What is wrong with the classes of a dataset as a whole."""
    noun = "group" if dataset.grouped else "video"
    for label, extent in classes.items():
        if not extent.clips:
            yield f"no video that can be used shows {label}"
    there = {label: extent for label, extent in classes.items() if extent.clips}
    if len(there) < 2:
        yield f"one class alone is left, {', '.join(there)}; training needs two or more"
    few = [f"{label} ({extent.groups})" for label, extent in there.items() if extent.groups < PARTS]
    if few:
        yield f"in fewer than {PARTS} {noun}s, too few for one in training, validation and test each: {listed(few)}"
    amounts = {
        label: extent.clips if dataset.whole else extent.seconds
        for label, extent in there.items()
        if label != dataset.background
    }
    if amounts:
        least, most = min(amounts, key=amounts.__getitem__), max(amounts, key=amounts.__getitem__)
        if amounts[most] >= IMBALANCE * amounts[least]:
            unit = "clips" if dataset.whole else "seconds"
            yield (
                f"unbalanced: {amounts[most]:.3g} {unit} of {most}, {amounts[least]:.3g} of {least}; "
                "look at each class's own recall"
            )
    yield from of_groups(dataset)


def of_groups(dataset: Dataset) -> Iterator[str]:
    """Groups by which a model could tell the class."""
    labels, clips = defaultdict(set), Counter(clip.group for clip in dataset.clips)
    for clip in dataset.clips:
        labels[clip.group].add(clip.label)
    several = [group for group, count in clips.items() if count > 1]
    single = sorted(group for group in several if len(labels[group]) == 1)
    if dataset.whole and single and len(single) < len(several):
        yield f"{len(single)} of {len(several)} groups of several clips show one class alone: {listed(single)}"
