"""Does the liquid memory help, and is it the liquid cell? One table of everything that a user might take instead."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from liquidvision.evaluation.baselines import BASELINES
from liquidvision.evaluation.crossval import RESET_EACH_FRAME, Experiment, HarderTest, Results, cross_validate
from liquidvision.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from liquidvision.metrics.classification import ClipScores, classification_metrics, frame_accuracy
from liquidvision.models.heads.liquid_head import LiquidHeadConfig, make_cell
from liquidvision.training.optimise import drop_frames, join_after
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import ClipSequence, SequenceDataset

CELLS = {
    "gated": "liquid: LTC, gated equilibrium",
    "ltc": "liquid: LTC, the paper's Eq. 1",
    "conductance": "liquid: LTC, conductance form",
    "cfc": "liquid: CfC",
    "gru": "GRU",
    "lstm": "LSTM",
    "none": "no memory but the traces",
}
RIVALS = ("gated", "ltc", "cfc", "gru", "lstm", "none")
DROPPED = 0.75  # share of frames left out in a second judgement
MOST_UNITS = 16  # times those of the head that the others are compared with


def compare_heads(
    lessons: SequenceDataset,
    config: LiquidHeadConfig,
    recipe: Recipe,
    *,
    first_dt: float,
    k: int,
    seeds: int,
    but_first: bool = False,
    on_fold: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Cross-validate a head against its rivals and the controls: the evaluation's "compare".

    Args:
        lessons: the whole dataset.
        config: of the head that the others are compared with; they have its features, and as many
            parameters in their cells, as nearly as whole units allow.
        recipe: for all heads.
        first_dt: see `Model`.
        k: folds.
        seeds: how often everything is done, with other folds, weights and draws.
        but_first: whether a clip's first frame stays where others are left out.
        on_fold: called with the number of folds done, of `k` times `seeds`.

    Raises:
        UsageError: fewer groups than folds.
    """
    rivals = [config.cell, *(cell for cell in RIVALS if cell != config.cell)]
    heads = {cell: match_parameters(config, cell) for cell in rivals}
    harder: dict[str, HarderTest] = {}
    # Else what the backbone is shown of a picture hangs on those before it, and would be another.
    if lessons.store.backbone.look == "whole":
        harder["dropped"] = partial(with_dropped_frames, but_first)
        if all(clip.label is not None for clip in lessons.dataset.clips):
            harder["after"] = interleaved
    contest = Experiment(heads, recipe, first_dt, seeds, reset=(config.cell,), controls=True, harder=harder)
    outcome = cross_validate(lessons, contest, k, seed=recipe.seed, on_fold=on_fold)
    about = {"folds": k, "seeds": seeds, "dropped": DROPPED if harder else None, "after": "after" in harder}
    return comparison_table(outcome, lessons, config.cell, rivals) | about


def with_dropped_frames(but_first: bool, lessons: Sequence[ClipSequence]) -> list[ClipSequence]:
    """The lessons without `DROPPED` of their frames.

    Args:
        but_first: whether each keeps its first. Traces take the first frame to have stood there for ever, so that of
            a later beginning the baseline is missing too, which is lost for another reason than a gap.
        lessons: whole.
    """
    return [drop_frames(lesson, DROPPED, but_first=but_first) for lesson in lessons]


def interleaved(lessons: Sequence[ClipSequence]) -> list[ClipSequence]:
    """Each lesson after the whole of another, in random turns, as in a stream that does not begin anew with each."""
    turns = torch.randperm(len(lessons)).tolist()
    before = dict(zip(turns, [turns[-1], *turns[:-1]], strict=True))
    return [join_after(lessons[before[i]], lesson) for i, lesson in enumerate(lessons)]


def match_parameters(config: LiquidHeadConfig, cell: str) -> LiquidHeadConfig:
    """The configuration with another cell, of as many units as bring its parameters closest to the given one's."""

    def parameters(units: int, kind: str) -> int:
        return sum(p.numel() for p in make_cell(replace(config, cell=kind, units=units)).parameters())

    wanted = parameters(config.units, config.cell)
    most = MOST_UNITS * config.units
    above = bisect_left(range(most), wanted, lo=2, key=lambda n: parameters(n, cell))
    units = min((above - 1, above), key=lambda n: abs(parameters(n, cell) - wanted))
    return replace(config, cell=cell, units=config.units if cell == config.cell else units)


def comparison_table(
    outcome: Results, lessons: SequenceDataset, reference: str, cells: Sequence[str]
) -> dict[str, Any]:
    """Rows with confidence intervals over videos, the reference first."""
    dataset = lessons.dataset
    whole = all(clip.label is not None for clip in dataset.clips)
    groups = [clip.group for clip in dataset.clips]
    texts = {cell: CELLS[cell] for cell in cells}
    texts[f"{reference} {RESET_EACH_FRAME}"] = f"{CELLS[reference]}, reset at every frame"
    texts |= BASELINES
    standard = clip_correct(outcome.tracks[reference], whole)
    rows = []
    for name, text in texts.items():
        if name not in outcome.tracks:
            continue
        right = clip_correct(outcome.tracks[name], whole)
        mean, low, high = bootstrap_interval(right, groups=groups)
        measured = [
            classification_metrics(tracks, dataset.labels, background=dataset.background, whole_clip=whole)
            for tracks in outcome.tracks[name]
        ]
        rows.append(
            {
                "name": name,
                "text": text,
                "mean": mean,
                **{
                    f"mean_{kind}": float(clip_correct(tracks[name], whole).mean())
                    for kind, tracks in outcome.harder.items()
                },
                "low": low,
                "high": high,
                "sd_seeds": float(right.mean(1).std(ddof=1)) if len(right) > 1 else None,
                "minus_reference": None
                if name == reference
                else dict(zip(("mean", "low", "high"), paired_bootstrap(right, standard, groups=groups), strict=True)),
                "parameters": outcome.parameters.get(name),
                "flips_per_minute": mean_of(measured, "flips_per_minute"),
                "frame_accuracy": mean_of(measured, "frame_accuracy"),
                "tuned": most_often(outcome.tuned.get(name, [])),
            }
        )
    metric = "clip_accuracy" if whole else "frame_accuracy"
    return {"metric": metric, "rows": rows, "reference": reference}


def clip_correct(seeds: Sequence[Sequence[ClipScores]], whole: bool) -> np.ndarray:
    """How right each clip was, (seeds, clips) 0..1: the clip itself, or the share of its frames."""
    return np.array(
        [
            [
                float(track.clip_scores.argmax() == track.truth[0]) if whole else frame_accuracy([track])
                for track in tracks
            ]
            for tracks in seeds
        ]
    )


def most_often(tuned: Sequence[str]) -> str | None:
    """What was tuned in most folds, and in how many."""
    if not tuned:
        return None
    text, times = Counter(tuned).most_common(1)[0]
    return text if times == len(tuned) else f"{text} in {times} of {len(tuned)} folds"


def mean_of(measured: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in measured if row[name] is not None]
    return float(np.mean(values)) if values else None
