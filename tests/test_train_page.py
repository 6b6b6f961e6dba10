"""The pages about training show what runs as it stands, on clips that are made here."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from liquidvision.training.recipe import Plan, default_plan
from liquidvision.workflows import train

DOCS = Path(__file__).parents[1] / "docs"
TRAIN, EVALUATE, START = DOCS / "guides" / "train.md", DOCS / "guides" / "evaluate.md", DOCS / "getting-started.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The arguments of each liquidvision command that the page shows, except interactive ones."""
    lines = [shlex.split(line, comments=True) for block in blocks(page, "sh") for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["liquidvision"] and words[1] != "webcam"]


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


def run_commands(run, page: Path) -> str:
    """Run what the page shows, offline and with less of everything; the last command's output."""
    for arguments in commands(page):
        if arguments[0] == "train":
            arguments += ["--epochs", "2", *([] if "--backbone" in arguments else ["--backbone", "objects"])]
        if arguments[0] == "eval":
            arguments += ["--exist-ok", *(["--folds", "2", "--seeds", "1"] if "--compare" in arguments else [])]
        ran = run(*arguments)
        assert ran.code == 0, (arguments, ran)
    return ran.out


def test_the_guides_commands_run(run, here):
    """Check, train and infer, and then eval and its comparison, as the two guides show them."""
    assert [words[0] for words in commands(TRAIN)] == ["check", "train", "infer"]
    run_commands(run, TRAIN)
    assert (here / "runs" / "infer" / "clip.mp4").is_file()
    assert "<html" in (here / "my-model" / "report.html").read_text(encoding="utf-8")
    assert "HMM" in run_commands(run, EVALUATE)


def test_getting_started_runs(run, here):
    """Every command of the first page runs in order, from the first video to a model of one's own."""
    run_commands(run, START)
    for name in ("runs/infer/clip.mp4", "compared.mp4", "labels.csv", "my-model/report.html", "labelled.mp4"):
        assert (here / name).is_file(), name


def test_the_python_of_the_guides_runs(here, monkeypatch, capsys):
    """The guides' Python trains a model, here for a few epochs, measures it, and prints what came out."""

    def short_plan(*arguments, **options) -> Plan:
        plan = default_plan(*arguments, **options)
        return replace(plan, recipe=replace(plan.recipe, epochs=2))

    monkeypatch.setattr(train, "default_plan", short_plan)
    monkeypatch.chdir(here)
    for page in (TRAIN, EVALUATE):
        (code,) = blocks(page, "python")
        exec(compile(code, str(page), "exec"), {})
        assert capsys.readouterr().out.strip()
    assert (here / "my-model" / "config.json").is_file()
