"""`liquidvision extract`: what it embeds and prints, and its exit codes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run, one_line

from liquidvision import Model
from liquidvision.data.embeddings import EmbeddingStore

MakeVideo = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default cache folder."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(folder: Path) -> int:
    return sum(path.suffix == ".safetensors" for path in folder.rglob("*"))


@pytest.fixture
def clips(make_video: MakeVideo, tmp_path: Path) -> Path:
    """Two classes of two short clips."""
    root = tmp_path / "clips"
    for number, name in enumerate(("fall/a.mp4", "fall/b.mp4", "walk/a.mp4", "walk/b.mp4")):
        video = make_video(pts=range(0, (5 + number) * 512, 512))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        video.rename(root / name)
    return root


def test_annotated_data_and_plain_videos_are_embedded(run: Run, clips: Path, model_folder: Path, cache: Path) -> None:
    """Class folders, a CSV, a folder of videos and a single video name the same files, each embedded once."""
    ran = run("extract", clips, "-m", model_folder, "--views", "plain, mirror")
    assert (ran.code, ran.err) == (0, "")
    assert "4 videos, views plain, mirror: 52 frames in" in ran.out and "0 of 8 already existed" in ran.out
    assert str(cache) in ran.out and kept(cache) == 8
    table = clips / "some.csv"
    table.write_text("file,label\nfall/a.mp4,fall\nwalk/b.mp4,walk\n")
    for sources, told in (
        ([table], "2 videos, views plain: nothing to embed; 2 of 2"),
        ([clips / "fall"], "2 videos, views plain: nothing to embed; 2 of 2"),
        ([clips / "walk" / "a.mp4", clips, table], "4 videos, views plain: nothing to embed; 4 of 4"),
    ):
        ran = run("extract", *sources, "-m", model_folder)
        assert ran.code == 0 and told in ran.out, ran
    assert kept(cache) == 8
    store = EmbeddingStore(Model.from_pretrained(model_folder, device="auto").backbone)
    assert all(store.has(path, view) for path in clips.rglob("*.mp4") for view in ("plain", "mirror"))


def test_a_folder_stands_for_all_videos_in_it(run: Run, clips: Path, model_folder: Path, make_video: MakeVideo) -> None:
    """Videos at any depth count, in a single class folder as well as beside class folders."""
    (clips / "walk" / "deep").mkdir()
    make_video(pts=range(0, 10 * 512, 512)).rename(clips / "walk" / "deep" / "c.mp4")
    ran = run("extract", clips / "walk", "-m", model_folder)
    assert (ran.code, ran.err) == (0, "") and "3 videos" in ran.out
    make_video(pts=range(0, 11 * 512, 512)).rename(clips / "loose.mp4")
    ran = run("extract", clips, "-m", model_folder)
    assert (ran.code, ran.err) == (0, "") and "6 videos" in ran.out and "3 of 6 already existed" in ran.out
    for path in (clips / "fall").iterdir():
        path.unlink()
    ran = run("extract", clips, "-m", model_folder)
    assert (ran.code, ran.err) == (0, "") and "4 videos, views plain: nothing to embed; 4 of 4" in ran.out


def test_options_of_the_backbone(run: Run, clips: Path, model: Model, tmp_path: Path) -> None:
    """A torchvision classifier can have own weights and nodes, and the cache an own folder."""
    import torch
    from torchvision.models import mobilenet_v3_small

    torch.save(mobilenet_v3_small().state_dict(), tmp_path / "weights.pth")
    command = ["extract", clips / "fall", "--backbone", "mobilenet_v3_small", "--weights", tmp_path / "weights.pth"]
    command += ["--features", "features.12:1,features.8:2", "--vid-stride", 3, "--cache", tmp_path / "other"]
    ran = run(*command, "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert kept(tmp_path / "other") == 2
    assert "2 of 2 already existed" in run(*command).out


def test_unreadable_videos_are_skipped(run: Run, clips: Path, model_folder: Path, cache: Path) -> None:
    """One unreadable video among others: a line, and exit code 3; none readable: exit code 1."""
    (clips / "fall" / "bad.mp4").write_text("no video")
    ran = run("extract", clips, "-m", model_folder)
    assert ran.code == 3 and "bad.mp4" in one_line(ran)
    assert kept(cache) == 4
    for bad in (clips / "fall" / "bad.mp4", clips / "none.mp4"):
        ran = run("extract", bad, "-m", model_folder)
        assert ran.code == 1 and bad.name in one_line(ran)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--views", "plain,sepia"], "sepia"),
        (["--views", ""], "no view"),
        (["--vid-stride", "0"], "stride"),
        (["--backbone", "resnet18"], "--model"),
        (["--features", "features.1:1"], "--model"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_usage(run: Run, clips: Path, model_folder: Path, cache: Path, options: list[str], told: str) -> None:
    """Invalid options end with exit code 2 and one line, and nothing is written."""
    ran = run("extract", clips, "-m", model_folder, *options)
    assert ran.code == 2 and told in one_line(ran)
    assert not kept(cache)


def test_invalid_sources(run: Run, model_folder: Path, tmp_path: Path) -> None:
    """A URL, whose password is not printed, and a folder without videos are refused with exit code 2."""
    (tmp_path / "empty").mkdir()
    for source, told in (("https://me:secret@host/clip.mp4", "is a URL"), (tmp_path / "empty", "empty")):
        ran = run("extract", source, "-m", model_folder)
        assert ran.code == 2 and told in one_line(ran) and "secret" not in ran.err


def test_an_impossible_cache_is_refused_in_one_line(run: Run, clips: Path, model_folder: Path) -> None:
    """A cache folder below a file ends with exit code 1 and one line that names it."""
    Path("file").write_text("")
    ran = run("extract", clips, "-m", model_folder, "--cache", "file/cache")
    assert ran.code == 1 and "file/cache" in one_line(ran)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to a single process on Windows")
def test_an_interruption_leaves_complete_entries_only(
    make_video: MakeVideo, model_folder: Path, cache: Path, tmp_path: Path
) -> None:
    """Ctrl-C ends silently with exit code 130; finished entries are complete, and there is no other file."""
    videos = [make_video(f"{i}.mp4", pts=range(0, (8 + i) * 512, 512)) for i in range(3)]
    videos.append(make_video("long.mp4", pts=range(0, 6000 * 512, 512), size=(32, 32)))
    command = [sys.executable, "-m", "liquidvision", "extract", *map(str, videos), "-m", str(model_folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*command, "--device", "cpu"], **pipes)
    while kept(cache) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert len([path for path in cache.rglob("*") if path.is_file()]) == kept(cache) == 3
