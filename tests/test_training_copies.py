"""`train` warns of clips that look the same and are in two classes or two parts of the split."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from commands import Run
from conftest import picture

from liquidvision.data.copies import nearest_pairs

SIZE = 96, 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))


def write_clip(path: Path, number: int, *, codec: str = "libx264", frames: int = 25, **options: str) -> Path:
    """Write a clip whose movement depends on its number; equal numbers are copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    steps = rng.normal(0, 1.5, frames).cumsum() + 40 * number
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        for i, step in enumerate(steps):
            frame = av.VideoFrame.from_ndarray(picture(float(step), *SIZE), format="rgb24")  # type: ignore[arg-type]
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def moves(tmp_path: Path) -> Path:
    """Return two classes of six clips of one length, all different."""
    for number in range(12):
        write_clip(tmp_path / "moves" / ("jump", "fall")[number % 2] / f"{number}.mp4", number)
    return tmp_path / "moves"


Train = Callable[..., str]


@pytest.fixture
def train(run: Run, model_folder: Path, tmp_path: Path) -> Train:
    """Return a function that trains for an epoch and returns what was printed on the error stream."""

    def train(data: Path, *options: str) -> str:
        ran = run(
            *("train", data, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1", "--exist-ok"),
            *options,
        )
        assert ran.code == 0, ran.err
        return ran.err

    return train


def test_different_clips_are_no_copies(moves: Path, train: Train) -> None:
    """Clips of one length that move differently give no warning, whether they are split or folded."""
    assert train(moves) == "" == train(moves, "--folds", "2")


def test_a_copy_in_another_class(moves: Path, train: Train) -> None:
    """A clip that was encoded again, or copied byte by byte, into another class is named with both classes."""
    write_clip(moves / "fall" / "again.mkv", 4, codec="mpeg4", b="200000")
    told = train(moves)
    assert told.count("\n") == 1 and "fall/again.mkv: looks the same as jump/4.mp4: here it is fall, there jump" in told
    (moves / "fall" / "again.mkv").write_bytes((moves / "jump" / "4.mp4").read_bytes())
    assert "looks the same as jump/4.mp4" in train(moves)


def test_a_copy_in_another_part(moves: Path, train: Train) -> None:
    """A copy of the same class is named where a split or fold may have it elsewhere, not in the same part or group."""
    write_clip(moves / "jump" / "again.mkv", 4, codec="mpeg4")
    names = sorted(path.relative_to(moves).as_posix() for path in moves.rglob("*.m*"))
    for part, expected in (("test", True), ("train", False)):
        parts = dict.fromkeys(names, "train") | {"jump/0.mp4": "test", "fall/1.mp4": "validation"}
        parts["jump/again.mkv"] = part
        rows = [f"{name},{name[:4]},{parts[name]}" for name in names]
        (moves / "index.csv").write_text("\n".join(["file,label,split", *rows]))
        assert ("jump/4.mp4: looks the same as jump/again.mkv; this is in the part" in train(moves)) == expected
    (moves / "index.csv").unlink()
    assert "may be in another fold: give both one group" in train(moves, "--folds", "2")
    rows = [f"{name},{name[:4]},{'same' if name in ('jump/4.mp4', 'jump/again.mkv') else name}" for name in names]
    (moves / "index.csv").write_text("\n".join(["file,label,group", *rows]))
    assert train(moves) == "" == train(moves, "--folds", "2")


def test_only_near_clips_are_decoded() -> None:
    """Clips are compared with the nearest of about their length, the nearest pair first."""
    points = np.array([[0.0, 0], [9, 9], [0, 0.1], [0, 0.2]], np.float32)
    pairs = nearest_pairs(points, np.array([1.0, 1.0, 1.0, 5.0]))
    assert pairs[0] == (0, 2) and all(3 not in pair for pair in pairs)
