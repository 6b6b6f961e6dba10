"""Classifiers without a recurrent cell, to compare with: linear probes of frames, filtered or pooled over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from sklearn.pipeline import Pipeline

from liquidvision.evaluation.smoothing import SMOOTHERS, smooth_scores, tune_smoothing
from liquidvision.metrics.classification import ClipScores
from liquidvision.training import probe
from liquidvision.training.sequences import ClipSequence

BASELINES = {
    "probe": "linear probe of each frame",
    "ema": "probe, exponential moving average",
    "median": "probe, sliding median",
    "majority": "probe, majority vote",
    "hmm_forward": "probe, sticky HMM forward filter",
    "prefix_mean": "probe, mean of all frames so far",
    "pooled": "linear probe of the mean embedding so far",
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A control that is trained and tuned.

    Attributes:
        probe: of embeddings.
        pooled: whether it sees the mean embedding so far, in place of a frame's own.
        smoothing: the name of what calms its scores in `SMOOTHERS`, with its parameters; None: nothing.
        tuned: what was tuned, in words; None where nothing was.
    """

    probe: Pipeline
    pooled: bool
    smoothing: tuple[str, Mapping[str, object]] | None
    tuned: str | None

    def judge(self, lessons: Sequence[ClipSequence], classes: int) -> list[ClipScores]:
        """What it says of lessons, frame by frame."""
        seen = [mean_so_far(lesson) for lesson in lessons] if self.pooled else lessons
        tracks = probe.probe_scores(self.probe, seen, classes)
        if self.smoothing is None:
            return tracks
        name, parameters = self.smoothing
        return smooth_scores(name, tracks, dict(parameters))


def make_baselines(
    frames: Pipeline,
    c: float,
    train: Sequence[ClipSequence],
    inner: tuple[Sequence[ClipSequence], Sequence[ClipSequence]],
    classes: int,
) -> dict[str, Baseline]:
    """Every control of `BASELINES`, trained on `train`.

    Args:
        frames: the probe of single frames of `train`.
        c: its penalty, tuned on `inner`.
        train: what a head would be trained on.
        inner: a part of `train` to try parameters on, and the rest of it, to judge them by.
        classes: number of labels.
    """
    whole = all(lesson.whole for lesson in train)
    tried = probe.probe_scores(probe.fit_probe(inner[0], c), inner[1], classes)
    made = {"probe": Baseline(frames, False, None, f"C = {c:g}")}
    for name in SMOOTHERS:
        parameters, text = tune_smoothing(name, tried, whole)
        made[name] = Baseline(frames, False, (name, parameters), text)
    rest, judge = ([mean_so_far(lesson) for lesson in part] for part in inner)
    c = probe.tune_penalty(rest, judge, classes)
    pooled = probe.fit_probe([mean_so_far(lesson) for lesson in train], c)
    made["pooled"] = Baseline(pooled, True, None, f"C = {c:g}")
    return made


def mean_so_far(lesson: ClipSequence) -> ClipSequence:
    """A lesson whose embeddings are the means of all frames so far."""
    counts = torch.arange(1, len(lesson) + 1)[:, None]
    return replace(lesson, embeddings=lesson.embeddings.cumsum(0) / counts)
