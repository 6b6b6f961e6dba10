"""Compares a head with other cells, with itself without state, and with baselines, in one cross-validated table."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from liquidvision.evaluation.baselines import BASELINES
from liquidvision.evaluation.crossval import RESET_SUFFIX, Experiment, Results, cross_validate
from liquidvision.evaluation.forgetting import SECONDS, STRIDES, average_curves
from liquidvision.evaluation.results import SeedScores
from liquidvision.evaluation.stress import STRESS_TITLES, StressTest, stress_tests
from liquidvision.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from liquidvision.metrics.classification import ClipScores, classification_metrics, frame_accuracy
from liquidvision.models.heads.liquid_head import LiquidHeadConfig, make_cell
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import SequenceDataset

# What the tables call a cell; one that is missing here is called by its own name.
CELL_NAMES = {
    "gated": "liquid: LTC, gated equilibrium",
    "ltc": "liquid: LTC, the paper's Eq. 1",
    "conductance": "liquid: LTC, conductance form",
    "cfc": "liquid: CfC",
    "selective": "liquid: selective state space",
    "resonant": "liquid: resonant LTC",
    "lru": "LRU, complex rates",
    "gru": "GRU",
    "gru-dt": "GRU, Δt as an input",
    "gru-d": "GRU-D, state decays over Δt",
    "gru-power": "GRU, gate to the power Δt",
    "gru-no-reset": "GRU without reset gate",
    "min-gru": "minGRU",
    "lstm": "LSTM",
    "none": "traces only, no cell",
}
COMPARED_CELLS = ("gated", "ltc", "cfc", "gru", "lstm", "none")  # the rows of every comparison
DROPPED_SHARE = 0.75  # of the stress test "dropped"
MAX_UNITS_FACTOR = 16  # a compared cell has at most this many times the units of the reference


def compare_heads(
    sequences: SequenceDataset,
    config: LiquidHeadConfig,
    recipe: Recipe,
    *,
    first_dt: float,
    k: int,
    seeds: int,
    given_test: Sequence[str] | None = None,
    keep_first: bool = False,
    learn_every: int = 1,
    on_fold: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Cross-validate a head against other cells and the baselines; return the "compare" part of an evaluation.

    Args:
        sequences: the whole dataset.
        config: the reference head. The others get its features, and as nearly as whole units allow the same number of
            parameters in their cells.
        recipe: the recipe of all heads.
        first_dt: see `Model`.
        k: number of folds.
        seeds: number of repetitions, each with its own folds, weights and random draws.
        given_test: names of the clips that a given split tests, see `cross_validate`.
        keep_first: whether the first frame of a clip is kept where frames are dropped.
        learn_every: heads learn from every nth frame only; they are judged at all rates.
        on_fold: called with the number of folds done, of `k` × `seeds`.

    Raises:
        UsageError: fewer groups than folds.
    """
    cells = [config.cell, *(cell for cell in COMPARED_CELLS if cell != config.cell)]
    heads = {cell: match_parameters(config, cell) for cell in cells}
    tests: dict[str, StressTest] = {}
    # With a motion crop, what the backbone sees depends on the frames before: other frames, other embeddings.
    if not sequences.store.backbone.motion_crop:
        whole_clips = all(clip.label is not None for clip in sequences.dataset.clips)
        known = stress_tests(keep_first=keep_first)
        tests = {name: test for name, test in known.items() if whole_clips or not name.startswith("after")}
    experiment = Experiment(
        heads,
        recipe,
        first_dt,
        seeds,
        without_state=(config.cell,),
        baselines=True,
        stress_tests=tests,
        forgetting=bool(tests),
        learn_every=learn_every,
    )
    results = cross_validate(sequences, experiment, k, seed=recipe.seed, given_test=given_test, on_fold=on_fold)
    judged = sequences if given_test is None else sequences.select(given_test)
    return comparison_table(results, judged, config.cell, cells) | {
        "folds": k if given_test is None else None,
        "given_split": given_test is not None,
        "seeds": seeds,
        "dropped": DROPPED_SHARE if tests else None,
        "after": "after" in tests,
        "stress_tests": {name: STRESS_TITLES[name] for name in tests},
        "forgetting": {
            "strides": list(STRIDES),
            "seconds": list(SECONDS),
            "left": average_curves(results.forgetting),
        },
    }


def match_parameters(config: LiquidHeadConfig, cell: str) -> LiquidHeadConfig:
    """Return the configuration with another cell, with the number of units that best matches its parameter count."""

    def parameters(units: int, kind: str) -> int:
        return sum(p.numel() for p in make_cell(replace(config, cell=kind, units=units)).parameters())

    wanted = parameters(config.units, config.cell)
    most = MAX_UNITS_FACTOR * config.units
    above = bisect_left(range(most), wanted, lo=2, key=lambda n: parameters(n, cell))
    units = min((above - 1, above), key=lambda n: abs(parameters(n, cell) - wanted))
    return replace(config, cell=cell, units=config.units if cell == config.cell else units)


def comparison_table(
    results: Results, sequences: SequenceDataset, reference: str, cells: Sequence[str]
) -> dict[str, Any]:
    """Return the rows of a comparison with confidence intervals over videos, the reference first.

    Args:
        results: the results of the cross-validation.
        sequences: the dataset it was done on.
        reference: name of the head that the others are compared with.
        cells: the heads, in the order of the rows.
    """
    clips = sequences.dataset.clips
    whole_clip = all(clip.label is not None for clip in clips)
    rows = [
        _comparison_row(name, text, results, sequences, reference, whole_clip)
        for name, text in name_rows(cells, reference).items()
        if name in results.scores
    ]
    return {"metric": "clip_accuracy" if whole_clip else "frame_accuracy", "rows": rows, "reference": reference}


def name_rows(cells: Sequence[str], reference: str) -> dict[str, str]:
    """Return what each row of a comparison is called: the cells, the reference without memory, and the baselines."""
    names = {cell: CELL_NAMES.get(cell, cell) for cell in cells}
    return {**names, f"{reference} {RESET_SUFFIX}": f"{names[reference]}, reset at every frame", **BASELINES}


def _comparison_row(
    name: str, text: str, results: Results, sequences: SequenceDataset, reference: str, whole_clip: bool
) -> dict[str, Any]:
    dataset = sequences.dataset
    groups = [clip.group for clip in dataset.clips]

    def measure(scores: Mapping[str, SeedScores]) -> dict[str, Any]:
        accuracies = clip_accuracies(scores[name], whole_clip)
        mean, low, high = bootstrap_interval(accuracies, groups=groups)
        difference = None
        if name != reference:
            interval = paired_bootstrap(accuracies, clip_accuracies(scores[reference], whole_clip), groups=groups)
            difference = dict(zip(("mean", "low", "high"), interval, strict=True))
        return {"mean": mean, "low": low, "high": high, "minus_reference": difference}

    accuracies = clip_accuracies(results.scores[name], whole_clip)
    stressed = {test: measure(scores) for test, scores in results.stressed.items()}
    metrics_by_seed = [
        classification_metrics(clips, dataset.labels, background=dataset.background, whole_clip=whole_clip)
        for clips in results.scores[name]
    ]
    return {
        "name": name,
        "text": text,
        **measure(results.scores),
        **{f"mean_{test}": found["mean"] for test, found in stressed.items()},
        "stressed": stressed,
        "sd_seeds": float(accuracies.mean(1).std(ddof=1)) if len(accuracies) > 1 else None,
        "parameters": results.parameters.get(name),
        "flips_per_minute": mean_metric(metrics_by_seed, "flips_per_minute"),
        "frame_accuracy": mean_metric(metrics_by_seed, "frame_accuracy"),
        "tuned": most_frequent_setting(results.tuned.get(name, [])),
    }


def clip_accuracies(scores_by_seed: Sequence[Sequence[ClipScores]], whole_clip: bool) -> np.ndarray:
    """Return the accuracy of each clip, (seeds, clips), 0 to 1: of the clip as a whole, or the share of its frames."""
    return np.array(
        [
            [float(clip.clip_predicted == clip.truth[0]) if whole_clip else frame_accuracy([clip]) for clip in clips]
            for clips in scores_by_seed
        ]
    )


def most_frequent_setting(settings: Sequence[str]) -> str | None:
    """Return the setting that was chosen in most folds, and in how many if not in all."""
    if not settings:
        return None
    text, times = Counter(settings).most_common(1)[0]
    return text if times == len(settings) else f"{text} in {times} of {len(settings)} folds"


def mean_metric(metrics: Sequence[dict[str, Any]], name: str) -> float | None:
    """Return the mean of a metric where it is defined."""
    values = [row[name] for row in metrics if row[name] is not None]
    return float(np.mean(values)) if values else None
