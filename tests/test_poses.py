"""The program behind the backbone of `actions`: stills with joints in, a network that says where joints are out."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tools import bench_poses, train_poses
from tools.actions import poses, stills
from tools.actions.poses import Pointer, bend, load_taught_backbone, read_joints, teach
from tools.actions.stills import JOINTS, Stills
from tools.distill.training import CHECKPOINT, EXPORT, export

CPU = torch.device("cpu")


class Drawn:
    """Stills that are all there: random pictures and joints."""

    def __init__(self) -> None:
        chance = np.random.default_rng(0)
        self.pictures = chance.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
        self.joints = chance.random((8, JOINTS, 2), dtype=np.float32)

    def draw(self, count: int, chance: torch.Generator) -> list[torch.Tensor]:
        rows = torch.randint(8, (count,), generator=chance)
        return [torch.from_numpy(self.pictures)[rows], torch.from_numpy(self.joints)[rows]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network stands for the large one."""
    monkeypatch.setattr(poses, "NETWORK", "mobilenet_v3_small")
    monkeypatch.setattr(poses, "NODE", "features.11")


def test_joints_move_with_their_picture():
    """A white square, wherever the bending moves it, is where its joint is."""
    size, count = 160, 12
    places = torch.rand(count, 1, 2, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.3
    pictures = torch.zeros(count, size, size, 3, dtype=torch.uint8)
    for picture, (x, y) in zip(pictures, (places[:, 0] * size).round().int().tolist(), strict=True):
        picture[y - 2 : y + 2, x - 2 : x + 2] = 255
    images, joints = bend(pictures, (places * size).round() / size, torch.Generator().manual_seed(0))
    light = images.mean(1)
    steps = (torch.arange(size) + 0.5) / size
    found = torch.stack([(light.sum(axis) * steps).sum(1) / light.sum((1, 2)) for axis in (1, 2)], 1)
    assert (found - joints[:, 0]).abs().max() < 0.5 / size
    assert (joints - places).abs().max() > 5 / size


def test_stills_are_rendered_once_and_drawn_while_they_grow(tmp_path, monkeypatch):
    """Pictures and joints come as soon as there are some; a second call opens what the first rendered."""
    monkeypatch.setattr(stills, "get_context", lambda _: FewWorkers())
    grown = Stills(tmp_path, 3)
    pictures, joints = grown.draw(2, torch.Generator().manual_seed(0))
    assert pictures.shape == (2, 160, 160, 3)
    assert joints.shape == (2, JOINTS, 2)
    assert pictures.float().std() > 5
    while not grown.done.exists():
        grown.draw(2, torch.Generator())
    monkeypatch.setattr(stills, "get_context", lambda _: pytest.fail("rendered again"))
    again = Stills(tmp_path, 3)
    assert again.ready == len(again.pictures) == 24
    assert np.array_equal(again.pictures, grown.pictures)


def test_stills_that_cannot_be_rendered_say_so(tmp_path, monkeypatch):
    """What stops the rendering is raised by whoever waits for pictures."""

    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(stills, "get_context", full)
    with pytest.raises(OSError, match="No space left"):
        Stills(tmp_path, 1).draw(1, torch.Generator())


class FewWorkers:
    """A pool's context whose pool works in this thread."""

    def Pool(self, initializer):  # noqa: N802
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def imap(self, do, items, chunksize):
        return map(do, items)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    """A run that is stopped and started again ends with exactly the weights of an undisturbed run."""
    torch.set_num_threads(1)
    monkeypatch.setattr(poses, "SAVE_EVERY", 0.0)
    teach(Drawn(), tmp_path / "whole", images=16, device=CPU, batch=4)
    usual, calls = poses.error, []

    def stopped(*joints):
        calls.append(joints)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return usual(*joints)

    monkeypatch.setattr(poses, "error", stopped)
    with pytest.raises(KeyboardInterrupt):
        teach(Drawn(), tmp_path / "parts", images=16, device=CPU, batch=4)
    assert torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)["step"] == 2
    teach(Drawn(), tmp_path / "parts", images=16, device=CPU, batch=4)
    whole, parts = (torch.load(tmp_path / run / CHECKPOINT, weights_only=True) for run in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for name, value in whole["average"].items():
        assert torch.equal(value, parts["average"][name]), name


def test_a_training_may_begin_with_what_another_ended_with(tmp_path):
    """A network that is taught further starts from the given weights; with running statistics, these stay too."""
    torch.set_num_threads(1)
    first = teach(Drawn(), tmp_path / "first", images=8, device=CPU, batch=4)
    still = teach(Drawn(), tmp_path / "still", images=4, device=CPU, batch=4, rate=0.0, start=first, still=1.0)
    with safe_open(str(first), framework="pt") as one, safe_open(str(still), framework="pt") as other:
        assert other.metadata()["images_seen"] == "12"
        assert other.metadata()["stills"] == "8"
        assert other.metadata()["images_after_start"] == "4"
        for name in Pointer().state_dict():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(one.get_tensor(name), other.get_tensor(name)), name


def test_the_export_is_a_backbone_whose_readout_says_where_joints_are(tmp_path, monkeypatch):
    """The program's file gives a backbone; the readout of its embedding is what the taught network says."""
    torch.set_num_threads(1)
    monkeypatch.setattr(train_poses, "Stills", lambda folder, clips: Drawn())
    monkeypatch.setattr(sys, "argv", f"train_poses --work {tmp_path} --images 8 --batch 4 --device cpu".split())
    train_poses.main()
    file = tmp_path / EXPORT
    with safe_open(str(file), "pt") as kept:
        state = {name: kept.get_tensor(name).float() for name in kept.keys()}  # noqa: SIM118
        assert kept.metadata()["images_seen"] == "8"
    pointer = Pointer().eval()
    pointer.load_state_dict(state)
    backbone, to_joints = load_taught_backbone(file)
    picture = np.random.default_rng(5).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    with torch.inference_mode():
        said = pointer(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    read = read_joints(backbone.embed([picture]), to_joints)
    torch.testing.assert_close(read, said, atol=1e-4, rtol=1e-4)


def test_the_bench_says_how_far_joints_are_off(tmp_path, monkeypatch, capsys):
    """For both splits, in pixels; a network that knows nothing is off by many."""
    export(Pointer(), tmp_path / EXPORT, {})
    monkeypatch.setattr(bench_poses, "instants", lambda *_, **__: [0.0, 1.0])
    monkeypatch.setattr(sys, "argv", f"bench_poses --backbone {tmp_path / EXPORT} --clips 2".split())
    bench_poses.main()
    told = re.findall(r"(train|test): median (\S+) px, root mean square (\S+) px; \d+%", capsys.readouterr().out)
    assert [split for split, *_ in told] == ["train", "test"]
    assert all(5 < float(median) <= 160 and 5 < float(rms) <= 160 for _, median, rms in told)


def test_training_finds_what_it_is_shown(tmp_path):
    """Shown the same few pictures again and again, the network's error falls."""
    torch.set_num_threads(1)
    drawn, before, after = Drawn(), tmp_path / "before", tmp_path / "after"
    errors = []
    for folder, images in ((before, 8), (after, 320)):
        teach(drawn, folder, images=images, device=CPU, batch=8)
        pointer = Pointer().eval()
        pointer.load_state_dict(torch.load(Path(folder) / CHECKPOINT, weights_only=True)["pointer"])
        pictures, joints = drawn.draw(8, torch.Generator().manual_seed(1))
        with torch.inference_mode():
            errors.append(float(poses.error(joints, pointer(pictures.permute(0, 3, 1, 2).float() / 255))))
    assert errors[1] < errors[0]
