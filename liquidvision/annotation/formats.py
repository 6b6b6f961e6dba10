"""The formats of annotations: which file has which, and how each is read and written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liquidvision.annotation import (
    boris,
    cvat,
    edl,
    elan,
    frame_table,
    interval_table,
    json_lists,
    label_studio,
    label_track,
    subtitles,
    textgrid,
    via,
)
from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.documents import read_bytes, read_json
from liquidvision.annotation.tables import TextTable, read_table
from liquidvision.errors import UsageError

Reader = Callable[[Path], list[AnnotatedVideo]]
OneWriter = Callable[[AnnotatedVideo], bytes]
ManyWriter = Callable[[list[AnnotatedVideo]], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of annotations.

    Attributes:
        name: as `convert --from` and `--to` take it.
        title: as people call it.
        ending: of its files.
        read: reads a file; None if the format is only written, or is read by `read_dataset`.
        write_one: writes one video; None if one file holds several videos.
        write_many: writes several videos; None if a file holds one.
        in_frames: whether it counts frames, and not seconds.
        subjects: whether it holds subjects.
        needs_video: whether its writer must know the frames of the video.
    """

    name: str
    title: str
    ending: str
    read: Reader | None = None
    write_one: OneWriter | None = None
    write_many: ManyWriter | None = None
    in_frames: bool = False
    subjects: bool = False
    needs_video: bool = False


CSV = Format("csv", "CSV of intervals", ".csv", write_many=interval_table.write_interval_table, subjects=True)
JSON_LINES = Format(
    *("jsonl", "JSON lines", ".jsonl"),
    read=json_lists.read_json_lines,
    write_many=json_lists.write_json_lines,
    subjects=True,
)
BORIS = Format(
    *("boris", "BORIS project", ".boris"),
    read=boris.read_boris_project,
    write_many=boris.write_boris_project,
    subjects=True,
)
BORIS_TABULAR = Format(
    *("boris-tabular", "BORIS tabular events", ".tsv"),
    read=boris.read_boris_events,
    write_many=boris.write_boris_tabular,
    subjects=True,
)
BORIS_AGGREGATED = Format(
    *("boris-aggregated", "BORIS aggregated events", ".tsv"),
    read=boris.read_boris_events,
    write_many=boris.write_boris_aggregated,
    subjects=True,
)
BORIS_BINARY = Format(
    *("boris-binary", "BORIS binary table", ".tsv"),
    read=boris.read_binary_table,
    write_one=boris.write_binary_table,
    in_frames=True,
    needs_video=True,
)
ELAN = Format("elan", "ELAN", ".eaf", read=elan.read_elan, write_one=elan.write_elan, subjects=True)
TEXTGRID = Format(
    *("textgrid", "Praat TextGrid", ".TextGrid"),
    read=textgrid.read_textgrid,
    write_one=textgrid.write_textgrid,
    subjects=True,
)
AUDACITY = Format(
    *("audacity", "Audacity labels", ".txt"),
    read=label_track.read_label_track,
    write_one=label_track.write_label_track,
)
WEBVTT = Format(
    *("webvtt", "WebVTT", ".vtt"), read=subtitles.read_webvtt, write_one=subtitles.write_webvtt, subjects=True
)
SRT = Format("srt", "SubRip", ".srt", read=subtitles.read_subrip, write_one=subtitles.write_subrip)
CVAT = Format(
    *("cvat", "CVAT for video 1.1", ".xml"),
    read=cvat.read_cvat,
    write_one=cvat.write_cvat,
    in_frames=True,
    needs_video=True,
)
LABEL_STUDIO = Format(
    *("label-studio", "Label Studio", ".json"),
    read=label_studio.read_label_studio,
    write_many=label_studio.write_label_studio,
    in_frames=True,
    needs_video=True,
)
VIA = Format("via", "VIA 3", ".json", read=via.read_via, write_many=via.write_via)
FRAME_TABLE = Format(
    *("frame-table", "table of 0 and 1 for each frame", ".csv"),
    read=frame_table.read_frame_table,
    write_one=frame_table.write_frame_table,
    in_frames=True,
    needs_video=True,
)
ACTIVITYNET = Format("activitynet", "ActivityNet", ".json", write_many=json_lists.write_activitynet)
CREATE_ML = Format(
    *("create-ml", "Create ML", ".json"), read=json_lists.read_create_ml, write_many=json_lists.write_create_ml
)
EDL = Format("edl", "edit decision list", ".edl", write_one=edl.write_edl, needs_video=True)

FORMATS = {
    found.name: found
    for found in (
        *(CSV, JSON_LINES, BORIS, BORIS_TABULAR, BORIS_AGGREGATED, BORIS_BINARY, ELAN, TEXTGRID, AUDACITY, WEBVTT),
        *(SRT, CVAT, LABEL_STUDIO, VIA, FRAME_TABLE, ACTIVITYNET, CREATE_ML, EDL),
    )
}
# What an ending means. Tables and JSON are recognised by what they hold when read; these are written by default.
BY_ENDING = {
    found.ending.lower(): found
    for found in (CSV, JSON_LINES, BORIS, ELAN, TEXTGRID, AUDACITY, WEBVTT, SRT, CVAT, ACTIVITYNET, EDL)
}
ARCHIVE = ".zip"  # as CVAT exports
TABLE_ENDINGS = (".csv", ".tsv")
READ_ENDINGS = (*(e for e, found in BY_ENDING.items() if found is not EDL), ".tsv", ARCHIVE)


def format_named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in FORMATS:
        raise UsageError(f"no format {name}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def format_to_write(path: Path) -> Format:
    """Return the format that a file's ending stands for.

    Raises:
        UsageError: the ending stands for none, or for several.
    """
    found = BY_ENDING.get(path.suffix.lower())
    if found is None:
        several = [name for name, other in FORMATS.items() if other.ending == path.suffix.lower()]
        names = several or list(FORMATS)
        raise UsageError(f"{path} could be in several formats; choose one with --to, of {', '.join(names)}")
    return found


def recognise_format(path: Path) -> Format:
    """Return the format of a file, by its ending and what it holds.

    Raises:
        UsageError: it cannot be read, or is in no format that is read.
    """
    ending = path.suffix.lower()
    if ending in TABLE_ENDINGS:
        return recognise_table(read_table(path))
    if ending == ".json":
        return recognise_json(path, read_json(path))
    if ending == ARCHIVE:
        return CVAT
    found = BY_ENDING.get(ending)
    if found is None or (found.read is None and found is not CSV):
        raise UsageError(f"{path} is in no format that is read; expected one of {', '.join(sorted(READ_ENDINGS))}")
    if found is CVAT and b"<ANNOTATION_DOCUMENT" in read_bytes(path)[:1000]:
        return ELAN
    return found


def recognise_table(table: TextTable) -> Format:
    """Return the format of a table."""
    if boris.is_boris_events(table):
        return BORIS_AGGREGATED if any("stop" in name.lower() for name in table.columns) else BORIS_TABULAR
    if boris.is_binary_table(table):
        return BORIS_BINARY
    return FRAME_TABLE if frame_table.is_frame_table(table) else CSV


def recognise_json(path: Path, document: Any) -> Format:
    """Return the format of a JSON document.

    Raises:
        UsageError: it is none that is known.
    """
    if isinstance(document, dict):
        keys = set(document)
        for wanted, found in (
            ({"database"}, ACTIVITYNET),
            ({"metadata", "view", "file"}, VIA),
            ({"observations", "behaviors_conf"}, BORIS),
            ({"data", "annotations"}, LABEL_STUDIO),
        ):
            if wanted <= keys:
                return found
    elif isinstance(document, list) and all(isinstance(entry, dict) for entry in document):
        return LABEL_STUDIO if document and "data" in document[0] else CREATE_ML
    raise UsageError(
        f"{path} is in no JSON format that is known; expected ActivityNet, VIA 3, BORIS, Label Studio or Create ML"
    )


def lost_in(found: Format, videos: Iterable[AnnotatedVideo]) -> list[str]:
    """Return what a format cannot hold of annotations, for the person who converts them."""
    videos = list(videos)
    notes = []
    if not found.subjects and any(subject for video in videos for subject in video.subjects):
        notes.append(f"{found.title} holds no subjects; they were left out")
    if found is CSV and any(len(video.subjects) > 1 for video in videos):
        notes.append("a CSV holds one group for each file; files with several subjects have none")
    return notes
