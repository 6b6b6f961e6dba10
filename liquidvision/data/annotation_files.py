"""Annotations made in other tools: finds their videos, and turns them into clips."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.formats import READ_ENDINGS, TABLE_ENDINGS, recognise_format
from liquidvision.annotation.frame_table import video_stem
from liquidvision.data.dataset import Clip
from liquidvision.errors import UsageError
from liquidvision.video.read.listing import list_videos


def find_annotation_files(folder: Path) -> list[Path]:
    """Return the files of annotations in a folder, sorted: by their endings, tables and JSON by what they hold."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in READ_ENDINGS or path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in (*TABLE_ENDINGS, ".json", ".txt"):
            try:
                recognise_format(path)
            except UsageError:
                continue  # a table or list of something else
        found.append(path)
    return found


def read_annotation_clips(
    files: Sequence[Path], root: Path, *, pictures: bool = False
) -> tuple[list[Clip], bool, list[str]]:
    """Read files of annotations as clips.

    Args:
        files: in any format that `recognise_format` knows and that has a reader.
        root: the folder that names are relative to.
        pictures: whether folders of pictures are videos, too.

    Returns:
        The clips, whether they have groups, and notes. The group of a file is its subject, where each file has one
        and not all have the same.

    Raises:
        UsageError: a file is broken, a video is not found, or is annotated twice.
    """
    clips: dict[str, Clip] = {}
    notes: list[str] = []
    annotated_in: dict[str, Path] = {}
    subjects: list[tuple[str, ...]] = []
    for file in files:
        read = recognise_format(file).read
        assert read is not None
        for video in read(file):
            notes += video.notes
            if not (video.intervals or video.frame_intervals or video.file):
                continue
            path = find_video(video.file, file, pictures=pictures)
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
            if name in clips:
                raise UsageError(
                    f"{name} is annotated twice, in {annotated_in[name]} and {file}; expected one file for each video"
                )
            annotated_in[name] = file
            subjects.append(video.subjects)
            group = video.subjects[0] if len(video.subjects) == 1 and video.subjects[0] else name
            clips[name] = Clip(path, name, group, None, video.intervals, video.frame_intervals)
    grouped = all(len(own) == 1 and own[0] for own in subjects) and len(set(subjects)) > 1
    if not grouped:
        clips = {name: Clip(c.path, name, name, None, c.intervals, c.frame_intervals) for name, c in clips.items()}
    return list(clips.values()), grouped, notes


def find_video(named: str, annotations: Path, *, pictures: bool = False) -> Path:
    """Return the video of a file of annotations; the path may not exist if the annotations name it.

    A name of another machine is looked for beside the annotations, by its last part, and by its stem.

    Args:
        named: the video as the annotations name it; "" if they do not.
        annotations: the file of annotations.
        pictures: whether folders of pictures are videos, too.

    Raises:
        UsageError: the annotations name no video and none beside them has their name, or several fit.
    """
    folder = annotations.parent
    last = PureWindowsPath(named).name  # the last part with either slash
    for candidate in (folder / named, folder / named.replace("\\", "/"), folder / last) if named else ():
        if candidate.is_file() or (pictures and named and candidate.is_dir()):
            return candidate
    videos = list_videos(folder, deep=True, pictures=pictures)
    stems = {Path(last).stem, last} if named else {annotations.stem, video_stem(annotations)}
    found = [video for video in videos if video.name == last] or [v for v in videos if v.stem in stems]
    if len(found) > 1:
        raise UsageError(f"{annotations}: {found[0]} and {found[1]} have the name of its video; expected one")
    if not found and not named:
        raise UsageError(f"{annotations} names no video, and none beside it is named {annotations.stem}; put it there")
    return found[0] if found else folder / last


def clip_annotations(clip: Clip) -> AnnotatedVideo:
    """Return a clip's intervals as annotations; its group is their subject."""
    subject = "" if clip.group == clip.name else clip.group
    return AnnotatedVideo(
        clip.name,
        tuple(replace(interval, subject=subject) for interval in clip.intervals),
        tuple(replace(interval, subject=subject) for interval in clip.frame_intervals),
    )
