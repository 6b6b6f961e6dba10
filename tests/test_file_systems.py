"""Folders that must not be read, and file systems that ignore upper and lower case or Unicode form."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Run, one_line

import liquidvision as lv
from liquidvision.errors import SourceError, UsageError
from liquidvision.workflows.output_names import distinct_names

MakeVideo = Callable[..., Path]
Deny = Callable[[Path], Path]


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Deny:
    """Return a function after which a folder cannot be listed, as without permission; root could list any."""
    denied: set[str] = set()

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *more: Any) -> Any:
            if not isinstance(path, int) and os.path.abspath(os.fspath(path)) in denied:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *more)

        return call

    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))

    def deny(path: Path) -> Path:
        denied.add(os.path.abspath(path))
        return path

    return deny


def test_a_class_folder_that_must_not_be_read(run: Run, clips: Path, model_folder: Path, deny: Deny) -> None:
    """`check` and `train` name it and use the others; as the only other class it is missed."""
    (clips / "owl").mkdir()
    (clips / "slow" / "0.mp4").rename(clips / "owl" / "0.mp4")
    deny(clips / "owl")
    told = f"{clips / 'owl'} cannot be read (Permission denied) and was left out"
    ran = run("check", clips)
    assert ran.code == 0 and told in ran.out
    ran = run("train", clips, "-o", "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0 and told in ran.err
    deny(clips / "slow")
    ran = run("check", clips)
    assert ran.code == 2 and "only one class" in one_line(ran)


def test_a_folder_below_a_class(clips: Path, deny: Deny, caplog: pytest.LogCaptureFixture) -> None:
    """A folder in a class folder that must not be read is left out with a line."""
    (clips / "slow" / "more").mkdir()
    deny(clips / "slow" / "more")
    assert len(lv.check(clips).usable.clips) == 12
    assert "left out more (Permission denied)" in caplog.text


def test_data_that_must_not_be_read(run: Run, clips: Path, model_folder: Path, deny: Deny) -> None:
    """The folder of the data itself is refused in one line that gives the reason."""
    deny(clips)
    with pytest.raises(UsageError, match=r"clips cannot be read: Permission denied"):
        lv.check(clips)
    with pytest.raises(SourceError, match=r"clips cannot be read: Permission denied"):
        lv.embed(clips, lv.Model.from_pretrained(model_folder))
    for command in (("extract", clips), ("train", clips, "-o", "mine", "--backbone"), ("eval", clips)):
        ran = run(*command, *([] if command[-1] == "--backbone" else ["-m"]), model_folder)
        assert ran.code in (1, 2) and "cannot be read: Permission denied" in one_line(ran)


def test_a_source_folder_that_must_not_be_read(
    run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path, deny: Deny
) -> None:
    """That source fails with its reason, and the others run."""
    (tmp_path / "locked").mkdir()
    deny(tmp_path / "locked")
    ran = run("infer", tmp_path / "locked", make_video(), "-m", model_folder, "-o", tmp_path / "out")
    assert ran.code == 3 and "locked cannot be read: Permission denied" in ran.err
    assert (tmp_path / "out" / "clip.mp4").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission(run: Run, clips: Path, model_folder: Path, tmp_path: Path) -> None:
    """Files, lists, tables and outputs that the system refuses are named in one line."""
    (clips / "slow" / "0.mp4").chmod(0)
    ran = run("check", clips)
    assert ran.code == 3 and "error: slow/0.mp4: 0.mp4 cannot be opened as video: Permission denied" in ran.out
    (tmp_path / "list.txt").write_text("a.mp4\n")
    (tmp_path / "list.txt").chmod(0)
    ran = run("infer", tmp_path / "list.txt", "-m", model_folder)
    assert ran.code == 1 and "cannot be read: Permission denied" in one_line(ran)
    (tmp_path / "locked").mkdir(mode=0)
    for name in ("x.mp4", "folder"):
        ran = run("infer", clips / "slow" / "1.mp4", "-m", model_folder, "-o", tmp_path / "locked" / name)
        assert ran.code == 1 and "Permission denied" in one_line(ran)


def test_an_output_that_is_the_source_by_another_case(
    run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path
) -> None:
    """Where a file system finds the source under the name of the output, it is refused; a link finds it everywhere."""
    source = make_video("own.mp4")
    before = source.read_bytes()
    os.link(source, tmp_path / "OWN.mp4")  # what such a file system does with every other spelling
    for out in ("OWN.mp4", "own.mp4"):
        ran = run("infer", source, "-m", model_folder, "-o", tmp_path / out, "--exist-ok")
        assert ran.code == 2 and "is one of the sources, or a link to it" in one_line(ran)
    assert source.read_bytes() == before


def test_outputs_of_sources_whose_names_differ_in_writing_only(
    run: Run, make_video: MakeVideo, model_folder: Path, tmp_path: Path
) -> None:
    """Sources whose names differ in case or Unicode form only get outputs whose names differ in more."""
    sources = []
    for number, name in enumerate(("Café.mp4", "CAFÉ.mp4", "cafe\u0301.mp4")):
        (tmp_path / str(number)).mkdir()
        sources.append(make_video().rename(tmp_path / str(number) / name))
    ran = run("infer", *sources, "-m", model_folder, "--no-save", "--save-csv", tmp_path / "out", "--max-frames", "2")
    assert ran.code == 0, ran.err
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.csv"))
    assert names == ["CAFÉ-2", "Café", "cafe\u0301-3"]
    assert distinct_names(["a/ß", "b/SS"], ["ß", "SS"]) == ["ß", "SS-2"]
