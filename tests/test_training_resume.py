"""`train --resume`: continues the same training, and is refused in one line otherwise."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import one_line
from conftest import build_model

from liquidvision.errors import ModelError, SinkError
from liquidvision.evaluation import crossval
from liquidvision.models.folder import read_tensors
from liquidvision.workflows import train_model as train


@pytest.fixture
def begin(clips, model_folder, tmp_path, monkeypatch) -> list:
    """The arguments of a small training."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    return ["train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "2", "--folds", "0"]


@pytest.fixture
def begun(run, begin, monkeypatch, tmp_path) -> Path:
    """A folder with a training that stopped before the model was written."""

    def fail(folder, *_) -> None:
        raise SinkError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(train, "write_model_folder", fail)
        assert run(*begin).code == 1
    assert (tmp_path / "mine" / "training.safetensors").is_file()
    return tmp_path / "mine"


def test_another_training_is_not_resumed(run, begin, begun, clips, tmp_path):
    """Other weights, frames, options or a changed file are refused with what differs, and nothing changes."""
    build_model(seed=1).save_pretrained(tmp_path / "other")
    state = (begun / "training.safetensors").read_bytes()
    for option, said in (
        (("--backbone", tmp_path / "other"), "weights"),
        (("--vid-stride", "2"), "stride"),
        (("--views", "mirror"), "views"),
        (("--traces", "0.3"), "head"),
        (("--folds", "3", "--seeds", "2"), "data"),
    ):
        ran = run(*begin, *option, "--resume")
        assert ran.code == 2 and f"differs in its {said}" in one_line(ran), ran
    clip = clips / "quick" / "0.mp4"
    whole = clip.read_bytes()
    clip.write_bytes(whole + b"more")
    ran = run(*begin, "--resume")
    assert ran.code == 2 and "differs in its contents" in one_line(ran), ran
    assert (begun / "training.safetensors").read_bytes() == state
    clip.write_bytes(whole)
    assert run(*begin, "--resume").code == 0


@pytest.mark.parametrize("option", ["folds", "seeds"])
def test_cross_validation_is_resumed_with_the_same_options(run, begin, clips, tmp_path, monkeypatch, option):
    """Another number of folds or seeds is another training."""
    begin += ["--folds", "3", "--seeds", "2"]

    def stop(*_, **__) -> None:
        raise SinkError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(train, "cross_validate", stop)
        assert run(*begin).code == 1
    ran = run(*begin, f"--{option}", "4", "--resume")
    assert ran.code == 2 and f"differs in its {option}" in one_line(ran), ran


def test_finished_folds_are_not_repeated(run, begin, tmp_path, monkeypatch):
    """Interrupted in a fold, a cross-validation resumes with it and ends with the figures of an uninterrupted one; a
    damaged fold file is made again."""
    begin += ["--folds", "3", "--seeds", "2"]
    assert run(*begin, "-o", tmp_path / "whole").code == 0
    done: list[int] = []
    run_fold = crossval.run_fold

    def counted(*arguments) -> Any:
        if len(done) == 4:
            raise SinkError("stopped")
        done.append(1)
        return run_fold(*arguments)

    monkeypatch.setattr(crossval, "run_fold", counted)
    assert run(*begin).code == 1
    kept = sorted((tmp_path / "mine" / "training.folds").iterdir())
    assert [path.name for path in kept] == [f"{n}.safetensors" for n in (1, 2, 3, 4)]
    kept[1].write_bytes(kept[1].read_bytes()[:500])
    done.clear()
    assert run(*begin, "--resume").code == 0 and len(done) == 3
    assert not (tmp_path / "mine" / "training.folds").exists()
    whole, cut = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("whole", "mine"))
    for part in ("memory", "frame", "clip_accuracy"):
        assert whole[part] == cut[part], part
    assert whole["compare"]["rows"] == cut["compare"]["rows"]


def test_a_finished_training_is_not_resumed(run, begin, tmp_path):
    """--resume of a finished training is refused in one line, also with --exist-ok, and the model stays."""
    assert run(*begin).code == 0
    there = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    for more in ((), ("--exist-ok",)):
        ran = run(*begin, "--resume", *more)
        assert ran.code == 2 and "finished already" in one_line(ran), ran
    assert there == {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}


def test_a_folder_without_a_training_is_not_resumed(run, begin, clips):
    """--resume in a folder without a training is refused, and nothing is written into it."""
    ran = run(*begin, "-o", clips, "--resume")
    assert ran.code == 2 and "holds no training" in one_line(ran), ran
    assert sorted(path.name for path in clips.iterdir()) == ["quick", "slow"]


def test_training_again_removes_what_was_begun(run, begin, begun, monkeypatch):
    """With --exist-ok and without --resume the earlier state is removed, even before the first epoch."""

    def fail(*_) -> None:
        raise SinkError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(train, "fit_statistics", fail)
        ran = run(*begin, "--seed", "7", "--exist-ok")
    assert ran.code == 1 and "stopped" in one_line(ran)
    assert not (begun / "training.safetensors").exists()


def test_killed_at_any_moment_and_resumed_the_model_is_the_same(clips, model_folder, tmp_path):
    """SIGKILL at random moments of the training, of the evaluation and of the refit, and --resume, give the model, the
    kept model of the split and the figures of an uninterrupted run."""
    command = [sys.executable, "-m", "liquidvision", "train", clips, "--backbone", model_folder, "--epochs", "40"]

    def start(name: str, *more: str) -> subprocess.Popen:
        environment = {**os.environ, "LIQUIDVISION_CACHE": str(tmp_path / f"{name} cache"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, "-q", "--folds", "0", "-o", tmp_path / name, *more], env=environment)

    def epochs(name: str) -> int:
        path = tmp_path / name / "metrics.csv"
        done = path.read_text().count("\n") - 1 if path.exists() else 0
        try:
            metadata = read_tensors(tmp_path / name / train.REFIT_STATE_FILE)[1]
        except ModelError:
            return done
        return done + len(json.loads(metadata["training"])["history"])

    with start("whole") as whole:
        assert whole.wait() == 0
    figures = json.loads((tmp_path / "whole" / "evaluation.json").read_text())
    first, again = (len(part["epochs"]) for part in (figures["training"], figures["training"]["refit"]))
    # Not the last ones: on a busy machine the training may end before it is killed.
    moments = [*sorted(random.Random(0).sample(range(1, first), 2)), first]
    moments += sorted(random.Random(1).sample(range(first + 1, first + again * 3 // 4), 2))
    for moment in moments:
        with start("cut", "--resume") as cut:
            while epochs("cut") < moment and cut.poll() is None:
                time.sleep(0.002)
            time.sleep(random.Random(moment).uniform(0, 0.05))
            cut.kill()
        assert cut.returncode == -signal.SIGKILL
    with start("cut", "--resume") as cut:
        assert cut.wait() == 0
    for file in ("model.safetensors", "split.safetensors"):
        weights = [read_tensors(tmp_path / name / file)[0] for name in ("whole", "cut")]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (tmp_path / "whole" / "metrics.csv").read_text() == (tmp_path / "cut" / "metrics.csv").read_text()
    resumed = json.loads((tmp_path / "cut" / "evaluation.json").read_text())
    figures["model"]["name"] = "cut"
    assert resumed == figures
    assert not list((tmp_path / "cut").glob("training.*"))


def test_half_written_states_are_removed(tmp_path):
    """What a kill left half written goes with the training's state, and other files stay."""
    for name in (f"{train.STATE_FILE}.0a1b.part", f"{train.REFIT_STATE_FILE}.0a1b.part", "model.safetensors.0a1b.part"):
        (tmp_path / name).write_bytes(b"half")
    train.remove_training_state(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors.0a1b.part"]
