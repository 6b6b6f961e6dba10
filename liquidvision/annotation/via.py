"""Projects of the VGG Image Annotator, version 3 (VIA 3): temporal segments, in seconds.

Format: https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/CodeDoc.md
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.documents import dump_json, read_json
from liquidvision.annotation.interval import Interval, make_interval
from liquidvision.errors import UsageError

SEGMENT = "FILE1_Z2_XY0"  # the anchor of an attribute of temporal segments
SELECT = 4  # the type of an attribute with a list of choices


def read_via(path: Path) -> list[AnnotatedVideo]:
    """Read the temporal segments of a project. The label is the value of the first attribute that is set.

    Raises:
        UsageError: it is no project of VIA 3, or a segment is broken.
    """
    project = read_json(path)
    try:
        files = {str(key): str(entry["fname"]) for key, entry in project["file"].items()}
        views = {str(key): str(view["fid_list"][0]) for key, view in project["view"].items()}
        attributes, entries = project["attribute"], project["metadata"]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{path} is no project of VIA 3: {error!r}; is it complete?") from error
    intervals: dict[str, list[Interval]] = {file: [] for file in files}
    pictures = 0
    for name, entry in entries.items():
        where = f"{path}, metadata {name}"
        try:
            times, file = entry.get("z") or [], views[str(entry["vid"])]
            if len(times) != 2:
                pictures += 1  # a region of a frame, or what is true of the whole file
                continue
            label = find_label(entry.get("av") or {}, attributes)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{where}: {error!r}; expected a temporal segment") from error
        if not label:
            raise UsageError(f"{where} has no label; set one in VIA")
        intervals[file].append(make_interval(times[0], times[1], label, where))
    notes = (f"{path}: {pictures} regions that are no temporal segments were left out",) if pictures else ()
    return [
        AnnotatedVideo(name, tuple(intervals[file]), notes=notes if place == 0 else ())
        for place, (file, name) in enumerate(files.items())
    ]


def find_label(values: Mapping[str, str], attributes: Mapping[str, Any]) -> str:
    """Return the first value that is set; of a choice, its text."""
    for key, value in values.items():
        text = str(attributes.get(key, {}).get("options", {}).get(str(value), value)).strip()
        if text and text != "_DEFAULT":
            return text
    return ""


def write_via(videos: list[AnnotatedVideo]) -> bytes:
    """Return a project with a choice of labels."""
    labels = sorted({label for video in videos for label in video.labels})
    options = {str(number): label for number, label in enumerate(labels)}
    choice = {label: number for number, label in options.items()}
    numbers = [str(number) for number in range(1, len(videos) + 1)]
    metadata = {
        f"{number}_{place}": {
            "vid": number,
            "flg": 0,
            "z": [round(interval.start, 6), round(interval.end, 6)],
            "xy": [],
            "av": {"1": choice[interval.label]},
        }
        for number, video in zip(numbers, videos, strict=True)
        for place, interval in enumerate(video.intervals)
    }
    attribute = {
        "aname": "label",
        "anchor_id": SEGMENT,
        "type": SELECT,
        "desc": "",
        "options": options,
        "default_option_id": "",
    }
    return dump_json(
        {
            "project": {
                "pid": "__VIA_PROJECT_ID__",
                "rev": "__VIA_PROJECT_REV_ID__",
                "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
                "pname": "liquidvision",
                "creator": "liquidvision",
                "created": 0,
                "data_format_version": "3.1.1",
                "vid_list": numbers,
            },
            "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
            "attribute": {"1": attribute},
            "file": {
                number: {"fid": number, "fname": video.file, "type": 4, "loc": 1, "src": video.file}
                for number, video in zip(numbers, videos, strict=True)
            },
            "metadata": metadata,
            "view": {number: {"fid_list": [number]} for number in numbers},
        }
    )
