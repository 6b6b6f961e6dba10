"""Temperature scaling: confidence matches accuracy."""

import json

import numpy as np
import pytest
import torch
from made_sequences import rising_and_falling, tiny_head

from liquidvision.evaluation.crossval import scores_from_logits
from liquidvision.metrics.classification import ClipScores, calibration_error
from liquidvision.training.calibration import divide_logits, fit_temperature
from liquidvision.training.scoring import clip_logits


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def drawn(clips: int, frames: int, *, factor: float) -> list[ClipScores]:
    """Clips whose truth is drawn from the softmax of logits, with scores of these logits times a factor."""
    random = np.random.default_rng(0)
    tracks = []
    for _ in range(clips):
        logits = random.normal(0, 2, (frames, 3))
        truth = (softmax(logits).cumsum(1) > random.random((frames, 1))).argmax(1)
        tracks.append(ClipScores(truth, softmax(factor * logits), np.arange(frames) / 25))
    return tracks


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("clips", "frames", "whole"), [(3000, 1, True), (300, 20, False)])
def test_the_temperature_corrects_the_confidence(factor, clips, frames, whole):
    """The temperature is the factor by which logits are too large; divided by it, they are calibrated."""
    tracks = drawn(clips, frames, factor=factor)
    temperature = fit_temperature(tracks, whole_clip=whole)
    assert temperature == pytest.approx(factor, rel=0.08)
    truth, scores = np.concatenate([t.truth for t in tracks]), np.concatenate([t.scores for t in tracks])
    assert calibration_error(truth, softmax(np.log(scores) / temperature)) < 0.03


def test_a_few_right_clips_do_not_make_a_model_certain():
    """If every clip is right, the likelihood alone would send T to 0; a few clips change it only a little."""
    tracks = drawn(2, 1, factor=1.0)
    right = [ClipScores(np.array([int(t.scores.argmax())]), t.scores, t.times) for t in tracks]
    assert 0.5 < fit_temperature(right, whole_clip=True) < 1


def test_divided_logits_keep_the_labels():
    """A divided head gives its logits divided by the temperatures, and the same labels."""
    head, sequences = tiny_head(frame_share=0.5).eval(), list(rising_and_falling(4))
    torch.nn.init.normal_(head.frame_readout.weight)
    (before,) = clip_logits([head], sequences, 1.0)
    divide_logits(head, 4.0, 2.5)
    (after,) = clip_logits([head], sequences, 1.0)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new.memory, old.memory / 4)
        torch.testing.assert_close(new.frame, old.frame / 2.5)
    old, new = (scores_from_logits(sequences, [v.memory for v in said]) for said in (before, after))
    assert all((a.predicted == b.predicted).all() for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("folds", [0, 3])
def test_train_records_its_temperatures(run, clips, model_folder, tmp_path, monkeypatch, folds):
    """`train` calibrates on its validation part, or on its folds, and records it in evaluation and card."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    ran = run(*begin, "--folds", folds)
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text())["training"]["temperature"]
    card = " ".join((tmp_path / "mine" / "README.md").read_text().split())
    assert f"divided by {told['memory']:.3g} with memory and by {told['frame']:.3g} by each frame alone" in card
    assert ("in cross-validation" if folds else "on the validation part") in card
    assert 0.1 < told["memory"] < 10 and told["memory"] != 1
