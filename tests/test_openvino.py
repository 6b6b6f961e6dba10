"""OpenVINO as the runtime: equal numbers, automatic selection, and the cache of converted networks."""

import copy
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run, one_line
from conftest import build_model, picture, picture_frames

from liquidvision import Backbone, Model, Session, predict
from liquidvision.errors import DependencyError, UsageError
from liquidvision.models.runtime import openvino

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO (the extra openvino)")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make OpenVINO available with a cache folder of the test, and return the folder."""
    monkeypatch.setattr(openvino, "openvino_installed", lambda: True)
    monkeypatch.setattr(openvino, "openvino_cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_the_same_numbers(here: Path) -> None:
    """Embeddings equal those of torch to 1e-5 of their norm, for any batch."""
    model = build_model()
    images = [picture(i) for i in range(9)]
    plain = model.embed(images)
    model.backbone.place("openvino")
    for size in (1, 4, 9):
        quick = torch.cat([model.embed(images[i : i + size]) for i in range(0, 9, size)])
        assert quick.shape == plain.shape
        assert float((quick - plain).abs().max()) < 1e-5 * float(plain.abs().max())


def test_the_same_predictions_of_the_bundled_models(here: Path, make_video) -> None:
    """On a video the bundled models give the same labels, and probabilities within 0.001."""
    clip = make_video(size=(160, 120))
    for name in ("objects", "actions"):
        predictions = {
            device: [p for _, p in predict(clip, Model.from_pretrained(name, device=device))]
            for device in ("cpu", "openvino")
        }
        for a, b in zip(*predictions.values(), strict=True):
            assert (a.label, a.frame_label) == (b.label, b.frame_label)
            assert np.abs(a.scores - b.scores).max() < 1e-3


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_half(here: Path, device: str) -> None:
    """Half precision gives float32 embeddings within a few percent; with torch they are rounded to bfloat16."""
    images = [picture(i) for i in range(3)]
    exact = Model.from_pretrained("objects", device=device).embed(images)
    model = Model.from_pretrained("objects", device=device, half=True)
    rough = model.embed(images)
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().mean()) < 0.1 * float(exact.abs().mean())
    if device == "cpu":  # OpenVINO keeps float32 where the processor knows nothing shorter
        assert not torch.equal(rough, exact)
    assert torch.equal(model.to(device).embed(images), exact)


def test_infer_in_half(here: Path, run: Run, make_video, tmp_path: Path) -> None:
    """`infer --half` predicts nearly the same scores as without."""
    clip, scores = make_video(size=(160, 120)), []
    for name, more in (("exact", ()), ("half", ("--half",))):
        ran = run("infer", clip, "-m", "objects", "--no-save", "--save-json", tmp_path / f"{name}.jsonl", *more)
        assert ran.code == 0
        records = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        scores.append([record["top"][0]["score"] for record in records])
    assert len(scores[0]) == len(scores[1]) > 0
    assert np.abs(np.subtract(*scores)).max() < 0.1


def test_automatic_selection(here: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` selects OpenVINO on a CPU if it is installed; `cpu` never does."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Model.from_pretrained(model_folder).backbone.runtime is not None
    assert Model.from_pretrained(model_folder, device="cpu").backbone.runtime is None
    monkeypatch.setattr(openvino, "openvino_installed", lambda: False)
    assert Model.from_pretrained(model_folder).backbone.runtime is None


def test_not_installed(run: Run, make_video, model_folder: Path) -> None:
    """`--device openvino` without OpenVINO prints one line that says how to install it."""
    with pytest.raises(DependencyError, match=r"liquidvision\[openvino\]"):
        Model.from_pretrained(model_folder, device="openvino")
    ran = run("infer", make_video(), "-m", model_folder, "--device", "openvino")
    assert ran.code == 1 and "pip install" in one_line(ran)


def test_converted_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A converted network is cached for later processes, by its weights."""
    count = 0
    converted = openvino.convert_network

    def counted(*arguments):
        nonlocal count
        count += 1
        return converted(*arguments)

    monkeypatch.setattr(openvino, "convert_network", counted)
    frames = picture_frames(3)
    for seed in (0, 0, 1):
        model = build_model(seed=seed)
        model.backbone.place("openvino")
        with torch.no_grad():
            plain = Session(build_model(seed=seed)).push_many(frames)
        for a, b in zip(plain, Session(model).push_many(frames), strict=True):
            assert np.abs(a.scores - b.scores).max() < 1e-3
    assert count == 2
    assert not list(here.glob("*.*.xml"))


def test_the_same_weights_by_other_nodes(here: Path) -> None:
    """A cached network is not used for the same weights with other nodes."""
    model = build_model()
    model.backbone.place("openvino")
    model.embed([picture(0)])
    other = Backbone(
        model.backbone.name,
        weights=None,
        nodes={"features.3": 1, "features.1": 3},
        preprocessing=model.backbone.preprocessing,
    )
    other.extractor.load_state_dict(model.backbone.extractor.state_dict())
    wanted = other.embed([picture(0)])
    assert float((other.place("openvino").embed([picture(0)]) - wanted).abs().max()) < 1e-4


@pytest.mark.parametrize("harm", ["cut short", "no folder"])
def test_an_unusable_cache(here: Path, harm: str) -> None:
    """With a truncated cached network or a folder that cannot be created, the network is converted again."""
    model = build_model()
    model.backbone.place("openvino")
    if harm == "no folder":
        here.write_text("a file in its place")
    else:
        model.embed([picture(0)])
        for path in here.glob("*.xml"):
            path.write_text(path.read_text()[:100])
        model = build_model()
        model.backbone.place("openvino")
    plain = build_model().embed([picture(0)])
    assert float((model.embed([picture(0)]) - plain).abs().max()) < 1e-4


def test_a_copy_compiles_its_own(here: Path) -> None:
    """A deep copy of a compiled model uses its own weights."""
    model = build_model()
    model.backbone.place("openvino")
    model.embed([picture(0)])
    other = copy.deepcopy(model)
    other.backbone.extractor.load_state_dict(build_model(seed=1).backbone.extractor.state_dict())
    wanted = build_model(seed=1).embed([picture(0)])
    assert float((other.embed([picture(0)]) - wanted).abs().max()) < 1e-4


def test_an_unknown_device(model_folder: Path) -> None:
    """An unknown device raises UsageError with the known devices."""
    with pytest.raises(UsageError, match="openvino"):
        Model.from_pretrained(model_folder, device="abacus")


def test_threads_share_a_model(here: Path) -> None:
    """Threads that embed with one model at the same time get the embeddings of their own pictures."""
    model = build_model().to("openvino")
    images = [picture(i) for i in range(4)]
    wanted = [model.embed([image]) for image in images]

    def embed(number: int) -> bool:
        return all(torch.equal(model.embed([images[number]]), wanted[number]) for _ in range(100))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(embed, range(4)))


def test_signals_after_networks_are_gone(here: Path) -> None:
    """A signal is handled after several compiled networks were destroyed, the oldest first."""
    program = (
        "import signal\n"
        "from conftest import build_model, picture\n"
        "models = [build_model(seed=seed) for seed in range(3)]\n"
        "for model in models:\n"
        "    model.backbone.place('openvino')\n"
        "    model.embed([picture(0)])\n"
        "while models:\n"
        "    models.pop(0)\n"
        "    del model; model = None\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('handled')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.stdout == "handled\n", ran.stderr
