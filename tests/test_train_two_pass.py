"""`train --two-pass` and `eval --two-pass`: a backward head like the head, calibrated, evaluated, resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import scores
from made_sequences import rising_and_falling, tiny_head

from liquidvision import Model
from liquidvision.evaluation.evaluate import mix_clip_scores
from liquidvision.metrics.classification import ClipScores
from liquidvision.report.report import render_report
from liquidvision.training import trainer
from liquidvision.training.backward import make_backward_head, reverse_sequence
from liquidvision.training.optimise import fit_statistics
from liquidvision.workflows.train_backward import BACKWARD_STATE_FILE


@pytest.fixture
def cached(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))


def test_a_reversed_sequence_has_the_same_steps_from_its_end():
    """Reversed twice, a sequence is itself up to its first time; frames, times and targets are turned together."""
    (sequence,) = rising_and_falling(1, steps=(9,), changes=True)
    turned = reverse_sequence(sequence)
    assert torch.equal(turned.embeddings.flip(0), sequence.embeddings)
    assert torch.equal(turned.targets.flip(0), sequence.targets) and turned.times[0] == 0
    torch.testing.assert_close(turned.times.diff().flip(0), sequence.times.diff())
    again = reverse_sequence(turned)
    torch.testing.assert_close(again.times, sequence.times - sequence.times[0])


def test_a_backward_head_shares_what_it_should():
    """Standardisation, whitening and single frames are the forward head's; the statistics of the traces are its own."""
    sequences = rising_and_falling(8)
    head = tiny_head()
    fit_statistics([head], sequences, 1.0)
    turned = type(sequences)(map(reverse_sequence, sequences))
    backward = make_backward_head(head, turned, 1.0)
    for name in ("mean", "inverse_std", "whitening"):
        assert torch.equal(getattr(backward, name), getattr(head, name))
    assert torch.equal(backward.frame_readout.weight, head.frame_readout.weight)
    assert not torch.equal(backward.feature_mean, head.feature_mean)
    features = torch.cat([backward.perceive(s.embeddings[None], 0.1).features[0] for s in turned])
    assert float(features[:, backward.config.components :].std(0).median()) == pytest.approx(1, abs=0.5)


def test_mixed_scores_are_geometric_means():
    """The scores of two passes are the normalised geometric means of both sides'."""
    random = np.random.default_rng(0)
    sides = [random.dirichlet(np.ones(3), 40) for _ in range(2)]
    times, truth = np.arange(40) * 0.04, np.zeros(40, np.int64)
    mixed = mix_clip_scores(*(ClipScores(truth, side, times) for side in sides))
    expected = np.sqrt(sides[0] * sides[1])
    np.testing.assert_allclose(mixed.scores, expected / expected.sum(1, keepdims=True), rtol=1e-6)
    assert np.count_nonzero(np.diff(mixed.predicted)) < np.count_nonzero(np.diff(mixed.scores.argmax(1)))


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("more", [("--folds", "0"), ("--folds", "2")])
def test_train_makes_both_sides(run, clips, model_folder, tmp_path, more):
    """`train --two-pass` saves a backward head; card and evaluation have its figures; `eval` measures it again."""
    out = tmp_path / "mine"
    ran = run("train", clips, "-o", out, "--backbone", model_folder, "--epochs", "2", "--two-pass", *more)
    assert ran.code == 0, ran.err
    assert "with two passes" in ran.out
    model = Model.from_pretrained(out)
    assert model.backward_head is not None
    assert model.backward_head.config.cell == model.head.config.cell
    assert not list(out.glob("training*"))
    card, evaluation = (out / "README.md").read_text(), json.loads((out / "evaluation.json").read_text())
    assert "--two-pass" in card and "| with two passes |" in card
    assert 0 <= evaluation["two_pass"]["frame_accuracy"] <= 1
    assert set(evaluation["training"]["temperature"]) == {"memory", "frame", "backward"}
    figures = scores(run, clips, out, tmp_path / "scores.json", "--part", "all", "--two-pass")
    assert figures["two_pass"]["flips_per_minute"] <= figures["memory"]["flips_per_minute"]
    assert all(len(video["two_pass"]) == len(video["times"]) for video in figures["videos"])
    page = render_report(figures)
    assert "econd pass" in page and "two passes" in page
    without = scores(run, clips, out, tmp_path / "one.json", "--part", "all")
    assert "two_pass" not in without and without["memory"] == figures["memory"]


@pytest.mark.usefixtures("cached")
def test_a_model_without_a_backward_head_is_refused_by_eval(run, clips, model_folder):
    """`eval --two-pass` says in one line what is missing."""
    ran = run("eval", clips, "-m", model_folder, "--two-pass")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "no backward head" in ran.err


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("killed_at", [3, 6])
def test_a_killed_training_of_both_sides_resumes_exactly(run, clips, model_folder, tmp_path, monkeypatch, killed_at):
    """Killed in the first or the second side and resumed, a training ends with the weights of an undisturbed one."""
    options = ("--backbone", model_folder, "--epochs", "4", "--two-pass", "--folds", "0")
    assert run("train", clips, "-o", tmp_path / "whole", *options).code == 0
    save, calls = trainer.Trainer.save, 0

    def save_and_die(self, path: Path) -> None:
        nonlocal calls
        save(self, path)
        calls += 1
        if calls == killed_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "save", save_and_die)
    assert run("train", clips, "-o", tmp_path / "cut", *options).code == 130
    assert (tmp_path / "cut" / BACKWARD_STATE_FILE).is_file() == (killed_at > 4)
    monkeypatch.setattr(trainer.Trainer, "save", save)
    assert run("train", clips, "-o", tmp_path / "cut", *options, "--resume").code == 0
    whole, cut = (Model.from_pretrained(tmp_path / name).tensors() for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name
