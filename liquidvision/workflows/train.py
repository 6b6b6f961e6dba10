"""The whole job of teaching: annotated clips in, a model folder out that works at once."""

import csv
import io
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from liquidvision.data.dataset import Dataset, labels_in
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.splits import Split, split_dataset
from liquidvision.errors import SinkError, UsageError
from liquidvision.evaluation import crossval
from liquidvision.evaluation.compare import comparison_table
from liquidvision.evaluation.crossval import Experiment, cross_validate
from liquidvision.evaluation.evaluate import (
    SIDES,
    ClipResult,
    count_passes,
    describe_model,
    evaluate_model,
    run_clip,
    summarize_results,
)
from liquidvision.evaluation.evaluation_file import encode_evaluation
from liquidvision.files import write_atomic
from liquidvision.models.backbone import Backbone
from liquidvision.models.folder import CONFIG_FILE, write_model_folder
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.models.model import Model
from liquidvision.training import probe
from liquidvision.training.calibration import divide_logits, fit_temperature
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Plan
from liquidvision.training.sequences import SequenceDataset
from liquidvision.training.trainer import EpochRow, Trainer
from liquidvision.workflows.card import model_card_text

STATE_FILE, FOLDS_FOLDER, METRICS_FILE = "training.safetensors", "training.folds", "metrics.csv"
SPLIT_FILE, SCORES_FILE = "split.json", "evaluation.json"


@dataclass(slots=True)
class TrainingCallbacks:
    """What is called while a training goes on.

    Attributes:
        epoch: with each epoch's row and the number of epochs planned.
        fold: with the number of folds done, and of all.
        judged: while the trained model is evaluated, with a clip's name and how often that happens in all.
    """

    epoch: Callable[[EpochRow, int], None] = field(default=lambda row, of: None)
    fold: Callable[[int, int], None] = field(default=lambda done, of: None)
    judged: Callable[[str, int], None] = field(default=lambda name, of: None)


def train_model(
    dataset: Dataset,
    out: Path,
    backbone: Backbone,
    store: EmbeddingStore,
    plan: Plan,
    *,
    resume: bool = False,
    skipped: Sequence[Mapping[str, str]] = (),
    listener: TrainingCallbacks | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Train a head on a dataset, calibrate it, and leave a model folder.

    The folder holds the model (config.json, model.safetensors, README.md), split.json, metrics.csv (a line an
    epoch) and evaluation.json; until it is done also training.safetensors and training.folds, from which `resume`
    goes on.

    Args:
        dataset: clips that can be read, embedded in `store` in all views of the plan or to be embedded.
        out: the folder.
        backbone: frozen; what `store` embeds by.
        plan: what to train.
        resume: go on with what was begun in `out`.
        skipped: files that were left out, for the evaluation: [{"name", "error"}].
        listener: see `TrainingCallbacks`.

    Returns:
        The model, and the evaluation's JSON: of the test part; of the cross-validation, with folds.

    Raises:
        UsageError: see `check_training`; or `resume` with other data, embeddings or options than it was begun with.
        SinkError: the folder cannot be written.
    """
    listener = listener or TrainingCallbacks()
    config, parts = check_training(dataset, out, backbone, plan, resume=resume)
    contents = {clip.name: store.content(clip.path) for clip in dataset.clips}
    made = Split(parts, plan.recipe.seed, "group" if dataset.grouped else "video", contents)
    facts = dataset_facts(dataset, parts)
    lessons = {part: SequenceDataset(dataset.only(own), store, plan.views) for part, own in parts.items() if own}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume:
            remove_training_state(out)  # nothing but this training is to be resumed from now on
    except OSError as error:
        raise SinkError(f"cannot make the folder {out}: {error.strerror or error}") from error
    with torch.random.fork_rng():
        torch.manual_seed(plan.recipe.seed)
        head = LiquidHead(config).to(backbone.device)
        course = Trainer(
            EpochLoop([head], lessons["train"], plan.recipe, first_dt=plan.first_dt),
            lessons.get("validation"),
            kept=out / STATE_FILE,
            about={
                **store.about,
                "data": facts,
                "contents": contents,
                "head": config.to_json(),
                **{name: getattr(plan, name) for name in ("views", "folds", "seeds", "first_dt")},
            },
        )
        if (out / STATE_FILE).is_file():
            course.resume(out / STATE_FILE)
        else:
            fit_statistics([head], lessons["train"], plan.first_dt)
            fit_frame_readout(head, lessons)

        def on_epoch(row: EpochRow) -> None:
            write_metrics(out / METRICS_FILE, course.history)
            listener.epoch(row, plan.recipe.epochs)

        course.run(on_epoch)
    model = Model(backbone, head, dataset.labels, name=out.name, first_dt=plan.first_dt)
    if plan.folds:
        watched, evaluation = cross_validate_model(
            model, SequenceDataset(dataset, store, plan.views), plan, listener, out / FOLDS_FOLDER
        )
        temperature = calibrate_head(head, watched)
    else:
        validation = dataset.only(parts["validation"])
        temperature = calibrate_head(
            head, [run_clip(model, validation, c, store.get(c.path)) for c in validation.clips]
        )
        test = dataset.only(parts["test"])
        of = len(test.clips) * count_passes(model, degrade=False)
        evaluation = evaluate_model(model, test, store, on_clip=lambda name: listener.judged(name, of))
    evaluation["data"] |= {
        "part": "cross-validation" if plan.folds else "test",
        "split_by": made.by,
        "skipped": list(skipped),
        "seen_in_training": 0 if plan.folds else count_leaked(made),
    }
    evaluation["training"] = training_curve(course.history) | {
        "best": course.chosen,
        "temperature": temperature,
        "plan": asdict(plan) | {"head": dict(plan.head), "views": list(plan.views), "stride": store.stride},
    }
    beside = {SPLIT_FILE: made.encode(), SCORES_FILE: encode_evaluation(evaluation)}
    card = model_card_text(model, out, plan, facts, course.history, evaluation)
    write_model_folder(out, model.config(), model.tensors(), card, beside)
    remove_training_state(out)
    return model, evaluation


def remove_training_state(out: Path) -> None:
    """Remove what a training could be resumed from."""
    (out / STATE_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / FOLDS_FOLDER, ignore_errors=True)


def check_training(
    dataset: Dataset, out: Path, backbone: Backbone, plan: Plan, *, resume: bool = False
) -> tuple[LiquidHeadConfig, dict[str, tuple[str, ...]]]:
    """See whether `train_model` can do this, before anything is embedded.

    Returns:
        The head's configuration, and the names of the clips of each part; "train" alone has all of them with folds.

    Raises:
        UsageError: a training that is finished to be resumed; one class alone; too few clips or groups; folds, seeds,
            a seed, a cell or time constants that cannot be.
    """
    if resume and (out / CONFIG_FILE).is_file() and not (out / STATE_FILE).is_file():
        raise UsageError(f"{out} is finished already; choose another folder, or leave out --resume to train it anew")
    there = labels_in(dataset.clips, dataset.background)
    if len(there) < 2:
        raise UsageError(f"{dataset.root} shows one class alone, {there[0]}; expected two or more to tell apart")
    if not 0 <= plan.recipe.seed < 2**32:
        raise UsageError(f"seed is {plan.recipe.seed}; expected a whole number from 0 to {2**32 - 1}")
    if plan.seeds < 1 or (plan.seeds > 1 and not plan.folds):
        raise UsageError(f"seeds is {plan.seeds} with {plan.folds} folds; expected 1, or more together with folds")
    config = LiquidHeadConfig(backbone.layouts, len(dataset.labels), **plan.head)
    with torch.random.fork_rng(devices=[]):
        LiquidHead(config)  # which refuses what its parts do not take
    if not plan.folds:
        return config, split_dataset(dataset, seed=plan.recipe.seed)
    crossval.check_folds(dataset, plan.folds, plan.seeds, plan.recipe.seed)
    return config, {"train": tuple(clip.name for clip in dataset.clips)}


def calibrate_head(head: LiquidHead, watched: Sequence[ClipResult]) -> dict[str, float]:
    """Divide the logits of a head's readouts by the temperatures that suit clips it did not learn from."""
    whole = all(w.clip.label is not None for w in watched)
    temperature = {side: fit_temperature([getattr(w, side) for w in watched], whole_clip=whole) for side in SIDES}
    divide_logits(head, temperature["memory"], temperature["frame"])
    return temperature


def fit_frame_readout(head: LiquidHead, lessons: Mapping[str, SequenceDataset]) -> None:
    """Fit a head's readout of single frames: a linear probe, its penalty tuned by what it did not learn from."""
    train = lessons["train"]
    rest, judge = (train, lessons["validation"]) if "validation" in lessons else probe.inner_split(train)
    c = probe.tune_penalty(rest.in_all_views(), judge, head.config.classes)
    probe.set_frame_readout(head, probe.fit_probe(train.in_all_views(), c))


def cross_validate_model(
    model: Model, lessons: SequenceDataset, plan: Plan, listener: TrainingCallbacks, kept: Path
) -> tuple[list[ClipResult], dict[str, Any]]:
    """What heads like the model's say of the clips of the fold they were not trained on, and the evaluation of it.

    Timelines are those of the first seed.
    """
    config = model.head_config
    contest = Experiment({config.cell: config}, plan.recipe, plan.first_dt, plan.seeds)
    of = plan.folds * plan.seeds
    listener.fold(0, of)
    outcome = cross_validate(
        lessons,
        contest,
        plan.folds,
        seed=plan.recipe.seed,
        fold_folder=kept,
        on_fold=lambda done: listener.fold(done, of),
    )
    memory, alone = outcome.scores[config.cell][0], outcome.frame_scores[0]
    watched = [ClipResult(*row) for row in zip(lessons.dataset.clips, memory, alone, strict=True)]
    return watched, {
        **summarize_results(watched, lessons.dataset),
        "model": describe_model(model),
        "compare": comparison_table(outcome, lessons, config.cell, [config.cell])
        | {"folds": plan.folds, "seeds": plan.seeds},
    }


def count_leaked(made: Split) -> int:
    """How many clips of the test part are copies of clips of the others."""
    inside = made.find({name: made.contents[name] for name in made.parts["test"]})
    return sum(parts != {"test"} for parts in inside.values())


def dataset_facts(dataset: Dataset, parts: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What a training was of: enough to tell another dataset or split from it."""
    return {
        "name": dataset.root.name,
        "labels": list(dataset.labels),
        "background": dataset.background,
        "grouped": dataset.grouped,
        "clips": {clip.name: [clip.label, clip.group, *(astuple(i) for i in clip.intervals)] for clip in dataset.clips},
        "parts": {part: list(names) for part, names in parts.items()},
    }


def training_curve(history: list[EpochRow]) -> dict[str, Any]:
    """The evaluation's "training"."""
    return {
        "epochs": [row.epoch for row in history],
        "loss": [finite_or_none(row.loss) for row in history],
        "validation": [finite_or_none(row.validation_loss) for row in history],
        "metric": "loss",
    }


def finite_or_none(value: float | None) -> float | None:
    """A number that JSON has, or None."""
    return value if value is not None and math.isfinite(value) else None


def write_metrics(path: Path, history: list[EpochRow]) -> None:
    """metrics.csv: a line for every epoch so far."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [column.name for column in fields(EpochRow)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
