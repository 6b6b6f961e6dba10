"""`train` and `eval`: from a folder of clips to a model that works, and on after a kill as if nothing had been."""

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from commands import one_line, scores
from conftest import picture_frames
from lessons import swings, tiny_head

from liquidvision import Model, predict
from liquidvision.cli.train import TrainingBars
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import ModelError, UsageError
from liquidvision.training import trainer as module
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Recipe
from liquidvision.training.trainer import Trainer, random_state, set_random_state


def course_of(path: Path | None, *, epochs: int = 6, about: str = "swings") -> Trainer:
    """A small training, from its beginning."""
    lessons, recipe = swings(12), Recipe(epochs=epochs, batch=4)
    torch.manual_seed(0)
    head = tiny_head(dropout=0.3)
    fit = EpochLoop([head], lessons, recipe, first_dt=1.0)
    fit_statistics([head], lessons, 1.0)
    return Trainer(fit, swings(6, seed=3), kept=path, about={"data": about})  # type: ignore[arg-type]


class KilledError(Exception):
    """Stands for a kill."""


def kill_after(epoch: int):
    def on_epoch(row) -> None:
        if row.epoch == epoch:
            raise KilledError

    return on_epoch


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_training_that_was_cut_off_goes_on_exactly(tmp_path, epoch):
    """Cut off after any epoch and resumed, a training ends with the same weights and the same history."""
    whole = course_of(None)
    whole.run()
    cut = course_of(tmp_path / "state.safetensors")
    with pytest.raises(KilledError):
        cut.run(kill_after(epoch))
    later = course_of(tmp_path / "state.safetensors")
    torch.manual_seed(99)
    later.resume(tmp_path / "state.safetensors")
    later.run()
    assert later.history == whole.history
    for name, value in whole.head.state_dict().items():
        assert torch.equal(later.head.state_dict()[name], value), name


def test_other_data_is_no_training_to_go_on_with(tmp_path):
    """A state of other data or options, or a damaged one, is refused with what differs."""
    path = tmp_path / "state.safetensors"
    course_of(path, epochs=1).run()
    with pytest.raises(UsageError, match="differs in its data"):
        course_of(path, epochs=1, about="others").resume(path)
    with pytest.raises(UsageError, match="differs in its recipe"):
        course_of(path, epochs=2).resume(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="cut short"):
        course_of(path).resume(path)


@pytest.mark.parametrize(("right", "chosen"), [((0.9, 0.2, 0.1, 0.1, 0.1), 1), ((0.5, 0.6, 0.5, 0.5, 0.5), 5)])
def test_validation_ends_a_training_that_has_clearly_become_worse(monkeypatch, right, chosen):
    """Training ends, with the best epoch's weights, after as many clearly worse ones as patience says; what chance
    among a few clips explains changes nothing, and the last weights are kept."""
    course, told = course_of(None, epochs=5), iter(right)
    course.fit.recipe = Recipe(epochs=5, batch=4, patience=2)
    kept: list[dict[str, torch.Tensor]] = []

    def said(*_) -> torch.Tensor:
        kept.append({name: value.clone() for name, value in course.head.state_dict().items()})
        return (torch.arange(40) / 40 * 37 % 1 < next(told)).float()

    monkeypatch.setattr(module, "clip_correctness", said)
    rows = course.run()
    assert (len(rows), course.chosen) == ((3, 1) if chosen == 1 else (5, 5))
    for name, value in course.head.state_dict().items():
        assert torch.equal(kept[chosen - 1][name], value), name


@pytest.fixture
def trained(run, clips, model_folder, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    ran = run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "3")
    assert ran.code == 0, ran.err
    assert "frames right" in ran.out
    return tmp_path / "mine"


@pytest.mark.parametrize(("clips", "clear"), [(1, False), (2, False), (5, False), (20, True)])
def test_a_few_clips_make_nothing_clear(clips, clear):
    """That every clip is right in one epoch and wrong in another says something of twenty, and nothing of five."""
    assert module.clearly_better(torch.ones(clips), torch.zeros(clips)) == clear
    assert not module.clearly_better(torch.ones(clips), torch.ones(clips))


def test_train_leaves_a_model_that_works_at_once(run, trained, clips):
    """`train` on class folders leaves a folder that `infer` and Python take, with its card, split and scores."""
    model = Model.from_pretrained(trained)
    assert model.labels == ("quick", "slow")
    assert len([prediction for _, prediction in predict(picture_frames(3), model)]) == 3
    ran = run("infer", clips / "slow" / "0.mp4", "-m", trained, "--no-save")
    assert ran.code == 0 and "12 frames" in ran.out
    split = json.loads((trained / "split.json").read_text())
    assert split["by"] == "video"
    parts = split["parts"]
    assert sorted(name for names in parts.values() for name in names) == sorted(
        path.relative_to(clips).as_posix() for path in clips.rglob("*.mp4")
    )
    card = (trained / "README.md").read_text()
    assert "quick, slow" in card and "| frames right |" in card
    assert (trained / "metrics.csv").read_text().count("\n") == 4
    assert not (trained / "training.safetensors").exists()


def test_train_tells_how_it_trained(trained):
    """The evaluation holds the plan, enough to train like it, and which epoch's weights were taken."""
    told = json.loads((trained / "evaluation.json").read_text())["training"]
    plan = told["plan"]
    assert Recipe(**plan["recipe"]).epochs == 3 and plan["head"]["cell"] == "gated"
    assert (plan["views"], plan["folds"], plan["seeds"], plan["first_dt"], plan["stride"]) == (["plain"], 0, 1, 1.0, 1)
    assert told["best"] in told["epochs"] == [1, 2, 3]


def test_train_says_how_it_went_and_what_to_do_next(run, clips, model_folder, monkeypatch, tmp_path):
    """Without a terminal there is one line on the training, and the model is named by the path as it was given."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    ran = run("train", clips, "-o", "deep/my model", "--backbone", model_folder, "--epochs", "2")
    assert ran.code == 0 and ran.err == ""
    assert re.search(r"^trained: 2 epochs, \d+ s$", ran.out, re.M), ran.out
    assert ran.out.rstrip().endswith("liquidvision infer clip.mp4 -m 'deep/my model'")
    assert Path("deep/my model/README.md").read_text().count("-m 'deep/my model'") == 2


def test_embedding_in_train_takes_half_of_the_cores(run, clips, model_folder, monkeypatch, tmp_path):
    """Embedding leaves the other half to decoding, as in `extract`; training has what it had."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    threads = {}

    def noted(name, function):
        def call(*arguments, **options):
            threads[name] = torch.get_num_threads()
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(EmbeddingStore, "fill", noted("fill", EmbeddingStore.fill))
    monkeypatch.setattr(EpochLoop, "epoch", noted("epoch", EpochLoop.epoch))
    assert run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1").code == 0
    assert threads == {"fill": 3, "epoch": torch.get_num_threads()}


def test_bars_of_a_training_follow_one_another():
    """A stage begins a new bar when the last is closed, and one that is resumed begins where it was."""
    calls = []

    class Shown:
        @contextmanager
        def bar(self, what, total):
            calls.append((what, total))
            yield calls.append
            calls.append("closed")

    stages = TrainingBars(Shown())
    stages.show("training", 3, 4, "c")
    stages.show("training", 4, 4, "d")
    stages.show("evaluating", None, 2, "x")
    stages.show("evaluating", None, 2, "y")
    stages.close()
    assert calls == [("training", 4), "c", "c", "c", "d", "closed", ("evaluating", 2), "x", "y", "closed"]


def test_the_learning_rate_told_is_one_that_was_used():
    """The learning rates of the epochs are those of the schedule: up to the peak, and down to the last."""
    rates = [row.learning_rate for row in course_of(None).run()]
    assert rates[0] == pytest.approx(Recipe().learning_rate / 25)
    peak = rates.index(max(rates))
    assert rates == [*sorted(rates[:peak]), *sorted(rates[peak:], reverse=True)]
    assert max(rates) <= Recipe().learning_rate


def test_what_is_random_on_mps_is_kept(monkeypatch):
    """On an Apple GPU its own generator is part of what a training goes on with."""
    set_to = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7], dtype=torch.uint8))
    monkeypatch.setattr(torch.mps, "set_rng_state", set_to.append)
    states = random_state(torch.device("mps"))
    set_random_state(states, torch.device("mps"))
    assert set_to == [torch.tensor([7], dtype=torch.uint8)]
    assert "mps" not in random_state(torch.device("cpu"))


def test_eval_judges_by_clips_that_training_did_not_see(run, trained, clips, tmp_path):
    """`eval` takes the test part of the model's own split, and writes every figure as JSON and as a page."""
    scores, page = tmp_path / "scores.json", tmp_path / "page.html"
    ran = run("eval", clips, "-m", trained, "--json", scores, "--report", page)
    assert ran.code == 0, ran.err
    told = json.loads(scores.read_text())
    parts = json.loads((trained / "split.json").read_text())["parts"]
    assert {video["name"] for video in told["videos"]} == set(parts["test"])
    assert told["data"]["part"] == "test" and told["data"]["seen_in_training"] == 0
    assert told["data"]["split_by"] == "video" and told["data"]["skipped"] == []
    assert 0 <= told["clip_accuracy"] <= 1
    assert [row["level"] for row in told["robustness"]["drop"]] == [0.0, 0.25, 0.5, 0.75]
    assert told["timing"]["p50_ms"] > 0
    assert page.read_text().startswith("<!doctype html>") or "<html" in page.read_text()[:200]
    every = run("eval", clips, "-m", trained, "--part", "all", "--json", tmp_path / "all.json")
    assert every.code == 0
    assert json.loads((tmp_path / "all.json").read_text())["data"]["seen_in_training"] > 0


def test_a_clip_that_moved_is_known_again(run, trained, clips, tmp_path):
    """Under other names the same files are still those of the split; what is new beside them was not seen."""
    parts = json.loads((trained / "split.json").read_text())["parts"]
    moved = tmp_path / "moved"
    for number, name in enumerate(sorted(name for names in parts.values() for name in names)):
        (moved / Path(name).parent).mkdir(parents=True, exist_ok=True)
        (clips / name).rename(moved / Path(name).parent / f"other-{number}-{'t' if name in parts['test'] else 's'}.mp4")
    told = scores(run, moved, trained, tmp_path / "test.json")
    assert {video["name"].removesuffix(".mp4")[-1] for video in told["videos"]} == {"t"}
    assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("test", 0)
    told = scores(run, moved, trained, tmp_path / "all.json", "--part", "all")
    assert told["data"]["seen_in_training"] == len(parts["train"]) + len(parts["validation"])
    new = moved / "quick" / "new.mp4"
    new.write_bytes(next(moved.rglob("*-t.mp4")).read_bytes() + b"more")
    told = scores(run, moved, trained, tmp_path / "more.json")
    assert told["data"]["videos"] == len(parts["test"]) + 1
    assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("unseen", 0)


def test_a_file_of_a_known_name_but_other_content_was_not_seen(run, trained, clips, tmp_path):
    """Data whose files have the names of those trained on, and nothing else of them, is other data."""
    for path in clips.rglob("*.mp4"):
        path.write_bytes(path.read_bytes() + b"more")
    told = scores(run, clips, trained, tmp_path / "other.json")
    assert (told["data"]["videos"], told["data"]["part"], told["data"]["seen_in_training"]) == (12, "all", 0)
    assert "split_by" not in told["data"]
    ran = run("eval", clips, "-m", trained, "--part", "test")
    assert ran.code == 2 and "'test'" in one_line(ran)


def test_copies_in_training_and_test_are_counted(run, clips, model_folder, tmp_path, monkeypatch):
    """Where every clip is there many times over, the test part was seen in training, and that is said."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    for path in list(clips.rglob("*.mp4")):
        path.write_bytes((path.parent / "0.mp4").read_bytes())
    ran = run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text())
    assert told["data"]["seen_in_training"] == told["data"]["videos"] > 0


def test_eval_says_the_same_as_predict(run, trained, clips, tmp_path):
    """The labels in the evaluation are those that `predict` gives on the file, frame by frame."""
    assert run("eval", clips, "-m", trained, "--part", "all", "--json", tmp_path / "all.json").code == 0
    told = json.loads((tmp_path / "all.json").read_text())
    model = Model.from_pretrained(trained)
    for video in told["videos"][:4]:
        said = [prediction.label for _, prediction in predict(clips / video["name"], model)]
        assert [model.labels[place] for place in video["memory"]] == said


def test_compare_sets_the_head_beside_its_rivals(run, trained, clips, tmp_path):
    """`eval --compare` has a row with an interval for every rival, and the difference from the head."""
    arguments = ("--compare", "--folds", "2", "--seeds", "1", "--json", tmp_path / "compare.json")
    ran = run("eval", clips, "-m", trained, *arguments)
    assert ran.code == 0, ran.err
    compare = json.loads((tmp_path / "compare.json").read_text())["compare"]
    names = [row["name"] for row in compare["rows"]]
    assert names[0] == compare["reference"] == "gated"
    assert {"gru", "lstm", "cfc", "none", "gated reset", "probe", "ema", "hmm_forward", "pooled"} <= set(names)
    assert all(row["low"] <= row["mean"] <= row["high"] for row in compare["rows"])


def test_cross_validated_training_judges_every_clip(run, clips, model_folder, tmp_path, monkeypatch):
    """With --folds every clip is judged by a head that never saw it, and the model is trained on all."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    arguments = ("--backbone", model_folder, "--epochs", "2", "--folds", "3", "--seeds", "2")
    ran = run("train", clips, "-o", tmp_path / "mine", *arguments)
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text())
    assert told["data"]["videos"] == 12 and told["data"]["part"] == "cross-validation"
    assert told["compare"]["folds"] == 3 and told["compare"]["seeds"] == 2
    own = told["compare"]["rows"][0]
    assert f"{100 * own['low']:.1f} to {100 * own['high']:.1f}" in ran.out and "first seed" in ran.out
    card = " ".join((tmp_path / "mine" / "README.md").read_text().split())
    assert "Cross-validation by video in 3 folds" in card
    assert f"Of 2 seeds, clips right with memory: mean {100 * own['mean']:.1f} %, standard deviation" in card
