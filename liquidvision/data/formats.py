"""Annotated videos as people have them: class folders, a CSV of files, a CSV of intervals, ActivityNet-style JSON."""

import csv
import io
import json
import os
import reprlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from liquidvision.data.dataset import Clip, Dataset, Interval, make_dataset, make_interval
from liquidvision.errors import UsageError
from liquidvision.video.read import VIDEO_SUFFIXES

__all__ = ["Clip", "Dataset", "Interval", "read_dataset"]

EXAMPLES_INDEX = "index.csv"
# Folders of these names alone are parts of a split, and no classes.
PARTS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


def read_dataset(path: str | Path, *, background: str = "background") -> Dataset:
    """Read annotations; no video is opened.

    - A folder of class folders, with videos at any depth below them. A folder with an index.csv is that file.
    - A CSV with columns file,label and perhaps group: one label for each file.
    - A CSV with columns file,start,end,label and perhaps group: seconds from each file's beginning. A row with a file
      alone says that the file shows nothing but background.
    - A JSON in ActivityNet's form: {"database": {NAME: {"annotations": [{"segment": [s, e], "label": L}]}}}, the
      videos beside it or below, called by their names, perhaps with v_ before, and any ending of a video.

    Names in a file are relative to its folder. A CSV may be separated by commas, semicolons or tabs; columns beyond
    these are passed over.

    Args:
        path: of any of these.
        background: the class of frames that no interval covers.

    Raises:
        UsageError: nothing is there, or what is there cannot be meant; the message names file and line.
    """
    path, background = Path(path), background.strip()
    if not background:
        raise UsageError("the background has no name; expected the class of frames that no interval covers")
    if path.is_dir() and (path / EXAMPLES_INDEX).is_file():
        path = path / EXAMPLES_INDEX
    if path.is_dir():
        return read_class_folders(path)
    if not path.is_file():
        raise UsageError(f"no data at {path}; expected a folder of class folders, a CSV or a JSON")
    if path.suffix.lower() == ".json":
        return read_activitynet(path, background)
    if path.suffix.lower() in (".csv", ".tsv"):
        return read_csv(path, background)
    raise UsageError(f"{path} is neither a folder nor a .csv or .json file")


def find_videos(folder: Path) -> list[Path]:
    """The videos in a folder at any depth, by path; what is hidden (copied Macs leave ._clip.mp4) is none."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in VIDEO_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def read_class_folders(root: Path) -> Dataset:
    """One class for each folder that holds videos."""
    folders = {f.name: find_videos(f) for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")}
    classes = {name for name, files in folders.items() if files}
    if not classes:
        raise UsageError(
            f"{root} holds no class folders with videos; expected {root}/CLASS/clip.mp4, or an {EXAMPLES_INDEX}"
        )
    if all(name.lower() in PARTS for name in classes):
        raise UsageError(
            f"{root} holds {', '.join(sorted(classes))}, which are parts of a split; expected folders named after "
            f"classes: give one of them, or a CSV with columns file,label,group"
        )
    clips = [
        Clip(file, name := file.relative_to(root).as_posix(), name, folder)
        for folder, files in folders.items()
        for file in files
    ]
    notes = [f"{root / name} holds no videos, and is no class" for name in folders if name not in classes]
    if loose := [file for file in find_videos(root) if file.parent == root]:
        one = len(loose) == 1
        who = f"{loose[0]} lies" if one else f"{loose[0]} and {len(loose) - 1} more lie"
        notes.append(f"{who} in no class folder, and {'is' if one else 'are'} left out")
    return make_dataset(root, clips, str(root), background=None, grouped=False, notes=notes)


def read_csv(path: Path, background: str) -> Dataset:
    """A label for each file, or for each interval where there are columns start and end."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [column.strip().lower() for column in next(lines, [])]
        wanted = check_columns(path, columns)
        timed, grouped = "start" in wanted, "group" in wanted
        found: dict[str, Clip] = {}
        intervals: dict[str, list[Interval]] = {}
        for line in lines:
            where = f"{path}, line {lines.line_num}"
            values = [value.strip() for value in line]
            if any(values[len(columns) :]):
                raise UsageError(f"{where}: more values than columns; put quotes around one that holds a {separator}")
            cells = dict.fromkeys(wanted, "") | {c: v for c, v in zip(columns, values, strict=False) if c in wanted}
            if not any(cells.values()):
                continue
            nothing_but_background = timed and not (cells["start"] or cells["end"] or cells["label"])
            needed = [column for column in wanted if column in ("file", "group") or not nothing_but_background]
            if empty := [column for column in needed if not cells[column]]:
                raise UsageError(f"{where}: {empty[0]} is empty")
            name = relative_name(path.parent, cells["file"])
            clip = Clip(path.parent / name, name, cells.get("group", name), None if timed else cells["label"])
            old = found.setdefault(name, clip)
            if old.group != clip.group:
                raise UsageError(f"{where}: {name} is in group {clip.group}, but was in group {old.group} before")
            if old is not clip and not timed:
                raise UsageError(f"{where}: {name} is {clip.label}, but was {old.label} before; a file has one row")
            if timed and not nothing_but_background:
                # Where semicolons separate, commas may be decimal points.
                ends = [cells[c].replace(",", ".") if separator == ";" else cells[c] for c in ("start", "end")]
                intervals.setdefault(name, []).append(make_interval(ends[0], ends[1], cells["label"], where))
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: {error}") from error
    clips = [replace(clip, intervals=tuple(intervals.get(name, ()))) for name, clip in found.items()]
    return make_dataset(path.parent, clips, str(path), background if timed else None, grouped)


def check_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns of a CSV that matter, or UsageError where one is missing or there twice."""
    wanted = ["file", "start", "end", "label"] if "start" in columns or "end" in columns else ["file", "label"]
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise UsageError(
            f"{path} has no column {' and no column '.join(missing)}; expected file,label[,group] or "
            f"file,start,end,label[,group], found {','.join(columns) or 'nothing'}"
        )
    if "group" in columns:
        wanted.append("group")
    twice = [column for column in wanted if columns.count(column) > 1]
    if twice:
        raise UsageError(f"{path} has two columns {twice[0]}; expected one")
    return wanted


def relative_name(root: Path, file: str) -> str:
    """A file's path relative to `root`, as a clip's name has it, so that no name depends on where the data lies."""
    if "\\" in file and not (root / file).exists():
        file = file.replace("\\", "/")  # written on Windows
    try:
        return Path(os.path.relpath(root / file, root)).as_posix()
    except ValueError:  # on another of Windows' drives
        return Path(file).as_posix()


def read_activitynet(path: Path, background: str) -> Dataset:
    """ActivityNet's form: intervals by video. Its test videos have no annotations: what is not told is left out."""
    try:
        database = json.loads(path.read_text(encoding="utf-8-sig"))["database"]
        entries = {name: (entry.get("subset"), entry.get("annotations")) for name, entry in database.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f'{path} is not in ActivityNet\'s form, {{"database": {{...}}}}: {error!r}') from error
    files: dict[str, list[Path]] = {}
    for file in find_videos(path.parent):
        beside = file.relative_to(path.parent)
        for key in {file.stem, beside.with_suffix("").as_posix(), beside.as_posix()}:
            files.setdefault(key, []).append(file)
    clips: dict[str, Clip] = {}
    untold = 0
    for entry, (subset, annotations) in entries.items():
        where = f"{path}, {entry}"
        if not annotations and str(subset).lower().startswith("test"):
            untold += 1
            continue
        if not isinstance(annotations, list):
            raise UsageError(f'{where}: "annotations" is {reprlib.repr(annotations)}; expected a list')
        intervals = tuple(build_annotated(annotation, where) for annotation in annotations)
        fitting = files.get(entry) or files.get(f"v_{entry}") or [path.parent / entry]
        if len(fitting) > 1:
            raise UsageError(f"{where}: {fitting[0]} and {fitting[1]} have this name; expected one video")
        name = Path(os.path.relpath(fitting[0], path.parent)).as_posix()
        if name in clips:
            raise UsageError(f"{where}: {name} is there a second time")
        clips[name] = Clip(fitting[0], name, name, None, intervals)
    notes = [f"{untold} videos of the test subset have no annotations, and are left out"] if untold else []
    return make_dataset(path.parent, clips.values(), str(path), background, grouped=False, notes=notes)


def build_annotated(annotation: Any, where: str) -> Interval:
    """One of ActivityNet's annotations, or UsageError with its place."""
    try:
        (start, end), label = annotation["segment"], annotation["label"]
    except (KeyError, TypeError, ValueError) as error:
        told = reprlib.repr(annotation)
        raise UsageError(f'{where}: {told}; expected {{"segment": [start, end], "label": "..."}}') from error
    if not isinstance(label, str | int) or not str(label).strip():
        raise UsageError(f"{where}: label is {reprlib.repr(label)}; expected a name")
    return make_interval(start, end, str(label).strip(), where)
