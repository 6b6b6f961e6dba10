"""`train` trains again on everything, keeps the model that its scores are of, and says which is which."""

import json
import sys
from pathlib import Path

import pytest
import torch
from commands import Run, one_line, scores
from test_splits import given_split, videos

from liquidvision import Model
from liquidvision.errors import SinkError
from liquidvision.evaluation.crossval import DEFAULT_FOLDS, FEW_GROUPS, choose_folds
from liquidvision.models.folder import read_tensors
from liquidvision.training.trainer import Trainer
from liquidvision.workflows import train_model

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import bench_refit


@pytest.fixture
def teach(run: Run, clips: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that trains on the clips, or on another index, and returns the model folder."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))

    def teach(name: str, *more: str | Path, data: Path = clips, folds: str | None = "0") -> Path:
        begin = ["train", data, "-o", tmp_path / name, "--backbone", model_folder, "--epochs", "2"]
        ran = run(*begin, *(() if folds is None else ("--folds", folds)), *more)
        assert ran.code == 0, ran.err
        (tmp_path / name / "out.txt").write_text(ran.out)
        return tmp_path / name

    return teach


def record(folder: Path) -> dict:
    """Return the evaluation of a model folder."""
    return json.loads((folder / "evaluation.json").read_text())


def head(folder: Path, file: str = "model.safetensors", prefix: str = "head.") -> dict[str, torch.Tensor]:
    """Return the weights of the head in a file, in float32."""
    tensors = read_tensors(folder / file)[0]
    return {key.removeprefix(prefix): value.float() for key, value in tensors.items() if key.startswith(prefix)}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_saved_model_saw_everything_and_the_scores_are_of_the_one_before(teach, clips):
    """Without --no-refit the folder has another model; scores, metrics.csv and the kept head of the split are those
    that --no-refit gives."""
    without, mine = teach("mine", "--no-refit"), None
    before = {"evaluation": record(without), "metrics": (without / "metrics.csv").read_text(), "head": head(without)}
    assert not (without / "split.safetensors").exists() and "refit" not in before["evaluation"]["training"]
    mine = teach("mine", "--exist-ok")
    assert not equal(head(mine), before["head"]) and equal(head(mine, "split.safetensors"), before["head"])
    told = record(mine)
    assert [told[part] for part in ("memory", "frame", "videos")] == [
        before["evaluation"][part] for part in ("memory", "frame", "videos")
    ]
    assert (mine / "metrics.csv").read_text() == before["metrics"]
    refit = told["training"]["refit"]
    assert (refit["clips"], refit["epochs"], refit["parts"]) == (12, [1, 2], ["train", "validation", "test"])
    assert len(refit["loss"]) == 2 and told["data"]["refit_clips"] == 12
    assert json.loads((mine / "split.json").read_text())["seen"] == ["train", "validation", "test"]
    teach("mine", "--exist-ok", "--no-refit")
    assert not (mine / "split.safetensors").exists() and equal(head(mine), before["head"])


def test_it_is_said_which_model_the_scores_are_of(teach):
    """The terminal, the card and the report say that the saved model was trained again after the scores."""
    mine = teach("mine")
    out, card, page = ((mine / name).read_text() for name in ("out.txt", "README.md", "report.html"))
    assert "the saved model was then trained again on 12 clips" in out and "trained again: 2 epochs" in out
    assert "was trained again after that**, on all, 12 clips" in card and "split.safetensors" in card
    assert "the saved model was then trained again on 12 clips" in page
    mine = teach("other", "--no-refit")
    for name in ("out.txt", "README.md", "report.html"):
        assert "trained again" not in (mine / name).read_text(), name


def test_the_temperatures_are_those_of_the_split(teach, monkeypatch):
    """The refitted head's readouts are divided by the temperatures that were fitted to the split's validation part."""
    divided = []
    divide = train_model.divide_logits

    def noted(head, memory, frame):
        divided.append((memory, frame))
        divide(head, memory, frame)

    monkeypatch.setattr(train_model, "divide_logits", noted)
    monkeypatch.setattr("liquidvision.workflows.train_model.fit_temperature", lambda *_, **__: 1.5 + len(divided))
    mine = teach("mine")
    assert divided[0] == divided[-1] == (1.5, 1.5) and record(mine)["training"]["temperature"] == {
        "memory": 1.5,
        "frame": 1.5,
    }
    shares = Model.from_pretrained(mine).head_config.frame_share
    assert shares == Model.from_pretrained(teach("other", "--no-refit")).head_config.frame_share


def test_the_refit_has_the_epochs_that_validation_chose(teach, monkeypatch):
    """If validation keeps an earlier epoch, the refit stops after as many epochs, at the same learning rates."""
    monkeypatch.setattr(Trainer, "chosen_epoch", property(lambda self: 1))
    mine = teach("mine")
    assert record(mine)["training"]["refit"]["epochs"] == [1]
    assert record(mine)["training"]["epochs"] == [1, 2]


def test_eval_judges_the_kept_model_of_the_split(run, teach, clips, tmp_path):
    """On the same data `eval` gives the scores of the split's model on its test part and says so; on everything, the
    saved model, and how many clips it saw."""
    mine = teach("mine")
    told = scores(run, clips, mine, tmp_path / "auto.json", "--report", tmp_path / "page.html")
    assert [told[part] for part in ("memory", "frame")] == [record(mine)[part] for part in ("memory", "frame")]
    assert (told["data"]["part"], told["data"]["seen_in_training"], told["data"]["refit_clips"]) == ("test", 0, 12)
    assert "then trained again on 12 clips" in (tmp_path / "page.html").read_text()
    assert "then trained again on 12 clips" in run("eval", clips, "-m", mine, "--part", "test").out
    told = scores(run, clips, mine, tmp_path / "all.json", "--part", "all")
    assert (told["data"]["videos"], told["data"]["seen_in_training"]) == (12, 12)
    assert "refit_clips" not in told["data"]
    test = set(json.loads((mine / "split.json").read_text())["parts"]["test"])
    assert {row["name"] for row in told["videos"]} > test


def test_eval_judges_the_saved_model_on_new_clips(run, teach, clips, tmp_path):
    """Clips that no training saw are judged by the saved model."""
    mine = teach("mine")
    for path in clips.rglob("*.mp4"):
        path.write_bytes(path.read_bytes() + b"more")
    told = scores(run, clips, mine, tmp_path / "new.json")
    assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("all", 0)
    assert "refit_clips" not in told["data"]


def test_a_damaged_head_of_the_split_is_refused(run, teach, clips):
    """A kept head that is cut short or of another model is one line, and not silently the saved model."""
    mine = teach("mine")
    file = mine / "split.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    assert "split.safetensors" in one_line(run("eval", clips, "-m", mine))
    file.unlink()
    assert "12 of 12 videos were used in training" in run("eval", clips, "-m", mine).out


GIVEN = {"train": (2, 3, 4, 5), "validation": (0,), "test": (1,)}


@pytest.mark.parametrize(("parts", "trained"), [(("train", "validation", "test"), 10), (("train", "validation"), 10)])
def test_a_given_test_part_is_never_trained_on(run, teach, clips, tmp_path, parts, trained):
    """With a column split the refit trains on the parts train and validation; without a test part in it, on all."""
    index = clips / "index.csv"
    rows = [(f"{label}/{n}.mp4", label, part) for part in parts for n in GIVEN[part] for label in ("quick", "slow")]
    index.write_text("file,label,split\n" + "\n".join(map(",".join, rows)))
    mine = teach("mine", data=index, folds=None)
    assert (mine / "split.safetensors").exists() == ("test" not in parts)
    given = "test" in parts
    assert record(mine)["training"]["refit"]["clips"] == trained == len(rows) - 2 * given
    seen = ["train", "validation"] if given else ["train", "validation", "test"]
    assert json.loads((mine / "split.json").read_text())["seen"] == seen
    if given:
        told = scores(run, index, mine, tmp_path / "scores.json")
        assert (told["data"]["part"], told["data"]["seen_in_training"]) == ("test", 0)
        # The saved model never saw the part: it is judged itself, in training as well.
        assert "refit_clips" not in told["data"] and "refit_clips" not in record(mine)["data"]
        assert [told[part] for part in ("memory", "frame")] == [record(mine)[part] for part in ("memory", "frame")]
        card = " ".join((mine / "README.md").read_text().split())
        assert "the parts train and validation, 10 clips" in card and "The figures below are its own." in card
        assert "then trained again" not in (mine / "report.html").read_text()


def test_the_refit_is_resumed_and_no_epoch_is_repeated(run, teach, clips, model_folder, tmp_path, monkeypatch):
    """Interrupted in the refit and resumed, the model is that of an uninterrupted run; with --no-refit, the split's."""
    whole = teach("whole")
    begin = ("train", clips, "-o", tmp_path / "cut", "--backbone", model_folder, "--epochs", "2", "--folds", "0")
    save, done = Trainer.save, []

    def stop(self, path):
        save(self, path)
        done.append(path.name)
        if done[-1] == train_model.REFIT_STATE_FILE:
            raise SinkError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", stop)
        assert run(*begin).code == 1
        assert run(*begin, "--resume").code == 1
    assert done == ["training.safetensors"] * 2 + ["training.refit.safetensors"] * 2
    assert run(*begin, "--resume").code == 0
    for file in ("model.safetensors", "split.safetensors"):
        assert equal(head(whole, file), head(tmp_path / "cut", file))


def test_a_backward_head_is_refitted_too(run, teach, clips, tmp_path):
    """With --two-pass both heads are trained again, both of the split are kept, and `eval --two-pass` judges those."""
    before = teach("before", "--two-pass", "--no-refit")
    mine = teach("mine", "--two-pass")
    for prefix in ("head.", "backward_head."):
        assert not equal(head(mine, prefix=prefix), head(before, prefix=prefix))
        assert equal(head(mine, "split.safetensors", prefix), head(before, prefix=prefix))
    assert record(mine)["two_pass"] == record(before)["two_pass"]
    told = scores(run, clips, mine, tmp_path / "scores.json", "--two-pass")
    assert [told[part] for part in ("memory", "two_pass")] == [record(mine)[part] for part in ("memory", "two_pass")]


def test_few_groups_are_cross_validated_by_default(run, teach, clips, tmp_path):
    """Without --folds twelve videos are cross-validated and the model is trained on all; --no-refit splits them."""
    mine = teach("mine", folds=None)
    told = record(mine)
    assert (told["data"]["part"], told["training"]["plan"]["folds"]) == ("cross-validation", DEFAULT_FOLDS)
    assert "5 folds; the saved model was trained on all 12 clips" in (mine / "out.txt").read_text()
    assert "refit" not in told["training"] and not (mine / "split.safetensors").exists()
    assert record(teach("other", "--no-refit", folds=None))["data"]["part"] == "test"


def test_the_number_of_folds_follows_the_groups():
    """Fewer groups than `FEW_GROUPS` give a fold for each, five at most; many groups and a given split give one split;
    groups of one class each, whose folds leave one class to train on, do too."""
    assert choose_folds(videos(a=FEW_GROUPS // 2, b=FEW_GROUPS // 2), 0) == 0
    assert choose_folds(videos(a=FEW_GROUPS // 2, b=FEW_GROUPS // 2 - 1), 0) == DEFAULT_FOLDS
    assert choose_folds(videos(a=2, b=2), 0) == 4
    assert choose_folds(given_split("a:x: b:x: c:y: d:y:"), 0) == 4
    assert choose_folds(given_split("a:x:train b:y:train c:x:validation d:y:test"), 0) == 0
    assert choose_folds(given_split("a:x: b:y:"), 0) == 0


def test_files_that_are_left_out_do_not_leave_too_few_groups_for_the_folds(run, teach, clips):
    """The number of folds is chosen from the clips that can be read."""
    for path in clips.rglob("[2-5].mp4"):
        path.write_bytes(b"no video")
    rows = [f"{path.relative_to(clips).as_posix()},{path.parent.name}" for path in clips.rglob("*.mp4")]
    (clips / "index.csv").write_text("file,label\n" + "\n".join(rows))
    assert record(teach("mine", folds=None))["training"]["plan"]["folds"] == 4


def test_the_bench_leaves_the_person_out_and_pairs_seeds(clips, tmp_path):
    """The index of the bench names the other clips; the gain is paired over clips, with means over seeds."""
    from liquidvision.data.formats import read_dataset

    whole = read_dataset(clips)
    some = whole.clips[4:9]
    index = read_dataset(bench_refit.write_index(tmp_path / "index.csv", some))
    assert [(clip.path.resolve(), clip.label) for clip in index.clips] == [(c.path.resolve(), c.label) for c in some]
    rows = [{"person": "ann", "seed": seed, "refit": [1, 1], "no-refit": [seed, 1 - seed]} for seed in (0, 1)]
    found = bench_refit.collect_persons(rows)["rows"]
    assert [(row["name"], row["before"], row["after"], row["gain"]["value"]) for row in found] == [
        ("ann", 50, 100, 50),
        ("all clips", 50, 100, 50),
    ]
    groups = [{"size": 8, "folds": n, "score": 0.5, "truth": 0.75, "before": 0.5, "seconds": 2} for n in (0, 5)]
    assert bench_refit.collect_groups(groups)["rows"][0]["split"] == 25
