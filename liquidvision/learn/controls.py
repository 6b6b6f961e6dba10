"""Classifiers without a recurrent cell, to compare with: linear probes of frames, filtered or pooled over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from liquidvision.learn.filters import FILTERS, filtered, tune
from liquidvision.learn.lessons import Lesson
from liquidvision.learn.metrics import Track, clip_accuracy, frame_accuracy

PROBE_FRAMES = 4000  # of all clips, spread evenly; neighbouring frames are nearly the same
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn's LogisticRegression
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
class Result:
    """What a control says of the test clips: tracks, and what was tuned, in words."""

    tracks: list[Track]
    tuned: str | None


def controls(
    train: Sequence[Lesson], inner: tuple[Sequence[Lesson], Sequence[Lesson]], test: Sequence[Lesson], classes: int
) -> dict[str, Result]:
    """Every control of `NAMES`, trained on `train` and applied to `test`.

    Args:
        train: what a head would be trained on.
        inner: a part of `train` to try parameters on, and the rest of it, to judge them by.
        test: clips that decide nothing.
        classes: number of labels.
    """
    whole = all(lesson.whole for lesson in train)

    def best(penalties: Mapping[float, list[Track]]) -> float:
        judge = clip_accuracy if whole else frame_accuracy
        return max(penalties, key=lambda c: judge(penalties[c]))

    tried = {c: tracks_of(fit_probe(inner[0], c), inner[1], classes) for c in PENALTIES}
    c = best(tried)
    plain = tracks_of(fit_probe(train, c), test, classes)
    results = {"probe": Result(plain, f"C = {c:g}")}
    for name in FILTERS:
        parameters, text = tune(name, tried[c], whole)
        results[name] = Result(filtered(name, plain, parameters), text)
    means = [[mean_so_far(lesson) for lesson in part] for part in (train, *inner, test)]
    c = best({c: tracks_of(fit_probe(means[1], c), means[2], classes) for c in PENALTIES})
    results["pooled"] = Result(tracks_of(fit_probe(means[0], c), means[3], classes), f"C = {c:g}")
    return {name: results[name] for name in NAMES}


def fit_probe(lessons: Sequence[Lesson], c: float) -> Pipeline:
    """Multinomial logistic regression on standardised embeddings of single frames."""
    step = max(1, sum(len(lesson) for lesson in lessons) // PROBE_FRAMES)
    # Shorter than a step, a clip gives its middle frame.
    picks = [range(min(step, len(lesson)) // 2, len(lesson), step) for lesson in lessons]
    x = np.concatenate([lesson.embeddings[list(pick)].numpy() for lesson, pick in zip(lessons, picks, strict=True)])
    y = np.concatenate([lesson.targets[list(pick)].numpy() for lesson, pick in zip(lessons, picks, strict=True)])
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, tol=1e-3)).fit(x, y)


def tracks_of(probe: Pipeline, lessons: Sequence[Lesson], classes: int) -> list[Track]:
    """What a probe says of every frame; a class that it never saw has no chance."""
    tracks = []
    for lesson in lessons:
        scores = np.zeros((len(lesson), classes))
        scores[:, probe.classes_] = probe.predict_proba(lesson.embeddings.numpy())
        tracks.append(Track(lesson.targets.numpy(), scores, lesson.times.numpy()))
    return tracks


def mean_so_far(lesson: Lesson) -> Lesson:
    """A lesson whose embeddings are the means of all frames so far."""
    counts = torch.arange(1, len(lesson) + 1)[:, None]
    return replace(lesson, embeddings=lesson.embeddings.cumsum(0) / counts)
