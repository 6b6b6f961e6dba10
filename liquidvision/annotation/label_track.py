"""Audacity's label tracks (.txt): start, end and label, separated by tabs, in seconds.

Format: https://manual.audacityteam.org/man/importing_and_exporting_labels.html
"""

from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.interval import Interval, make_interval
from liquidvision.annotation.tables import read_text
from liquidvision.errors import UsageError


def read_label_track(path: Path) -> list[AnnotatedVideo]:
    r"""Read a label track. Lines with frequencies, which begin with \, are skipped.

    Raises:
        UsageError: a line is none of a label track.
    """
    intervals: list[Interval] = []
    points = 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        where = f"{path}, line {number}"
        start, *rest = line.split("\t", 2)
        if len(rest) < 2 or not rest[1].strip():
            raise UsageError(f"{where}: {line!r}; expected start, end and label, separated by tabs")
        # Audacity writes the decimal point of the system's language.
        first, second = (text.strip().replace(",", ".") for text in (start, rest[0]))
        if first == second:
            points += 1
            continue
        intervals.append(make_interval(first, second, rest[1].strip(), where))
    notes = (f"{path}: {points} labels of single points have no duration; left out",) if points else ()
    return [AnnotatedVideo("", tuple(intervals), notes=notes)]


def write_label_track(video: AnnotatedVideo) -> bytes:
    """Return a label track."""
    return "".join(f"{i.start:.6f}\t{i.end:.6f}\t{i.label}\n" for i in video.intervals).encode()
