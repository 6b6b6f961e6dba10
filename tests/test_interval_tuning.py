"""`train` chooses the thresholds of intervals on clips that it did not learn from."""

import csv

import numpy as np
import pytest

import liquidvision as lv
from liquidvision.annotation.interval_rule import IntervalRule, IntervalSettings
from liquidvision.metrics.classification import ClipScores
from liquidvision.training.interval_tuning import calibrate_scores, interval_classes, segment_f1, tune_intervals

LABELS = ("nothing", "jump")


def weak_clip(seed: int) -> ClipScores:
    """Return a clip of 40 s whose jumps get scores around 0.5, with outliers, and everything else around 0.1."""
    random = np.random.default_rng(seed)
    times = np.arange(1000) * 0.04
    truth = ((times % 10 > 4) & (times % 10 < 7)).astype(np.int64)
    score = np.clip(np.where(truth, 0.5, 0.1) + random.normal(0, 0.05, 1000), 0.01, 0.99)
    score[random.random(1000) < 0.03] = 0.75
    return ClipScores(truth, np.stack([1 - score, score], 1), times)


def test_tuning_finds_what_the_defaults_miss():
    """Where a model is never sure, its threshold becomes lower, and intervals agree with the truth."""
    clips, held_out = [weak_clip(seed) for seed in range(3)], [weak_clip(seed) for seed in range(3, 6)]
    rule = tune_intervals(clips, 1.0, LABELS, "nothing")
    default = IntervalRule(background="nothing")
    assert rule.settings.enter < default.settings.enter
    assert segment_f1(held_out, default, LABELS) < 0.7 and segment_f1(held_out, rule, LABELS) > 0.9


def test_tuning_sees_the_calibrated_scores():
    """A temperature divides the logits, whose softmax the scores are."""
    logits = np.array([[1.0, -2.0], [0.5, 0.5], [-3.0, 1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(logits / 0.5) / np.exp(logits / 0.5).sum(1, keepdims=True)
    clip = ClipScores(np.zeros(3, np.int64), softmax, np.arange(3.0))
    assert calibrate_scores(clip, 0.5).scores == pytest.approx(expected)


def test_without_anything_to_find_the_defaults_stay():
    """Clips of background alone, and clips that the defaults get right, change nothing."""
    times, truth = np.arange(100) * 0.1, np.repeat([0, 1, 0], [30, 40, 30])
    sure = ClipScores(truth, np.eye(2)[truth] * 0.98 + 0.01, times)
    quiet = ClipScores(truth * 0, np.tile([0.99, 0.01], (100, 1)), times)
    for clips in ([quiet], [sure, quiet]):
        assert tune_intervals(clips, 1.0, LABELS, "nothing") == IntervalRule(IntervalSettings(), background="nothing")


def test_classes_of_frames_follow_the_intervals():
    """A frame has the class of the interval that it lies in, and else that of the background."""
    truth = np.repeat([0, 1, 0], [5, 10, 5])
    clip = ClipScores(truth, np.eye(2)[truth], np.arange(20) * 1.0)
    assert (interval_classes(clip, IntervalRule(background="nothing"), LABELS) == truth).all()


@pytest.mark.parametrize("folds", [0, 2])
def test_train_stores_the_rule(make_video, model_folder, tmp_path, folds):
    """A model trained on intervals knows the four numbers and the background; one trained on whole clips does not."""
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "start", "end", "label"])
        for number in range(6):
            make_video(f"{number}.mp4", first=number * 20, pts=range(0, 40 * 512, 512))
            table.writerow([f"{number}.mp4", 0.4, 1.2, "jump"])
    options = {"backbone": model_folder, "cache": tmp_path / "cache", "epochs": 1, "device": "cpu"}
    lv.train(tmp_path / "rows.csv", tmp_path / "m", folds=folds, **options)
    rule = lv.Model.from_pretrained(tmp_path / "m").interval_rule
    assert rule is not None and rule.background == "background"


def test_train_on_whole_clips_keeps_the_defaults(clips, model_folder, tmp_path):
    """Clips of one label say nothing about where an action begins and ends."""
    lv.train(clips, tmp_path / "m", backbone=model_folder, cache=tmp_path / "cache", epochs=1, device="cpu")
    assert lv.Model.from_pretrained(tmp_path / "m").interval_rule is None
