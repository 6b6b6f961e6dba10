"""`liquidvision eval`: clips that training saw, the training's own record, and what is refused early."""

import json
from pathlib import Path

import pytest
from commands import Ran, one_line, scores

from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.training.recipe import Recipe, default_plan
from liquidvision.training.sequences import SequenceDataset
from liquidvision.workflows import evaluate as evaluating
from liquidvision.workflows.training_record import read_training_record, recipe_of_record


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def teach(run, clips, model_folder, tmp_path):
    """Trains for two epochs and returns the model folder."""

    def teach(*arguments: str) -> Path:
        begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "2", "--folds", "0")
        ran = run(*begin, *arguments)
        assert ran.code == 0, ran.err
        return tmp_path / "mine"

    return teach


def test_clips_seen_in_training_are_counted(run, clips, teach):
    """If training saw some of the clips, a line says how many; if it saw none, there is no such line."""
    mine = teach("--no-refit")
    assert "used in training" not in run("eval", clips, "-m", mine).out
    told = run("eval", clips, "-m", mine, "--part", "all")
    parts = json.loads((mine / "split.json").read_text(encoding="utf-8"))["parts"]
    assert f"{12 - len(parts['test'])} of 12 videos were used in training: expect lower figures" in told.out
    assert "held out" not in told.out
    assert run("eval", clips, "-m", mine, "--part", "all", "-q") == Ran(0, "", "")


def test_the_earlier_name_of_save_json_still_works(run, clips, teach):
    """`--json PATH` writes the same figures as `--save-json PATH`."""
    mine = teach()
    assert run("eval", clips, "-m", mine, "--json", "a.json").code == 0
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["data"]["part"] == "test"
    assert "--json" not in run("eval", "--help").out.replace("--save-json", "")


def test_a_model_trained_on_all_clips_points_to_its_cross_validation(run, clips, teach):
    """A model trained with folds has seen everything; a line says where its held-out figures are."""
    mine = teach("--folds", "2")
    told = run("eval", clips, "-m", mine).out
    assert "12 of 12 videos were used in training" in told
    assert str(mine / "evaluation.json") in told and "--compare" in told


def test_the_training_curve_is_copied(run, clips, teach, tmp_path):
    """JSON and report have the curves of the model's own training; a damaged or missing file is ignored."""
    mine = teach()
    told = scores(run, clips, mine, tmp_path / "a.json", "--report", tmp_path / "new" / "deep" / "page.html")
    kept = json.loads((mine / "evaluation.json").read_text(encoding="utf-8"))["training"]
    assert told["training"] == kept and told["training"]["epochs"] == [1, 2]
    assert "Over 2 epochs" in (tmp_path / "new" / "deep" / "page.html").read_text(encoding="utf-8")
    (mine / "evaluation.json").write_text('{"format": "liquidvision-evaluation"')
    assert "training" not in scores(run, clips, mine, tmp_path / "b.json")
    (mine / "evaluation.json").unlink()
    assert "training" not in scores(run, clips, mine, tmp_path / "c.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "version": 1, "training": {}}', "null", "\\xff"])
def test_a_file_that_is_no_evaluation_has_no_training(tmp_path, text):
    """A file of any other kind is like a missing one."""
    (tmp_path / "evaluation.json").write_bytes(text.encode("latin-1"))
    assert read_training_record(tmp_path / "evaluation.json") == {}


def test_the_recipe_of_a_record():
    """A record gives recipe, views and stride of the training; an incomplete one gives the defaults."""
    recipe = Recipe(epochs=7, seed=5)
    plan = {"recipe": recipe.to_json(), "views": ["plain", "mirror"], "stride": 3}
    assert recipe_of_record({"plan": plan}, 12) == (recipe, ("plain", "mirror"), 3)
    default = (default_plan(12).recipe, ("plain",), 1)
    for training in ({}, {"plan": None}, {"plan": {**plan, "recipe": {"era": 3}}}, {"plan": {"recipe": {}}}):
        assert recipe_of_record(training, 12) == default


def test_compare_trains_as_the_model_was(run, clips, teach, monkeypatch):
    """The compared heads are trained with the model's own recipe, views and stride."""
    mine = teach()
    told = json.loads((mine / "evaluation.json").read_text(encoding="utf-8"))
    recipe = Recipe(epochs=1, seed=3, noise=0.1)
    told["training"]["plan"] = {"recipe": recipe.to_json(), "views": ["plain", "mirror"], "stride": 2}
    (mine / "evaluation.json").write_text(json.dumps(told))
    asked = []

    def compared(sequences: SequenceDataset, config, recipe, **options):
        asked.append((recipe, sequences.views, sequences.store.stride))
        assert all(EmbeddingStore.has(sequences.store, clip.path, "mirror") for clip in sequences.dataset.clips)
        return {"metric": "clip_accuracy", "rows": [], "folds": 2, "seeds": 1}

    monkeypatch.setattr(evaluating, "compare_heads", compared)
    ran = run("eval", clips, "-m", mine, "--compare", "--folds", "2", "--seeds", "1")
    assert ran.code == 0, ran.err
    assert asked == [(recipe, ("plain", "mirror"), 2)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--folds", "13"], "12 videos; expected at least 13"),
        (["--folds", "1"], "folds is 1"),
        (["--seeds", "0"], "seeds is 0"),
    ],
)
def test_an_impossible_comparison_is_refused_first(run, clips, teach, monkeypatch, options, told):
    """Impossible folds and seeds of --compare are refused before any clip is evaluated."""
    mine = teach()
    monkeypatch.setattr(evaluating, "evaluate_model", lambda *a, **k: pytest.fail("the clips were evaluated first"))
    ran = run("eval", clips, "-m", mine, "--compare", *options)
    assert ran.code == 2 and told in one_line(ran)


def test_a_fold_that_leaves_one_class_is_refused_first(run, clips, teach, monkeypatch):
    """If each class is one group, two folds leave one class to train on: refused before any clip is evaluated."""
    mine = teach()
    rows = [f"{path.relative_to(clips).as_posix()},{path.parent.name}" for path in clips.rglob("*.mp4")]
    (clips / "index.csv").write_text("\n".join(["file,label,group", *(f"{row},{row.split(',')[1]}" for row in rows)]))
    monkeypatch.setattr(evaluating, "evaluate_model", lambda *a, **k: pytest.fail("the clips were evaluated first"))
    ran = run("eval", clips, "-m", mine, "--compare", "--folds", "2")
    assert ran.code == 2 and "one class" in one_line(ran)
