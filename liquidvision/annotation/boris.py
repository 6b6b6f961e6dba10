"""BORIS: projects (.boris), tabular events, aggregated events and binary tables, in seconds.

Formats: https://boris.readthedocs.io/en/latest/
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from liquidvision.annotation.annotated import AnnotatedVideo, find_runs
from liquidvision.annotation.columns import simplify_name
from liquidvision.annotation.documents import dump_json, read_json
from liquidvision.annotation.interval import Interval
from liquidvision.annotation.tables import TextTable, read_table
from liquidvision.errors import UsageError

NO_SUBJECT = "No focal subject"  # how exports name events without a subject
PLAYER = "1"  # the first player; the others show the same moments from elsewhere
AGGREGATED = (
    *("Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)"),
    *("Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject"),
    *("Observation duration by subject by observation", "Behavior", "Behavioral category", "Behavior type"),
    *("Start (s)", "Stop (s)", "Duration (s)", "Media file name", "Image index start", "Image index stop"),
    *("Image file path start", "Image file path stop", "Comment start", "Comment stop"),
)
TABULAR = (
    *("Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source"),
    *("Time offset (s)", "Media duration (s)", "FPS", "Subject", "Behavior", "Behavioral category", "Behavior type"),
    *("Time", "Media file name", "Image index", "Image file path", "Comment"),
)


def read_boris_project(path: Path) -> list[AnnotatedVideo]:
    """Read the state events of all observations of media files. Times of a list of files are counted through.

    Raises:
        UsageError: it is no project of BORIS, or an observation is broken.
    """
    project = read_json(path)
    try:
        behaviors = {entry["code"]: entry["type"].lower() for entry in project["behaviors_conf"].values()}
        observations = dict(project["observations"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no project of BORIS: {error!r}; is it complete?") from error
    videos: list[AnnotatedVideo] = []
    for name, observation in observations.items():
        where = f"{path}, observation {name}"
        try:
            files = observation["file"].get(PLAYER) or []
            points = {code for code, kind in behaviors.items() if kind.startswith("point")}
            events = [(float(e[0]), str(e[1]), str(e[2])) for e in observation["events"]]
            lengths = observation.get("media_info", {}).get("length", {})
            if observation.get("type", "MEDIA") != "MEDIA" or not files:
                videos.append(AnnotatedVideo(name, notes=(f"{where} is of no media file; left out",)))
                continue
            found = pair_events(events, points, where)
            videos += divide_files(found, files, lengths, where)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UsageError(f"{where}: {error!r}; is it complete?") from error
    return merge_videos(videos)


def pair_events(events: Iterable[tuple[float, str, str]], points: set[str], where: str) -> AnnotatedVideo:
    """Return state events as intervals: of the same subject and behavior the first is a start, the next a stop.

    Args:
        events: time in seconds, subject and behavior.
        points: the behaviors without a duration.
        where: the file and the observation, for messages.

    Raises:
        UsageError: a state is never stopped.
    """
    begun: dict[tuple[str, str], float] = {}
    intervals: list[Interval] = []
    left_out = 0
    for time, subject, behavior in sorted(events, key=lambda event: event[0]):
        if behavior in points:
            left_out += 1
            continue
        start = begun.pop((subject, behavior), None)
        if start is None:
            begun[subject, behavior] = time
        elif start < time:
            intervals.append(Interval(start, time, behavior, "" if subject == NO_SUBJECT else subject))
    if begun:
        (_, behavior), start = next(iter(begun.items()))
        raise UsageError(f"{where}: {behavior} starts at {start:g} s and never stops; fix unpaired events in BORIS")
    notes = (f"{where}: {left_out} point events have no duration; left out",) if left_out else ()
    return AnnotatedVideo("", tuple(sorted(intervals, key=lambda i: (i.start, i.end))), notes=notes)


def divide_files(
    found: AnnotatedVideo, files: Sequence[str], lengths: Mapping[str, float], where: str
) -> list[AnnotatedVideo]:
    """Return what was coded in a list of files, by file.

    Raises:
        UsageError: the length of a file is not known.
    """
    if len(files) == 1:
        return [replace(found, file=files[0])]
    videos, begin = [], 0.0
    for place, file in enumerate(files):
        length = lengths.get(file)
        if length is None and place + 1 < len(files):
            raise UsageError(f"{where}: the length of {file} is missing; open the observation in BORIS and save it")
        end = begin + float(length) if length is not None else float("inf")
        parts = tuple(
            replace(i, start=max(i.start, begin) - begin, end=min(i.end, end) - begin)
            for i in found.intervals
            if i.start < end and i.end > begin
        )
        videos.append(AnnotatedVideo(file, parts, notes=found.notes if place == 0 else ()))
        begin = end
    return videos


def merge_videos(videos: Iterable[AnnotatedVideo]) -> list[AnnotatedVideo]:
    """Return one entry for each file, with what several observations say of it."""
    by_file: dict[str, AnnotatedVideo] = {}
    for video in videos:
        old = by_file.get(video.file, AnnotatedVideo(video.file))
        intervals = tuple(sorted((*old.intervals, *video.intervals), key=lambda i: (i.start, i.end)))
        by_file[video.file] = replace(old, intervals=intervals, notes=(*old.notes, *video.notes))
    return list(by_file.values())


def is_boris_events(table: TextTable) -> bool:
    """Return whether a table holds events that BORIS exported, tabular or aggregated."""
    names = {simplify_name(name) for name in table.columns}
    return {"observationid", "behavior"} <= names and (
        {"starts", "stops"} <= names or "time" in names or {"start", "stop"} <= names
    )


def read_boris_events(path: Path) -> list[AnnotatedVideo]:
    """Read tabular or aggregated events.

    Raises:
        UsageError: a time is no number, or a state is never stopped.
    """
    table = read_table(path)
    places = {simplify_name(name): place for place, name in enumerate(table.columns)}
    media = next((places[name] for name in ("mediafilename", "mediafile") if name in places), None)
    by_video: dict[tuple[str, str], list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for line, values in table.rows:
        if any(values):
            observation = values[places["observationid"]]
            by_video[observation, values[media] if media is not None else observation].append((line, values))
    videos = []
    for (_, file), rows in by_video.items():
        read = read_aggregated if "starts" in places or "start" in places else read_tabular
        videos.append(replace(read(path, places, rows), file=file))
    return merge_videos(videos)


def read_aggregated(
    path: Path, places: Mapping[str, int], rows: Iterable[tuple[int, tuple[str, ...]]]
) -> AnnotatedVideo:
    """Read the aggregated events of one video."""
    start_place, stop_place = (places.get(f"{name}s", places.get(name, 0)) for name in ("start", "stop"))
    intervals, points = [], 0
    for line, values in rows:
        where = f"{path}, line {line}"
        if "POINT" in values[places.get("behaviortype", 0)].upper() or not values[stop_place]:
            points += 1
            continue
        start, end = (read_seconds(values[place], where) for place in (start_place, stop_place))
        if not 0 <= start <= end:
            raise UsageError(f"{where}: {start:g} to {end:g} s; expected 0 <= start < end")
        if start < end:
            intervals.append(Interval(start, end, behavior_of(values, places, where), subject_of(values, places)))
    notes = (f"{path}: {points} point events have no duration; left out",) if points else ()
    return AnnotatedVideo("", tuple(intervals), notes=notes)


def read_tabular(path: Path, places: Mapping[str, int], rows: Iterable[tuple[int, tuple[str, ...]]]) -> AnnotatedVideo:
    """Read the tabular events of one video."""
    kind = places.get("behaviortype", places.get("status"))
    events, points = [], set()
    for line, values in rows:
        where = f"{path}, line {line}"
        behavior = behavior_of(values, places, where)
        if kind is not None and "POINT" in values[kind].upper():
            points.add(behavior)
        events.append((read_seconds(values[places["time"]], where), subject_of(values, places), behavior))
    return pair_events(events, points, str(path))


def behavior_of(values: Sequence[str], places: Mapping[str, int], where: str) -> str:
    """Return the behavior of a row.

    Raises:
        UsageError: it is empty.
    """
    if not values[places["behavior"]]:
        raise UsageError(f"{where}: Behavior is empty")
    return values[places["behavior"]]


def subject_of(values: Sequence[str], places: Mapping[str, int]) -> str:
    """Return the subject of a row; "" for none."""
    subject = values[places["subject"]] if "subject" in places else ""
    return "" if subject == NO_SUBJECT else subject


def read_seconds(text: str, where: str) -> float:
    """Return a time in seconds.

    Raises:
        UsageError: it is no number.
    """
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        raise UsageError(f"{where}: the time is {text!r}; expected seconds") from error


def is_binary_table(table: TextTable) -> bool:
    """Return whether a table has a row for each step of time, and 0 or 1 for each behavior."""
    if len(table.columns) < 2 or simplify_name(table.columns[0]) not in ("time", "times") or len(table.rows) < 2:
        return False
    return all(value in ("0", "1", "0.0", "1.0") for _, values in table.rows[:5] for value in values[1:])


def read_binary_table(path: Path) -> list[AnnotatedVideo]:
    """Read the stretches of 1 in each column; a value holds until the next row's time.

    Raises:
        UsageError: a time or value is no number, or times do not ascend.
    """
    table = read_table(path)
    times = [read_seconds(values[0], f"{path}, line {line}") for line, values in table.rows]
    for (line, _), before, time in zip(table.rows[1:], times, times[1:], strict=False):
        if time <= before:
            raise UsageError(f"{path}, line {line}: {time:g} s follows {before:g} s; expected ascending times")
    times.append(2 * times[-1] - times[-2])
    intervals: list[Interval] = []
    for place, label in enumerate(table.columns[1:], 1):
        flags = [read_seconds(values[place], f"{path}, line {line}") > 0 for line, values in table.rows]
        intervals += [Interval(times[start], times[end], label) for start, end in find_runs(flags)]
    return [AnnotatedVideo("", tuple(sorted(intervals, key=lambda i: (i.start, i.end))))]


def write_boris_project(videos: list[AnnotatedVideo]) -> bytes:
    """Return a project with an observation for each video and a state event for each label."""
    labels = sorted({label for video in videos for label in video.labels})
    subjects = sorted({subject for video in videos for subject in video.subjects if subject})
    observations: dict[str, Any] = {}
    for video in videos:
        name = video.file
        length = video.timeline.end if video.timeline else max((i.end for i in video.intervals), default=0.0)
        events = sorted(
            [round(time, 3), interval.subject, interval.label, "", ""]
            for interval in video.intervals
            for time in (interval.start, interval.end)
        )
        observations[name] = {
            "file": {PLAYER: [video.file], **{str(player): [] for player in range(2, 9)}},
            "type": "MEDIA",
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "description": "",
            "time offset": 0.0,
            "events": events,
            "observation time interval": [0, 0],
            "independent_variables": {},
            "media_info": {
                "length": {video.file: length},
                "fps": {video.file: video.timeline.rate if video.timeline else 25.0},
                "hasVideo": {video.file: True},
                "hasAudio": {video.file: False},
                "offset": {PLAYER: 0.0},
            },
        }
    return dump_json(
        {
            "time_format": "hh:mm:ss",
            "project_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "project_name": "liquidvision",
            "project_description": "",
            "project_format_version": "7.0",
            "subjects_conf": {
                str(n): {"key": "", "name": subject, "description": ""} for n, subject in enumerate(subjects)
            },
            "behaviors_conf": {
                str(n): {
                    **{"type": "State event", "key": "", "code": label, "description": "", "color": ""},
                    **{"category": "", "modifiers": "", "excluded": "", "coding map": ""},
                }
                for n, label in enumerate(labels)
            },
            "observations": observations,
            "behavioral_categories": [],
            "independent_variables": {},
            "coding_map": {},
            "behaviors_coding_map": [],
            "converters": {},
        }
    )


def write_boris_aggregated(videos: list[AnnotatedVideo]) -> bytes:
    """Return aggregated events, separated by tabs."""
    rows = []
    for video in videos:
        for i in video.intervals:
            row = dict.fromkeys(AGGREGATED, "")
            row |= {
                "Observation id": video.file,
                "Observation type": "Media file(s)",
                "Source": f"player #1:{video.file}",
            }
            row |= {"Subject": i.subject or NO_SUBJECT, "Behavior": i.label, "Behavior type": "STATE"}
            row |= {"Start (s)": f"{i.start:.3f}", "Stop (s)": f"{i.end:.3f}", "Media file name": video.file}
            row |= {"Duration (s)": f"{i.end - i.start:.3f}", "Time offset (s)": "0"}
            rows.append(row)
    return dump_table(AGGREGATED, rows)


def write_boris_tabular(videos: list[AnnotatedVideo]) -> bytes:
    """Return tabular events, separated by tabs: a row for each start and stop."""
    rows = []
    for video in videos:
        moments = [(i.start, "START", i) for i in video.intervals] + [(i.end, "STOP", i) for i in video.intervals]
        # Where one stops and another starts at the same moment, the stop comes first.
        for time, kind, interval in sorted(moments, key=lambda m: (m[0], m[1] == "START")):
            row = dict.fromkeys(TABULAR, "")
            row |= {
                "Observation id": video.file,
                "Observation type": "Media file(s)",
                "Source": f"player #1:{video.file}",
            }
            row |= {"Subject": interval.subject or NO_SUBJECT, "Behavior": interval.label, "Behavior type": kind}
            row |= {"Time": f"{time:.3f}", "Media file name": video.file, "Time offset (s)": "0"}
            rows.append(row)
    return dump_table(TABULAR, rows)


def write_binary_table(video: AnnotatedVideo) -> bytes:
    """Return a binary table with a row for each frame's time."""
    assert video.timeline is not None
    table = [dict.fromkeys(("time", *video.labels), "0") for _ in video.timeline.times]
    for row, time in zip(table, video.timeline.times, strict=True):
        row["time"] = f"{time:.6f}"
    for interval in video.frame_intervals:
        for row in table[interval.start : interval.end]:
            row[interval.label] = "1"
    return dump_table(("time", *video.labels), table)


def dump_table(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return a table separated by tabs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
