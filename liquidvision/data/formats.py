"""Reads annotations: class folders, a CSV of files, a CSV of intervals, or JSON in ActivityNet's form."""

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

EXAMPLES_INDEX = "index.csv"
# If all class folders have such names, they are the parts of a split and not classes.
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


def read_dataset(path: str | Path, *, background: str = "background") -> Dataset:
    """Read annotations; no video is opened.

    - A folder of class folders, with videos at any depth below them. A folder with an index.csv is that file.
    - A CSV with columns file,label[,group]: one label for each file.
    - A CSV with columns file,start,end,label[,group]: seconds from each file's beginning. A row with only a file says
      that the file shows nothing but background.
    - A JSON in ActivityNet's form: {"database": {NAME: {"annotations": [{"segment": [s, e], "label": L}]}}}. The
      videos are in its folder or below, named NAME or v_NAME, with any video suffix.

    File names are relative to the folder of the CSV or JSON. A CSV may be separated by commas, semicolons or tabs; its
    other columns are ignored.

    Args:
        path: any of these.
        background: the class of frames outside all intervals.

    Raises:
        UsageError: the path does not exist, or its content is not valid; the message names file and line.
    """
    path, background = Path(path), background.strip()
    if not background:
        raise UsageError("the background has no name; expected the class of frames outside all intervals")
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
    """Return the videos in a folder at any depth, sorted; hidden files (macOS leaves ._clip.mp4) are skipped."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in VIDEO_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def read_class_folders(root: Path) -> Dataset:
    """Read a folder of class folders: a class for each folder that holds videos."""
    folders = {f.name: find_videos(f) for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")}
    classes = {name for name, files in folders.items() if files}
    if not classes:
        raise UsageError(
            f"{root} holds no class folders with videos; expected {root}/CLASS/clip.mp4, or an {EXAMPLES_INDEX}"
        )
    if all(name.lower() in SPLIT_NAMES for name in classes):
        raise UsageError(
            f"{root} holds {', '.join(sorted(classes))}, which are parts of a split; expected folders named after "
            f"classes: give one of these, or a CSV with columns file,label,group"
        )
    clips = [
        Clip(file, name := file.relative_to(root).as_posix(), name, folder)
        for folder, files in folders.items()
        for file in files
    ]
    notes = [f"{root / name} holds no videos and is not a class" for name in folders if name not in classes]
    if loose := [file for file in find_videos(root) if file.parent == root]:
        one = len(loose) == 1
        who = f"{loose[0]} is" if one else f"{loose[0]} and {len(loose) - 1} more are"
        notes.append(f"{who} in no class folder, and {'was' if one else 'were'} left out")
    return make_dataset(root, clips, str(root), background=None, grouped=False, notes=notes)


def read_csv(path: Path, background: str) -> Dataset:
    """Read a CSV: a label for each file, or for each interval if there are columns start and end."""
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
                raise UsageError(f"{where}: more values than columns; quote values that contain {separator}")
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
                raise UsageError(f"{where}: {name} is in group {clip.group}, but an earlier row says {old.group}")
            if old is not clip and not timed:
                raise UsageError(
                    f"{where}: {name} is {clip.label}, but an earlier row says {old.label}; a file has one row"
                )
            if timed and not nothing_but_background:
                # If semicolons separate, commas may be decimal points.
                ends = [cells[c].replace(",", ".") if separator == ";" else cells[c] for c in ("start", "end")]
                intervals.setdefault(name, []).append(make_interval(ends[0], ends[1], cells["label"], where))
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: {error}") from error
    clips = [replace(clip, intervals=tuple(intervals.get(name, ()))) for name, clip in found.items()]
    return make_dataset(path.parent, clips, str(path), background if timed else None, grouped)


def check_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """Return the columns of a CSV that are read.

    Raises:
        UsageError: a column is missing, or occurs twice.
    """
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
    """Return a file's path relative to `root`, so that names do not depend on where the data is."""
    if "\\" in file and not (root / file).exists():
        file = file.replace("\\", "/")  # written on Windows
    try:
        return Path(os.path.relpath(root / file, root)).as_posix()
    except ValueError:  # on another of Windows' drives
        return Path(file).as_posix()


def read_activitynet(path: Path, background: str) -> Dataset:
    """Read ActivityNet's form: intervals by video. Videos of its test subset without annotations are left out."""
    try:
        database = json.loads(path.read_text(encoding="utf-8-sig"))["database"]
        entries = {name: (entry.get("subset"), entry.get("annotations")) for name, entry in database.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f'{path} is not in ActivityNet\'s form, {{"database": {{...}}}}: {error!r}') from error
    files: dict[str, list[Path]] = {}
    for file in find_videos(path.parent):
        relative = file.relative_to(path.parent)
        for key in {file.stem, relative.with_suffix("").as_posix(), relative.as_posix()}:
            files.setdefault(key, []).append(file)
    clips: dict[str, Clip] = {}
    unannotated = 0
    for entry, (subset, annotations) in entries.items():
        where = f"{path}, {entry}"
        if not annotations and str(subset).lower().startswith("test"):
            unannotated += 1
            continue
        if not isinstance(annotations, list):
            raise UsageError(f'{where}: "annotations" is {reprlib.repr(annotations)}; expected a list')
        intervals = tuple(parse_annotation(annotation, where) for annotation in annotations)
        matching = files.get(entry) or files.get(f"v_{entry}") or [path.parent / entry]
        if len(matching) > 1:
            raise UsageError(f"{where}: {matching[0]} and {matching[1]} have this name; expected one video")
        name = Path(os.path.relpath(matching[0], path.parent)).as_posix()
        if name in clips:
            raise UsageError(f"{where}: {name} occurs twice")
        clips[name] = Clip(matching[0], name, name, None, intervals)
    notes = [f"{unannotated} videos of the test subset have no annotations, and were left out"] if unannotated else []
    return make_dataset(path.parent, clips.values(), str(path), background, grouped=False, notes=notes)


def parse_annotation(annotation: Any, where: str) -> Interval:
    """Return the interval of one of ActivityNet's annotations.

    Raises:
        UsageError: it is no annotation; the message names `where`.
    """
    try:
        (start, end), label = annotation["segment"], annotation["label"]
    except (KeyError, TypeError, ValueError) as error:
        found = reprlib.repr(annotation)
        raise UsageError(f'{where}: {found}; expected {{"segment": [start, end], "label": "..."}}') from error
    if not isinstance(label, str | int) or not str(label).strip():
        raise UsageError(f"{where}: label is {reprlib.repr(label)}; expected a name")
    return make_interval(start, end, str(label).strip(), where)
