"""Fixtures: tiny videos, a tiny model, and the shared data if available."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from commands import Ran, Run
from hypothesis import settings

from liquidvision import Backbone, Frame, LiquidHead, LiquidHeadConfig, Model, Preprocessing
from liquidvision.cli.main import main
from liquidvision.models.runtime import openvino

DATA = Path(__file__).parents[2] / "shared" / "data"
LABELS = ("red", "green", "blue")

# The same examples in every run, so that a failure is caused by the change at hand. Explore with
# `pytest --hypothesis-profile explore`. No deadlines: a busy machine is not a failure.
settings.register_profile("explore", deadline=None)
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread: tiny networks are slower on several, much slower on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Accept SIGINT: a shell's background job ignores it, and so would the commands that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run backbones in torch: OpenVINO, which replaces it where installed, has tests of its own."""
    monkeypatch.setattr(openvino, "openvino_installed", lambda: False)


@pytest.fixture(autouse=True)
def no_logged_errors(caplog: pytest.LogCaptureFixture):
    """Fail a test that logs an error."""
    yield
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, f"errors were logged: {errors}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a command in this process, in a folder of its own."""
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    terminate, level = signal.getsignal(signal.SIGTERM), logging.getLogger().level

    def run(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["liquidvision", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(ended.value.code, out, err)

    yield run
    signal.signal(signal.SIGTERM, terminate)
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the shared folder of real videos; tests that need it are skipped without it."""
    if not DATA.is_dir():
        pytest.skip("needs the shared data folder (real videos), which is not here")
    return DATA


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a smooth picture that depends on `number`, (height, width, 3) uint8 RGB."""
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(x / (9 + c) + number * 0.7 + c) * 60 + np.cos(y / (7 + c) - number * 0.3) * 60 + 128 for c in range(3)
    ]
    return np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8)


def picture_frames(count: int, *, step: float = 0.04, start: float = 0.0) -> list[Frame]:
    """Return frames of `picture`, `step` seconds apart."""
    base = Fraction(1, 1000)
    return [Frame(picture(i), i, round((start + i * step) * 1000), base) for i in range(count)]


def frames_of(images: Sequence[np.ndarray]) -> list[Frame]:
    """Return frames of the images, 1/25 s apart."""
    return [Frame(image, i, i, Fraction(1, 25)) for i, image in enumerate(images)]


def count_calls(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that records how many pictures each call of the backbone embeds."""
    calls: list[int] = []
    forward = type(model.backbone).forward

    def counted(self, pixels):
        calls.append(len(pixels))
        return forward(self, pixels)

    monkeypatch.setattr(type(model.backbone), "forward", counted)
    return calls


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tiny video and returns its path.

    Its keywords: name; pts, the frames' ticks; time_base, seconds per tick; size, (width, height); codec; sound,
    whether to add a second of AAC; first, the number of its first `picture`.
    """

    def make(
        name: str = "clip.mp4",
        *,
        pts: Sequence[int] = range(0, 20 * 512, 512),
        time_base: Fraction = Fraction(1, 12800),
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        sound: bool = False,
        first: int = 0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.time_base = stream.codec_context.time_base = time_base
            audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
            for i, tick in enumerate(pts):
                frame = av.VideoFrame.from_ndarray(picture(first + i, *size), format="rgb24")
                frame.pts, frame.time_base = tick, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if audio is not None:
                tone = (np.sin(np.arange(16000) / 8) * 8000).astype(np.int16)[None]
                samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 16000, 0, Fraction(1, 16000)
                container.mux(audio.encode(samples))
                container.mux(audio.encode(None))
        return path

    return make


@pytest.fixture
def clips(make_video, tmp_path) -> Path:
    """Return a folder with two classes of six clips each: the same pictures, played fast and slowly."""
    folder = tmp_path / "clips"
    for label, ticks in (("quick", 512), ("slow", 2048)):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            count = 12 + number
            video = make_video(pts=range(0, count * ticks, ticks))
            video.rename(folder / label / f"{number}.mp4")
    return folder


def build_model(*, cell: str = "ltc", seed: int = 0, labels: Sequence[str] = LABELS) -> Model:
    """Return a small model with random weights that remembers and distinguishes pictures."""
    torch.manual_seed(seed)
    preprocessing = Preprocessing(size=(64, 64), shorter=None)
    backbone = Backbone(
        "mobilenet_v3_small", weights=None, nodes={"features.3": 1, "features.1": 2}, preprocessing=preprocessing
    )
    config = LiquidHeadConfig(backbone.layouts, len(labels), components=8, taus=(0.1, 0.5), width=8, units=6, cell=cell)
    head = LiquidHead(config)
    torch.nn.init.normal_(head.whitening, std=0.2)
    head.readout.weight.data *= 20
    return Model(backbone, head, labels, name="tiny")


@pytest.fixture(scope="session")
def model() -> Model:
    return build_model()


@pytest.fixture(scope="session")
def model_folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny model as a folder on disk."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    model.save_pretrained(folder)
    return folder
