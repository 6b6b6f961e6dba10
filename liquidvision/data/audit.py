"""Reads every annotated video and lists what is wrong with the data, before time is spent on training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from liquidvision.annotation.interval import Interval
from liquidvision.data.content import hash_content, measure_size
from liquidvision.data.dataset import Clip, Dataset, single_line, sort_intervals
from liquidvision.data.frame_times import FrameTimes, read_frame_times
from liquidvision.data.looks import find_alike
from liquidvision.errors import SourceError
from liquidvision.video.read.file_options import FileOptions

ERROR, WARNING = "error", "warning"
MAX_OVERHANG_SECONDS = 0.1  # of an interval beyond the end of its video: annotations are rounded
SPLIT_PARTS = 3  # training, validation and test; each class should be in all of them
MAX_IMBALANCE = 5  # ratio of the largest class to the smallest from which accuracy says little
MAX_LISTED = 10  # names in a message


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """A problem of the data.

    Attributes:
        level: "error" if a file cannot be used, else "warning".
        name: the clip's name; "" if the problem concerns the data as a whole.
        text: what is wrong.
    """

    level: str
    name: str
    text: str

    def __str__(self) -> str:
        # A file name may hold a line break; a problem is one line.
        return single_line(f"{self.level}: {self.name}: {self.text}" if self.name else f"{self.level}: {self.text}")


@dataclass(frozen=True, slots=True)
class ClassExtent:
    """The amount of data of a class: the number of clips and groups that show it, frames, and seconds."""

    clips: int
    groups: int
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of `audit_dataset`. Printed, it lists the problems.

    Attributes:
        problems: errors first; those of clips by name, then those of the data as a whole.
        usable: the dataset without unreadable files, its intervals cut at the ends of the videos; its labels stay.
        classes: the amount of each class in the usable clips, in the order of the dataset's labels.
        seconds: duration of each usable clip by name, from its first frame to the end of its last.
        frames: number of frames of each usable clip by name.
        copies: names of clips with the same content, or that look the same, that training and test could share.
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

    def __str__(self) -> str:
        clips, files = self.usable.clips, len(self.usable.clips) + len(self.errors)
        lines = [
            f"{self.usable.root.name}: {len(clips)} of {files} files can be used, {len(self.classes)} classes, "
            f"{sum(self.frames.values())} frames, {sum(self.seconds.values()):.1f} s"
        ]
        return "\n".join([*lines, *map(str, self.problems)])


def audit_dataset(
    dataset: Dataset, *, files: FileOptions | None = None, on_file: Callable[[str], None] = lambda name: None
) -> AuditReport:
    """Decode every file of a dataset and compare it with its annotations.

    Args:
        dataset: see `read_dataset`.
        files: how the files are read; None: by the defaults.
        on_file: called with each clip's name when it has been read.

    Returns:
        The report, also if no file can be used.
    """
    problems = [AuditProblem(WARNING, "", note) for note in dataset.notes]
    usable: list[Clip] = []
    frames: dict[str, FrameTimes] = {}
    for clip in dataset.clips:
        try:
            frames[clip.name] = read_frame_times(clip.path, files)
        except OSError as error:  # SourceError is one too
            why = str(error) if isinstance(error, SourceError) else f"cannot be read: {error.strerror or error}"
            problems.append(AuditProblem(ERROR, clip.name, why))
        else:
            fitted, texts = fit_to_video(clip, frames[clip.name])
            usable.append(fitted)
            problems += [AuditProblem(WARNING, clip.name, text) for text in texts]
        on_file(clip.name)
    exact = find_same_content(usable)
    alike = find_same_looks(usable, frames, exact)
    for copies, how in ((exact, "the same content as"), (alike, "looks the same as")):
        problems += [
            AuditProblem(WARNING, same[0].name, describe_copies(how, *same)) for same in copies if may_leak(same)
        ]
    classes = measure_classes(usable, frames, dataset)
    kept = replace(dataset, clips=tuple(usable))
    if usable:
        problems += [AuditProblem(WARNING, "", text) for text in find_class_problems(kept, classes)]
    problems.sort(key=lambda problem: (problem.level != ERROR, not problem.name, problem.name))
    return AuditReport(
        tuple(problems),
        kept,
        classes,
        {name: float(own.end - own.times.min()) for name, own in frames.items()},
        {name: len(own.times) for name, own in frames.items()},
        tuple(tuple(clip.name for clip in same) for same in (*exact, *alike) if may_leak(same)),
    )


def fit_to_video(clip: Clip, frames: FrameTimes) -> tuple[Clip, list[str]]:
    """Return the clip with its intervals in seconds, cut to where there are frames, and the problems found."""
    texts = []
    if frames.damaged:
        texts.append(f"{frames.damaged} damaged packets; their frames are missing")
    if backwards := int((np.diff(frames.times) < 0).sum()):
        texts.append(f"the clock steps back at {backwards} frames; no time passes for the memory there")
    intervals, outside, between, cut = [], [], [], []
    by_frames = (Interval(frames.start_of(i.start), frames.start_of(i.end), i.label) for i in clip.frame_intervals)
    for interval in sort_intervals((*clip.intervals, *by_frames)):
        if interval.start >= frames.end:
            outside.append(interval)
        elif not ((frames.times >= interval.start) & (frames.times < interval.end)).any():
            between.append(interval)
        else:
            if interval.end > frames.end + MAX_OVERHANG_SECONDS:
                cut.append(interval)
            intervals.append(replace(interval, end=min(interval.end, frames.end)))
    end = f"the video's end at {frames.end:.2f} s"
    for found, what in (
        (outside, f"after {end}; left out"),
        (between, "between two frames; left out"),
        (cut, f"beyond {end}; cut there"),
    ):
        if found:
            texts.append(f"{format_interval(found[0])}{count_more(found)}: {what}")
    if pairs := list(find_overlaps(intervals)):
        one, other = pairs[0]
        texts.append(
            f"{format_interval(other)} overlaps {format_interval(one)}{count_more(pairs)}: the one that begins later "
            "applies"
        )
    return replace(clip, intervals=tuple(intervals), frame_intervals=()), texts


def format_interval(interval: Interval) -> str:
    """Return an interval as text."""
    return f"{interval.label} {interval.start:g}–{interval.end:g} s"


def count_more(found: Sequence[object]) -> str:
    """Return " (and N more)" if there are more than one."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def join_names(names: Sequence[str]) -> str:
    """Return the names as a list in words, at most `MAX_LISTED` of them."""
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def find_overlaps(intervals: Sequence[Interval]) -> Iterator[tuple[Interval, Interval]]:
    """Yield the pairs of intervals, in order of their starts, that overlap and have different labels."""
    for i, one in enumerate(intervals):
        for other in intervals[i + 1 :]:
            if other.start >= one.end:
                break
            if other.label != one.label:
                yield one, other


def find_same_content(clips: Sequence[Clip]) -> list[tuple[Clip, ...]]:
    """Return the sets of clips with the same bytes."""
    same_size = group_duplicates(clips, lambda clip: measure_size(clip.path))
    return [same for clips in same_size for same in group_duplicates(clips, lambda clip: hash_content(clip.path))]


def find_same_looks(
    clips: Sequence[Clip], frames: Mapping[str, FrameTimes], exact: Sequence[Sequence[Clip]]
) -> list[tuple[Clip, ...]]:
    """Return the sets of clips that look the same and do not all have the same bytes.

    Args:
        clips: in the order in which they are reported.
        frames: of each clip, by its name.
        exact: the sets of clips with the same bytes. Of those that are annotated alike, one is compared.
    """
    content = {clip.name: number for number, same in enumerate(exact) for clip in same}
    different = {(content.get(clip.name, clip.name), annotation_key(clip)): clip.name for clip in reversed(clips)}
    wanted = set(different.values())
    looks = {clip: look for clip in clips if clip.name in wanted and (look := frames[clip.name].look) is not None}
    compared = list(looks)
    sets = {clip.name: [clip] for clip in compared}
    for first, second in find_alike(list(looks.values())):
        one, other = sets[compared[first].name], sets[compared[second].name]
        if one is not other:
            one += other
            sets |= {clip.name: one for clip in other}
    found = {id(same): same for same in sets.values() if len({content.get(c.name, c.name) for c in same}) > 1}
    return [tuple(sorted(same, key=lambda clip: clip.name)) for same in found.values()]


def annotation_key(clip: Clip) -> Hashable:
    """Return what may not differ between copies of a video: group, part, label and intervals."""
    return clip.group, clip.part, clip.label, clip.intervals


def may_leak(same: Sequence[Clip]) -> bool:
    """Return whether copies of a video are annotated differently, or may be in different parts of a split."""
    return len({annotation_key(clip) for clip in same}) > 1


def group_duplicates(clips: Iterable[Clip], key: Callable[[Clip], Hashable]) -> list[tuple[Clip, ...]]:
    """Return the groups of two or more clips that have the same key."""
    found = defaultdict(list)
    for clip in clips:
        found[key(clip)].append(clip)
    return [tuple(same) for same in found.values() if len(same) > 1]


def describe_copies(how: str, first: Clip, *others: Clip) -> str:
    """Return what is wrong with clips that are copies; `how` says what they share, before the name of another."""
    names = join_names([other.name for other in others])
    if all((other.label, other.intervals) == (first.label, first.intervals) for other in others):
        parts = sorted({part for part in (clip.part for clip in (first, *others)) if part is not None})
        if len(parts) > 1:
            return f"{how} {names}, and the split has it in {' and '.join(parts)}; use one part"
        return f"{how} {names}: training and test may share it; use one group"
    if first.label is None:
        return f"{how} {names}, which {'is' if len(others) == 1 else 'are'} annotated differently"
    labels = sorted({other.label for other in others if other.label not in (None, first.label)})
    return f"{how} {names}: here it is {first.label}, there {' and '.join(map(str, labels))}"


def measure_classes(
    clips: Sequence[Clip], frames: Mapping[str, FrameTimes], dataset: Dataset
) -> dict[str, ClassExtent]:
    """Return the amount of each of a dataset's classes in these clips."""
    labels = dataset.labels
    clip_names: list[set[str]] = [set() for _ in labels]
    groups: list[set[str]] = [set() for _ in labels]
    counts, seconds = np.zeros(len(labels), int), np.zeros(len(labels))
    for clip in clips:
        own = frames[clip.name]
        targets = clip.targets(own.times, labels, dataset.background)
        counts += np.bincount(targets, minlength=len(labels))
        seconds += np.bincount(targets, own.durations, minlength=len(labels))
        for target in np.unique(targets):
            clip_names[target].add(clip.name)
            groups[target].add(clip.group)
    return {
        label: ClassExtent(len(clip_names[i]), len(groups[i]), int(counts[i]), float(seconds[i]))
        for i, label in enumerate(labels)
    }


def find_class_problems(dataset: Dataset, classes: Mapping[str, ClassExtent]) -> Iterator[str]:
    """Yield the problems of the classes of a dataset as a whole."""
    noun = "group" if dataset.grouped else "video"
    for label, extent in classes.items():
        if not extent.clips:
            yield f"no usable video shows {label}"
    shown = {label: extent for label, extent in classes.items() if extent.clips}
    if len(shown) < 2:
        yield f"only one class is left, {', '.join(shown)}; training needs two or more"
    few = [f"{label} ({extent.groups})" for label, extent in shown.items() if extent.groups < SPLIT_PARTS]
    if few:
        yield (
            f"classes in fewer than {SPLIT_PARTS} {noun}s, too few for training, validation and test to have one each: "
            f"{join_names(few)}"
        )
    amounts = {
        label: extent.clips if dataset.whole_clip else extent.seconds
        for label, extent in shown.items()
        if label != dataset.background
    }
    if amounts:
        rarest, commonest = min(amounts, key=amounts.__getitem__), max(amounts, key=amounts.__getitem__)
        if amounts[commonest] >= MAX_IMBALANCE * amounts[rarest]:
            unit = "clips" if dataset.whole_clip else "seconds"
            yield (
                f"unbalanced: {amounts[commonest]:.3g} {unit} of {commonest}, {amounts[rarest]:.3g} of {rarest}; "
                "look at the recall of each class"
            )
    yield from find_group_problems(dataset)


def find_group_problems(dataset: Dataset) -> Iterator[str]:
    """Yield a problem if a model could recognise the class by the group."""
    labels, clips = defaultdict(set), Counter(clip.group for clip in dataset.clips)
    for clip in dataset.clips:
        labels[clip.group].add(clip.label)
    several = [group for group, count in clips.items() if count > 1]
    single = sorted(group for group in several if len(labels[group]) == 1)
    if dataset.whole_clip and single and len(single) < len(several):
        yield f"{len(single)} of {len(several)} groups of several clips show only one class: {join_names(single)}"
