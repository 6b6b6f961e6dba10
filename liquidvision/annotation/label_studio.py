"""Label Studio's JSON: TimelineLabels and VideoRectangle, in frames from 1; labels of sound regions, in seconds.

Format: https://labelstud.io/guide/export and https://labelstud.io/tags/timelinelabels
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.documents import dump_json, read_json
from liquidvision.annotation.interval import FrameInterval, Interval, make_interval
from liquidvision.errors import UsageError

VIDEO_ENDING = re.compile(r"\.[A-Za-z0-9]{2,5}$")


def read_label_studio(path: Path) -> list[AnnotatedVideo]:
    """Read the tasks of an export. Of a task with several annotations the newest counts, and cancelled ones do not.

    Raises:
        UsageError: it is no export of Label Studio, or a region has no frames.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list):
        tasks = [tasks]
    videos = []
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {task.get('id', number) if isinstance(task, dict) else number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise UsageError(f'{where} has no "data"; expected an export of Label Studio as JSON')
        done = [a for a in task.get("annotations") or [] if isinstance(a, dict) and not a.get("was_cancelled")]
        notes = [] if done else [f"{where} has no annotation; left out"]
        if len(done) > 1:
            notes.append(f"{where} has {len(done)} annotations; the newest is read")
        seconds: list[Interval] = []
        frames: list[FrameInterval] = []
        regions = max(done, key=lambda a: str(a.get("updated_at", ""))).get("result") or [] if done else []
        for region in regions:
            try:
                read_region(region, seconds, frames, where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UsageError(f"{where}, region {_region_id(region)}: {error!r}; is the export complete?") from error
        if done or len(tasks) == 1:
            videos.append(AnnotatedVideo(task_video(task), tuple(seconds), tuple(frames), tuple(notes)))
        elif videos:
            videos[-1] = AnnotatedVideo(
                videos[-1].file, videos[-1].intervals, videos[-1].frame_intervals, (*videos[-1].notes, *notes)
            )
    return videos


def read_region(region: Mapping[str, Any], seconds: list[Interval], frames: list[FrameInterval], where: str) -> None:
    """Add the intervals of a region to `seconds` or `frames`."""
    value, kind = region["value"], region.get("type", "")
    if kind == "timelinelabels":
        for label in value["timelinelabels"]:
            for stretch in value["ranges"]:
                start, end = int(stretch["start"]), int(stretch["end"])
                if not 1 <= start <= end:
                    raise UsageError(f"{where}: a region goes from frame {start} to {end}; expected 1 <= start <= end")
                frames.append(FrameInterval(start - 1, end, label))
    elif kind == "videorectangle":
        for label in value.get("labels") or []:
            frames += [FrameInterval(start, end, label) for start, end in rectangle_runs(value)]
    elif kind == "labels" and "start" in value and "end" in value:
        seconds += [make_interval(value["start"], value["end"], label, where) for label in value["labels"]]


def rectangle_runs(value: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the stretches in which a rectangle is enabled, in frames from 0, the end exclusive."""
    runs, start = [], None
    sequence = sorted(value["sequence"], key=lambda point: point["frame"])
    for point in sequence:
        frame = int(point["frame"]) - 1
        if start is None:
            start = frame
        if not point.get("enabled", True):  # the last frame of the stretch
            runs.append((start, frame + 1))
            start = None
    if start is not None:
        runs.append((start, max(int(value.get("framesCount") or 0), int(sequence[-1]["frame"]))))
    return runs


def task_video(task: Mapping[str, Any]) -> str:
    """Return the video of a task, without the prefixes of uploads."""
    data = task["data"]
    url = str(data.get("video") or next((v for v in data.values() if VIDEO_ENDING.search(str(v))), ""))
    parsed = urlparse(url)
    if local := parse_qs(parsed.query).get("d"):  # /data/local-files/?d=folder/clip.mp4
        return local[0]
    name = unquote(parsed.path)
    if "/upload/" in name:  # an upload is named after eight letters of its content
        return re.sub(r"^[0-9a-f]{8}-", "", name.rsplit("/", 1)[-1])
    return name.lstrip("/") if parsed.scheme in ("http", "https", "s3", "gs") else url


def write_label_studio(videos: list[AnnotatedVideo]) -> bytes:
    """Return tasks with an annotation each, as Label Studio imports them."""
    tasks = []
    for number, video in enumerate(videos, 1):
        regions = [
            {
                "id": f"interval-{place}",
                "type": "timelinelabels",
                "from_name": "timeline",
                "to_name": "video",
                "value": {"ranges": [{"start": i.start + 1, "end": i.end}], "timelinelabels": [i.label]},
            }
            for place, i in enumerate(video.frame_intervals, 1)
        ]
        tasks.append({"id": number, "data": {"video": video.file}, "annotations": [{"result": regions}]})
    return dump_json(tasks)


def _region_id(region: Any) -> Any:
    return region.get("id") if isinstance(region, dict) else region
