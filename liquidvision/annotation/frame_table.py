"""Tables with a row for each frame and a column of 0 and 1 for each label, as DeepEthogram and JABS users have them.

Format: https://github.com/jbohnslav/deepethogram/blob/master/docs/using_gui.md
"""

import csv
import io
from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo, find_runs
from liquidvision.annotation.columns import simplify_name
from liquidvision.annotation.interval import FrameInterval
from liquidvision.annotation.tables import TextTable, read_table
from liquidvision.errors import UsageError

INDEX_NAMES = {"", "frame", "frames", "framenumber", "index", "unnamed0"}  # see `simplify_name`
BACKGROUND = "background"
VALUES = {"0": False, "1": True, "0.0": False, "1.0": True, "-1": False, "true": True, "false": False}
LABELS_SUFFIX = "_labels"  # DeepEthogram keeps the labels of clip.mp4 in clip_labels.csv


def read_frame_table(path: Path) -> list[AnnotatedVideo]:
    """Read the stretches of 1 in each column; the column background is left out. -1 is 0, with a note.

    Raises:
        UsageError: a value is neither 0 nor 1, or frames are missing.
    """
    table = read_table(path)
    first = table.rows[0][1][0] if table.rows else "0"
    frames: list[FrameInterval] = []
    unknown = 0
    for place, label in enumerate(table.columns[1:], 1):
        flags = []
        for expected, (line, values) in enumerate(table.rows):
            value = values[place].lower()
            if value not in VALUES:
                raise UsageError(f"{path}, line {line}, column {label}: {values[place]!r}; expected 0 or 1")
            check_number(values[0], int(first or 0) + expected, f"{path}, line {line}")
            flags.append(VALUES[value])
            unknown += value == "-1"
        if label.lower() != BACKGROUND:
            frames += [FrameInterval(start, end, label) for start, end in find_runs(flags)]
    notes = (f"{path}: {unknown} values are -1, not labelled; they are read as 0",) if unknown else ()
    return [AnnotatedVideo(video_stem(path), frame_intervals=tuple(frames), notes=notes)]


def check_number(text: str, expected: int, where: str) -> None:
    """Raise UsageError if a row is not of the next frame."""
    try:
        number = float(text or expected)
    except ValueError as error:
        raise UsageError(f"{where}: the frame is {text!r}; expected a number") from error
    if number != expected:
        raise UsageError(f"{where}: frame {text} follows frame {expected - 1}; expected a row for each frame")


def video_stem(path: Path) -> str:
    """Return the name, without suffix, of the video that a table belongs to."""
    return path.stem.removesuffix(LABELS_SUFFIX) if path.stem != LABELS_SUFFIX else path.stem


def is_frame_table(table: TextTable) -> bool:
    """Return whether a table has a row for each frame: a first column of numbers, and 0 or 1 in the others."""
    if len(table.columns) < 2 or simplify_name(table.columns[0]) not in INDEX_NAMES or not table.rows:
        return False
    return all(value.lower() in VALUES for value in table.rows[0][1][1:])


def write_frame_table(video: AnnotatedVideo) -> bytes:
    """Return a table of 0 and 1; the first column of labels is the background, 1 where no other is."""
    assert video.timeline is not None
    labels = [label for label in video.labels if label.lower() != BACKGROUND]
    rows = [[0] * len(labels) for _ in video.timeline.times]
    for interval in video.frame_intervals:
        if interval.label in labels:
            for row in rows[interval.start : interval.end]:
                row[labels.index(interval.label)] = 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["", BACKGROUND, *labels])
    writer.writerows([number, int(not any(row)), *row] for number, row in enumerate(rows))
    return text.getvalue().encode()
