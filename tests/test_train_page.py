"""docs/guides/train.md: what it shows runs as it stands, on clips that are rendered here."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "train.md"


@pytest.fixture
def here(make_video, tmp_path, monkeypatch) -> Path:
    """A folder with clips/ of two classes and a clip.mp4, in which commands run."""
    folder = tmp_path / "here"
    for label, ticks in (("opens", 512), ("closes", 2048)):
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(4):
            make_video(pts=range(0, (8 + number) * ticks, ticks)).rename(folder / "clips" / label / f"{number}.mp4")
    make_video().rename(folder / "clip.mp4")
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    return folder


def test_the_worked_example_runs(run, here):
    """Check, train, eval, infer and compare, as the page has them, end with an annotated video and a report."""
    commands = [
        line.strip()
        for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        for line in block.splitlines()
    ]
    assert [shlex.split(line)[1] for line in commands] == ["check", "train", "eval", "infer", "eval"]
    for line in commands:
        arguments = shlex.split(line)[1:]
        # Without a network: the bundled backbone, and less of everything.
        arguments += ["--backbone", "objects", "--epochs", "2"] if arguments[0] == "train" else []
        arguments += ["--folds", "2", "--seeds", "1"] if "--compare" in arguments else []
        ran = run(*arguments)
        assert ran.code == 0, (line, ran)
    assert (here / "runs" / "infer" / "clip.mp4").is_file()
    assert "<html" in (here / "report.html").read_text(encoding="utf-8")
    assert "HMM" in ran.out


def test_the_python_of_the_page_runs(here, monkeypatch, capsys):
    """The Python of the page trains a model and prints its scores."""
    monkeypatch.chdir(here)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    exec(compile(code, str(PAGE), "exec"), {})
    assert len(capsys.readouterr().out.split()) == 2
    assert (here / "my-model" / "config.json").is_file()
