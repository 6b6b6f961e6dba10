"""run_convert(): turn annotations of one tool into those of another."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from liquidvision.annotation.annotated import AnnotatedVideo, Timeline, to_frames, to_seconds
from liquidvision.annotation.formats import (
    ACTIVITYNET,
    CSV,
    Format,
    format_named,
    format_to_write,
    lost_in,
    recognise_format,
)
from liquidvision.annotation.interval import Interval
from liquidvision.data.annotation_files import clip_annotations, find_annotation_files, find_video
from liquidvision.data.dataset import Clip
from liquidvision.data.formats import read_activitynet_clips, read_csv_clips
from liquidvision.data.frame_times import read_frame_times
from liquidvision.errors import UsageError
from liquidvision.files import write_all_atomic
from liquidvision.video.read.open import open_video
from liquidvision.workflows.io_paths import refuse_overwriting
from liquidvision.workflows.jobs import ConvertJob
from liquidvision.workflows.progress import ProgressListener


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a run of `convert` wrote.

    Attributes:
        files: the files, in order.
        title: the format, as people call it.
        videos: number of annotated videos.
        intervals: number of intervals.
    """

    files: tuple[Path, ...]
    title: str
    videos: int
    intervals: int


def run_convert(job: ConvertJob, listener: ProgressListener | None = None) -> Conversion:
    """Run a conversion; notes on what was left out go to the listener as warnings.

    Raises:
        UsageError: the source is broken or in no known format, a video is needed and not found, or an output exists.
        SourceError: a video cannot be read.
    """
    listener = listener or ProgressListener()
    target = format_named(job.to_format) if job.to_format else format_to_write(job.out)
    if target.write_one is None and target.write_many is None:
        raise UsageError(f"{target.name} is only read; choose another format with --to")
    if not job.source.exists():
        raise UsageError(f"no such file or folder: {job.source}")
    sources = find_annotation_files(job.source) if job.source.is_dir() else [job.source]
    if not sources:
        raise UsageError(f"{job.source} holds no files of annotations")
    found = [
        (source, video)
        for source in sources
        for video in read_annotations(source, format_named(job.from_format) if job.from_format else None)
    ]
    if job.video is not None and not job.video.is_dir() and len(found) > 1:
        raise UsageError(f"{job.source} annotates {len(found)} videos; expected --video to be the folder of them")
    videos = []
    for number, (source, video) in enumerate(found):
        listener.progress("reading", number, len(found), video.file or source.name)
        videos.append(prepare(video, source, target, job))
    for note in (*(note for video in videos for note in video.notes), *lost_in(target, videos)):
        listener.warning(note)
    files = encode(videos, target, job)
    for path in files:
        refuse_overwriting(path, exist_ok=job.exist_ok)
        path.parent.mkdir(parents=True, exist_ok=True)
    write_all_atomic(files)
    return Conversion(
        tuple(files), target.title, len(videos), sum(len(v.frame_intervals or v.intervals) for v in videos)
    )


def read_annotations(path: Path, found: Format | None) -> list[AnnotatedVideo]:
    """Read a file of annotations in a format, or in the one that its content shows.

    Raises:
        UsageError: the file is broken, or the format is only written.
    """
    found = found or recognise_format(path)
    if found is CSV:
        clips, columns = read_csv_clips(path)
        unused = tuple(f"{path}: not read: the column {name}" for name in columns.unused)
        return add_notes([whole_file(clip) for clip in clips], unused)
    if found is ACTIVITYNET:
        clips, notes = read_activitynet_clips(path)
        return add_notes([clip_annotations(clip) for clip in clips], notes)
    if found.read is None:
        raise UsageError(f"{found.name} is only written; choose another format with --from")
    return found.read(path)


def whole_file(clip: Clip) -> AnnotatedVideo:
    """Return a clip's annotations; a label of the whole file is an interval without an end."""
    video = clip_annotations(clip)
    if clip.label is None:
        return video
    return replace(
        video, intervals=(Interval(0.0, float("inf"), clip.label, "" if clip.group == clip.name else clip.group),)
    )


def add_notes(videos: list[AnnotatedVideo], notes: Sequence[str]) -> list[AnnotatedVideo]:
    """Return videos with notes on all of them."""
    return [replace(videos[0], notes=tuple(notes)), *videos[1:]] if videos else videos


def prepare(video: AnnotatedVideo, source: Path, target: Format, job: ConvertJob) -> AnnotatedVideo:
    """Return annotations in the unit of a format, with the name that the video has beside the output.

    Raises:
        UsageError: the frames' times are needed, and the video is not found.
        SourceError: the video cannot be read.
    """
    path = find_video_of(video, source, job.video)
    endless = any(interval.end == float("inf") for interval in video.intervals)
    converts = bool(video.intervals) if target.in_frames else bool(video.frame_intervals)
    timeline = None
    if target.needs_video or converts or endless:
        if path is None or not path.is_file():
            named = video.file or source.stem
            why = f"{target.title} needs its frames" if target.needs_video else "its frames' times are needed"
            raise UsageError(f"{source}: the video {named} is not found, and {why}; give it with --video")
        timeline = read_timeline(path)
    name = video.file or source.stem
    if path is not None and path.is_file():
        folder = job.out if target.write_one and is_folder(job.out) else job.out.parent
        name = Path(os.path.relpath(path, folder)).as_posix()
    intervals, frames = video.intervals, video.frame_intervals
    if timeline is not None:
        intervals = tuple(replace(i, end=min(i.end, timeline.end)) for i in intervals)
        if target.in_frames:
            frames, intervals = (*frames, *to_frames(intervals, timeline)), ()
        else:
            intervals, frames = (*intervals, *to_seconds(frames, timeline)), ()
    intervals = tuple(sorted(intervals, key=lambda i: (i.start, i.end, i.label)))
    frames = tuple(sorted(frames, key=lambda i: (i.start, i.end, i.label)))
    return replace(video, file=name, intervals=intervals, frame_intervals=frames, timeline=timeline)


def find_video_of(video: AnnotatedVideo, source: Path, given: Path | None) -> Path | None:
    """Return the video of annotations; None if they name none and none is found."""
    if given is not None and not given.is_dir():
        if not given.is_file():
            raise UsageError(f"no such video: {given}")
        return given
    if given is not None:
        return find_video(PureWindowsPath(video.file).name, given / source.name)
    if video.file:
        return find_video(video.file, source)
    try:
        return find_video("", source)
    except UsageError:
        return None


def read_timeline(path: Path) -> Timeline:
    """Decode a video to its end and return the times of its frames.

    Raises:
        SourceError: it cannot be read.
    """
    frames = read_frame_times(path)
    with open_video(path) as reader:
        width, height = reader.info.width, reader.info.height
    return Timeline(frames.times.tolist(), frames.end, width, height)


def encode(videos: list[AnnotatedVideo], target: Format, job: ConvertJob) -> dict[Path, bytes]:
    """Return the content of each file to write.

    Raises:
        UsageError: a format of one video is asked to hold several.
    """
    if target.write_many is not None:
        path = job.out / f"{job.source.stem}{target.ending}" if is_folder(job.out) else job.out
        return {path: target.write_many(videos)}
    assert target.write_one is not None
    if not is_folder(job.out):
        if len(videos) > 1:
            raise UsageError(
                f"{target.title} holds one video, and there are {len(videos)}; expected a folder as output"
            )
        return {job.out: target.write_one(videos[0])}
    files: dict[Path, bytes] = {}
    for video in videos:
        path = job.out / f"{Path(video.file).stem}{target.ending}"
        if path in files:
            raise UsageError(f"two videos would be written to {path}; convert them apart")
        files[path] = target.write_one(video)
    return files


def is_folder(path: Path) -> bool:
    """Return whether an output is a folder: it is one already, or has no ending."""
    return path.is_dir() or not path.suffix
