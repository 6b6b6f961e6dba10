"""Praat's TextGrid files, long and short: intervals on tiers, in seconds.

Format: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo, separate_overlaps
from liquidvision.annotation.interval import Interval
from liquidvision.annotation.tables import read_text
from liquidvision.errors import UsageError

TIER = "labels"  # of intervals without a subject
# What counts in such a file: quoted texts, flags and numbers that stand alone. Comments, numbers in brackets and all
# else are for the human reader.
TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|<(exists|absent)>|!.*|\[\d*\]|(?<![^\s])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![^\s])'
)


class Tokens:
    """The texts, numbers and flags of a TextGrid file, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rest: Iterator[re.Match[str]] = (
            m for m in TOKEN.finditer(read_text(path)) if any(m.groups("")) or m[1] == ""
        )

    def text(self, what: str) -> str:
        """Return the next token, which is a text."""
        found = self._next(what)[1]
        if found is None:
            raise UsageError(f"{self.path}: expected {what} in quotes; is it a complete TextGrid?")
        return found.replace('""', '"')

    def number(self, what: str) -> float:
        """Return the next token, which is a number."""
        found = self._next(what)[3]
        if found is None:
            raise UsageError(f"{self.path}: expected {what}, a number; is it a complete TextGrid?")
        return float(found)

    def flag(self, what: str) -> bool:
        """Return whether the next token says that something exists."""
        return self._next(what)[2] == "exists"

    def _next(self, what: str) -> re.Match[str]:
        found = next(self._rest, None)
        if found is None:
            raise UsageError(f"{self.path} ends before {what}; is it complete?")
        return found


def read_textgrid(path: Path) -> list[AnnotatedVideo]:
    """Read the intervals of all tiers that have a text. The subject is the tier's name.

    Raises:
        UsageError: it is no TextGrid file, or it is not complete.
    """
    tokens = Tokens(path)
    kinds = tokens.text("the kind of file"), tokens.text("the class")
    if kinds[0] != "ooTextFile" or not kinds[1].startswith("TextGrid"):
        raise UsageError(f"{path} is no TextGrid; expected a file that Praat saved as text")
    tokens.number("its start"), tokens.number("its end")
    intervals: list[Interval] = []
    notes = []
    for _ in range(int(tokens.number("the number of tiers")) if tokens.flag("tiers") else 0):
        kind, name = tokens.text("the class of a tier"), tokens.text("the name of a tier")
        tokens.number("the tier's start"), tokens.number("the tier's end")
        count = int(tokens.number("the size of a tier"))
        if kind == "TextTier":
            for _ in range(count):
                tokens.number("a time"), tokens.text("a mark")
            notes.append(f"{path}: the points of the tier {name} have no duration; left out")
            continue
        subject = "" if re.fullmatch(rf"{TIER}( \d+)?", name) else re.sub(r" \(\d+\)$", "", name)
        for _ in range(count):
            start, end, label = tokens.number("a start"), tokens.number("an end"), tokens.text("a text").strip()
            if not 0 <= start < end:
                raise UsageError(f"{path}, tier {name}: an interval goes from {start:g} to {end:g} s")
            if label:
                intervals.append(Interval(start, end, label, subject))
    return [AnnotatedVideo("", tuple(intervals), notes=tuple(notes))]


def write_textgrid(video: AnnotatedVideo) -> bytes:
    """Return a TextGrid with a tier for each subject; overlapping intervals get tiers of their own."""
    by_subject: dict[str, list[Interval]] = defaultdict(list)
    for interval in video.intervals:
        by_subject[interval.subject].append(interval)
    end = max([video.timeline.end if video.timeline else 0.0, *(interval.end for interval in video.intervals)])
    tiers = []
    for subject, intervals in by_subject.items() or [("", [])]:
        for row, rest in enumerate(separate_overlaps(intervals) or [[]], 1):
            suffix = "" if row == 1 else f" ({row})" if subject else f" {row}"
            tiers.append(((subject or TIER) + suffix, fill_gaps(rest, end)))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", f"xmax = {end:.6f} "]
    lines += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (name, entries) in enumerate(tiers, 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier" ', f'        name = "{quoted(name)}" ']
        lines += ["        xmin = 0 ", f"        xmax = {end:.6f} ", f"        intervals: size = {len(entries)} "]
        for place, (start, stop, label) in enumerate(entries, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start:.6f} "]
            lines += [f"            xmax = {stop:.6f} ", f'            text = "{quoted(label)}" ']
    return ("\n".join(lines) + "\n").encode()


def fill_gaps(intervals: list[Interval], end: float) -> list[tuple[float, float, str]]:
    """Return intervals with empty ones between them, as a tier has them: from 0 to `end` without a gap."""
    row, reached = [], 0.0
    for interval in intervals:
        if interval.start > reached:
            row.append((reached, interval.start, ""))
        row.append((interval.start, interval.end, interval.label))
        reached = interval.end
    if end > reached or not row:
        row.append((reached, max(end, reached + 0.001), ""))
    return row


def quoted(text: str) -> str:
    """Return a text as it stands between quotes."""
    return text.replace('"', '""')
