"""The programs behind the bundled model: a few clips and epochs show that they work."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_model

from liquidvision import LiquidHeadConfig, Model
from liquidvision.liquid import Layout
from tools import bench_actions, train_actions
from tools.actions import poses
from tools.actions.card import add_backward_section
from tools.actions.clips import ClipSet, instants, render_set
from tools.actions.fit import Recipe, accuracy, drop_frames, fit, fit_backward, steps_between
from tools.actions.stills import JOINTS
from tools.distill.training import export
from tools.figures import ACTIONS


def test_instants_are_irregular_but_keep_their_mean_rate():
    """Frame times step by 1/rate on average, each step within the jitter's share of it."""
    times = instants(3, seconds=40, rate=25, jitter=0.5)
    steps = np.diff(times)
    assert times[0] == 0
    assert steps.mean() == pytest.approx(0.04, rel=0.05)
    assert steps.min() >= 0.02
    assert steps.max() <= 0.06


def test_clips_are_rendered_once(tmp_path):
    """A second call opens what the first rendered; another recipe renders again."""
    first = render_set(tmp_path / "set", "train", range(2), seconds=0.4)
    stamp = (tmp_path / "set" / "pictures.u8").stat().st_mtime_ns
    again = render_set(tmp_path / "set", "train", range(2), seconds=0.4)
    assert (tmp_path / "set" / "pictures.u8").stat().st_mtime_ns == stamp
    assert np.array_equal(first.values, again.values)
    assert render_set(tmp_path / "set", "train", range(3), seconds=0.4).values.shape[0] == 3


def test_dropped_frames_hand_over_their_time():
    """The steps between the frames that are left add up to the time between the first and the last of them."""
    times = torch.arange(10)[None].double() * 0.1
    keep = torch.tensor([[True, False, False, True, True, False, False, False, True, False]])
    lengths, (left,) = drop_frames(keep, times)
    assert lengths.tolist() == [4]
    torch.testing.assert_close(steps_between(left, 1.0), torch.tensor([[1.0, 0.3, 0.1, 0.4]]))


def test_a_head_learns_what_only_time_tells():
    """A ramp up and the same ramp down hold the same frames; trained heads with memory distinguish them."""
    layout = build_model().backbone.layouts
    width = sum(part.size for part in layout)
    draw = np.random.default_rng(0)
    labels = np.repeat(draw.integers(0, 2, (64, 1)), 20, axis=1)
    ramp = np.linspace(-1, 1, 20)
    signal = np.where(labels == 1, ramp, -ramp)[..., None] * draw.normal(size=width) * 3
    values = (signal + draw.normal(size=(64, 20, width)) * 0.05).astype(np.float16)
    clips = ClipSet(np.tile(np.arange(20) * 0.05, (64, 1)), labels, values)
    head = fit(
        LiquidHeadConfig(layout, 2, components=4), clips, Recipe(epochs=15, batch=16, noise=0.1), log=lambda _: None
    )
    with_memory, alone = accuracy(head, clips, 1.0)
    assert with_memory > 0.9
    assert alone < 0.7


def test_a_head_sees_by_the_readout_it_is_given():
    """With a readout of the embedding, what it does not read changes nothing of what the memory says."""
    draw = torch.Generator().manual_seed(0)
    values, readout = torch.randn(8, 20, 6, generator=draw), torch.randn(2, 6, generator=draw)
    clips = ClipSet(np.tile(np.arange(20) * 0.05, (8, 1)), np.zeros((8, 20), int), values.numpy())
    config = LiquidHeadConfig((Layout(6, 1),), 2, components=2, taus=(0.2,))
    head = fit(config, clips, Recipe(epochs=1), readout=readout, log=lambda _: None)
    unread = torch.linalg.svd(readout).Vh[2:].sum(0)
    seen, moved = (head.perceive(x, 0.05).features[..., :2] for x in (values, values + unread))
    torch.testing.assert_close(seen, moved, atol=1e-5, rtol=0)
    assert seen.std() > 0.05


def test_the_program_makes_a_model_that_loads(tmp_path, monkeypatch):
    """From a backbone's weights to a model folder with its card, in a few steps."""
    monkeypatch.setattr(poses, "NETWORK", "mobilenet_v3_small")
    monkeypatch.setattr(poses, "NODE", "features.11")
    torch.manual_seed(0)
    export(poses.Pointer(), tmp_path / "backbone.safetensors", {"images_seen": "0"})
    arguments = f"--backbone {tmp_path}/backbone.safetensors --work {tmp_path}/work -o {tmp_path}/m".split()
    monkeypatch.setattr(
        sys, "argv", ["train_actions", *arguments, "--clips", "3", "--test-clips", "1", "--epochs", "1"]
    )
    monkeypatch.setattr(train_actions, "SAMPLINGS", {"slow": bench_actions.regular(2.0)})
    train_actions.main()
    model = Model.from_pretrained(tmp_path / "m", device="cpu")
    assert model.labels == ACTIONS
    card = Path(tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "## How well it does" in card
    assert "| slow |" in card
    assert model.head.config.components == 2 * JOINTS


def test_the_bench_counts_onsets_and_flips():
    """Settled frames are those half a second after their onset; flips are changes of the label."""
    score = bench_actions.Score()
    times, truth = np.arange(8) * 0.25, np.array([0, 0, 0, 0, 1, 1, 1, 1])
    score.add(times, truth, np.array([0, 0, 0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 0, 1, 0, 1]))
    assert (score.frames, score.settled, score.right, score.right_settled) == (8, 4, 7, 4)
    assert (score.flips, score.alone_flips, score.transitions) == (1, 7, 1)


def test_a_backward_head_learns_what_comes_after():
    """A backward head of a head that was trained forwards is right where only the frames after show the label."""
    random = np.random.default_rng(0)
    times = np.tile(np.arange(20) * 0.04, (64, 1))
    labels = np.tile(np.arange(64)[:, None] % 2, (1, 20))
    embeddings = 0.1 * random.standard_normal((64, 20, 6))
    embeddings[:, 15:, 0] += 3 * (2.0 * labels[:, 15:] - 1)  # the end of a clip shows its label
    clips = ClipSet(times, labels, embeddings.astype(np.float16))
    config = LiquidHeadConfig((Layout(6, 1),), 2, components=4, taus=(0.1, 0.4), width=8, units=8, cell="gated")
    recipe = Recipe(epochs=30, batch=8, most_dropped=0.2, calm=0.1)
    forward = fit(config, clips, recipe, log=lambda line: None)
    backward = fit_backward(forward, config, clips, recipe, variants=2, log=lambda line: None)
    xs = torch.from_numpy(embeddings).float()
    with torch.inference_mode():
        ahead = forward(xs, 0.04).logits.argmax(-1)
        back = backward(xs.flip(1), 0.04).logits.argmax(-1).flip(1)
    truth = torch.from_numpy(labels)
    assert float((back == truth)[:, 5:15].float().mean()) > 0.9
    assert float((ahead == truth)[:, 5:15].float().mean()) < 0.75
    assert torch.equal(backward.frame_readout.weight, forward.frame_readout.weight)


def test_the_card_gets_one_section_on_the_backward_head():
    """The section comes before the limits, and a second training replaces it."""
    card = "# actions\n\n## How well\n\n## Limits\n\nNone.\n"
    once = add_backward_section(card, clips=3, parameters=5, recipe=Recipe())
    twice = add_backward_section(once, clips=4, parameters=5, recipe=Recipe())
    assert once.count("## Backward head") == twice.count("## Backward head") == 1
    assert "trained on 4 rendered clips" in twice and twice.endswith("## Limits\n\nNone.\n")
