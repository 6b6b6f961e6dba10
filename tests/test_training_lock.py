"""One model folder, one training at a time."""

import subprocess
import sys

import pytest
from commands import one_line

from liquidvision.errors import SinkError, UsageError
from liquidvision.workflows.folder_lock import LOCK_FILE, lock_model_folder

HOLD = """
import sys
from pathlib import Path
from liquidvision.workflows.folder_lock import lock_model_folder
with lock_model_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_of_two_trainings_is_refused(run, clips, model_folder, tmp_path, monkeypatch):
    """While one process trains into a folder, another is refused in one line; once it is killed, it is not."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    train = ("train", clips, "-o", mine, "--backbone", model_folder, "--epochs", "1")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(mine)], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        for options in ((), ("--exist-ok",), ("--resume",)):
            ran = run(*train, *options)
            assert ran.code == 2 and f"another training is writing into {mine}" in one_line(ran)
        assert [path.name for path in mine.iterdir()] == [LOCK_FILE]
        other.kill()
    assert run(*train).code == 0
    assert not (mine / LOCK_FILE).exists()


def test_a_folder_is_held_by_one_thread(tmp_path):
    """In one process too, a folder is held once; afterwards it is free, and gone if nothing was written into it."""
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with lock_model_folder(folder):
            with pytest.raises(UsageError, match="another training"), lock_model_folder(folder):
                raise AssertionError
            assert (folder / LOCK_FILE).is_file()
        assert not (tmp_path / "a").exists()
    with lock_model_folder(folder):
        (folder / "config.json").touch()
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_folder_that_cannot_be_made(tmp_path):
    """A folder that cannot be made is an error of one line."""
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot make the folder"), lock_model_folder(tmp_path / "file" / "mine"):
        raise AssertionError
