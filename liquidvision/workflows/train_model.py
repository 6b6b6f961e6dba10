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
from liquidvision.data.splits import FITTED, Split, has_given_split, split_as_given
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
from liquidvision.report.report import encode_report
from liquidvision.training import probe
from liquidvision.training.calibration import divide_logits, fit_temperature
from liquidvision.training.interval_tuning import tune_intervals
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Plan
from liquidvision.training.sequences import SequenceDataset
from liquidvision.training.trainer import EpochRow, Trainer
from liquidvision.workflows.card import model_card_text
from liquidvision.workflows.prepare_clips import describe_copies_across
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
    REPORT_FILE,
    SPLIT_FILE,
    SPLIT_HEAD_FILE,
    dataset_facts,
    encode_heads,
    finite_or_none,
    training_curve,
    write_metrics,
)

STATE_FILE, FOLDS_FOLDER = "training.safetensors", "training.folds"
REFIT_STATE_FILE, REFIT_BACKWARD_STATE_FILE = "training.refit.safetensors", "training.refit.backward.safetensors"
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
    """Train a head on a dataset, calibrate it, train again on everything, evaluate, and write a model folder.

    The folder holds the model (config.json, model.safetensors, README.md), split.json, metrics.csv (a line per epoch),
    evaluation.json and report.html; after a refit on the test part too, also split.safetensors, the head from before.
    Until training is complete it also holds training.safetensors, training.refit.safetensors and training.folds, from
    which `resume` continues.

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
        The model, and the figures of the evaluation: on the test part, of the model before the refit if the refit saw
        that part; with folds, of the cross-validation.

    Raises:
        UsageError: see `check_training`; or `resume` with other data, embeddings or options than it was begun with.
        SinkError: the folder cannot be written.
    """
    config, parts = check_training(dataset, out, store.backbone, plan, resume=resume)
    contents = {clip.name: store.hash_content(clip.path) for clip in dataset.clips}
    by = "annotation" if has_given_split(dataset) else "group" if dataset.grouped else "video"
    refit = () if plan.folds or not plan.refit else names_to_refit(dataset)
    seen = tuple(part for part in parts if set(refit) & set(parts[part])) if refit else FITTED
    split = Split(parts, plan.recipe.seed, by, contents, seen)
    run = TrainingRun(dataset, out, store, plan, config, split, listener or ProgressListener())
    make_model_folder(out, resume=resume)
    for warning in () if resume else describe_copies_across(dataset, store, split):  # said when it was begun
        run.listener.warning(warning)
    run.listener.progress("training", 0, plan.recipe.epochs)
    trainer = train_head(run, on_epoch)
    backward = train_backward_head(run, trainer) if plan.two_pass else None
    model = make_model(run, trainer, backward)
    if plan.folds:
        results, backward_results, figures = cross_validate_model(run, model)
    else:
        results, backward_results = run_validation(run, model)
    temperature = calibrate_heads(model, results, backward_results)
    model.interval_rule = choose_interval_rule(dataset, results, temperature)
    before = model
    record: dict[str, Any] = {}
    if refit:
        model, record = refit_model(run, refit, trainer, backward)
        divide_model_logits(model, temperature)
        model.interval_rule = before.interval_rule
    if not plan.folds:
        figures = evaluate_test_part(run, before if "test" in seen else model)
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
    more_files = {SPLIT_FILE: split.encode()}
    if record:
        figures["training"]["refit"] = record
    if "test" in seen:
        figures["data"]["refit_clips"] = len(refit)
        more_files[SPLIT_HEAD_FILE] = encode_heads(before)
    card = model_card_text(model, out, plan, dataset_facts(dataset, parts), trainer.history, figures)
    more_files |= {EVALUATION_FILE: encode_evaluation(figures), REPORT_FILE: encode_report(figures)}
    write_model_folder(out, model.config(), model.tensors(), card, more_files)
    if SPLIT_HEAD_FILE not in more_files:
        (out / SPLIT_HEAD_FILE).unlink(missing_ok=True)  # of an earlier training
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
    """Remove the files from which a training can be resumed, and those that a kill left half written."""
    shutil.rmtree(out / FOLDS_FOLDER, ignore_errors=True)
    names = (BACKWARD_STATE_FILE, REFIT_STATE_FILE, REFIT_BACKWARD_STATE_FILE)
    # Nobody else writes them: the folder is locked.
    parts = [part for name in (*names, STATE_FILE) for part in out.glob(f"{name}.*.part")]
    for path in (*parts, *(out / name for name in names)):
        path.unlink(missing_ok=True)
    (out / STATE_FILE).unlink(missing_ok=True)  # last: without it a training counts as finished, or not begun


def names_to_refit(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the clips that a refit trains on: all but those that the annotations give as test."""
    return tuple(clip.name for clip in dataset.clips if clip.part != "test")


def train_head(run: TrainingRun, on_epoch: Callable[[EpochRow], None]) -> Trainer:
    """Train the head on the training part, from the beginning or from the state in the folder."""

    def report(trainer: Trainer, row: EpochRow) -> None:
        write_metrics(run.out / METRICS_FILE, trainer.history)
        on_epoch(row)
        run.listener.progress("training", row.epoch, run.plan.recipe.epochs, describe_epoch(row))

    return fit_head(run, run.split.parts, run.out / STATE_FILE, report)


def refit_model(
    run: TrainingRun, names: Sequence[str], first: Trainer, first_backward: Trainer | None
) -> tuple[Model, dict[str, Any]]:
    """Train new heads on the clips with these names as the first ones were, from the beginning or from the state.

    Each gets as many epochs as the first one's weights had, at the same learning rates, and the same penalty of the
    readout of single frames. Its logits are not calibrated.

    Returns:
        The model with the new heads, and the "refit" of the evaluation's "training".
    """
    epochs = first.chosen_epoch

    def report(trainer: Trainer, row: EpochRow) -> None:
        run.listener.progress("refitting", row.epoch, epochs, describe_epoch(row))

    run.listener.progress("refitting", 0, epochs)
    parts = {"train": names}
    again = fit_head(run, parts, run.out / REFIT_STATE_FILE, report, first)
    backward = None if first_backward is None else train_backward_head(run, again, parts, first_backward)
    return make_model(run, again, backward), {
        "clips": len(names),
        "parts": list(run.split.seen),
        "epochs": [row.epoch for row in again.history],
        "loss": [finite_or_none(row.loss) for row in again.history],
    }


def make_model(run: TrainingRun, trainer: Trainer, backward: Trainer | None) -> Model:
    """Return a model with the trained head, and the backward head if there is one."""
    return Model(
        run.store.backbone,
        trainer.head,
        run.dataset.labels,
        name=run.out.name,
        first_dt=run.plan.first_dt,
        backward_head=None if backward is None else backward.head,
    )


def fit_head(
    run: TrainingRun,
    parts: Mapping[str, Sequence[str]],
    state_file: Path,
    on_epoch: Callable[[Trainer, EpochRow], None],
    first: Trainer | None = None,
) -> Trainer:
    """Train a new head on the part train, from the beginning or from the state file.

    Args:
        run: the training.
        parts: names of clips by part; a part "validation" decides when to stop.
        state_file: where the state is kept.
        on_epoch: called after each epoch.
        first: an earlier training on a part of the clips, whose choices are taken.
    """
    plan = run.plan
    sequences = {part: run.sequences(names) for part, names in parts.items() if names}
    identity = training_identity(run)
    if first is not None:
        identity["refit"] = {"parts": list(run.split.seen), "epochs": first.chosen_epoch, **first.choices}
    with torch.random.fork_rng():
        torch.manual_seed(plan.recipe.seed)
        head = LiquidHead(run.config).to(run.store.backbone.device)
        trainer = Trainer(
            EpochLoop([head], sequences["train"], plan.recipe, first_dt=plan.first_dt),
            sequences.get("validation"),
            state_file=state_file,
            identity=identity,
            last_epoch=None if first is None else first.chosen_epoch,
        )
        if state_file.is_file():
            trainer.resume(state_file)
        else:
            fit_statistics([head], sequences["train"], plan.first_dt)
            penalty = None if first is None else first.choices.get("penalty")
            trainer.choices = {"penalty": fit_frame_readout(head, sequences, penalty)}
        trainer.run(lambda row: on_epoch(trainer, row))
    return trainer


def train_backward_head(
    run: TrainingRun,
    forward: Trainer,
    parts: Mapping[str, Sequence[str]] | None = None,
    first: Trainer | None = None,
) -> Trainer:
    """Train the backward head on the part train, from the beginning or from the state in the folder.

    Args:
        run: the training.
        forward: that of the forward head, which is not calibrated yet.
        parts: names of clips by part; None: those of the split.
        first: in a refit, the earlier training of the backward head.
    """
    plan, parts = run.plan, run.split.parts if parts is None else parts
    epochs = plan.recipe.epochs if first is None else first.chosen_epoch

    def report(row: EpochRow) -> None:
        run.listener.progress("training the backward head", row.epoch, epochs, describe_epoch(row))

    run.listener.progress("training the backward head", 0, epochs)
    return fit_backward_head(
        forward.head,
        run.sequences(parts["train"]),
        run.sequences(parts["validation"]) if parts.get("validation") else None,
        plan.recipe,
        first_dt=plan.first_dt,
        state_file=run.out / (BACKWARD_STATE_FILE if first is None else REFIT_BACKWARD_STATE_FILE),
        identity=forward.identity,
        on_epoch=report,
        last_epoch=epochs,
    )


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


def fit_frame_readout(
    head: LiquidHead, sequences: Mapping[str, SequenceDataset], penalty: float | None = None
) -> float:
    """Fit a head's readout of single frames, a linear probe; return its penalty.

    If no penalty is given, it is tuned on clips that the probe is not fitted to.
    """
    train = sequences["train"]
    if penalty is None:
        rest, judge = (train, sequences["validation"]) if "validation" in sequences else probe.inner_split(train)
        penalty = probe.tune_penalty(rest.all_views(), judge, head.config.classes)
    probe.set_frame_readout(head, probe.fit_probe(train.all_views(), penalty))
    return penalty


def run_validation(run: TrainingRun, model: Model) -> tuple[list[ClipResult], list[ClipScores]]:
    """Return a model's results on the validation part, and the scores of its backward head if it has one."""
    names = run.split.parts["validation"]
    part = run.dataset.select(names)
    results = [run_clip(model, part, clip, run.store.get(clip.path)) for clip in part.clips]
    if model.backward_head is None:
        return results, []
    return results, backward_scores(model.backward_head, run.sequences(names), model.first_dt)  # type: ignore[arg-type]


def evaluate_test_part(run: TrainingRun, model: Model) -> dict[str, Any]:
    """Return the evaluation of a model on the test part."""
    test = run.dataset.select(run.split.parts["test"])
    done, total = 0, len(test.clips) * count_passes(model, degrade=False)

    def on_clip(name: str) -> None:
        nonlocal done
        done += 1
        run.listener.progress("evaluating", done, total, name)

    return evaluate_model(model, test, run.store, two_pass=run.plan.two_pass, on_clip=on_clip)


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
