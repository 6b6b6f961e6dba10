"""embed(): the embeddings of videos with their times; and the job that fills the cache ahead of training."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from liquidvision.data.clip_embedder import ClipEmbedder
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import EXAMPLES_INDEX, find_videos, read_dataset
from liquidvision.data.views import PLAIN_VIEW, make_view, parse_views
from liquidvision.errors import SourceError, UsageError
from liquidvision.models.backbone import Backbone
from liquidvision.models.model import Model
from liquidvision.video.read.file_options import FileOptions
from liquidvision.video.read.names import check_rate, names_pictures
from liquidvision.workflows.backbone_options import load_backbone
from liquidvision.workflows.io_paths import expand_sources, output_stem
from liquidvision.workflows.jobs import ExtractJob
from liquidvision.workflows.prepare_clips import embedding_threads
from liquidvision.workflows.progress import ProgressListener

DEFAULT_BACKBONE = "mobilenet_v2"


def embed(
    source: str | Path,
    backbone: Model | Backbone | str | Path = DEFAULT_BACKBONE,
    *,
    view: str = PLAIN_VIEW,
    vid_stride: int = 1,
    rate: float | None = None,
    deinterlace: str = "auto",
    max_frames: int | None = None,
    cache: str | Path | bool = False,
    device: str = "auto",
    listener: ProgressListener | None = None,
) -> ClipEmbeddings | dict[Path, ClipEmbeddings]:
    """Return the embeddings of a video, or of each video of a folder or dataset, with the times of their frames.

    Args:
        source: a video file; a folder of videos at any depth, or annotated data (a CSV or JSON, see `train`); or a
            folder or pattern of pictures.
        backbone: a model or backbone, loaded, or its name: a bundled model, a model folder, or a torchvision
            classifier, whose ImageNet weights are downloaded at first use.
        view: what each frame looks like: plain, mirror, crop:SEED, light:SEED, noise:SIGMA, blur:PERCENT or dark:GAIN.
        vid_stride: use every Nth frame; the frames keep their times.
        rate: pictures per second of folders and patterns of pictures.
        deinterlace: see `open_video`.
        max_frames: use at most the first N of these frames; None: all.
        cache: True: read from and write to the cache that `train` uses. A path: use that folder. False: no cache.
        device: auto, cpu, cuda, mps or openvino; a loaded model or backbone stays where it is.
        listener: receives progress, and a warning for each video of several that cannot be read. None: warnings are
            logged.

    Returns:
        For a video file: `.embeddings`, (n, d) float32 on the CPU, and `.times`, (n,) seconds from the file's
        beginning. For a folder or dataset: the same by path; unreadable videos are left out.

    Raises:
        UsageError: a source, view or option that cannot be used.
        SourceError: the video, or every video of a folder, cannot be read.
        SinkError: the cache cannot be written.
        WeightsError, ModelError: the backbone cannot be loaded.

    Examples:
        >>> clip = lv.embed("clip.mp4", "objects")
        >>> clip.embeddings.shape, clip.times[:3]
        >>> for path, clip in lv.embed("clips/", "objects", cache=True).items():
        ...     print(path.name, len(clip.times))
    """
    listener = listener or ProgressListener()
    make_view(view)  # an unknown view is refused before anything is loaded
    files = FileOptions(rate, deinterlace)
    paths = collect_videos([str(source)], rate)
    single = paths == [Path(source)]
    if isinstance(backbone, Model):
        backbone = backbone.backbone
    elif not isinstance(backbone, Backbone):
        backbone = load_backbone(str(backbone), None, None, None, device)
    compute = choose_cache(backbone, cache, vid_stride, max_frames, files)
    found: dict[Path, ClipEmbeddings] = {}
    listener.progress("embedding", 0, len(paths))
    with embedding_threads():
        for done, path in enumerate(paths, 1):
            try:
                found[path] = compute(path, view)
            except SourceError as error:
                if len(paths) == 1:
                    raise
                listener.warning(f"left out {path}: {error}")
            listener.progress("embedding", done, len(paths), path.name)
    if not found:
        raise SourceError(f"none of the {len(paths)} videos of {source} can be read")
    return found[paths[0]] if single else found


def choose_cache(
    backbone: Backbone, cache: str | Path | bool, stride: int, max_frames: int | None, files: FileOptions
) -> Callable[[Path, str], ClipEmbeddings]:
    """Return the function that embeds a video in a view, with or without a cache; see `embed`."""
    if cache is not False:
        folder = None if cache is True else cache
        return EmbeddingStore(backbone, folder=folder, stride=stride, max_frames=max_frames, files=files).get
    embedder = ClipEmbedder(backbone, stride=stride, max_frames=max_frames, files=files)
    return lambda path, view: embedder.embed(path, [view])[0]


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """The result of `run_extract`.

    Attributes:
        folder: where the embeddings are kept.
        videos: number of videos, also of those that cannot be read.
        views: the views of each video.
        frames: number of pictures embedded now.
        done: number of videos times views that are in the cache.
        new: how many of these were embedded now.
        seconds: that it took.
        failed: the videos that cannot be read, with their errors.
    """

    folder: Path
    videos: int
    views: tuple[str, ...]
    frames: int
    done: int
    new: int
    seconds: float
    failed: dict[Path, SourceError]


def run_extract(job: ExtractJob, listener: ProgressListener | None = None) -> ExtractResult:
    """Embed videos and keep the result, so that later trainings and evaluations start at once.

    What is in the cache already is not embedded again, so a run that was interrupted can be repeated. Videos that
    cannot be read are skipped.

    Raises:
        UsageError: sources, views or options that cannot be used.
        SinkError: the cache cannot be written.
        WeightsError, ModelError: the backbone cannot be loaded.
    """
    listener = listener or ProgressListener()
    if job.model is not None and any(
        option is not None for option in (job.backbone, job.weights, job.features, job.motion_crop)
    ):
        raise UsageError(
            "--model has a backbone of its own; leave out --backbone, --weights, --features and --motion-crop"
        )
    views = parse_views(job.views)  # an unknown view is refused before anything is loaded
    files = FileOptions(job.rate, job.deinterlace)
    paths = collect_videos(job.sources, job.rate)
    with embedding_threads():
        if job.model is not None:
            backbone = Model.from_pretrained(job.model, device=job.device).backbone
        else:
            name = job.backbone or DEFAULT_BACKBONE
            backbone = load_backbone(name, job.weights, job.features, job.motion_crop, job.device)
        store = EmbeddingStore(backbone, folder=job.cache, stride=job.vid_stride, files=files)
        return fill_store(store, paths, views, listener)


def fill_store(
    store: EmbeddingStore, paths: Sequence[Path], views: tuple[str, ...], listener: ProgressListener
) -> ExtractResult:
    """Embed what is not in the store yet, and report the progress frame by frame."""
    frames = new = done = 0
    total, started = len(paths) * len(views), time.perf_counter()

    def report() -> None:
        rate = frames / max(1e-9, time.perf_counter() - started)
        listener.progress("embedding", done, total, f"{frames} frames · {rate:.0f} frames/s")

    def on_frame() -> None:
        nonlocal frames
        frames += 1
        report()

    def on_video(path: Path, view: str, embedded: bool) -> None:
        nonlocal done, new
        done, new = done + 1, new + embedded
        report()

    report()
    failed = store.fill(paths, views, on_frame=on_frame, on_video=on_video)
    seconds = time.perf_counter() - started
    return ExtractResult(store.folder, len(paths), views, frames, done, new, seconds, failed)


def collect_videos(sources: Sequence[str], rate: float | None) -> list[Path]:
    """Return the files that the sources stand for: the clips of annotated data, the videos of a folder at any depth.

    Args:
        sources: the arguments.
        rate: pictures per second; with it, folders and patterns of pictures are videos too.

    Raises:
        UsageError: a URL, a folder without videos, annotations that cannot be read, see `read_dataset`, pictures
            without a rate, or a rate without pictures.
        SourceError: a folder cannot be read.
    """
    paths: list[Path] = []
    pictures = rate is not None
    for source in sources:
        path = Path(source)
        if path.suffix.lower() in (".csv", ".tsv", ".json") or os.path.isfile(path / EXAMPLES_INDEX):
            paths += [clip.path for clip in read_dataset(path, pictures=pictures).clips]
        elif os.path.isdir(path):
            try:
                videos = find_videos(path, pictures=pictures) or ([path] if names_pictures(path) else [])
            except OSError as error:
                raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
            if not videos:
                raise UsageError(f"{path} holds no videos; expected some in it, or in class folders")
            paths += videos
        else:
            for name in expand_sources([source], pictures=pictures):
                if "://" in name:
                    raise UsageError(f"{output_stem(name)} is a URL; only files can be embedded ahead")
                paths.append(Path(name))
    paths = list(dict.fromkeys(paths))
    check_rate(paths, rate, " ".join(sources))
    return paths
