"""Trains the backward head of a model, for two passes and look-ahead: as its head was, on reversed clips."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from liquidvision.evaluation.crossval import Experiment, cross_validate
from liquidvision.evaluation.evaluate import ClipResult, mix_clip_scores
from liquidvision.metrics.classification import ClipScores
from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.training.backward import ReversedDataset, make_backward_head
from liquidvision.training.optimise import EpochLoop
from liquidvision.training.recipe import Recipe
from liquidvision.training.scoring import clip_logits
from liquidvision.training.sequences import SequenceDataset
from liquidvision.training.trainer import EpochRow, Trainer

BACKWARD_STATE_FILE = "training.backward.safetensors"
BACKWARD_FOLDS = "backward"  # in the folder of the folds


def fit_backward_head(
    head: LiquidHead,
    train: SequenceDataset,
    validation: SequenceDataset | None,
    recipe: Recipe,
    *,
    first_dt: float,
    state_file: Path,
    identity: dict[str, Any],
    on_epoch: Callable[[EpochRow], None],
    last_epoch: int | None = None,
) -> Trainer:
    """Train a backward head for a trained forward head, from the beginning or from the state file.

    Args:
        head: the forward head, before its logits are calibrated.
        train: the clips, forwards.
        validation: clips that decide when to stop, forwards; None: train for all epochs.
        recipe: the numbers of the training.
        first_dt: see `Model`.
        state_file: where the state is kept.
        identity: see `Trainer`.
        on_epoch: called after each epoch.
        last_epoch: see `Trainer`.
    """
    backwards = ReversedDataset(train)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        new = make_backward_head(head, backwards, first_dt)
        trainer = Trainer(
            EpochLoop([new], backwards, recipe, first_dt=first_dt),
            None if validation is None else ReversedDataset(validation),
            state_file=state_file,
            identity=identity | {"direction": "backward"},
            last_epoch=last_epoch,
        )
        if state_file.is_file():
            trainer.resume(state_file)
        trainer.run(on_epoch)
    return trainer


def backward_scores(head: LiquidHead, sequences: SequenceDataset, first_dt: float) -> list[ClipScores]:
    """Return a backward head's scores of each clip, in the order of the clip's frames."""
    backwards = ReversedDataset(sequences)
    (logits,) = clip_logits([head], list(backwards), first_dt)
    scores = [own.memory.softmax(-1).flip(0).numpy() for own in logits]
    return [
        ClipScores(sequence.targets.numpy(), own, sequence.times.numpy())
        for sequence, own in zip(sequences, scores, strict=True)
    ]


def cross_validate_backward(
    sequences: SequenceDataset,
    experiment: Experiment,
    folds: int,
    *,
    seed: int,
    fold_folder: Path,
    on_fold: Callable[[int], None],
) -> list[ClipScores]:
    """Return the scores of each clip, in the order of its frames, by backward heads that were not trained on it.

    The folds are those of the forward heads. Arguments as in `cross_validate`; one seed.
    """
    backwards = ReversedDataset(sequences)
    scored = cross_validate(
        backwards,
        replace(experiment, seeds=1),
        folds,
        seed=seed,
        fold_folder=fold_folder / BACKWARD_FOLDS,
        on_fold=on_fold,
    )
    (name,) = experiment.heads
    return [
        ClipScores(sequence.targets.numpy(), clip.scores[::-1].copy(), sequence.times.numpy())
        for sequence, clip in zip(sequences, scored.scores[name][0], strict=True)
    ]


def add_second_side(results: Sequence[ClipResult], backward: Sequence[ClipScores]) -> list[ClipResult]:
    """Return results with the scores of two passes, from the scores of the backward heads."""
    return [
        replace(result, two_pass=mix_clip_scores(result.memory, other))
        for result, other in zip(results, backward, strict=True)
    ]
