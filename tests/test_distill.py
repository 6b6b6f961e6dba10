"""Tests of the distillation program on tiny random pictures made on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2

from tools.distill.degrade import degrade, warp
from tools.distill.pictures import UNKNOWN
from tools.distill.targets import Pool, Teacher, view_boxes, with_targets
from tools.distill.training import CHECKPOINT, EXPORT, METRICS, Settings, distil
from tools.probe_backbone import probe

SETTINGS = Settings(images=32, batch=8, sizes=((32, 0.5), (48, 0.5)), save_every=1e9, log_every=0.0)


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Pool]:
    """Two pools of random pictures, one with joints, with the targets of an untrained teacher."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    folder, teacher = tmp_path_factory.mktemp("targets"), Teacher()
    made = []
    for name, count, views, with_joints in (("plain", 12, 2, False), ("figures", 5, 1, True)):
        pixels = chance.integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)
        joints = chance.random((count, 14, 2), dtype=np.float32) if with_joints else None
        labels = np.arange(count) if name == "plain" else np.full(count, UNKNOWN)
        made.append(
            with_targets(
                name, pixels, joints, labels, teacher, folder, views=views, teacher_size=32, weight=1.0, seed=0
            )
        )
    return made


def test_resumed_run_equals_undisturbed_run(pools: list[Pool], tmp_path: Path) -> None:
    """A run that is interrupted and started again ends with exactly the weights of an undisturbed run."""
    undisturbed = distil(pools, tmp_path / "whole", SETTINGS)
    distil(pools, tmp_path / "parts", SETTINGS, stop_after=16)
    resumed = distil(pools, tmp_path / "parts", SETTINGS)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_export_loads_strictly_and_says_how_it_was_made(pools: list[Pool], tmp_path: Path) -> None:
    """The export is a finite half-precision state of torchvision's network, with its recipe as metadata."""
    average = distil(pools, tmp_path, replace(SETTINGS, images=16))
    state = load_file(tmp_path / EXPORT)
    mobilenet_v2(num_classes=1000).load_state_dict(state)
    for name, value in average.state_dict().items():
        assert not value.is_floating_point() or state[name].dtype == torch.float16
        assert torch.allclose(state[name].float(), value.float(), rtol=1e-3, atol=1e-6), name
    with safe_open(tmp_path / EXPORT, "pt") as file:
        assert file.metadata()["images_seen"] == "16"
    assert len((tmp_path / METRICS).read_text(encoding="utf-8").splitlines()) == 3
    assert not list(tmp_path.glob("*.partial"))
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 2


def test_training_lowers_the_losses(pools: list[Pool], tmp_path: Path) -> None:
    """A student that sees the same few pictures again and again comes closer to the teacher."""
    distil(pools, tmp_path, replace(SETTINGS, images=160, sizes=((32, 1.0),)))
    rows = [line.split(",") for line in (tmp_path / METRICS).read_text(encoding="utf-8").splitlines()]
    grid = [float(row[rows[0].index("grid")]) for row in rows[1:]]
    assert np.mean(grid[-5:]) < 0.7 * np.mean(grid[:5])


def test_targets_are_taken_from_disk_and_interrupted_ones_completed(tmp_path: Path) -> None:
    """Stored targets are not computed again, and a half-done store is completed."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    teacher, labels = Teacher(), np.full(20, UNKNOWN)
    about = {"views": 1, "teacher_size": 32, "weight": 1.0, "seed": 0}
    first = with_targets("some", pixels, None, labels, teacher, tmp_path, **about)
    wanted = np.array(first.embedding)

    class Refusing(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> None:
            raise AssertionError("computed again")

    assert np.array_equal(with_targets("some", pixels, None, labels, Refusing(), tmp_path, **about).embedding, wanted)
    (tmp_path / "some.json").write_text('{"done": 16}', encoding="utf-8")
    np.lib.format.open_memmap(tmp_path / "some.embedding.npy", "r+")[16:] = 0
    completed = with_targets("some", pixels, None, labels, teacher, tmp_path, **about).embedding
    assert np.allclose(completed, wanted, atol=1e-2)


def test_joints_move_with_the_picture() -> None:
    """A bright spot and the joint on it stay together when the picture is cropped and mirrored."""
    pixels = torch.zeros(6, 80, 80, 3, dtype=torch.uint8)
    pixels[:, 28:32, 48:52] = 255
    joints = torch.tensor([[50 / 80, 30 / 80]]).expand(6, 1, 2)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.125, 0.875, 0.75]]).repeat(3, 1)
    mirrored = torch.arange(6) % 3 == 0
    images, moved = warp(pixels, boxes, mirrored, 80, torch.Generator().manual_seed(0), joints)
    for image, joint in zip(images.mean(1), moved[:, 0], strict=True):
        ys, xs = torch.nonzero(image > 0.3, as_tuple=True)
        centre = torch.stack([xs.float().mean() + 0.5, ys.float().mean() + 0.5]) / 80
        assert torch.allclose(centre, joint, atol=0.02)


def test_degraded_images_stay_images() -> None:
    """Degrading keeps the shape and the range 0..1 and changes the picture without making it another one."""
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(images, size=32, mode="bilinear")
    changed = degrade(images.clone(), torch.Generator().manual_seed(1))
    assert changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.equal(changed, images)
    likeness = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(images, changed, strict=True)]
    assert np.mean(likeness) > 0.85


def test_views_start_with_the_whole_picture() -> None:
    """The first view is the whole picture and every crop lies inside it."""
    boxes = view_boxes(50, 4, 64, seed=0)
    assert (boxes[:, 0] == (0, 0, 64, 64)).all()
    assert (boxes >= 0).all() and (boxes <= 64).all()
    assert (boxes[..., 2:] - boxes[..., :2] >= 16).all()


def test_probe_tells_features_that_know_the_class_from_those_that_do_not() -> None:
    """The linear probe is right on features that hold the class and at chance on noise."""
    chance = torch.Generator().manual_seed(0)
    classes = torch.arange(80) % 4
    training = torch.arange(80) < 40
    noise = torch.randn(80, 8, generator=chance)
    assert probe(noise + 8 * torch.nn.functional.one_hot(classes, 8), classes, training) == 1.0
    assert probe(noise, classes, training) < 0.6
