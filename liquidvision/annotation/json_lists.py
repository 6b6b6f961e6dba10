"""Intervals as JSON: ActivityNet's database, Create ML's list for action classifiers, and JSON lines, in seconds.

Formats: http://activity-net.org/download.html and
https://developer.apple.com/documentation/createml/building-an-action-classifier-data-source
"""

import json
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.columns import ROLE_OF_NAME, simplify_name
from liquidvision.annotation.documents import dump_json, read_json
from liquidvision.annotation.interval import Interval, make_interval
from liquidvision.annotation.tables import read_text
from liquidvision.errors import UsageError

EXPECTED = 'expected {"videoPath": "clip.mp4", "label": "...", "startTime": 1.0, "endTime": 2.5}'


def write_activitynet(videos: list[AnnotatedVideo]) -> bytes:
    """Return a database in ActivityNet's form."""
    database: dict[str, Any] = {}
    for video in videos:
        entry: dict[str, Any] = {} if video.timeline is None else {"duration": round(video.timeline.end, 6)}
        entry["annotations"] = [
            {"segment": [round(i.start, 6), round(i.end, 6)], "label": i.label}
            | ({} if i.score is None else {"score": i.score})
            for i in video.intervals
        ]
        database[video.file] = entry
    return dump_json({"version": "1.3", "taxonomy": [], "database": database})


def read_create_ml(path: Path) -> list[AnnotatedVideo]:
    """Read a list of records with a file, a label, a start and an end; their keys are recognised as columns are.

    Raises:
        UsageError: a record lacks one of these, or its interval is not valid.
    """
    return read_records((f"{path}, record {number}", record) for number, record in enumerate(read_json(path), 1))


def read_json_lines(path: Path) -> list[AnnotatedVideo]:
    """Read a record for each line.

    Raises:
        UsageError: a line is no record of an interval.
    """

    def records() -> Iterator[tuple[str, Any]]:
        for number, line in enumerate(read_text(path).splitlines(), 1):
            where = f"{path}, line {number}"
            if line.strip():
                try:
                    yield where, json.loads(line)
                except ValueError as error:
                    raise UsageError(f"{where} is no JSON: {error}; is it complete?") from error

    return read_records(records())


def read_records(records: Iterable[tuple[str, Any]]) -> list[AnnotatedVideo]:
    """Return the intervals of records, each with where it stands, by file.

    Raises:
        UsageError: a record lacks a file, label, start or end, or its interval is not valid.
    """
    by_file: dict[str, list[Interval]] = defaultdict(list)
    for where, record in records:
        if not isinstance(record, dict):
            raise UsageError(f"{where} is {reprlib.repr(record)}; {EXPECTED}")
        values = {ROLE_OF_NAME.get(simplify_name(key)): value for key, value in record.items()}
        missing = [role for role in ("file", "label", "start", "end") if values.get(role) in (None, "")]
        if missing:
            raise UsageError(f"{where} has no {' and no '.join(missing)}; {EXPECTED}")
        interval = make_interval(values["start"], values["end"], str(values["label"]), where)
        subject, score = values.get("group") or "", values.get("score")
        if score is not None and not isinstance(score, int | float):
            raise UsageError(f"{where}: the score is {score!r}; expected a number")
        by_file[str(values["file"])].append(replace(interval, subject=str(subject), score=score))
    return [AnnotatedVideo(file, tuple(intervals)) for file, intervals in by_file.items()]


def write_json_lines(videos: list[AnnotatedVideo]) -> bytes:
    """Return a record for each interval, one on a line."""
    lines = []
    for video in videos:
        for interval in video.intervals:
            record: dict[str, Any] = {"file": video.file, "start": interval.start, "end": interval.end}
            record |= {"label": interval.label}
            record |= {"subject": interval.subject} if interval.subject else {}
            record |= {} if interval.score is None else {"score": interval.score}
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def write_create_ml(videos: list[AnnotatedVideo]) -> bytes:
    """Return a list of records as Create ML reads them."""
    return dump_json(
        [
            {
                "videoPath": video.file,
                "label": interval.label,
                "startTime": round(interval.start, 6),
                "endTime": round(interval.end, 6),
            }
            for video in videos
            for interval in video.intervals
        ]
    )
