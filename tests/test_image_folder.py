"""Frames as images in a folder: complete, in order, named by their times."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Run, one_line
from conftest import picture, picture_frames

from liquidvision.errors import SinkError, UsageError
from liquidvision.video.write.image_folder import FrameFolder

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize(("form", "apart"), [("png", 0.0), ("jpg", 5.0)])
def test_pictures(tmp_path: Path, form: str, apart: float) -> None:
    """Each frame is an image named by its index and time; PNG is exact, JPEG nearly so."""
    folder = FrameFolder(tmp_path / "new" / "frames", form)
    for frame in picture_frames(12, start=9.9):
        folder.write(frame)
    names = sorted(path.name for path in folder.path.iterdir())
    assert len(names) == 12 and names[0] == f"0000000_9.900s.{form}" and names[11] == f"0000011_10.340s.{form}"
    image = cv2.imread(str(folder.path / names[5]))[..., ::-1]
    assert np.abs(image.astype(int) - picture(5)).mean() <= apart


def test_a_picture_has_its_name_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves neither the image nor a part of it, and the error names the image."""

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    folder = FrameFolder(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError, match=r"0000000_0\.000s\.png: No space left"):
        folder.write(picture_frames(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_impossible_arguments(tmp_path: Path) -> None:
    """An unknown format and a folder that cannot be created are refused."""
    with pytest.raises(UsageError, match="'gif'; expected one of png, jpg"):
        FrameFolder(tmp_path, "gif")
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot create the folder"):
        FrameFolder(tmp_path / "file" / "frames")


def test_save_frames(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """The images show the frames of the video, with the indices and times of the records."""
    clip = make_video(pts=[0, 512, 1500, 1600])
    ran = run("infer", clip, "-m", model_folder, "-o", "out.mp4", "--save-frames", "frames", "--save-json", "a.jsonl")
    assert (ran.code, ran.err) == (0, "") and "→ frames" in ran.out
    records = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    names = [f"{record['index']:07d}_{record['time']:.3f}s.png" for record in records]
    assert sorted(path.name for path in Path("frames").iterdir()) == names and len(names) == 4
    drawn = cv2.imread(f"frames/{names[0]}")[..., ::-1]
    _, bgr = cv2.VideoCapture("out.mp4").read()
    assert drawn.shape == bgr.shape
    assert np.abs(drawn.astype(int) - bgr[..., ::-1]).mean() < 8 < np.abs(drawn.astype(int) - picture(0)).mean()


def test_save_frames_of_several(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """Each of several sources gets its own folder; images are written without a video, too."""
    sources = make_video("a.mp4"), make_video("b.mp4")
    options = ["--no-save", "--save-frames", "f", "--frames-format", "jpg", "--max-frames", 3]
    assert run("infer", *sources, "-m", model_folder, *options).code == 0
    assert [len(list((Path("f") / name).glob("*.jpg"))) for name in ("a", "b")] == [3, 3]
    assert not Path("runs").exists()


def test_save_frames_refused(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """A folder with files is used only with --exist-ok; a file and an unknown format are refused."""
    clip = make_video()
    Path("frames").mkdir()
    Path("frames/mine.txt").touch()
    for options, told in (
        (["--save-frames", "frames"], "--exist-ok"),
        (["--save-frames", "frames/mine.txt"], "is a file"),
        (["--save-frames", "new", "--frames-format", "gif"], "gif"),
    ):
        ran = run("infer", clip, "-m", model_folder, "--no-save", *options)
        assert ran.code == 2 and told in one_line(ran)
    assert not Path("new").exists()
    assert run("infer", clip, "-m", model_folder, "--no-save", "--save-frames", "frames", "--exist-ok").code == 0
    assert len(list(Path("frames").iterdir())) == 21
