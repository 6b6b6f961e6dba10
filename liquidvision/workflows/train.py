"""train(): from annotated clips to a trained model in a folder, in one call."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from liquidvision.data.dataset import Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_clips
from liquidvision.data.views import parse_views
from liquidvision.errors import SinkError, UsageError
from liquidvision.evaluation.crossval import choose_folds
from liquidvision.models.backbone import Backbone
from liquidvision.models.folder import CONFIG_FILE
from liquidvision.models.model import Model
from liquidvision.report.report import describe_refit
from liquidvision.training.recipe import TAUS, Plan, default_plan
from liquidvision.training.tensorboard import TensorBoardLog
from liquidvision.training.trainer import EpochRow
from liquidvision.video.read.file_options import FileOptions
from liquidvision.workflows.backbone_options import format_nodes, load_backbone, parse_taus
from liquidvision.workflows.evaluation_result import Evaluation
from liquidvision.workflows.folder_lock import LOCK_FILE, lock_model_folder
from liquidvision.workflows.jobs import TrainJob
from liquidvision.workflows.prepare_clips import embedding_threads, prepare_clips
from liquidvision.workflows.progress import ProgressListener
from liquidvision.workflows.train_model import STATE_FILE, check_training, train_model


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainResult:
    """The result of `train`. Printed, it shows the evaluation's headline figures.

    Attributes:
        model: the trained model, also saved in `folder`.
        evaluation: the evaluation on the test part, by a model that did not see it: where the refit did, the one before
            it; with folds, the cross-validation.
        folder: the model folder, which `Model.from_pretrained` and `liquidvision infer -m` take.
    """

    model: Model
    evaluation: Evaluation
    folder: Path

    def __repr__(self) -> str:
        return f"{self.evaluation.summary()}\n  → {self.folder}"


def train(
    data: str | Path,
    out: str | Path,
    *,
    background: str = "background",
    cache: str | Path | None = None,
    vid_stride: int = 1,
    rate: float | None = None,
    deinterlace: str = "auto",
    views: str | Sequence[str] = "plain",
    backbone: str | Path = "mobilenet_v2",
    weights: str | Path | None = None,
    features: str | Mapping[str, int] | None = None,
    motion_crop: bool | None = None,
    traces: str | Sequence[float] | None = None,
    head: str = "gated",
    epochs: int | None = None,
    seed: int = 0,
    folds: int | None = None,
    seeds: int = 1,
    two_pass: bool = False,
    refit: bool = True,
    device: str = "auto",
    resume: bool = False,
    tensorboard: bool = False,
    exist_ok: bool = False,
    listener: ProgressListener | None = None,
) -> TrainResult:
    """Train a classifier with memory on your own clips, and save the model in a folder.

    What is trained is the head, on a frozen backbone. The clips are split by group (70, 15, 15 %), or as the data says,
    or where there are few groups cross-validated. Then the model is trained on all of them, except on a test part that
    the data gives; the scores are those of before. Embeddings are kept. The options are those of `liquidvision train`.

    Args:
        data: a folder of class folders (`clips/CLASS/clip.mp4`), a CSV with columns file,label or
            file,start,end,label, and group or split if there are, or a JSON in ActivityNet's form.
        out: the model folder to make.
        background: the class of the time outside all intervals.
        cache: the folder where embeddings are kept. None: $LIQUIDVISION_CACHE, else the user's cache folder.
        vid_stride: use every Nth frame; the frames keep their times.
        rate: pictures per second; folders of pictures (`clips/CLASS/CLIP/0001.jpg`) are then clips too.
        deinterlace: see `open_video`.
        views: augmented copies of the clips to train on as well, such as "mirror" or ("mirror", "crop:1", "light:1").
        backbone: a torchvision classifier, downloaded at first use, or a liquidvision model ("objects" is bundled).
        weights: a file with the torchvision classifier's weights.
        features: the torchvision classifier's nodes and the sides of their grids, as {"features.18": 1}.
        motion_crop: crop each frame around what moves. None: as the liquidvision model given as `backbone` does.
        traces: time constants of the traces in seconds, above 0. None: .05, .1, .2, .4, .8 and 1.6.
        head: the cell: gated, ltc, conductance, cfc, gru, lstm or none.
        epochs: None: by the number of clips, 10 to 80.
        seed: seed of all random numbers, 0 to 2**32 - 1. The same seed, data and machine give the same weights.
        folds: number of folds of a cross-validation; 0: one split. None: up to 5 with fewer than 50 groups, else 0.
        seeds: repetitions of the cross-validation, each with its own folds and initial weights.
        two_pass: also train a backward head, see `predict`.
        refit: whether to train again on all clips after training on one split. False: save the model of the split.
        device: auto, cpu, cuda, mps or openvino.
        resume: continue the training that was begun in `out`.
        tensorboard: also write each epoch's figures for TensorBoard into `out`.
        exist_ok: replace a model that already exists.
        listener: receives progress and warnings, such as clips left out. None: warnings are logged.

    Raises:
        UsageError: data or options that cannot be used, or a folder that exists or is in use by another training.
        SourceError: none of the videos can be read.
        SinkError: the model folder or the cache cannot be written.
        WeightsError, ModelError: the backbone cannot be loaded.
        DependencyError: tensorboard is not installed.

    Examples:
        >>> result = lv.train("clips/", "my-model")
        >>> print(result.evaluation)
    """
    job = TrainJob(
        Path(data),
        out=Path(out),
        background=background,
        cache=None if cache is None else Path(cache),
        vid_stride=vid_stride,
        rate=rate,
        deinterlace=deinterlace,
        views=views if isinstance(views, str) else ",".join(views),
        backbone=str(backbone),
        weights=None if weights is None else Path(weights),
        features=format_nodes(features) if isinstance(features, Mapping) else features,
        motion_crop=motion_crop,
        traces=traces if traces is None or isinstance(traces, str) else ",".join(f"{tau!r}" for tau in traces),
        head=head,
        epochs=epochs,
        seed=seed,
        folds=folds,
        seeds=seeds,
        two_pass=two_pass,
        refit=refit,
        device=device,
        resume=resume,
        tensorboard=tensorboard,
        exist_ok=exist_ok,
    )
    return run_train(job, listener)


def run_train(job: TrainJob, listener: ProgressListener | None = None) -> TrainResult:
    """Run a training from its description; see `train` for the options and errors."""
    listener = listener or ProgressListener()
    if not os.path.isdir(job.out):
        check_model_folder(job)
    with ExitStack() as stack:
        stack.enter_context(lock_model_folder(job.out))
        check_model_folder(job)
        scalars = stack.enter_context(closing(TensorBoardLog(job.out))) if job.tensorboard else None
        files = FileOptions(job.rate, job.deinterlace)
        dataset = read_clips(job.data, job.background, files)
        taus = TAUS if job.traces is None else parse_taus(job.traces)
        views = parse_views(f"plain,{job.views}")
        backbone = load_backbone(job.backbone, job.weights, job.features, job.motion_crop, job.device)
        plan = plan_training(job, dataset, backbone, taus, views)
        store = EmbeddingStore(backbone, folder=job.cache, stride=job.vid_stride, files=files)
        check_training(dataset, job.out, backbone, plan, resume=job.resume)
        with embedding_threads():
            dataset, skipped = prepare_clips(dataset, store, plan.views, listener)
        plan = replace(plan, folds=folds_of(job, dataset))  # again: files may have been left out

        def on_epoch(row: EpochRow) -> None:
            if scalars is not None:
                scalars.write(row)

        model, figures = train_model(
            dataset, job.out, store, plan, resume=job.resume, skipped=skipped, listener=listener, on_epoch=on_epoch
        )
    return TrainResult(model, Evaluation(figures, notes_on_training(figures)), job.out)


def plan_training(
    job: TrainJob, dataset: Dataset, backbone: Backbone, taus: tuple[float, ...], views: tuple[str, ...]
) -> Plan:
    """Return the default plan for the data and the backbone, changed by the job's options."""
    plan = default_plan(
        len(dataset.clips), cell=job.head, taus=taus, motion_crop=backbone.motion_crop, grids=backbone.grids
    )
    epochs = plan.recipe.epochs if job.epochs is None else job.epochs
    recipe = replace(plan.recipe, seed=job.seed, epochs=epochs)
    folds = folds_of(job, dataset)
    return replace(
        plan, recipe=recipe, folds=folds, seeds=job.seeds, views=views, two_pass=job.two_pass, refit=job.refit
    )


def folds_of(job: TrainJob, dataset: Dataset) -> int:
    """Return the number of folds that the job names, or that suits the data; 0 for one split.

    Raises:
        UsageError: folds together with `refit` off.
    """
    if job.folds is None:
        return choose_folds(dataset, job.seed) if job.refit else 0
    if job.folds and not job.refit:
        raise UsageError(
            f"{job.folds} folds evaluate models that are not kept, and the model is trained on all clips; leave out "
            "--no-refit, or --folds to keep the model of one split"
        )
    return job.folds


def notes_on_training(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence on what the figures are of, if not of the saved model."""
    plan, data = figures["training"]["plan"], figures["data"]
    if data.get("refit_clips"):
        return (describe_refit(data),)
    if plan["folds"]:
        return (f"Cross-validated in {plan['folds']} folds; the saved model was trained on all {data['videos']} clips",)
    return ()


def holds_result(file: Path) -> bool:
    """Return whether a file of a model folder is more than what a killed training may leave."""
    return file.suffix != ".part" and file.name != LOCK_FILE


def check_model_folder(job: TrainJob) -> None:
    """Raise UsageError where the model folder already holds files that may not be replaced.

    Raises:
        UsageError: it does.
        SinkError: the folder cannot be read.
    """
    out = job.out
    try:
        taken = os.path.exists(out) and (not out.is_dir() or any(holds_result(file) for file in out.iterdir()))
    except OSError as error:
        raise SinkError(f"cannot write into {out}: {error.strerror or error}") from error
    begun = any(os.path.isfile(out / name) for name in (STATE_FILE, CONFIG_FILE))
    if not taken or job.exist_ok or (job.resume and begun):
        return
    if job.resume:
        raise UsageError(
            f"{out} holds no training to resume; choose another folder, or allow replacing it with --exist-ok"
        )
    raise UsageError(f"{out} already exists; resume it with --resume, or allow replacing it with --exist-ok")
