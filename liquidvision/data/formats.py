"""Reads annotated videos: class folders, CSV, ActivityNet's JSON, and what other annotation tools write."""

import json
import os
import reprlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from liquidvision.annotation.columns import TableColumns, find_columns, simplify_name
from liquidvision.annotation.formats import ACTIVITYNET, CSV, recognise_format
from liquidvision.annotation.interval import FrameInterval, Interval, make_interval
from liquidvision.annotation.tables import read_table
from liquidvision.data.annotation_files import find_annotation_files, read_annotation_clips
from liquidvision.data.dataset import Clip, Dataset, make_dataset
from liquidvision.errors import LiquidVisionError, UsageError
from liquidvision.video.read.file_options import FileOptions
from liquidvision.video.read.listing import list_videos
from liquidvision.video.read.names import check_rate, holds_pictures

EXAMPLES_INDEX = "index.csv"
PART_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainingset", "traindata"),
    "validation": ("val", "valid", "validation", "dev", "valset", "validationset", "devset", "eval", "evaluation"),
    "test": ("test", "testing", "testset", "testdata", "holdout"),
}
ABOUT_THE_FILE = ("file", "group", "split")  # what a row says of its file, and not of its interval
PART_OF_NAME = {name: part for part, names in PART_NAMES.items() for name in names}


def read_dataset(path: str | Path, *, background: str = "background", pictures: bool = False) -> Dataset:
    """Read annotations; no video is opened.

    - A folder of class folders, with videos at any depth below them. Folders named after the parts of a split, as in
      train/CLASS/ and test/CLASS/ or CLASS/train/ and CLASS/test/, are that split. A folder with an index.csv is that
      file.
    - A CSV with columns file,label: one label for each file.
    - A CSV with columns file,start,end,label: in seconds from each file's beginning or as h:mm:ss; with columns
      start_frame,end_frame, in frames from 0, without the last. A row with only a file says that the file shows nothing
      but background.
    - A JSON in ActivityNet's form: {"database": {NAME: {"annotations": [{"segment": [s, e], "label": L}]}}}, with or
      without a "subset" of each video. The videos are in its folder or below, named NAME or v_NAME, with any video
      suffix.
    - A file of another annotation tool (BORIS, ELAN, Praat, Audacity, WebVTT, SubRip, CVAT, Label Studio, VIA 3, a
      table of 0 and 1 for each frame, Create ML), see `recognise_format`; or a folder of such files.

    File names are relative to the folder of the CSV or JSON. A CSV may also have a column group, and a column split
    with train, validation and test. Other usual names of columns are recognised, see `COLUMN_NAMES`; columns that are
    not read are in the dataset's notes. A CSV is in UTF-8 or UTF-16, separated by commas, semicolons or tabs.

    In a CSV, a name may also be that of a folder of pictures, or a pattern of numbered pictures such as run1/%05d.jpg.

    Args:
        path: any of these.
        background: the class of frames outside all intervals.
        pictures: whether folders of pictures are looked for, too: CLASS/clip/0001.jpg, each folder a clip.

    Raises:
        UsageError: the path does not exist, or its content is not valid; the message names file and line.
    """
    path, background = Path(path), background.strip()
    if not background:
        raise UsageError("the background has no name; expected the class of frames outside all intervals")
    try:
        return read_any_annotations(path, background, pictures)
    except LiquidVisionError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def read_any_annotations(path: Path, background: str, pictures: bool) -> Dataset:
    """Read annotations, see `read_dataset`."""
    if path.is_dir() and (path / EXAMPLES_INDEX).is_file():
        path = path / EXAMPLES_INDEX
    if path.is_dir():
        folders = find_folders(path, pictures)
        if not any(folders.values()) and (files := find_annotation_files(path)):
            return read_annotation_files(files, path, background, pictures)
        return read_class_folders(path, folders, pictures)
    if not path.is_file():
        raise UsageError(
            f"no data at {path}; expected a folder of class folders, a CSV, or annotations of another tool"
        )
    found = recognise_format(path)
    if found is ACTIVITYNET:
        return read_activitynet(path, background, pictures)
    if found is CSV:
        return read_csv(path, background)
    return read_annotation_files([path], path, background, pictures)


def read_annotation_files(files: Sequence[Path], source: Path, background: str, pictures: bool) -> Dataset:
    """Read files of annotations that other tools wrote, which lie in one folder."""
    root = files[0].parent
    clips, grouped, notes = read_annotation_clips(files, root, pictures=pictures)
    return make_dataset(root, clips, str(source), background, grouped, notes)


def read_clips(data: str | Path, background: str, files: FileOptions) -> Dataset:
    """Read annotations, see `read_dataset`; with a rate, folders of pictures are clips, too.

    Raises:
        UsageError: see `read_dataset`; or pictures without a rate, or a rate without pictures.
    """
    dataset = read_dataset(data, background=background, pictures=files.rate is not None)
    check_rate([clip.path for clip in dataset.clips], files.rate, data)
    return dataset


def find_videos(folder: Path, *, pictures: bool = False) -> list[Path]:
    """Return the videos in a folder at any depth, sorted, see `list_videos`."""
    return list_videos(folder, deep=True, pictures=pictures)


def read_class_folders(root: Path, folders: Mapping[str, Sequence[Path]], pictures: bool) -> Dataset:
    """Read a folder of class folders, or of parts of a split that hold class folders.

    Args:
        root: the folder.
        folders: see `find_folders`.
        pictures: see `read_dataset`.
    """
    classes = {name for name, files in folders.items() if files}
    if not classes:
        raise UsageError(describe_no_classes(root, pictures))
    notes = [describe_empty(root / name) for name in folders if name not in classes]
    notes += describe_loose(root)
    clips: list[Clip] = []
    if parts := split_folders(root, classes):
        for folder, part in parts.items():
            notes += describe_loose(root / folder)
            inner = find_folders(root / folder, pictures)
            if not any(inner.values()):
                raise UsageError(describe_no_classes(root / folder, pictures))
            clips += [folder_clip(root, file, label, part) for label, files in inner.items() for file in files]
    else:
        for label in sorted(classes):
            clips += [folder_clip(root, file, label, None) for file in folders[label]]
        clips = with_inner_parts(clips)
    return make_dataset(root, clips, str(root), background=None, grouped=False, notes=notes)


def find_folders(root: Path, pictures: bool) -> dict[str, list[Path]]:
    """Return the videos of each folder in a folder; none where one cannot be read."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(root.iterdir()):
        if not folder.name.startswith(".") and folder.is_dir():
            try:
                found[folder.name] = find_videos(folder, pictures=pictures)
            except OSError:  # `describe_empty` says so
                found[folder.name] = []
    return found


def describe_empty(folder: Path) -> str:
    """Return why a folder is not a class."""
    try:
        os.listdir(folder)
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror or error}) and was left out"
    return f"{folder} holds no videos{describe_own_pictures(folder)} and is not a class"


def describe_no_classes(root: Path, pictures: bool) -> str:
    """Return the message that a folder holds no class folders."""
    if not pictures and any(find_folders(root, True).values()):
        return f"{root} holds folders of pictures and no videos; give their pictures per second with --rate"
    loose = next((f.name for f in sorted(root.iterdir()) if f.is_dir() and holds_pictures(f)), None)
    if loose is not None:
        return (
            f"{root} holds no class folders with videos{describe_own_pictures(root / loose)}; expected "
            f"{root}/CLASS/CLIP/0001.jpg and --rate, or a CSV with columns file,label"
        )
    return f"{root} holds no class folders with videos; expected {root}/CLASS/clip.mp4, or an {EXAMPLES_INDEX}"


def describe_own_pictures(folder: Path) -> str:
    """Return ", but pictures without a folder for each clip" if a class folder holds such, else nothing."""
    return ", but pictures without a folder for each clip" if holds_pictures(folder) else ""


def describe_loose(root: Path) -> list[str]:
    """Return a note on the videos that lie in a folder beside its class folders, if there are any."""
    loose = list_videos(root)
    if not loose:
        return []
    one = len(loose) == 1
    who = f"{loose[0]} is" if one else f"{loose[0]} and {len(loose) - 1} more are"
    return [f"{who} in no class folder, and {'was' if one else 'were'} left out"]


def split_folders(root: Path, names: Collection[str]) -> dict[str, str]:
    """Return the part of a split for each folder, if the folders are named after parts; {} if they are classes.

    Raises:
        UsageError: some are named after parts, and some are not.
    """
    parts = {name: PART_OF_NAME[simplify_name(name)] for name in sorted(names) if simplify_name(name) in PART_OF_NAME}
    others = sorted(set(names) - set(parts))
    if others and len(set(parts.values())) > 1:
        raise UsageError(
            f"{root} holds {' and '.join(parts)}, which are parts of a split, and {others[0]}, which is not; expected "
            "either parts, with a folder for each class in them, or classes"
        )
    return {} if others else parts


def folder_clip(root: Path, file: Path, label: str, part: str | None) -> Clip:
    """Return the clip of a file in a class folder."""
    name = file.relative_to(root).as_posix()
    return Clip(file, name, name, label, part=part)


def with_inner_parts(clips: Sequence[Clip]) -> list[Clip]:
    """Return clips of class folders with the parts that the folders in these are named after, CLASS/train/ and so on.

    Raises:
        UsageError: some clips are in such folders, and some are not.
    """
    inner = [[PART_OF_NAME.get(simplify_name(folder)) for folder in clip.name.split("/")[1:-1]] for clip in clips]
    parts = [next(filter(None, own), None) for own in inner]
    if len(set(parts)) < 2 or (None in parts and len(set(parts)) < 3):
        return list(clips)  # no folder, or all of one name, which then means something else
    if None in parts:
        inside, outside = clips[parts.index(next(filter(None, parts)))], clips[parts.index(None)]
        raise UsageError(
            f"{inside.name} is in a folder named after a part of a split, and {outside.name} is in none; expected all "
            "or none, or a CSV with columns file,label,split"
        )
    return [replace(clip, part=part) for clip, part in zip(clips, parts, strict=True)]


def read_csv(path: Path, background: str) -> Dataset:
    """Read a CSV: a label for each file, or for each interval if there are columns for start and end."""
    clips, columns = read_csv_clips(path)
    notes = [f"{path}: not read: the column {name}" for name in columns.unused]
    timed, grouped = columns.start is not None, "group" in columns.places
    return make_dataset(path.parent, clips, str(path), background if timed else None, grouped, notes)


def read_csv_clips(path: Path) -> tuple[list[Clip], TableColumns]:
    """Read the clips of a CSV, and which of its columns say what."""
    table = read_table(path)
    columns = find_columns(path, table.columns)
    timed = columns.start is not None
    found: dict[str, Clip] = {}
    intervals: dict[str, list[Interval | FrameInterval]] = defaultdict(list)
    for number, values in table.rows:
        where = f"{path}, line {number}"
        cells = {role: values[place] for role, place in columns.places.items()}
        if not any(cells.values()):
            continue
        nothing_but_background = timed and not any(
            cells[role] for role in (columns.start, columns.end, "label") if role
        )
        needed = [r for r in cells if r in ABOUT_THE_FILE or not (nothing_but_background or r == "score")]
        if empty := [role for role in needed if not cells[role]]:
            raise UsageError(f"{where}: {columns.names[columns.places[empty[0]]]} is empty")
        name = relative_name(path.parent, cells["file"])
        part = parse_part(cells["split"], where) if "split" in cells else None
        label = None if timed else cells["label"]
        clip = Clip(path.parent / name, name, cells.get("group", name), label, part=part)
        old = found.setdefault(name, clip)
        if old.group != clip.group:
            raise UsageError(f"{where}: {name} is in group {clip.group}, but an earlier row says {old.group}")
        if old.part != clip.part:
            raise UsageError(f"{where}: {name} is in the part {clip.part}, but an earlier row says {old.part}")
        if old is not clip and not timed:
            raise UsageError(
                f"{where}: {name} is {clip.label}, but an earlier row says {old.label}; a file has one row"
            )
        if timed and not nothing_but_background:
            intervals[name].append(parse_interval(cells, columns, where, decimal_comma=table.separator != ","))
    clips = [
        replace(
            clip,
            intervals=tuple(i for i in intervals[name] if isinstance(i, Interval)),
            frame_intervals=tuple(i for i in intervals[name] if isinstance(i, FrameInterval)),
        )
        for name, clip in found.items()
    ]
    return clips, columns


def parse_part(text: str, where: str) -> str:
    """Return the part of a split that a text names: train, validation or test.

    Raises:
        UsageError: it is none; the message names `where`.
    """
    part = PART_OF_NAME.get(simplify_name(text))
    if part is None:
        raise UsageError(f"{where}: the split is {text!r}; expected train, validation or test")
    return part


def parse_interval(
    cells: Mapping[str, str], columns: TableColumns, where: str, *, decimal_comma: bool
) -> Interval | FrameInterval:
    """Return the interval of a row.

    Args:
        cells: the row's values by what they hold, a key of `COLUMN_NAMES`.
        columns: which of these hold the interval.
        where: the file and the line, for messages.
        decimal_comma: whether a comma in a number is a decimal point.

    Raises:
        UsageError: start or end is no time or no frame number, or the interval is empty.
    """
    assert columns.start is not None and columns.end is not None
    first, second, label = cells[columns.start], cells[columns.end], cells["label"]
    if columns.start == "start_frame":
        return parse_frame_interval(first, second, label, where, includes_last=columns.end == "last_frame")
    score = parse_score(cells.get("score", ""), where)
    scale = 0.001 if columns.start == "start_ms" else 1.0
    try:
        start, end = (parse_clock_time(text, decimal_comma=decimal_comma) * scale for text in (first, second))
    except ValueError:
        return make_interval(first, second, label, where)  # which says what was expected
    interval = make_interval(start, start + end if columns.end == "duration" else end, label, where)
    return replace(interval, score=score)


def parse_score(text: str, where: str) -> float | None:
    """Return a score; None for an empty text.

    Raises:
        UsageError: it is no number.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UsageError(f"{where}: the score is {text!r}; expected a number") from error


def parse_clock_time(text: str, *, decimal_comma: bool = False) -> float:
    """Return a time in seconds, given in seconds, as m:ss or as h:mm:ss, with decimals of seconds if needed.

    Raises:
        ValueError: it is no time.
    """
    *clock, seconds = text.split(":")
    if decimal_comma or clock:  # subtitles write 0:00:01,500
        seconds = seconds.replace(",", ".")
    if not clock:
        return float(seconds)
    if len(clock) > 2 or not all(field.strip().isdecimal() for field in clock):
        raise ValueError(f"{text} is no time")
    minutes = [int(field) for field in clock]
    value = float(seconds)
    if not 0 <= value < 60 or (len(minutes) > 1 and minutes[1] >= 60):
        raise ValueError(f"{text} is no time")
    return float(sum(field * 60**power for power, field in enumerate(reversed(minutes), 1))) + value


def parse_frame_interval(first: str, second: str, label: str, where: str, *, includes_last: bool) -> FrameInterval:
    """Return the interval between two frame numbers.

    Raises:
        UsageError: they are no frame numbers, or the interval is empty; the message names `where`.
    """
    try:
        start, end = float(first), float(second) + includes_last
        if not (start.is_integer() and end.is_integer()):
            raise ValueError
    except ValueError as error:
        raise UsageError(f"{where}: frames {first!r} to {second!r}; expected whole numbers, from 0") from error
    if not 0 <= start < end:
        raise UsageError(f"{where}: the interval goes from frame {first} to {second}; expected 0 <= start < end")
    return FrameInterval(int(start), int(end), label)


def relative_name(root: Path, file: str) -> str:
    """Return a file's path relative to `root`, so that names do not depend on where the data is."""
    if "\\" in file and not (root / file).exists():
        file = file.replace("\\", "/")  # written on Windows
    try:
        return Path(os.path.relpath(root / file, root)).as_posix()
    except ValueError:  # on another of Windows' drives
        return Path(file).as_posix()


def read_activitynet(path: Path, background: str, pictures: bool) -> Dataset:
    """Read ActivityNet's form: intervals by video. Videos of its test subset without annotations are left out."""
    clips, notes = read_activitynet_clips(path, pictures=pictures)
    return make_dataset(path.parent, clips, str(path), background, grouped=False, notes=notes)


def read_activitynet_clips(path: Path, *, pictures: bool = False) -> tuple[list[Clip], list[str]]:
    """Read the clips of ActivityNet's form, and notes on what was left out."""
    try:
        database = json.loads(path.read_bytes())["database"]  # in UTF-8, 16 or 32
        entries = {name: (entry.get("subset"), entry.get("annotations")) for name, entry in database.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f'{path} is not in ActivityNet\'s form, {{"database": {{...}}}}: {error!r}') from error
    files: dict[str, list[Path]] = {}
    for file in find_videos(path.parent, pictures=pictures):
        relative = file.relative_to(path.parent)
        if file.is_dir():  # of pictures; a folder's name has no suffix
            files.setdefault(file.name, []).append(file)
            continue
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
        part = None if subset is None else parse_part(str(subset), where)
        matching = files.get(entry) or files.get(f"v_{entry}") or [path.parent / entry]
        if len(matching) > 1:
            raise UsageError(f"{where}: {matching[0]} and {matching[1]} have this name; expected one video")
        name = Path(os.path.relpath(matching[0], path.parent)).as_posix()
        if name in clips:
            raise UsageError(f"{where}: {name} occurs twice")
        clips[name] = Clip(matching[0], name, name, None, intervals, part=part)
    unmarked = [clip.name for clip in clips.values() if clip.part is None]
    if unmarked and len(unmarked) < len(clips):
        raise UsageError(f'{path}, {unmarked[0]}: it has no "subset", but other videos have; expected all or none')
    notes = [f"{unannotated} videos of the test subset have no annotations, and were left out"] if unannotated else []
    return list(clips.values()), notes


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
