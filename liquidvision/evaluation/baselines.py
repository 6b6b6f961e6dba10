"""Baselines without a recurrent cell: linear probes of frames, smoothed or averaged over time."""

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
    """A trained and tuned baseline.

    Attributes:
        probe: linear probe of embeddings.
        pooled: whether the probe sees the mean embedding of all frames so far, not that of the frame.
        smoothing: a name of `SMOOTHERS` and its parameters, applied to the probe's scores; None: no smoothing.
        tuned: the tuned parameters as text; None if nothing was tuned.
    """

    probe: Pipeline
    pooled: bool
    smoothing: tuple[str, Mapping[str, object]] | None
    tuned: str | None

    def predict(self, sequences: Sequence[ClipSequence], classes: int) -> list[ClipScores]:
        """Return the scores of each clip, frame by frame."""
        inputs = [average_so_far(sequence) for sequence in sequences] if self.pooled else sequences
        clips = probe.probe_scores(self.probe, inputs, classes)
        if self.smoothing is None:
            return clips
        name, parameters = self.smoothing
        return smooth_scores(name, clips, dict(parameters))


def fit_baselines(
    frame_probe: Pipeline,
    penalty: float,
    train: Sequence[ClipSequence],
    inner: tuple[Sequence[ClipSequence], Sequence[ClipSequence]],
    classes: int,
) -> dict[str, Baseline]:
    """Train every baseline of `BASELINES` on `train`.

    Args:
        frame_probe: probe of single frames, fitted to `train`.
        penalty: C of the probe, tuned on `inner`.
        train: the clips that a head would be trained on.
        inner: two parts of `train`: one to fit candidates to, one to choose parameters by.
        classes: number of labels.
    """
    whole_clip = all(sequence.whole_clip for sequence in train)
    candidates = probe.probe_scores(probe.fit_probe(inner[0], penalty), inner[1], classes)
    baselines = {"probe": Baseline(frame_probe, False, None, f"C = {penalty:g}")}
    for name in SMOOTHERS:
        parameters, text = tune_smoothing(name, candidates, whole_clip)
        baselines[name] = Baseline(frame_probe, False, (name, parameters), text)
    inner_train, inner_test = ([average_so_far(sequence) for sequence in part] for part in inner)
    penalty = probe.tune_penalty(inner_train, inner_test, classes)
    pooled = probe.fit_probe([average_so_far(sequence) for sequence in train], penalty)
    baselines["pooled"] = Baseline(pooled, True, None, f"C = {penalty:g}")
    return baselines


def average_so_far(sequence: ClipSequence) -> ClipSequence:
    """Return the sequence with each embedding replaced by the mean of all embeddings up to that frame."""
    counts = torch.arange(1, len(sequence) + 1)[:, None]
    return replace(sequence, embeddings=sequence.embeddings.cumsum(0) / counts)
