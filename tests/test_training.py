"""`train` and `eval`: from a folder of clips to a working model, and resuming without a trace."""

import json
import re
from pathlib import Path

import pytest
import torch
from commands import one_line, scores
from conftest import picture_frames
from made_sequences import rising_and_falling, tiny_head

from liquidvision import Model, predict
from liquidvision.cli import training_output
from liquidvision.cli.command import Messages
from liquidvision.cli.training_output import TrainingOutput
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import ModelError, UsageError
from liquidvision.training import trainer as module
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Recipe
from liquidvision.training.trainer import Trainer, random_state, set_random_state
from liquidvision.workflows import prepare_clips


def small_trainer(path: Path | None, *, epochs: int = 6, data: str = "made up") -> Trainer:
    """A small training that has not begun."""
    sequences, recipe = rising_and_falling(12), Recipe(epochs=epochs, batch=4)
    torch.manual_seed(0)
    head = tiny_head(dropout=0.3)
    loop = EpochLoop([head], sequences, recipe, first_dt=1.0)
    fit_statistics([head], sequences, 1.0)
    return Trainer(loop, rising_and_falling(6, seed=3), state_file=path, identity={"data": data})  # type: ignore[arg-type]


class KilledError(Exception):
    """Stands for a kill."""


def kill_after(epoch: int):
    def on_epoch(row) -> None:
        if row.epoch == epoch:
            raise KilledError

    return on_epoch


@pytest.mark.parametrize("epoch", [1, 4])
def test_an_interrupted_training_resumes_exactly(tmp_path, epoch):
    """Interrupted after any epoch and resumed, a training ends with the same weights and history."""
    whole = small_trainer(None)
    whole.run()
    cut = small_trainer(tmp_path / "state.safetensors")
    with pytest.raises(KilledError):
        cut.run(kill_after(epoch))
    later = small_trainer(tmp_path / "state.safetensors")
    torch.manual_seed(99)
    later.resume(tmp_path / "state.safetensors")
    later.run()
    assert later.history == whole.history
    for name, value in whole.head.state_dict().items():
        assert torch.equal(later.head.state_dict()[name], value), name


def test_a_state_of_other_data_is_refused(tmp_path):
    """A state of other data or options is refused with what differs; so is a damaged one."""
    path = tmp_path / "state.safetensors"
    small_trainer(path, epochs=1).run()
    with pytest.raises(UsageError, match="differs in its data"):
        small_trainer(path, epochs=1, data="other").resume(path)
    with pytest.raises(UsageError, match="differs in its recipe"):
        small_trainer(path, epochs=2).resume(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="cut short"):
        small_trainer(path).resume(path)


@pytest.mark.parametrize(("right", "chosen"), [((0.9, 0.2, 0.1, 0.1, 0.1), 1), ((0.5, 0.6, 0.5, 0.5, 0.5), 5)])
def test_validation_ends_a_training_that_has_become_clearly_worse(monkeypatch, right, chosen):
    """Training ends with the best epoch's weights after `patience` clearly worse epochs; differences that chance
    explains change nothing, and the last weights are kept."""
    trainer, shares = small_trainer(None, epochs=5), iter(right)
    trainer.loop.recipe = Recipe(epochs=5, batch=4, patience=2)
    weights: list[dict[str, torch.Tensor]] = []

    def correctness(*_) -> torch.Tensor:
        weights.append({name: value.clone() for name, value in trainer.head.state_dict().items()})
        return (torch.arange(40) / 40 * 37 % 1 < next(shares)).float()

    monkeypatch.setattr(module, "clip_correctness", correctness)
    rows = trainer.run()
    assert (len(rows), trainer.chosen_epoch) == ((3, 1) if chosen == 1 else (5, 5))
    for name, value in trainer.head.state_dict().items():
        assert torch.equal(weights[chosen - 1][name], value), name


@pytest.fixture
def trained(run, clips, model_folder, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder)
    ran = run(*begin, "--epochs", "3", "--folds", "0")
    assert ran.code == 0, ran.err
    assert "frames right" in ran.out
    return tmp_path / "mine"


@pytest.mark.parametrize(("clips", "clear"), [(1, False), (2, False), (5, False), (20, True)])
def test_a_few_clips_prove_nothing(clips, clear):
    """All clips right in one epoch and wrong in another is clear with twenty clips, and not with five."""
    assert module.clearly_better(torch.ones(clips), torch.zeros(clips)) == clear
    assert not module.clearly_better(torch.ones(clips), torch.ones(clips))


def test_train_makes_a_model_that_works_at_once(run, trained, clips):
    """`train` on class folders makes a folder that `infer` and Python load, with card, split and figures."""
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


def test_train_records_how_it_trained(trained):
    """The evaluation has the complete plan and the epoch whose weights were taken."""
    told = json.loads((trained / "evaluation.json").read_text())["training"]
    plan = told["plan"]
    assert Recipe(**plan["recipe"]).epochs == 3 and plan["head"]["cell"] == "gated"
    assert (plan["views"], plan["folds"], plan["seeds"], plan["first_dt"], plan["stride"]) == (["plain"], 0, 1, 1.0, 1)
    assert told["best"] in told["epochs"] == [1, 2, 3]


def test_train_prints_its_result_and_the_next_command(run, clips, model_folder, monkeypatch, tmp_path):
    """Without a terminal there is one line on the training, and the model has the path that was given."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    ran = run("train", clips, "-o", "deep/my model", "--backbone", model_folder, "--epochs", "2")
    assert ran.code == 0 and ran.err == ""
    assert re.search(r"^trained: 2 epochs, \d+ s$", ran.out, re.M), ran.out
    assert ran.out.rstrip().endswith("liquidvision infer clip.mp4 -m 'deep/my model'")
    assert Path("deep/my model/README.md").read_text().count("-m 'deep/my model'") == 2


def test_embedding_in_train_takes_half_of_the_cores(run, clips, model_folder, monkeypatch, tmp_path):
    """Embedding leaves half of the cores to decoding; training has as many threads as before."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepare_clips, "half_of_cores", lambda: 3)
    threads = {}

    def noted(name, function):
        def call(*arguments, **options):
            threads[name] = torch.get_num_threads()
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(EmbeddingStore, "fill", noted("fill", EmbeddingStore.fill))
    monkeypatch.setattr(EpochLoop, "run_epoch", noted("run_epoch", EpochLoop.run_epoch))
    assert run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1").code == 0
    assert threads == {"fill": 3, "run_epoch": torch.get_num_threads()}


def test_each_stage_has_a_bar_of_its_own(monkeypatch):
    """A new stage replaces the bar of the last one, and a resumed stage starts where it was."""
    calls = []

    class Bars:
        def __init__(self, *columns, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("closed")

        def add_task(self, stage, total, detail):
            calls.append((stage, total))

        def update(self, task, completed, total, detail):
            calls.append((completed, detail))

    monkeypatch.setattr(training_output, "Progress", Bars)
    with TrainingOutput(Messages()) as output:
        output.progress("training", 3, 4, "c")
        output.progress("training", 4, 4, "d")
        output.progress("evaluating", 1, 2, "x")
    assert calls == [("training", 4), (3, "c"), (4, "d"), "closed", ("evaluating", 2), (1, "x"), "closed"]
    assert output.seconds("training") > 0 == output.seconds("comparing")


def test_the_recorded_learning_rate_was_used():
    """The learning rates of the epochs are those of the schedule: they rise to the peak and then fall."""
    rates = [row.learning_rate for row in small_trainer(None).run()]
    assert rates[0] == pytest.approx(Recipe().learning_rate / 25)
    peak = rates.index(max(rates))
    assert rates == [*sorted(rates[:peak]), *sorted(rates[peak:], reverse=True)]
    assert max(rates) <= Recipe().learning_rate


def test_the_generator_of_mps_is_saved(monkeypatch):
    """On an Apple GPU its own generator is part of the saved state."""
    set_to = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7], dtype=torch.uint8))
    monkeypatch.setattr(torch.mps, "set_rng_state", set_to.append)
    states = random_state(torch.device("mps"))
    set_random_state(states, torch.device("mps"))
    assert set_to == [torch.tensor([7], dtype=torch.uint8)]
    assert "mps" not in random_state(torch.device("cpu"))


def test_eval_uses_clips_that_training_did_not_see(run, trained, clips, tmp_path):
    """`eval` uses the test part of the model's own split, and writes all figures as JSON and as a report."""
    scores, page = tmp_path / "scores.json", tmp_path / "page.html"
    ran = run("eval", clips, "-m", trained, "--save-json", scores, "--report", page)
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
    every = run("eval", clips, "-m", trained, "--part", "all", "--save-json", tmp_path / "all.json")
    assert every.code == 0
    assert json.loads((tmp_path / "all.json").read_text())["data"]["seen_in_training"] > 0


def test_moved_clips_are_recognised(run, trained, clips, tmp_path):
    """The same files under other names belong to the split; new files beside them were not seen."""
    parts = json.loads((trained / "split.json").read_text())["parts"]
    moved = tmp_path / "moved"
    for number, name in enumerate(sorted(name for names in parts.values() for name in names)):
        (moved / Path(name).parent).mkdir(parents=True, exist_ok=True)
        (clips / name).rename(moved / Path(name).parent / f"other-{number}-{'t' if name in parts['test'] else 's'}.mp4")
    told = scores(run, moved, trained, tmp_path / "test.json")
    assert {video["name"].removesuffix(".mp4")[-1] for video in told["videos"]} == {"t"}
    assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("test", 0)
    told = scores(run, moved, trained, tmp_path / "all.json", "--part", "all")
    assert told["data"]["seen_in_training"] == sum(map(len, parts.values()))
    new = moved / "quick" / "new.mp4"
    new.write_bytes(next(moved.rglob("*-t.mp4")).read_bytes() + b"more")
    told = scores(run, moved, trained, tmp_path / "more.json")
    assert told["data"]["videos"] == len(parts["test"]) + 1
    assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("unseen", 0)


def test_a_file_of_a_known_name_but_other_content_was_not_seen(run, trained, clips, tmp_path):
    """Files with the names of training clips and other content are other data."""
    for path in clips.rglob("*.mp4"):
        path.write_bytes(path.read_bytes() + b"more")
    told = scores(run, clips, trained, tmp_path / "other.json")
    assert (told["data"]["videos"], told["data"]["part"], told["data"]["seen_in_training"]) == (12, "all", 0)
    assert "split_by" not in told["data"]
    ran = run("eval", clips, "-m", trained, "--part", "test")
    assert ran.code == 2 and "'test'" in one_line(ran)


def test_copies_in_training_and_test_are_counted(run, clips, model_folder, tmp_path, monkeypatch):
    """If all clips are copies, the test part counts as seen in training."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    for path in list(clips.rglob("*.mp4")):
        path.write_bytes((path.parent / "0.mp4").read_bytes())
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder)
    ran = run(*begin, "--epochs", "1", "--folds", "0", "--no-refit")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text())
    assert told["data"]["seen_in_training"] == told["data"]["videos"] > 0


def test_eval_agrees_with_predict(run, trained, clips, tmp_path):
    """The labels in the evaluation are those of `predict` on the file, frame by frame."""
    assert run("eval", clips, "-m", trained, "--part", "all", "--save-json", tmp_path / "all.json").code == 0
    told = json.loads((tmp_path / "all.json").read_text())
    model = Model.from_pretrained(trained)
    for video in told["videos"][:4]:
        said = [prediction.label for _, prediction in predict(clips / video["name"], model)]
        assert [model.labels[place] for place in video["memory"]] == said


def test_compare_lists_the_head_and_its_rivals(run, trained, clips, tmp_path):
    """`eval --compare` has a row with an interval for each method, and its difference from the head."""
    arguments = ("--compare", "--folds", "2", "--seeds", "1", "--save-json", tmp_path / "compare.json")
    ran = run("eval", clips, "-m", trained, *arguments)
    assert ran.code == 0, ran.err
    compare = json.loads((tmp_path / "compare.json").read_text())["compare"]
    names = [row["name"] for row in compare["rows"]]
    assert names[0] == compare["reference"] == "gated"
    assert {"gru", "lstm", "cfc", "none", "gated reset", "probe", "ema", "hmm_forward", "pooled"} <= set(names)
    assert all(row["low"] <= row["mean"] <= row["high"] for row in compare["rows"])


def test_training_with_folds_evaluates_every_clip(run, clips, model_folder, tmp_path, monkeypatch):
    """With --folds every clip is evaluated by a head that never saw it, and the model is trained on all clips."""
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
