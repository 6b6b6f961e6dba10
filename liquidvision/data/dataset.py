"""Annotated videos: clips with their labels or intervals, and datasets of clips."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from liquidvision.annotation.interval import FrameInterval, Interval
from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Clip:
    """One annotated video file.

    Attributes:
        path: the file.
        name: its path relative to the dataset's root, with forward slashes; unique in a dataset.
        group: what must not be split between training and test: a person, a camera, a source video.
        label: the one label of the whole file; None if the labels are in `intervals`.
        intervals: intervals ordered by start, the longer first; where two overlap, the later in this order applies.
        frame_intervals: intervals by frame numbers; `fit_to_video` turns them into `intervals`, by the frames' times.
        part: the part of the split that the annotations give: "train", "validation" or "test"; None if they give none.
    """

    path: Path
    name: str
    group: str
    label: str | None
    intervals: tuple[Interval, ...] = ()
    frame_intervals: tuple[FrameInterval, ...] = ()
    part: str | None = None

    @property
    def interval_labels(self) -> list[str]:
        """The label of each interval."""
        return [*(i.label for i in self.intervals), *(i.label for i in self.frame_intervals)]

    def targets(self, times: np.ndarray, labels: Sequence[str], background: str | None) -> np.ndarray:
        """Return the class of each frame, (n,) int64 indices into `labels`.

        Args:
            times: (n,) seconds from the file's beginning.
            labels: all classes.
            background: the class outside all intervals; may be None if the file has one label.
        """
        if self.label is not None:
            return np.full(len(times), labels.index(self.label), np.int64)
        assert background is not None and not self.frame_intervals
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
    found: list[str] = []
    ordered = tuple(clean_labels(clip, found) for clip in sorted(clips, key=lambda clip: clip.name))
    if not ordered:
        raise UsageError(f"{source} lists no video; expected one or more")
    labels = labels_in(ordered, background)
    if len(labels) < 2:
        raise UsageError(f"{source} has only one class, {', '.join(labels)}; expected two or more")
    notes = [*notes, *dict.fromkeys(found), *describe_alike("labels", labels, "each is a class of its own")]
    if grouped:
        groups = {clip.group for clip in ordered}
        notes += describe_alike("groups", groups, "each is a group of its own, and may be in another part")
    notes += describe_given_split(source, ordered, grouped=grouped)
    return Dataset(root.resolve(), ordered, labels, background, grouped, tuple(notes))


def labels_in(clips: Iterable[Clip], background: str | None) -> tuple[str, ...]:
    """Return the classes that clips show, sorted; the background, if there is one, comes first."""
    named = {name for clip in clips for name in (clip.label, *clip.interval_labels) if name is not None}
    return (*(() if background is None else (background,)), *sorted(named - {background}))


def clean_labels(clip: Clip, notes: list[str]) -> Clip:
    """Return a clip with its intervals in order, and its labels in one line; what was changed is added to `notes`."""

    def clean(label: str) -> str:
        line = single_line(label)
        if line != label:
            notes.append(f"the label {label!r} has a line break or a control character; it is read as {line!r}")
        return line

    return replace(
        clip,
        label=None if clip.label is None else clean(clip.label),
        intervals=sort_intervals(replace(interval, label=clean(interval.label)) for interval in clip.intervals),
        frame_intervals=tuple(replace(interval, label=clean(interval.label)) for interval in clip.frame_intervals),
    )


def sort_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return intervals by start, the longer first."""
    return tuple(sorted(intervals, key=lambda interval: (interval.start, -interval.end, interval.label)))


def single_line(text: str) -> str:
    """Return a text in which each run of line breaks and control characters, with spaces around it, is one space."""
    if not any(is_control(letter) for letter in text):
        return text
    return " ".join("".join(" " if is_control(letter) else letter for letter in text).split())


def is_control(letter: str) -> bool:
    """Return whether a character is a line break or another control character."""
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def describe_alike(noun: str, names: Iterable[str], meaning: str) -> Iterator[str]:
    """Yield a sentence on each set of names that differ only in case, spaces, hyphens or Unicode form."""
    alike = defaultdict(list)
    for name in sorted(names):
        alike[writing_key(name)].append(name)
    for same in alike.values():
        if len(same) > 1:
            shown = " and ".join(show_name(name, same) for name in same)
            yield f"the {noun} {shown} differ only in how they are written; {meaning}: use one spelling"


def writing_key(name: str) -> str:
    """Return a name without what may differ in writing: case, spaces, hyphens, invisible letters and Unicode form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(
        letter for letter in folded if unicodedata.category(letter) not in ("Cc", "Cf", "Zs", "Zl", "Zp", "Pd", "Pc")
    )


def show_name(name: str, others: Sequence[str]) -> str:
    """Return a name in quotes; where others look the same, with its letters beyond ASCII as codes."""
    looks = [unicodedata.normalize("NFC", other) for other in others]
    return ascii(name) if looks.count(unicodedata.normalize("NFC", name)) > 1 else repr(name)


def describe_given_split(source: str, clips: Sequence[Clip], *, grouped: bool) -> Iterator[str]:
    """Yield what is wrong with the split that annotations give, if they give one."""
    given = {clip.part for clip in clips if clip.part is not None}
    if not given:
        return
    if missing := [part for part in ("validation", "test") if part not in given]:
        yield (
            f"{source} gives a split without a part {' and '.join(missing)}; train takes it from the part train, "
            f"whole {'groups' if grouped else 'videos'} at a time"
        )
    parts = defaultdict(set)
    for clip in clips:
        parts[clip.group].add(clip.part)
    several = sorted(group for group, own in parts.items() if len(own) > 1)
    if several:
        more = f" and {len(several) - 1} more" if len(several) > 1 else ""
        yield (
            f"the split of {source} has the group {several[0]}{more} in more than one part; a model is then tested on "
            "what it was trained on"
        )
