"""Sources and outputs of `infer`: links, pipes, standard input and output, and which output belongs to which source."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commands import Run, one_line
from conftest import frames_of as frames_of_images

from liquidvision import Model, RecordSink, SinkError, UsageError, infer, open_video
from liquidvision.data.formats import find_videos
from liquidvision.video.read.open import camera_index
from liquidvision.workflows import io_paths

unicode_names = pytest.mark.skipif(
    sys.getfilesystemencoding() == "ascii", reason="names of files are ASCII in this locale"
)
MakeVideo = Callable[..., Path]


@pytest.fixture
def clip(make_video: MakeVideo) -> Path:
    return make_video("clip.mp4")


def frames_of(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)


def test_the_source_is_never_replaced_by_another_name(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """No output may be a source that is given as a URL or through a link, nor a hard link to it."""
    clip = make_video("own.mp4")
    before = clip.read_bytes()
    Path("link.mp4").symlink_to(clip)
    Path("hard.mp4").hardlink_to(clip)
    for source, out in (
        (clip.as_uri(), clip),
        (Path("link.mp4"), clip),
        (clip, Path("link.mp4")),
        (clip, Path("hard.mp4")),
    ):
        ran = run("infer", source, "-m", model_folder, "-o", out, "--exist-ok")
        assert ran.code == 2 and "source" in one_line(ran)
        assert clip.read_bytes() == Path("link.mp4").read_bytes() == before


def test_infer_never_replaces_its_source(make_video: MakeVideo, model: Model, tmp_path: Path) -> None:
    """infer() refuses an output that is the source, given as path, URL, reader or link, and leaves no other file."""
    clip = make_video("own.mp4")
    before = clip.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    for source in (clip, str(clip), clip.as_uri(), link):
        with pytest.raises(UsageError, match="is the source"):
            infer(source, model, video=clip)
    with open_video(clip) as reader, pytest.raises(UsageError, match="is the source"):
        infer(reader, model, records=[RecordSink(clip)])
    assert clip.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.mp4", "own.mp4"]


def test_resume_identifies_outputs_by_source(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """With --resume a source that joins others of its name is run, and those that are complete are not run again."""
    folder = make_video("a.mp4").parent / "clips"
    folder.mkdir()
    counts = {"a.mkv": 5, "a.mp4": 7}
    for name, count in counts.items():
        make_video(name, pts=range(0, count * 512, 512)).rename(folder / name)
    command = ["infer", folder, "-m", model_folder, "-o", "out", "--save-json", "records"]
    assert run(*command).code == 0
    before = {path.name: path.read_bytes() for path in Path("out").glob("*.mp4")}
    make_video("a.avi", pts=range(0, 9 * 512, 512), time_base=Fraction(1, 25), codec="mpeg4").rename(folder / "a.avi")
    ran = run(*command, "--resume")
    assert ran.code == 0 and "2 of 3 sources" in ran.err
    assert {name: Path("out", name).read_bytes() for name in before} == before
    assert sorted(len(path.read_text().splitlines()) for path in Path("records").glob("*.jsonl")) == [5, 7, 9]
    assert "3 of 3 sources" in run(*command, "--resume").err
    assert run(*command, "--resume").code == 0
    assert len(list(Path("out").glob("*.mp4"))) == 3


def test_records_go_to_standard_output(run: Run, clip: Path, model_folder: Path) -> None:
    """`--save-json -` and `--save-csv -` write records to standard output and nothing else there."""
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--save-json", "-")
    assert ran.code == 0 and [json.loads(line)["index"] for line in ran.out.splitlines()] == list(range(20))
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--save-csv", "-")
    assert ran.out.splitlines()[0].startswith("index,time,dt,label_1") and len(ran.out.splitlines()) == 21
    assert list(Path().iterdir()) == []
    for more in (["--save-csv", "-"], ["-o", "-"], ["other.mp4"]):
        ran = run("infer", clip, "-m", model_folder, "--save-json", "-", *more)
        assert ran.code == 2 and "-" in one_line(ran)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("sound", [False, True])
def test_a_pipe_is_read_once(run: Run, make_video: MakeVideo, model_folder: Path, sound: bool) -> None:
    """All frames of a named pipe are read; its sound, which cannot be read a second time, is left out with a note."""
    clip = make_video("in.ts", sound=sound, time_base=Fraction(1, 25), pts=range(20))
    os.mkfifo("pipe.ts")
    writer = threading.Thread(target=lambda: Path("pipe.ts").write_bytes(clip.read_bytes()))
    writer.start()
    ran = run("infer", "pipe.ts", "-m", model_folder, "-o", "out.mp4")
    writer.join()
    assert ran.code == 0, ran.err
    assert frames_of(Path("out.mp4")) == 20
    assert ("sound left out: the source can be read only once" in ran.out) == sound


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="needs /dev/stdin")
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_source(make_video: MakeVideo, model_folder: Path, name: str) -> None:
    """A video that is piped into the command is read whole, as - or as /dev/stdin."""
    clip = make_video("in.ts", sound=True, time_base=Fraction(1, 25), pts=range(20))
    command = [sys.executable, "-m", "liquidvision", "infer", name, "-m", model_folder, "--no-save", "--save-json", "-"]
    with subprocess.Popen(["cat", clip], stdout=subprocess.PIPE) as cat:
        ran = subprocess.run(command, stdin=cat.stdout, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 20


@unicode_names
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_an_output_encoding_never_ends_a_run(make_video: MakeVideo, model_folder: Path, encoding: str) -> None:
    """Every source runs, whatever its name and the encoding of standard output, which gets likenesses or ?."""
    clips = [make_video(name, pts=range(0, 3 * 512, 512)) for name in ("клип.mp4", "b.mp4")]
    command = [sys.executable, "-m", "liquidvision", "infer", *clips, "-m", model_folder, "-o", clips[0].parent / "out"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run(command, capture_output=True, env=environment)
    assert ran.returncode == 0 and ran.stderr == b""
    out = ran.stdout.decode(encoding)
    assert out.count("→" if encoding == "utf-8" else "->") == 2
    assert sorted(path.name for path in (clips[0].parent / "out").glob("*.mp4")) == ["b.mp4", "клип.mp4"]


def test_lists_with_a_byte_order_mark_and_names_beside_them(run: Run, make_video: MakeVideo, tmp_path: Path) -> None:
    """A list may begin with a byte order mark, and its names may be relative to the list or to the current folder."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for name in "ab":
        make_video(f"{name}.mp4").rename(folder / f"{name}.mp4")
    listed = folder / "list.txt"
    listed.write_text("a.mp4\n[b].mp4\n", encoding="utf-8-sig")
    assert io_paths.expand_sources([str(listed)]) == [str(folder / "a.mp4"), str(folder / "b.mp4")]
    Path("a.mp4").write_bytes(b"in the current folder")
    assert io_paths.expand_sources([str(listed)])[0] == "a.mp4"


def test_one_lister_finds_the_videos_of_a_folder(make_video: MakeVideo, tmp_path: Path, caplog) -> None:
    """Videos are found by rare endings and by content; others that are named like videos are reported."""
    folder = tmp_path / "clips"
    folder.mkdir()
    clip = make_video("clip.mp4")
    for name in ("a.mp4", "b.dav", "c.recording", "._a.mp4"):
        (folder / name).write_bytes(clip.read_bytes())
    (folder / "dir.mp4").mkdir()
    (folder / "dir.mp4" / "d.h264").write_bytes(b"")
    (folder / "gone.mp4").symlink_to(tmp_path / "nothing")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "notes.txt").write_text("no video")
    (folder / "sound.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    names = [Path(source).name for source in io_paths.expand_sources([str(folder)])]
    assert names == ["a.mp4", "b.dav", "c.recording"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "._a.mp4 (hidden), dir.mp4 (a folder), gone.mp4 (a broken link)" in said
    caplog.clear()
    assert [path.name for path in find_videos(folder)] == [*names, "d.h264"]
    assert "and 1 more" in caplog.records[0].getMessage()


def test_names_that_are_too_long_fail_alone(run: Run, clip: Path, model_folder: Path) -> None:
    """A source with a name that no file can have fails, and the others run."""
    ran = run("infer", "x" * 300 + ".mp4", clip, "-m", model_folder, "--no-save", "--save-json", "records")
    assert ran.code == 3 and "xxx" in one_line(ran)


@unicode_names
def test_outputs_with_the_longest_names(run: Run, clip: Path, model_folder: Path) -> None:
    """An output may have a name of 255 bytes; the temporary name is shortened."""
    name = "é" * 125 + "x.mp4"
    ran = run("infer", clip, "-m", model_folder, "-o", name)
    assert ran.code == 0, ran.err
    assert frames_of(Path(name)) == 20


@pytest.mark.parametrize("codec", ["h265", "av1"])
def test_pictures_that_are_too_small_for_a_codec(tmp_path: Path, model: Model, codec: str) -> None:
    """Where pictures are too small for an encoder, the error says so and names a codec that works."""
    tiny = [np.zeros((2, 2, 3), np.uint8)] * 3
    with pytest.raises(SinkError, match=r"as small as 2 x 2; choose codec h264"):
        infer(frames_of_images(tiny), model, video=tmp_path / "out.mp4", codec=codec)
    infer(frames_of_images(tiny), model, video=tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["out.mp4"]


def test_the_path_of_a_camera_is_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/video2, and a link to it such as those in /dev/v4l/by-id, are the camera 2."""
    assert camera_index("/dev/video2") == 2
    monkeypatch.setattr(os.path, "realpath", lambda name: "/dev/video3")
    assert camera_index("/dev/v4l/by-id/usb-cam-index0") == 3
    assert camera_index("/videos/video3") is None
