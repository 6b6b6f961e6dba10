"""A video on standard output: a stream that plays, with nothing else in it, and one line when its reader is gone."""

import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import pytest
from commands import Ran, Run, one_line

from liquidvision import Model, infer

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_stream(model: Model, make_video: MakeVideo, tmp_path: Path, capfdbinary, codec: str) -> None:
    """The stream is Matroska with every frame at its time and with the sound; no file is written."""
    summary = infer(make_video(sound=True), model, video="-", codec=codec)
    with av.open(BytesIO(capfdbinary.readouterr().out)) as container:
        assert "matroska" in container.format.name
        assert len(container.streams.audio) == 1
        times = [frame.time for frame in container.decode(video=0)]
    assert [time - times[0] for time in times] == pytest.approx([0.04 * i for i in range(20)], abs=0.0011)
    assert summary.outputs == [] and [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def command(*arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "liquidvision", "infer", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_messages_go_to_the_error_stream(make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """Messages go to the error stream; records are written as usual."""
    lines = tmp_path / "out.jsonl"
    with command(make_video(), "-m", model_folder, "-o", "-", "-v", "--save-json", lines) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert b"20 frames" in err and b"0.000 s" in err and b"out.jsonl" in err
    with av.open(BytesIO(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    assert len(lines.read_text().splitlines()) == 20


def test_a_reader_that_is_gone(make_video: MakeVideo, model_folder: Path, tmp_path: Path) -> None:
    """When the reader is gone, one line says so and the exit code is 1; the records so far are kept."""
    clip = make_video(pts=range(0, 2000 * 512, 512), size=(320, 240))
    with command(clip, "-m", model_folder, "-o", "-", "--save-json", tmp_path / "out.jsonl") as child:
        assert child.stdout is not None and child.stderr is not None
        assert len(child.stdout.read(1000)) == 1000
        child.stdout.close()
        err = child.stderr.read().decode()
        assert child.wait(timeout=60) == 1
    assert "standard output" in one_line(Ran(1, "", err)) and "pipe" in err
    assert 0 < len((tmp_path / "out.part.jsonl").read_text().splitlines()) < 2000
    assert not (tmp_path / "out.jsonl").exists()


def test_refused(run: Run, make_video: MakeVideo, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several sources, a terminal, and OpenCV's writer are refused in one line, with exit code 2."""
    clip, other = make_video(), make_video("other.mp4")
    ran = run("infer", clip, other, "-m", model_folder, "-o", "-")
    assert ran.code == 2 and "2 sources" in one_line(ran)
    ran = run("infer", clip, "-m", model_folder, "-o", "-", "--writer", "opencv")
    assert ran.code == 2 and "OpenCV" in one_line(ran)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ran = run("infer", clip, "-m", model_folder, "-o", "-")
    assert ran.code == 2 and "terminal" in one_line(ran)
