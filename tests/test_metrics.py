"""Metrics over videos: worked by hand, defined at the edges, ready for JSON."""

import json

import numpy as np
import pytest

from liquidvision.errors import UsageError
from liquidvision.learn.metrics import (
    Track,
    average_precisions,
    calibration_error,
    clip_accuracy,
    frame_accuracy,
    measure,
)

KEYS = {
    *("clip_accuracy", "frame_accuracy", "mean_class_accuracy", "map", "edit", "f1", "flips_per_minute"),
    *("onset_delay", "ece", "confusion", "clip_confusion", "per_class"),
}
LABELS = ["rest", "wave", "clap"]


def track(truth: str, predicted: str, *, top: float = 0.8, step: float = 0.5, classes: int = 3) -> Track:
    """Digits for the true and the predicted class of each frame; `top` is the predicted class's probability."""
    scores = np.full((len(truth), classes), (1 - top) / (classes - 1), np.float32)
    scores[np.arange(len(truth)), [int(k) for k in predicted]] = top
    return Track(np.array([int(k) for k in truth]), scores, np.arange(len(truth)) * step)


def numbers(value: object) -> list[object]:
    """Everything in a nest of lists and dicts that is neither."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in numbers(part)]
    return [leaf for part in value for leaf in numbers(part)] if isinstance(value, list) else [value]


def test_intervals_by_hand() -> None:
    """Every metric of two videos of several classes each, as worked out by hand."""
    tracks = [track("00112222", "01112202"), track("0011", "0000", step=1.0)]
    result = measure(tracks, LABELS, background="rest", whole_clip=False)
    assert set(result) == KEYS
    assert result["clip_accuracy"] is None and result["clip_confusion"] is None
    assert result["frame_accuracy"] == pytest.approx(8 / 12)
    assert result["confusion"] == [[3, 1, 0], [2, 2, 0], [1, 0, 3]]
    assert result["mean_class_accuracy"] == pytest.approx((3 / 4 + 2 / 4 + 3 / 4) / 3)
    # Segments without rest: wave clap | wave clap clap, and wave | none.
    assert result["edit"] == pytest.approx((100 * (1 - 1 / 3) + 0) / 2)
    # Overlaps: wave 2/3, clap 2/4, and the second clap 1/4 of a true one that is taken; 3 predicted, 3 true.
    assert result["f1"] == {name: pytest.approx(100 * 2 * 2 / (3 + 3)) for name in ("10", "25", "50")}
    # Four changes for two true ones in 4 s; none for one in 4 s.
    assert result["flips_per_minute"] == pytest.approx(60 * 2 / 8)
    assert result["onset_delay"] == {"median": 0.0, "p90": 0.0, "missed": pytest.approx(1 / 3)}
    assert result["ece"] == pytest.approx(0.8 - 8 / 12, abs=1e-6)
    rest, wave, clap = result["per_class"]
    assert rest == {**rest, "label": "rest", "clips": 2, "recall": 3 / 4, "precision": 3 / 6}
    assert wave == {**wave, "clips": 2, "recall": 2 / 4, "precision": pytest.approx(2 / 3)}
    assert clap == {**clap, "clips": 1, "recall": 3 / 4, "precision": 1.0}
    # At 0.8 all three frames said to be clap are; at 0.1, 4 of 12 frames are: 3/4 · 1 + 1/4 · 4/12.
    assert clap["ap"] == pytest.approx(3 / 4 + 1 / 12)
    assert result["map"] == pytest.approx((wave["ap"] + clap["ap"]) / 2)


def test_whole_clips_by_hand() -> None:
    """Where a label holds for a clip, the clip is what is judged; frames and flips are told beside it."""
    tracks = [track("1111", "1112"), track("1111", "2122"), track("2222", "2222"), track("2222", "2222")]
    result = measure(tracks, LABELS, whole_clip=True)
    assert set(result) == KEYS
    assert result["clip_accuracy"] == 3 / 4
    assert result["clip_confusion"] == [[0, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert result["confusion"] == [[0, 0, 0], [0, 4, 4], [0, 0, 8]]
    assert result["frame_accuracy"] == 12 / 16
    assert result["mean_class_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert result["map"] == pytest.approx(1.0)  # each class's clips come first in its own order
    assert result["flips_per_minute"] == pytest.approx(60 * 3 / 8)
    assert result["onset_delay"] == {"median": None, "p90": None, "missed": None}
    absent, _, clap = result["per_class"]
    assert absent == {"label": "rest", "clips": 0, "recall": None, "precision": None, "ap": None}
    assert clap == {"label": "clap", "clips": 2, "recall": 1.0, "precision": pytest.approx(2 / 3), "ap": 1.0}


def test_a_clips_scores_are_its_mean_logits() -> None:
    """A clip's scores are the softmax of the mean of its frames' logits, whatever is added to a frame's logits."""
    logits = np.random.default_rng(0).normal(size=(5, 3)) * 3
    odds = np.exp(logits + np.arange(5)[:, None])
    scores = odds / odds.sum(1, keepdims=True)
    mean = np.exp(logits.mean(0))
    clip = Track(np.zeros(5, int), scores, np.arange(5.0))
    assert clip.clip_scores == pytest.approx(mean / mean.sum())


def test_one_sure_frame_decides_no_more_than_its_logit() -> None:
    """A probability of 0 does not rule a class out for the whole clip, and nothing becomes infinite."""
    scores = np.array([[1.0, 0.0], [1e-5, 1.0], [1e-5, 1.0], [1e-5, 1.0]], np.float32)
    clip = Track(np.ones(4, int), scores, np.arange(4.0))
    assert np.isfinite(clip.clip_scores).all() and clip_accuracy([clip]) == 1


def test_frames_count_alike() -> None:
    """A long video's frames weigh as much in the frame accuracy as a short one's."""
    assert frame_accuracy([track("111111", "111111"), track("11", "22")]) == 6 / 8


def test_calibration_by_hand() -> None:
    """Two bins: two samples at 0.9, one right; two at 0.6, both right: half of 0.4 and half of 0.4."""
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert calibration_error(np.array([0, 1, 1, 1]), scores) == pytest.approx(0.4)
    assert calibration_error(np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0
    # Over and under one bin's confidence cancel; in two bins they do not.
    near, apart = [[0.61, 0.39], [0.65, 0.35]], [[0.61, 0.39], [0.75, 0.25]]
    assert calibration_error(np.array([0, 1]), np.array(near)) == pytest.approx(abs(1 - 0.61 - 0.65) / 2)
    assert calibration_error(np.array([0, 1]), np.array(apart)) == pytest.approx((0.39 + 0.75) / 2)


def test_average_precision_of_absent_classes() -> None:
    """A class that is not in the truth has no average precision, and does not lower the others'."""
    scores = np.array([[0.5, 0.3, 0.2], [0.4, 0.5, 0.1], [0.6, 0.1, 0.3]])
    ap = average_precisions(np.array([0, 1, 1]), scores)
    assert ap[:2] == pytest.approx([1 / 2, 1 / 2 + 1 / 2 * 2 / 3]) and np.isnan(ap[2])


@pytest.mark.parametrize("whole_clip", [False, True])
@pytest.mark.parametrize("background", [None, "rest"])
@pytest.mark.parametrize("rows", [[("0", "0")], [("0", "2")], [("000", "000")], [("1", "1"), ("2222", "0120")]])
def test_ready_for_json(rows: list[tuple[str, str]], background: str | None, whole_clip: bool) -> None:
    """However little there is to measure, the result is plain, finite numbers or None, and no warning is given."""
    result = measure([track(*row) for row in rows], LABELS, background=background, whole_clip=whole_clip)
    assert set(result) == KEYS and json.loads(json.dumps(result, allow_nan=False)) == result
    assert {type(leaf) for leaf in numbers(result)} <= {int, float, str, type(None)}


def test_onsets_of_all_videos() -> None:
    """The median and the 90th percentile are of the delays of all videos' onsets that were not missed."""
    late = [track("0" + "1" * 11, "0" * (1 + k) + "1" * (11 - k), step=0.1) for k in range(11)]
    missed = [track("001", "000"), track("002", "001")]
    result = measure(late + missed, LABELS, whole_clip=False)
    expected = {"median": 0.5, "p90": 0.9, "missed": 2 / 13}
    assert result["onset_delay"] == {key: pytest.approx(value) for key, value in expected.items()}


def test_background_alone() -> None:
    """Where only background is true and only background is said, no action is measured."""
    result = measure([track("0000", "0000")], LABELS, background="rest", whole_clip=False)
    assert result["map"] is None and result["f1"] == {"10": None, "25": None, "50": None}
    assert result["frame_accuracy"] == 1 and result["edit"] == 100


def test_a_perfect_prediction() -> None:
    """What is right everywhere has the best value of every metric."""
    result = measure([track("0012", "0012", top=1.0), track("2100", "2100", top=1.0)], LABELS, whole_clip=False)
    assert [result[key] for key in ("frame_accuracy", "mean_class_accuracy", "map")] == [1, 1, 1]
    assert (result["edit"], result["f1"], result["ece"]) == (100, {"10": 100, "25": 100, "50": 100}, 0)
    assert (result["flips_per_minute"], result["onset_delay"]) == (0, {"median": 0, "p90": 0, "missed": 0})


def test_what_cannot_be_measured() -> None:
    """No video, wrong labels, a strange background and a clip of two classes are refused in one line."""
    good = track("0012", "0012")
    for arguments, options, told in (
        (([], LABELS), {"whole_clip": False}, "no video"),
        (([good], LABELS[:2]), {"whole_clip": False}, "score"),
        (([good], LABELS), {"whole_clip": False, "background": "idle"}, "'idle'"),
        (([good], LABELS), {"whole_clip": True}, "several"),
    ):
        with pytest.raises(UsageError, match=told) as error:
            measure(*arguments, **options)
        assert "\n" not in str(error.value)


def test_tracks_that_cannot_be() -> None:
    """A track of no frames, of unequal lengths, of unknown classes or running backwards is refused."""
    scores, times = np.full((2, 2), 0.5), np.arange(2.0)
    for arguments, told in (
        ((np.zeros(0, int), scores[:0], times[:0]), "n > 0"),
        ((np.zeros(2, int), scores, times[:1]), "times"),
        ((np.zeros(2, int), scores[:, 0], times), "classes"),
        ((np.array([0, 2]), scores, times), "0..1"),
        ((np.array([0, -1]), scores, times), "0..1"),
        ((np.zeros(2, int), scores, times[::-1]), "back"),
        ((np.zeros(2, int), scores, np.array([0, np.nan])), "back"),
    ):
        with pytest.raises(UsageError, match=told):
            Track(*arguments)
