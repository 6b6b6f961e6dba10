"""Annotated videos as people have them: class folders, a CSV of files, a CSV of intervals, ActivityNet-style JSON."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.sources import VIDEO_SUFFIXES

INDEX = "index.csv"


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
        intervals: by start; where two overlap, the one that starts later counts.
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
        root: the folder that names are relative to.
        clips: by name.
        labels: all classes; the background, where there is one, first.
        background: the class of frames that no interval covers; None where every file has one label.
        grouped: whether groups were given; where not, each file is its own.
    """

    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    background: str | None
    grouped: bool

    def only(self, names: Iterable[str]) -> "Dataset":
        """The same with these clips alone; the labels stay."""
        wanted = set(names)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.name in wanted))

    @property
    def whole(self) -> bool:
        """Whether one label holds for each file."""
        return self.background is None


def read_data(path: str | Path, *, background: str = "background") -> Dataset:
    """Read annotations; no video is opened.

    - A folder of class folders, with videos at any depth below them. A folder with an index.csv is that file.
    - A CSV with columns file,label and perhaps group: one label for each file.
    - A CSV with columns file,start,end,label and perhaps group: seconds from each file's beginning.
    - A JSON in ActivityNet's form: {"database": {NAME: {"annotations": [{"segment": [s, e], "label": L}]}}}, the
      videos beside it, called by their names with any ending of a video.

    Names in a file are relative to its folder.

    Args:
        path: of any of these.
        background: the class of frames that no interval covers.

    Raises:
        UsageError: nothing is there, or what is there cannot be meant; the message names file and line.
    """
    path = Path(path)
    if path.is_dir() and (path / INDEX).is_file():
        path = path / INDEX
    if path.is_dir():
        return of_folder(path)
    if not path.is_file():
        raise UsageError(f"no data at {path}; expected a folder of class folders, a CSV or a JSON")
    if path.suffix.lower() == ".json":
        return of_json(path, background)
    if path.suffix.lower() in (".csv", ".tsv"):
        return of_csv(path, background)
    raise UsageError(f"{path} is neither a folder nor a .csv or .json file")


def of_folder(root: Path) -> Dataset:
    """One class for each folder that holds videos."""
    clips = [
        Clip(file, name := file.relative_to(root).as_posix(), name, folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
    ]
    if not clips:
        raise UsageError(f"{root} holds no class folders with videos; expected {root}/CLASS/clip.mp4, or an {INDEX}")
    return dataset_of(root, clips, str(root), background=None, grouped=False)


def of_csv(path: Path, background: str) -> Dataset:
    """A label for each file, or for each interval where there are columns start and end."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    first = text.partition("\n")[0]
    rows = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first.count), strict=True)
    columns = [column.strip().lower() for column in rows.fieldnames or []]
    rows.fieldnames = columns
    intervals = "start" in columns or "end" in columns
    wanted = ("file", "start", "end", "label") if intervals else ("file", "label")
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise UsageError(
            f"{path} has no column {' and no column '.join(missing)}; expected file,label[,group] or "
            f"file,start,end,label[,group], found {','.join(columns) or 'nothing'}"
        )
    grouped = "group" in columns
    found: dict[str, Clip] = {}
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            name, label, group = ((row.get(column) or "").strip() for column in ("file", "label", "group"))
            if not name or not label or (grouped and not group):
                raise UsageError(f"{where}: file, label or group is empty")
            name = Path(name).as_posix()
            old = found.get(name)
            if old is not None and old.group != (group or name):
                raise UsageError(f"{where}: {name} is in group {group}, but was in group {old.group} before")
            if old is not None and not intervals:
                raise UsageError(f"{where}: {name} is there a second time; a file has one label")
            if intervals:
                interval = interval_of(row.get("start"), row.get("end"), label, where)
                clip = old or Clip(path.parent / name, name, group or name, None)
                found[name] = replace(clip, intervals=(*clip.intervals, interval))
            else:
                found[name] = Clip(path.parent / name, name, group or name, label)
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: {error}") from error
    return dataset_of(path.parent, found.values(), str(path), background if intervals else None, grouped)


def of_json(path: Path, background: str) -> Dataset:
    """ActivityNet's form: intervals by video."""
    try:
        database = json.loads(path.read_text(encoding="utf-8"))["database"]
        entries = {str(name): entry["annotations"] for name, entry in database.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'{path} is not in ActivityNet\'s form, {{"database": {{...}}}}: {error!r}') from error
    files = {file.stem: file for file in sorted(path.parent.rglob("*")) if file.suffix.lower() in VIDEO_SUFFIXES}
    clips = []
    for name, annotations in entries.items():
        where = f"{path}, {name}"
        try:
            intervals = tuple(interval_of(*a["segment"], str(a["label"]), where) for a in annotations)
        except (KeyError, TypeError) as error:
            raise UsageError(f'{where}: expected "segment": [start, end] and "label" ({error!r})') from error
        file = files.get(name, path.parent / name)
        clips.append(Clip(file, file.relative_to(path.parent).as_posix(), name, None, intervals))
    return dataset_of(path.parent, clips, str(path), background, grouped=False)


def interval_of(start: Any, end: Any, label: str, where: str) -> Interval:
    """A checked interval, or UsageError with its place."""
    try:
        begin, stop = float(start), float(end)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: start is {start!r} and end {end!r}; expected seconds") from error
    if not 0 <= begin < stop < float("inf"):
        raise UsageError(f"{where}: the interval goes from {begin:g} to {stop:g} s; expected 0 <= start < end")
    return Interval(begin, stop, label)


def dataset_of(root: Path, clips: Iterable[Clip], what: str, background: str | None, grouped: bool) -> Dataset:
    """A dataset in order, or UsageError where it has no clips or one class alone."""
    ordered = tuple(
        replace(clip, intervals=tuple(sorted(clip.intervals, key=lambda i: (i.start, i.end))))
        for clip in sorted(clips, key=lambda clip: clip.name)
    )
    named = {clip.label for clip in ordered if clip.label is not None}
    named |= {interval.label for clip in ordered for interval in clip.intervals}
    if not ordered:
        raise UsageError(f"{what} names no video")
    labels = sorted(named - {background})
    if background is not None:
        labels = [background, *labels]
    if len(labels) < 2:
        raise UsageError(f"{what} has one class alone, {', '.join(labels)}; expected two or more to tell apart")
    return Dataset(root, ordered, tuple(labels), background, grouped)
