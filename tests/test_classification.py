"""Classification metrics on examples worked by hand."""

import numpy as np
import pytest

from liquidvision.errors import UsageError
from liquidvision.metrics.classification import (
    ClipScores,
    average_precisions,
    classification_metrics,
    clip_accuracy,
    frame_accuracy,
)

LABELS = ("rest", "run", "jump")


def clip(truth: list[int], predicted: list[int], confidence: float = 0.8) -> ClipScores:
    """Return a clip at 10 frames per second with one confidence for all predictions."""
    scores = np.full((len(truth), 3), (1 - confidence) / 2)
    scores[np.arange(len(truth)), predicted] = confidence
    return ClipScores(np.array(truth), scores, np.arange(len(truth)) / 10)


def test_accuracy_of_frames_and_clips() -> None:
    """Frames of all clips count together; a clip has the class with the highest mean logit."""
    clips = [clip([1] * 4, [1, 1, 1, 2]), clip([2] * 6, [0, 0, 0, 0, 2, 2])]
    assert frame_accuracy(clips) == 5 / 10
    assert clip_accuracy(clips) == 1 / 2
    assert [one.clip_predicted for one in clips] == [1, 0]
    assert clips[0].clip_scores.sum() == pytest.approx(1)


def test_a_certain_frame_outweighs_uncertain_ones() -> None:
    """The mean of logits, not the vote of frames, decides the class of a clip; a score of 0 stays finite."""
    scores = np.array([[0.0, 1.0], [0.6, 0.4], [0.6, 0.4]])
    one = ClipScores(np.ones(3, int), scores, np.arange(3.0))
    assert one.predicted.tolist() == [1, 0, 0] and one.clip_predicted == 1
    assert np.isfinite(one.clip_scores).all()


def test_metrics_of_whole_clips() -> None:
    """With whole-clip labels, recall, precision, confusion and calibration count clips, and classes may be absent."""
    clips = [clip([1] * 4, [1] * 4), clip([1] * 4, [2] * 4), clip([2] * 4, [2] * 4)]
    metrics = classification_metrics(clips, LABELS, whole_clip=True)
    assert metrics["clip_accuracy"] == metrics["frame_accuracy"] == pytest.approx(2 / 3)
    assert metrics["clip_confusion"] == [[0, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert metrics["confusion"] == [[0, 0, 0], [0, 4, 4], [0, 0, 4]]
    assert metrics["mean_class_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert metrics["ece"] == pytest.approx(0.8 - 2 / 3)
    rest, run, jump = metrics["per_class"]
    assert rest == {"label": "rest", "clips": 0, "recall": None, "precision": None, "ap": None}
    assert (run["clips"], run["recall"], run["precision"]) == (2, 0.5, 1.0)
    assert (jump["clips"], jump["recall"], jump["precision"]) == (1, 1.0, 0.5)


def test_metrics_of_changing_labels() -> None:
    """With changing labels frames count, and segments, flips and onsets follow the background and the seconds."""
    one = clip([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0])
    metrics = classification_metrics([one], LABELS, background="rest", whole_clip=False)
    assert metrics["clip_accuracy"] is None and metrics["clip_confusion"] is None
    assert metrics["frame_accuracy"] == pytest.approx(4 / 6)
    assert metrics["confusion"] == [[3, 0, 0], [2, 1, 0], [0, 0, 0]]
    assert metrics["edit"] == 100  # one segment of "run" in both
    assert metrics["f1"] == {"10": 100, "25": 100, "50": 0}  # they overlap by a third
    assert metrics["flips_per_minute"] == 0
    assert metrics["onset_delay"] == {"median": pytest.approx(0.1), "p90": pytest.approx(0.1), "missed": 0}
    assert metrics["map"] == metrics["per_class"][1]["ap"]  # the background does not count


def test_flips_and_missed_onsets() -> None:
    """Flips count per minute of all clips together; without onsets and durations the metrics are None."""
    flickering = clip([1] * 6, [1, 2, 1, 2, 1, 2])
    metrics = classification_metrics([flickering, flickering], LABELS, whole_clip=True)
    assert metrics["flips_per_minute"] == pytest.approx(60 * 10 / 1.2)
    assert metrics["onset_delay"] == {"median": None, "p90": None, "missed": None}
    missed = classification_metrics([clip([0, 0, 1, 1], [0, 0, 0, 0])], LABELS, whole_clip=False)
    assert missed["onset_delay"] == {"median": None, "p90": None, "missed": 1}
    single = classification_metrics([clip([1], [1])], LABELS, whole_clip=True)
    assert single["flips_per_minute"] is None


def test_average_precision() -> None:
    """Average precision follows the ranking of one class against all others, and is NaN for an absent class."""
    truth = np.array([0, 1, 0, 1])
    scores = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.5, 0.5, 0], [0.2, 0.8, 0]])
    precisions = average_precisions(truth, scores)
    assert precisions[:2] == pytest.approx([(1 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    assert np.isnan(precisions[2])


def test_malformed_clips_are_refused() -> None:
    """No frames, different lengths, a class without a score and decreasing times are refused in one line."""
    scores = np.full((2, 3), 1 / 3)
    for truth, values, times, reason in (
        (np.zeros(0, int), np.zeros((0, 3)), np.zeros(0), "n > 0"),
        (np.zeros(3, int), scores, np.arange(2.0), "expected"),
        (np.array([0, 3]), scores, np.arange(2.0), "0 to 2"),
        (np.zeros(2, int), scores, np.array([1.0, 0.0]), "sort"),
    ):
        with pytest.raises(UsageError, match=reason) as error:
            ClipScores(truth, values, times)
        assert "\n" not in str(error.value)


def test_malformed_arguments_are_refused() -> None:
    """No clips, wrong labels, an unknown background and mixed labels in a whole clip are refused."""
    good, mixed = clip([1, 1], [1, 1]), clip([0, 1], [0, 1])
    for clips, labels, background, reason in (
        ([], LABELS, None, "no video"),
        ([good], ("a", "b"), None, "do not fit"),
        ([good], LABELS, "nothing", "'nothing'"),
        ([mixed], LABELS, None, "several classes"),
    ):
        with pytest.raises(UsageError, match=reason):
            classification_metrics(clips, labels, background=background, whole_clip=True)
