"""Classifiers without a recurrent cell, to compare with: linear probes of frames, filtered or pooled over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from sklearn.pipeline import Pipeline

from liquidvision.learn import probe
from liquidvision.learn.filters import FILTERS, filtered, tune
from liquidvision.learn.lessons import Lesson
from liquidvision.learn.metrics import Track

NAMES = {
    "probe": "linear probe of each frame",
    "ema": "probe, exponential moving average",
    "median": "probe, sliding median",
    "majority": "probe, majority vote",
    "hmm_forward": "probe, sticky HMM forward filter",
    "prefix_mean": "probe, mean of all frames so far",
    "pooled": "linear probe of the mean embedding so far",
}


@dataclass(frozen=True, slots=True)
class Control:
    """A control that is trained and tuned.

    Attributes:
        probe: of embeddings.
        pooled: whether it sees the mean embedding so far, in place of a frame's own.
        smoothing: the name of what calms its scores in `FILTERS`, with its parameters; None: nothing.
        tuned: what was tuned, in words; None where nothing was.
    """

    probe: Pipeline
    pooled: bool
    smoothing: tuple[str, Mapping[str, object]] | None
    tuned: str | None

    def judge(self, lessons: Sequence[Lesson], classes: int) -> list[Track]:
        """What it says of lessons, frame by frame."""
        seen = [mean_so_far(lesson) for lesson in lessons] if self.pooled else lessons
        tracks = probe.tracks_of(self.probe, seen, classes)
        if self.smoothing is None:
            return tracks
        name, parameters = self.smoothing
        return filtered(name, tracks, dict(parameters))


def controls(
    frames: Pipeline,
    c: float,
    train: Sequence[Lesson],
    inner: tuple[Sequence[Lesson], Sequence[Lesson]],
    classes: int,
) -> dict[str, Control]:
    """Every control of `NAMES`, trained on `train`.

    Args:
        frames: the probe of single frames of `train`.
        c: its penalty, tuned on `inner`.
        train: what a head would be trained on.
        inner: a part of `train` to try parameters on, and the rest of it, to judge them by.
        classes: number of labels.
    """
    whole = all(lesson.whole for lesson in train)
    tried = probe.tracks_of(probe.fit_probe(inner[0], c), inner[1], classes)
    made = {"probe": Control(frames, False, None, f"C = {c:g}")}
    for name in FILTERS:
        parameters, text = tune(name, tried, whole)
        made[name] = Control(frames, False, (name, parameters), text)
    rest, judge = ([mean_so_far(lesson) for lesson in part] for part in inner)
    c = probe.tune(rest, judge, classes)
    pooled = probe.fit_probe([mean_so_far(lesson) for lesson in train], c)
    made["pooled"] = Control(pooled, True, None, f"C = {c:g}")
    return made


def mean_so_far(lesson: Lesson) -> Lesson:
    """A lesson whose embeddings are the means of all frames so far."""
    counts = torch.arange(1, len(lesson) + 1)[:, None]
    return replace(lesson, embeddings=lesson.embeddings.cumsum(0) / counts)
