"""How good predictions are: accuracy, average precision, segments, flips, onsets and calibration over many videos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support

from liquidvision.errors import UsageError
from liquidvision.metrics import segments

OVERLAPS = {"10": 0.1, "25": 0.25, "50": 0.5}
BINS = 15
MIN_PROBABILITY = 1e-12  # the least probability that a logarithm is taken of


@dataclass(frozen=True, slots=True, eq=False)
class ClipScores:
    """What was true and what was predicted of one video, frame by frame; at least one frame.

    Attributes:
        truth: class index of each frame, (n,) int64.
        scores: probability of each class at each frame, (n, classes) float32 or float64, rows summing to 1.
        times: seconds, (n,) float64, never decreasing.

    Raises:
        UsageError: no frame, lengths that differ, a class that has no score, or times that go back.
    """

    truth: np.ndarray
    scores: np.ndarray
    times: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.truth)
        if n == 0 or self.scores.ndim != 2 or (len(self.scores), len(self.times)) != (n, n):
            raise UsageError(
                f"a track needs truth (n,), scores (n, classes) and times (n,) for the same n > 0 frames, "
                f"not {self.truth.shape}, {self.scores.shape} and {self.times.shape}"
            )
        if self.truth.min() < 0 or self.truth.max() >= self.scores.shape[1]:
            raise UsageError(f"a track's truth must be in 0..{self.scores.shape[1] - 1}, the classes that have scores")
        if not (np.diff(self.times) >= 0).all():
            raise UsageError("a track's times must never go back: sort its frames by time")

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each frame, (n,) int64."""
        return self.scores.argmax(1)

    @property
    def clip_scores(self) -> np.ndarray:
        """Probabilities for the whole clip, (classes,) float64: softmax of the mean of its frames' logits.

        A frame's log-probabilities are its logits less a constant, which softmax does not see: their mean is taken.
        """
        logits = np.log(np.maximum(self.scores, MIN_PROBABILITY, dtype=np.float64)).mean(0)
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()


def frame_accuracy(tracks: Sequence[ClipScores]) -> float:
    """Share of all videos' frames that are predicted right, 0 to 1."""
    right = sum(int(np.count_nonzero(track.predicted == track.truth)) for track in tracks)
    return right / sum(len(track.truth) for track in tracks)


def clip_accuracy(tracks: Sequence[ClipScores]) -> float:
    """Share of videos, each of one class throughout, whose `clip_scores` are highest for it, 0 to 1."""
    return sum(int(track.clip_scores.argmax() == track.truth[0]) for track in tracks) / len(tracks)


def calibration_error(truth: np.ndarray, scores: np.ndarray) -> float:
    """Expected calibration error of the most probable class, 0 to 1; truth (n,), scores (n, classes).

    Σ over 15 bins of equal width of the bin's share of samples × |its accuracy − its mean confidence|.
    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    confidence = scores.max(1).astype(np.float64)
    excess = (scores.argmax(1) == truth) - confidence
    bins = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(int)
    return float(np.abs(np.bincount(bins, weights=excess)).sum() / len(truth))


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each class's average precision against all others, (classes,), 0 to 1; NaN for a class not in the truth."""
    return np.array(
        [
            average_precision_score(truth == index, scores[:, index]) if (truth == index).any() else np.nan
            for index in range(scores.shape[1])
        ]
    )


def classification_metrics(
    tracks: Sequence[ClipScores], labels: Sequence[str], *, background: str | None = None, whole_clip: bool
) -> dict[str, object]:
    """Every metric over the videos, ready for JSON: plain numbers, None where a metric is not defined.

    Where one label holds for the whole clip, what is judged is the clip (`ClipScores.clip_scores`) in clip_accuracy,
    clip_confusion, mean_class_accuracy, map, ece and per_class. Else it is the frame, and clip_accuracy and
    clip_confusion are None. The others are always of frames.

    Args:
        tracks: one for each video.
        labels: the names of the classes, in the order of the scores.
        background: the label that is no action: not a segment in edit and f1, no onset, no class in map.
        whole_clip: whether one label holds for each whole video.

    Returns:
        clip_accuracy, frame_accuracy, ece: 0 to 1.
        mean_class_accuracy: mean of the recall of the classes that occur, 0 to 1.
        map: mean average precision of the classes that occur, each against all others, 0 to 1.
        edit: `segments.edit_score`, mean over videos, 0 to 100.
        f1: {"10", "25", "50"}: F1 of segments that overlap by so many per cent (`segments.matches`), 0 to 100.
        flips_per_minute: changes of the prediction beyond those of the truth, a minute of video.
        onset_delay: {"median", "p90"} seconds, of the onsets not missed; {"missed"} share of all onsets, 0 to 1.
        confusion, clip_confusion: counts, truth × predicted.
        per_class: a list of {"label", "clips" in which it occurs, "recall", "precision", "ap"}.

    Raises:
        UsageError: no track, scores not of these labels, a background that is no label, or, with whole_clip, a
            video of several classes.
    """
    _check(tracks, labels, background, whole_clip)
    truth = np.concatenate([track.truth for track in tracks])
    predicted = np.concatenate([track.predicted for track in tracks])
    classes = list(range(len(labels)))
    if whole_clip:
        judged, scores = np.array([t.truth[0] for t in tracks]), np.stack([t.clip_scores for t in tracks])
    else:
        judged, scores = truth, np.concatenate([track.scores for track in tracks])
    decided = scores.argmax(1)
    precision, recall, _, _ = precision_recall_fscore_support(judged, decided, labels=classes, zero_division=np.nan)
    ap = average_precisions(judged, scores)
    occurs = np.stack([np.bincount(track.truth, minlength=len(labels)) > 0 for track in tracks]).sum(0)
    return {
        "clip_accuracy": clip_accuracy(tracks) if whole_clip else None,
        "frame_accuracy": frame_accuracy(tracks),
        "mean_class_accuracy": _mean(recall),
        "map": _mean(ap[[label != background for label in labels]]),
        **_over_time(tracks, labels.index(background) if background is not None else None),
        "ece": calibration_error(judged, scores),
        "confusion": confusion_matrix(truth, predicted, labels=classes).tolist(),
        "clip_confusion": confusion_matrix(judged, decided, labels=classes).tolist() if whole_clip else None,
        "per_class": [
            {
                "label": label,
                "clips": int(occurs[index]),
                "recall": _number(recall[index]),
                "precision": _number(precision[index]),
                "ap": _number(ap[index]),
            }
            for index, label in enumerate(labels)
        ],
    }


def _check(tracks: Sequence[ClipScores], labels: Sequence[str], background: str | None, whole_clip: bool) -> None:
    if not tracks:
        raise UsageError("no video to measure: give at least one")
    if len(labels) < 2 or any(track.scores.shape[1] != len(labels) for track in tracks):
        raise UsageError(f"every frame needs a score for each of two labels at least, here {', '.join(labels)}")
    if background is not None and background not in labels:
        raise UsageError(f"the background {background!r} is none of the labels {', '.join(labels)}")
    if whole_clip and any(np.ptp(track.truth) for track in tracks):
        raise UsageError("whole_clip needs one class throughout each video, but a video has several")


def _over_time(tracks: Sequence[ClipScores], background: int | None) -> dict[str, object]:
    edits, flips, seconds = [], 0, 0.0
    matched, segment_count = np.zeros(len(OVERLAPS)), 0
    delays = []
    for track in tracks:
        pair = track.truth, track.predicted
        edits.append(segments.edit_score(*pair, background))
        hits, predicted_count, true_count = segments.match_segments(
            *pair, track.times, tuple(OVERLAPS.values()), background
        )
        matched += hits
        segment_count += predicted_count + true_count
        flips += segments.count_flips(*pair)
        seconds += segments.last_frame_end(track.times) - float(track.times[0])
        delays.append(segments.onset_delays(*pair, track.times, background))
    delay = np.concatenate(delays)
    caught = delay[~np.isnan(delay)]
    return {
        "edit": float(np.mean(edits)),
        "f1": {
            name: float(200 * hits / segment_count) if segment_count else None
            for name, hits in zip(OVERLAPS, matched, strict=True)
        },
        "flips_per_minute": 60 * flips / seconds if seconds else None,
        "onset_delay": {
            "median": float(np.median(caught)) if len(caught) else None,
            "p90": float(np.percentile(caught, 90)) if len(caught) else None,
            "missed": 1 - len(caught) / len(delay) if len(delay) else None,
        },
    }


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
