"""Metrics over annotated videos: accuracy, average precision, calibration, segments, flips and onset delays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support

from liquidvision.errors import UsageError
from liquidvision.metrics import segments
from liquidvision.prediction import most_probable

F1_OVERLAPS = {"10": 0.1, "25": 0.25, "50": 0.5}
CALIBRATION_BINS = 15
MIN_PROBABILITY = 1e-12  # smaller probabilities are raised to this before taking a logarithm


@dataclass(frozen=True, slots=True, eq=False)
class ClipScores:
    """The truth and the predicted probabilities of one video, frame by frame; at least one frame.

    Attributes:
        truth: class index of each frame, (n,) int64.
        scores: probability of each class at each frame, (n, classes) float32 or float64; rows sum to 1.
        times: seconds, (n,) float64, non-decreasing.
        decided: class index of each frame, (n,), where it was decided otherwise than as the most probable one, see
            `calm_labels`; None: the most probable one.

    Raises:
        UsageError: no frames, lengths that differ, a class without a score, or times that decrease.
    """

    truth: np.ndarray
    scores: np.ndarray
    times: np.ndarray
    decided: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.truth)
        if n == 0 or self.scores.ndim != 2 or (len(self.scores), len(self.times)) != (n, n):
            raise UsageError(
                f"clip scores have truth {self.truth.shape}, scores {self.scores.shape} and times {self.times.shape}; "
                "expected (n,), (n, classes) and (n,) with n > 0 frames"
            )
        if self.truth.min() < 0 or self.truth.max() >= self.scores.shape[1]:
            raise UsageError(f"the truth has a class without a score; expected 0 to {self.scores.shape[1] - 1}")
        if not (np.diff(self.times) >= 0).all():
            raise UsageError("frame times decrease; sort the frames by time")

    @property
    def predicted(self) -> np.ndarray:
        """The class of each frame, (n,) int64: the most probable one, unless `decided` says otherwise."""
        return most_probable(self.scores) if self.decided is None else self.decided

    @property
    def clip_predicted(self) -> int:
        """The most probable class of the whole clip."""
        return int(most_probable(self.clip_scores))

    @property
    def clip_scores(self) -> np.ndarray:
        """Probabilities of the whole clip, (classes,) float64: softmax of the mean of its frames' logits.

        Log-probabilities are logits minus a constant per frame, which softmax cancels: their mean gives the same.
        """
        logits = np.log(np.maximum(self.scores, MIN_PROBABILITY, dtype=np.float64)).mean(0)
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()


def frame_accuracy(clips: Sequence[ClipScores]) -> float:
    """Return the share of correctly predicted frames of all clips together, 0 to 1."""
    correct = sum(int(np.count_nonzero(clip.predicted == clip.truth)) for clip in clips)
    return correct / sum(len(clip.truth) for clip in clips)


def clip_accuracy(clips: Sequence[ClipScores]) -> float:
    """Return the share of clips whose `clip_scores` are highest for their one true class, 0 to 1."""
    return sum(int(clip.clip_predicted == clip.truth[0]) for clip in clips) / len(clips)


def calibration_error(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the expected calibration error of the most probable class, 0 to 1.

    Σ over 15 equally wide bins of the bin's share of samples × |its accuracy − its mean confidence|.
    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.

    Args:
        truth: class indices (n,).
        scores: probabilities (n, classes).
    """
    confidence = scores.max(1).astype(np.float64)
    excess = (most_probable(scores) == truth) - confidence
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1).astype(int)
    return float(np.abs(np.bincount(bins, weights=excess)).sum() / len(truth))


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return each class's average precision against all others, (classes,), 0 to 1; NaN for a class not in `truth`."""
    return np.array(
        [
            average_precision_score(truth == index, scores[:, index]) if (truth == index).any() else np.nan
            for index in range(scores.shape[1])
        ]
    )


def classification_metrics(
    clips: Sequence[ClipScores], labels: Sequence[str], *, background: str | None = None, whole_clip: bool
) -> dict[str, object]:
    """Return every metric over the clips as plain numbers, ready for JSON; None where a metric is not defined.

    If one label holds for each whole clip, then clip_accuracy, clip_confusion, mean_class_accuracy, map, ece and
    per_class count clips (`ClipScores.clip_scores`). Otherwise they count frames, and clip_accuracy and clip_confusion
    are None. All other metrics always count frames.

    Args:
        clips: one per video.
        labels: names of the classes, in the order of the scores.
        background: the label that is not an action: not a segment in edit and f1, not an onset, not a class in map.
        whole_clip: whether one label holds for each whole clip.

    Returns:
        clip_accuracy, frame_accuracy, ece: 0 to 1.
        mean_class_accuracy: mean recall of the classes that occur, 0 to 1.
        map: mean average precision of the classes that occur, each against all others, 0 to 1.
        edit: `segments.edit_score`, mean over clips, 0 to 100.
        f1: {"10", "25", "50"}: F1 of segments that overlap by that many percent (`segments.match_segments`), 0 to 100.
        flips_per_minute: changes of the prediction beyond those of the truth, per minute of video.
        onset_delay: {"median", "p90"} seconds, of the onsets not missed; {"missed"} share of all onsets, 0 to 1.
        confusion, clip_confusion: counts, truth × predicted.
        per_class: a list of {"label", "clips" in which it occurs, "recall", "precision", "ap"}.

    Raises:
        UsageError: no clips, scores that do not fit the labels, an unknown background, or, with `whole_clip`, a clip
            with several classes.
    """
    _check_arguments(clips, labels, background, whole_clip)
    truth = np.concatenate([clip.truth for clip in clips])
    predicted = np.concatenate([clip.predicted for clip in clips])
    classes = list(range(len(labels)))
    if whole_clip:
        judged, scores = np.array([clip.truth[0] for clip in clips]), np.stack([clip.clip_scores for clip in clips])
    else:
        judged, scores = truth, np.concatenate([clip.scores for clip in clips])
    decided = most_probable(scores)
    precision, recall, _, _ = precision_recall_fscore_support(judged, decided, labels=classes, zero_division=np.nan)
    ap = average_precisions(judged, scores)
    occurs = np.stack([np.bincount(clip.truth, minlength=len(labels)) > 0 for clip in clips]).sum(0)
    return {
        "clip_accuracy": clip_accuracy(clips) if whole_clip else None,
        "frame_accuracy": frame_accuracy(clips),
        "mean_class_accuracy": _mean_of_defined(recall),
        "map": _mean_of_defined(ap[[label != background for label in labels]]),
        **_temporal_metrics(clips, labels.index(background) if background is not None else None),
        "ece": calibration_error(judged, scores),
        "confusion": confusion_matrix(truth, predicted, labels=classes).tolist(),
        "clip_confusion": confusion_matrix(judged, decided, labels=classes).tolist() if whole_clip else None,
        "per_class": [
            {
                "label": label,
                "clips": int(occurs[index]),
                "recall": _none_if_nan(recall[index]),
                "precision": _none_if_nan(precision[index]),
                "ap": _none_if_nan(ap[index]),
            }
            for index, label in enumerate(labels)
        ],
    }


def _check_arguments(
    clips: Sequence[ClipScores], labels: Sequence[str], background: str | None, whole_clip: bool
) -> None:
    if not clips:
        raise UsageError("there is no video to measure; give at least one")
    if len(labels) < 2 or any(clip.scores.shape[1] != len(labels) for clip in clips):
        raise UsageError(
            f"the scores do not fit the labels {', '.join(labels)}; expected one score per label, and at least 2 labels"
        )
    if background is not None and background not in labels:
        raise UsageError(f"the background is {background!r}; expected one of the labels {', '.join(labels)}")
    if whole_clip and any(np.ptp(clip.truth) for clip in clips):
        raise UsageError("a video has several classes; whole_clip expects one class throughout each video")


def _temporal_metrics(clips: Sequence[ClipScores], background: int | None) -> dict[str, object]:
    """Return the metrics of segments, flips and onsets."""
    edits, flips, seconds = [], 0, 0.0
    matched, segment_count = np.zeros(len(F1_OVERLAPS)), 0
    delays = []
    for clip in clips:
        pair = clip.truth, clip.predicted
        edits.append(segments.edit_score(*pair, background))
        hits, predicted_count, true_count = segments.match_segments(
            *pair, clip.times, tuple(F1_OVERLAPS.values()), background
        )
        matched += hits
        segment_count += predicted_count + true_count
        flips += segments.count_excess_flips(*pair)
        seconds += segments.last_frame_end(clip.times) - float(clip.times[0])
        delays.append(segments.onset_delays(*pair, clip.times, background))
    delay = np.concatenate(delays)
    caught = delay[~np.isnan(delay)]
    return {
        "edit": float(np.mean(edits)),
        "f1": {
            name: float(200 * hits / segment_count) if segment_count else None
            for name, hits in zip(F1_OVERLAPS, matched, strict=True)
        },
        "flips_per_minute": 60 * flips / seconds if seconds else None,
        "onset_delay": {
            "median": float(np.median(caught)) if len(caught) else None,
            "p90": float(np.percentile(caught, 90)) if len(caught) else None,
            "missed": 1 - len(caught) / len(delay) if len(delay) else None,
        },
    }


def _mean_of_defined(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
