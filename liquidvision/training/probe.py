"""A linear probe of single frames on the whole embedding; it becomes a head's readout of each frame alone."""

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

PROBE_FRAMES = 8000  # sampled evenly over all clips in all views; neighbouring frames are nearly the same
PENALTIES = (1e-2, 1e-3, 1e-1, 1e-4, 1.0)  # C of scikit-learn's LogisticRegression; of equally good ones the first
INNER_FOLDS = 4  # of a training part; one of them judges what is tuned
UNSEEN_LOGIT = -30.0  # logit of a class that the probe was not fitted to


def inner_split(train: SequenceDataset) -> tuple[SequenceDataset, SequenceDataset]:
    """Split training sequences into a part to fit and a part to judge by; groups stay whole.

    If the first part would have one class only, both parts are the whole.
    """
    dataset = train.dataset
    groups = {clip.group for clip in dataset.clips}
    judge = set(make_folds(dataset, min(INNER_FOLDS, len(groups)), seed=0)[0]) if len(groups) > 1 else set()
    rest = [clip for clip in dataset.clips if clip.name not in judge]
    if not judge or len(labels_in(rest, dataset.background)) < 2:
        return train, train
    return train.select([clip.name for clip in rest]), train.select(sorted(judge))


def fit_probe(sequences: Sequence[ClipSequence], c: float) -> Pipeline:
    """Fit multinomial logistic regression to standardised embeddings of single frames.

    Args:
        sequences: sequences of at least two classes.
        c: inverse strength of the L2 penalty.

    Raises:
        ValueError: the sequences have one class only.
    """
    step = max(1, sum(len(sequence) for sequence in sequences) // PROBE_FRAMES)
    # A clip shorter than a step contributes its middle frame.
    picks = [list(range(min(step, len(sequence)) // 2, len(sequence), step)) for sequence in sequences]
    x = np.concatenate([own.embeddings[pick].numpy() for own, pick in zip(sequences, picks, strict=True)])
    y = np.concatenate([own.targets[pick].numpy() for own, pick in zip(sequences, picks, strict=True)])
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000, tol=1e-3)).fit(x, y)


def probe_scores(probe: Pipeline, sequences: Sequence[ClipSequence], classes: int) -> list[ClipScores]:
    """Return a probe's scores of every frame; a class that it was not fitted to scores 0."""
    clips = []
    for sequence in sequences:
        scores = np.zeros((len(sequence), classes))
        scores[:, probe.classes_] = probe.predict_proba(sequence.embeddings.numpy())
        clips.append(ClipScores(sequence.targets.numpy(), scores, sequence.times.numpy()))
    return clips


def tune_penalty(train: Sequence[ClipSequence], judge: Sequence[ClipSequence], classes: int) -> float:
    """Return the penalty of `PENALTIES` with which probes of `train` have the best accuracy on `judge`.

    Clip accuracy counts where one label holds for each clip, else frame accuracy. If `train` has one class only, the
    first penalty is returned.
    """
    if len({int(target) for sequence in train for target in sequence.targets.unique()}) < 2:
        return PENALTIES[0]
    accuracy = clip_accuracy if all(sequence.whole_clip for sequence in judge) else frame_accuracy
    return max(PENALTIES, key=lambda c: accuracy(probe_scores(fit_probe(train, c), judge, classes)))


@torch.no_grad()
def set_frame_readout(head: LiquidHead, probe: Pipeline) -> None:
    """Make a head's readout of single frames compute the probe's logits; the head's statistics must be set."""
    scaler, regression = probe[0], probe[-1]
    weights = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - regression.coef_ @ (scaler.mean_ / scaler.scale_)
    if len(weights) == 1:  # with two classes scikit-learn keeps the second one's logit only
        weights, bias = np.concatenate([0 * weights, weights]), np.append(0.0, bias)
    # The head's readout sees (x - mean) * inverse_std.
    mean, inverse_std = (value.cpu().double().numpy() for value in (head.mean, head.inverse_std))
    bias = bias + weights @ mean
    head.frame_readout.weight.zero_()
    head.frame_readout.bias.fill_(UNSEEN_LOGIT)
    head.frame_readout.weight[probe.classes_] = torch.from_numpy(weights / inverse_std).to(head.frame_readout.weight)
    head.frame_readout.bias[probe.classes_] = torch.from_numpy(bias).to(head.frame_readout.bias)
