"""A linear probe: what each frame alone says, read from the whole embedding; a head's readout of single frames."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from liquidvision.data.dataset import labels_in
from liquidvision.data.splits import make_folds
from liquidvision.metrics.classification import ClipScores, clip_accuracy, frame_accuracy
from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.training.sequences import ClipSequence, SequenceDataset

PROBE_FRAMES = 8000  # of all clips in all views, spread evenly; neighbouring frames are nearly the same
PENALTIES = (1e-2, 1e-3, 1e-1, 1e-4, 1.0)  # C of scikit-learn's LogisticRegression; of equals the first is taken
INNER_FOLDS = 4  # of a training part, one of which judges what is tuned
NEVER = -30.0  # logit of a class that a probe has not seen


def inner_split(train: SequenceDataset) -> tuple[SequenceDataset, SequenceDataset]:
    """A part of training lessons to try parameters on, and the rest, to judge them by; groups stay whole.

    Where that would leave one class alone to learn from, both parts are all of it.
    """
    dataset = train.dataset
    groups = {clip.group for clip in dataset.clips}
    judge = set(make_folds(dataset, min(INNER_FOLDS, len(groups)), seed=0)[0]) if len(groups) > 1 else set()
    rest = [clip for clip in dataset.clips if clip.name not in judge]
    if not judge or len(labels_in(rest, dataset.background)) < 2:
        return train, train
    return train.only([clip.name for clip in rest]), train.only(sorted(judge))


def fit_probe(lessons: Sequence[ClipSequence], c: float) -> Pipeline:
    """Multinomial logistic regression on standardised embeddings of single frames.

    Raises:
        ValueError: lessons of one class alone.
    """
    step = max(1, sum(len(lesson) for lesson in lessons) // PROBE_FRAMES)
    # Shorter than a step, a clip gives its middle frame.
    picks = [range(min(step, len(lesson)) // 2, len(lesson), step) for lesson in lessons]
    x = np.concatenate([lesson.embeddings[list(pick)].numpy() for lesson, pick in zip(lessons, picks, strict=True)])
    y = np.concatenate([lesson.targets[list(pick)].numpy() for lesson, pick in zip(lessons, picks, strict=True)])
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, tol=1e-3)).fit(x, y)


def probe_scores(probe: Pipeline, lessons: Sequence[ClipSequence], classes: int) -> list[ClipScores]:
    """What a probe says of every frame; a class that it never saw has no chance."""
    tracks = []
    for lesson in lessons:
        scores = np.zeros((len(lesson), classes))
        scores[:, probe.classes_] = probe.predict_proba(lesson.embeddings.numpy())
        tracks.append(ClipScores(lesson.targets.numpy(), scores, lesson.times.numpy()))
    return tracks


def tune_penalty(train: Sequence[ClipSequence], judge: Sequence[ClipSequence], classes: int) -> float:
    """The penalty of `PENALTIES` by which probes of `train` are most often right on `judge`, on clips or on frames.

    Where `train` has one class alone nothing can be tried, and the first is taken.
    """
    if len({int(target) for lesson in train for target in lesson.targets.unique()}) < 2:
        return PENALTIES[0]
    right = clip_accuracy if all(lesson.whole for lesson in judge) else frame_accuracy
    return max(PENALTIES, key=lambda c: right(probe_scores(fit_probe(train, c), judge, classes)))


@torch.no_grad()
def set_frame_readout(head: LiquidHead, probe: Pipeline) -> None:
    """Have a head, whose statistics are set, say of each frame alone what a probe says of it."""
    scaler, regression = probe[0], probe[-1]
    weights, bias = (
        regression.coef_ / scaler.scale_,
        regression.intercept_ - regression.coef_ @ (scaler.mean_ / scaler.scale_),
    )
    if len(weights) == 1:  # of two classes scikit-learn keeps the second one's logit alone
        weights, bias = np.concatenate([0 * weights, weights]), np.append(0.0, bias)
    # The head's readout sees (x - mean) * inverse_std.
    mean, inverse_std = (value.cpu().double().numpy() for value in (head.mean, head.inverse_std))
    bias = bias + weights @ mean
    head.frame_readout.weight.zero_()
    head.frame_readout.bias.fill_(NEVER)
    head.frame_readout.weight[probe.classes_] = torch.from_numpy(weights / inverse_std).to(head.frame_readout.weight)
    head.frame_readout.bias[probe.classes_] = torch.from_numpy(bias).to(head.frame_readout.bias)
