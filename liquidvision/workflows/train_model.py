"""Trains one model: annotated clips with their embeddings in, a complete model folder out."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.data.dataset import Dataset, labels_in
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.splits import Split, has_given_split, split_as_given
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
from liquidvision.metrics.classification import ClipScores
from liquidvision.models.backbone import Backbone
from liquidvision.models.folder import CONFIG_FILE, write_model_folder
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.models.model import Model
from liquidvision.training import probe
from liquidvision.training.calibration import divide_logits, fit_temperature
from liquidvision.training.interval_tuning import tune_intervals
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Plan
from liquidvision.training.sequences import SequenceDataset
from liquidvision.training.trainer import EpochRow, Trainer
from liquidvision.workflows.card import model_card_text
from liquidvision.workflows.progress import ProgressListener
from liquidvision.workflows.train_backward import (
    BACKWARD_STATE_FILE,
    add_second_side,
    backward_scores,
    cross_validate_backward,
    fit_backward_head,
)
from liquidvision.workflows.training_record import (
    EVALUATION_FILE,
    METRICS_FILE,
    SPLIT_FILE,
    dataset_facts,
    training_curve,
    write_metrics,
)

STATE_FILE, FOLDS_FOLDER = "training.safetensors", "training.folds"
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The data, the plan and the surroundings of one training.

    Attributes:
        dataset: clips that can be read.
        out: the model folder.
        store: the embeddings; its backbone becomes the model's.
        plan: what to train.
        config: the configuration of the head.
        split: the parts that the dataset is split into.
        listener: receives the progress.
    """

    dataset: Dataset
    out: Path
    store: EmbeddingStore
    plan: Plan
    config: LiquidHeadConfig
    split: Split
    listener: ProgressListener

    def sequences(self, names: Sequence[str]) -> SequenceDataset:
        """Return the sequences of the clips with these names."""
        return SequenceDataset(self.dataset.select(names), self.store, self.plan.views)


def train_model(
    dataset: Dataset,
    out: Path,
    store: EmbeddingStore,
    plan: Plan,
    *,
    resume: bool = False,
    skipped: Sequence[Mapping[str, str]] = (),
    listener: ProgressListener | None = None,
    on_epoch: Callable[[EpochRow], None] = lambda row: None,
) -> tuple[Model, dict[str, Any]]:
    """Train a head on a dataset, calibrate it, evaluate it, and write a model folder.

    The folder holds the model (config.json, model.safetensors, README.md), split.json, metrics.csv (a line per epoch)
    and evaluation.json. Until training is complete it also holds training.safetensors and training.folds, from which
    `resume` continues.

    Args:
        dataset: clips that can be read; what is not in `store` yet is embedded.
        out: the folder.
        store: the embeddings; its backbone becomes the model's.
        plan: what to train.
        resume: continue the training that was begun in `out`.
        skipped: files that were left out, for the evaluation: [{"name", "error"}].
        listener: receives the progress.
        on_epoch: called after each epoch.

    Returns:
        The model, and the figures of its evaluation: on the test part; with folds, of the cross-validation.

    Raises:
        UsageError: see `check_training`; or `resume` with other data, embeddings or options than it was begun with.
        SinkError: the folder cannot be written.
    """
    config, parts = check_training(dataset, out, store.backbone, plan, resume=resume)
    contents = {clip.name: store.hash_content(clip.path) for clip in dataset.clips}
    by = "annotation" if has_given_split(dataset) else "group" if dataset.grouped else "video"
    split = Split(parts, plan.recipe.seed, by, contents)
    run = TrainingRun(dataset, out, store, plan, config, split, listener or ProgressListener())
    make_model_folder(out, resume=resume)
    run.listener.progress("training", 0, plan.recipe.epochs)
    trainer = train_head(run, on_epoch)
    backward = train_backward_head(run, trainer.head) if plan.two_pass else None
    model = Model(
        store.backbone,
        trainer.head,
        dataset.labels,
        name=out.name,
        first_dt=plan.first_dt,
        backward_head=backward,
    )
    temperature, figures = calibrate_and_evaluate(run, model)
    figures["data"] |= {
        "part": "cross-validation" if plan.folds else "test",
        "split_by": split.by,
        "skipped": list(skipped),
        "seen_in_training": 0 if plan.folds else count_leaked(split),
    }
    figures["training"] = training_curve(trainer.history) | {
        "best": trainer.chosen_epoch,
        "temperature": temperature,
        "plan": asdict(plan) | {"head": dict(plan.head), "views": list(plan.views), "stride": store.stride},
    }
    card = model_card_text(model, out, plan, dataset_facts(dataset, parts), trainer.history, figures)
    more_files = {SPLIT_FILE: split.encode(), EVALUATION_FILE: encode_evaluation(figures)}
    write_model_folder(out, model.config(), model.tensors(), card, more_files)
    model.folder = out
    remove_training_state(out)
    return model, figures


def check_training(
    dataset: Dataset, out: Path, backbone: Backbone, plan: Plan, *, resume: bool = False
) -> tuple[LiquidHeadConfig, dict[str, tuple[str, ...]]]:
    """Verify that `train_model` can do this, before anything is embedded.

    Returns:
        The head's configuration, and the names of the clips of each part; with folds, "train" has all clips.

    Raises:
        UsageError: a finished training is to be resumed; there is one class only; there are too few clips or groups;
            the data gives a split without every class in its part train, or together with folds; folds, seeds, the
            seed, the cell or the time constants are out of range.
    """
    if resume and (out / CONFIG_FILE).is_file() and not (out / STATE_FILE).is_file():
        raise UsageError(f"{out} is finished already; choose another folder, or leave out --resume to train again")
    labels = labels_in(dataset.clips, dataset.background)
    if len(labels) < 2:
        raise UsageError(f"{dataset.root} shows only one class, {labels[0]}; expected two or more")
    if not 0 <= plan.recipe.seed <= MAX_SEED:
        raise UsageError(f"seed is {plan.recipe.seed}; expected a whole number from 0 to {MAX_SEED}")
    if plan.seeds < 1 or (plan.seeds > 1 and not plan.folds):
        raise UsageError(f"seeds is {plan.seeds} with {plan.folds} folds; expected 1, or more together with folds")
    config = LiquidHeadConfig(backbone.layouts, len(dataset.labels), **plan.head)
    with torch.random.fork_rng(devices=[]):
        LiquidHead(config)  # raises if its parts refuse their arguments
    if not plan.folds:
        return config, split_as_given(dataset, seed=plan.recipe.seed)
    if has_given_split(dataset):
        raise UsageError(
            f"{dataset.root} gives a split, and {plan.folds} folds would train on all of its parts; expected one of "
            "them: leave out --folds, or the split"
        )
    crossval.check_folds(dataset, plan.folds, plan.seeds, plan.recipe.seed)
    return config, {"train": tuple(clip.name for clip in dataset.clips)}


def make_model_folder(out: Path, *, resume: bool) -> None:
    """Create the folder; unless a training is resumed, remove what an earlier one left to resume."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume:
            remove_training_state(out)
    except OSError as error:
        raise SinkError(f"cannot make the folder {out}: {error.strerror or error}") from error


def remove_training_state(out: Path) -> None:
    """Remove the files from which a training can be resumed."""
    (out / BACKWARD_STATE_FILE).unlink(missing_ok=True)
    (out / STATE_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / FOLDS_FOLDER, ignore_errors=True)


def train_head(run: TrainingRun, on_epoch: Callable[[EpochRow], None]) -> Trainer:
    """Train the head on the training part, from the beginning or from the state in the folder."""
    plan, parts = run.plan, run.split.parts
    sequences = {part: run.sequences(names) for part, names in parts.items() if names}
    state_file, epochs = run.out / STATE_FILE, plan.recipe.epochs
    with torch.random.fork_rng():
        torch.manual_seed(plan.recipe.seed)
        head = LiquidHead(run.config).to(run.store.backbone.device)
        trainer = Trainer(
            EpochLoop([head], sequences["train"], plan.recipe, first_dt=plan.first_dt),
            sequences.get("validation"),
            state_file=state_file,
            identity=training_identity(run),
        )
        if state_file.is_file():
            trainer.resume(state_file)
        else:
            fit_statistics([head], sequences["train"], plan.first_dt)
            fit_frame_readout(head, sequences)

        def report(row: EpochRow) -> None:
            write_metrics(run.out / METRICS_FILE, trainer.history)
            on_epoch(row)
            run.listener.progress("training", row.epoch, epochs, describe_epoch(row))

        trainer.run(report)
    return trainer


def train_backward_head(run: TrainingRun, head: LiquidHead) -> LiquidHead:
    """Train the backward head on the training part, from the beginning or from the state in the folder."""
    plan, parts = run.plan, run.split.parts
    epochs = plan.recipe.epochs

    def report(row: EpochRow) -> None:
        run.listener.progress("training the backward head", row.epoch, epochs, describe_epoch(row))

    run.listener.progress("training the backward head", 0, epochs)
    trainer = fit_backward_head(
        head,
        run.sequences(parts["train"]),
        run.sequences(parts["validation"]) if parts.get("validation") else None,
        plan.recipe,
        first_dt=plan.first_dt,
        state_file=run.out / BACKWARD_STATE_FILE,
        identity=training_identity(run),
        on_epoch=report,
    )
    return trainer.head


def training_identity(run: TrainingRun) -> dict[str, Any]:
    """Return everything that the weights depend on, by name: only a training with the same can be resumed."""
    return {
        **run.store.identity,
        "data": dataset_facts(run.dataset, run.split.parts),
        "contents": dict(run.split.contents),
        "head": run.config.to_json(),
        **{name: getattr(run.plan, name) for name in ("views", "folds", "seeds", "first_dt")},
        **({"two_pass": True} if run.plan.two_pass else {}),
    }


def fit_frame_readout(head: LiquidHead, sequences: Mapping[str, SequenceDataset]) -> None:
    """Fit a head's readout of single frames: a linear probe whose penalty is tuned on clips it is not fitted to."""
    train = sequences["train"]
    rest, judge = (train, sequences["validation"]) if "validation" in sequences else probe.inner_split(train)
    penalty = probe.tune_penalty(rest.all_views(), judge, head.config.classes)
    probe.set_frame_readout(head, probe.fit_probe(train.all_views(), penalty))


def calibrate_and_evaluate(run: TrainingRun, model: Model) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the temperatures that the model's logits are divided by from now on, and its evaluation."""
    dataset, store, parts = run.dataset, run.store, run.split.parts
    if run.plan.folds:
        results, backward, figures = cross_validate_model(run, model)
        temperature = calibrate_heads(model, results, backward)
        model.interval_rule = choose_interval_rule(dataset, results, temperature)
        return temperature, figures
    validation = dataset.select(parts["validation"])
    results = [run_clip(model, validation, clip, store.get(clip.path)) for clip in validation.clips]
    backward = []
    if model.backward_head is not None:
        sequences = run.sequences(parts["validation"])
        backward = backward_scores(model.backward_head, sequences, model.first_dt)  # type: ignore[arg-type]
    temperature = calibrate_heads(model, results, backward)
    model.interval_rule = choose_interval_rule(dataset, results, temperature)
    test = dataset.select(parts["test"])
    done, total = 0, len(test.clips) * count_passes(model, degrade=False)

    def on_clip(name: str) -> None:
        nonlocal done
        done += 1
        run.listener.progress("evaluating", done, total, name)

    return temperature, evaluate_model(model, test, store, two_pass=run.plan.two_pass, on_clip=on_clip)


def calibrate_heads(model: Model, results: Sequence[ClipResult], backward: Sequence[ClipScores]) -> dict[str, float]:
    """Divide the logits of a model's readouts by temperatures, and return these.

    They are those that fit clips the heads were not trained on.

    Args:
        model: its heads are changed.
        results: scores of the clips.
        backward: the backward head's scores of the clips; empty if there is none.
    """
    whole_clip = all(result.clip.label is not None for result in results)
    temperature = {
        side: fit_temperature([getattr(result, side) for result in results], whole_clip=whole_clip) for side in SIDES
    }
    if backward:
        temperature["backward"] = fit_temperature(backward, whole_clip=whole_clip)
    divide_model_logits(model, temperature)
    return temperature


def divide_model_logits(model: Model, temperature: Mapping[str, float]) -> None:
    """Divide the logits of a model's readouts by the temperatures that `calibrate_heads` returned."""
    heads = (model.head, temperature["memory"]), (model.backward_head, temperature.get("backward", 1.0))
    for head, own in heads:
        if isinstance(head, LiquidHead):
            divide_logits(head, own, temperature["frame"])


def choose_interval_rule(
    dataset: Dataset, results: Sequence[ClipResult], temperature: Mapping[str, float]
) -> IntervalRule | None:
    """Return the rule for intervals that fits clips the model was not trained on; None: the data has no intervals."""
    if dataset.background is None:
        return None
    clips = [result.memory for result in results]
    return tune_intervals(clips, temperature["memory"], dataset.labels, dataset.background)


def cross_validate_model(run: TrainingRun, model: Model) -> tuple[list[ClipResult], list[ClipScores], dict[str, Any]]:
    """Predict each clip with a head like the model's that was not trained on it; evaluate these predictions.

    The results and timelines are those of the first seed.

    Returns:
        The results, the scores of backward heads if the model has one, and the figures.
    """
    config, plan = model.head_config, run.plan
    experiment = Experiment({config.cell: config}, plan.recipe, plan.first_dt, plan.seeds)
    sequences = SequenceDataset(run.dataset, run.store, plan.views)
    total = plan.folds * (plan.seeds + plan.two_pass)

    def on_fold(done: int) -> None:
        run.listener.progress("cross-validating", done, total, f"fold {done} of {total}")

    on_fold(0)
    folder, seed = run.out / FOLDS_FOLDER, plan.recipe.seed
    scored = cross_validate(sequences, experiment, plan.folds, seed=seed, fold_folder=folder, on_fold=on_fold)
    memory, alone = scored.scores[config.cell][0], scored.frame_scores[0]
    results = [ClipResult(*row) for row in zip(run.dataset.clips, memory, alone, strict=True)]
    backward: list[ClipScores] = []
    if plan.two_pass:
        backward = cross_validate_backward(
            sequences,
            experiment,
            plan.folds,
            seed=seed,
            fold_folder=folder,
            on_fold=lambda done: on_fold(plan.folds * plan.seeds + done),
        )
        results = add_second_side(results, backward)
    table = comparison_table(scored, sequences, config.cell, [config.cell])
    return (
        results,
        backward,
        {
            **summarize_results(results, run.dataset, run.store.files),
            "model": describe_model(model),
            "compare": table | {"folds": plan.folds, "seeds": plan.seeds},
        },
    )


def count_leaked(split: Split) -> int:
    """Return how many clips of the test part are copies of clips in other parts."""
    inside = split.find_parts({name: split.contents[name] for name in split.parts["test"]})
    return sum(parts != {"test"} for parts in inside.values())


def describe_epoch(row: EpochRow) -> str:
    """Return an epoch's figures in a few words."""
    validation = "" if row.validation_accuracy is None else f" · validation {row.validation_accuracy:.0%}"
    return f"epoch {row.epoch} · loss {row.loss:.3f}{validation}"
