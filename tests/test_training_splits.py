"""`train` and `eval` on data that gives a split."""

import json
from pathlib import Path

import pytest
from commands import one_line, scores

from liquidvision.data.formats import read_dataset
from liquidvision.data.splits import make_folds
from liquidvision.evaluation import crossval


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))


GIVEN = {
    "train": [f"{label}/{number}.mp4" for label in ("quick", "slow") for number in (2, 3, 4, 5)],
    "validation": ["quick/0.mp4", "slow/0.mp4"],
    "test": ["quick/1.mp4", "slow/1.mp4"],
}


@pytest.fixture
def index(clips) -> Path:
    """Return a CSV of the clips with a column split."""
    rows = [f"{name},{name.split('/')[0]},{part}" for part, names in GIVEN.items() for name in names]
    path = clips / "index.csv"
    path.write_text("\n".join(["path,class,subset", *rows]))
    return path


def saved_parts(folder: Path) -> dict[str, list[str]]:
    """The split that a training saved."""
    return json.loads((folder / "split.json").read_text(encoding="utf-8"))["parts"]


def test_a_split_column_is_the_split(run, clips, index, model_folder, tmp_path):
    """Training uses the column as its split, and evaluates the part test; so does `eval`, of any part."""
    ran = run("train", index, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0, ran.err
    assert saved_parts(tmp_path / "mine") == GIVEN
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text(encoding="utf-8"))
    assert (told["data"]["videos"], told["data"]["split_by"]) == (2, "annotation")
    assert told["data"]["seen_in_training"] == 0
    told = scores(run, index, tmp_path / "mine", tmp_path / "scores.json", "--part", "train")
    assert told["data"]["videos"] == 8 and told["data"]["seen_in_training"] == 8


def test_eval_uses_the_split_of_the_data(run, clips, index, model_folder, tmp_path):
    """`eval --part` takes the part that the data gives, also for a model that was trained on other data."""
    model = tmp_path / "mine"
    assert run("train", index, "-o", model, "--backbone", model_folder, "--epochs", "1").code == 0
    (model / "split.json").unlink()
    told = scores(run, index, model, tmp_path / "scores.json", "--part", "validation")
    assert sorted(row["name"] for row in told["videos"]) == GIVEN["validation"]
    index.write_text(index.read_text(encoding="utf-8").replace("validation", "train"))
    ran = run("eval", index, "-m", model, "--part", "validation")
    assert ran.code == 2 and "neither of a split that the data gives nor" in one_line(ran)


def test_a_missing_part_is_taken_from_train(run, clips, index, model_folder, tmp_path):
    """Without clips of the part validation, training takes some of the part train, and says so."""
    index.write_text(
        "\n".join(line for line in index.read_text(encoding="utf-8").splitlines() if "validation" not in line)
    )
    ran = run("train", index, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0 and "gives a split without a part validation" in one_line(ran)
    parts = saved_parts(tmp_path / "mine")
    assert parts["test"] == GIVEN["test"] and sorted(parts["train"] + parts["validation"]) == GIVEN["train"]
    assert parts["train"] and parts["validation"]


def test_folders_of_a_split_are_the_split(run, clips, model_folder, tmp_path):
    """Folders train, val and test with class folders in them are the split."""
    for part, names in GIVEN.items():
        for name in names:
            (tmp_path / "data" / part / name).parent.mkdir(parents=True, exist_ok=True)
            (clips / name).rename(tmp_path / "data" / part / name)
    ran = run("train", tmp_path / "data", "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0, ran.err
    assert saved_parts(tmp_path / "mine") == {p: [f"{p}/{name}" for name in names] for p, names in GIVEN.items()}


def test_folds_and_a_given_split_are_refused(run, index, model_folder, tmp_path):
    """Folds would train on the given test part: refused in one line before anything is embedded."""
    ran = run("train", index, "-o", tmp_path / "mine", "--backbone", model_folder, "--folds", "3")
    assert ran.code == 2 and "leave out --folds, or the split" in one_line(ran)
    assert not (tmp_path / "mine").exists() and not list((tmp_path / "cache").rglob("*.safetensors"))


def test_frame_numbers_train_on_these_frames(run, clips, model_folder, tmp_path):
    """Intervals by frame numbers are the labels of these frames, also with a stride."""
    rows = [f"{label}/{n}.mp4,{label},2,8" for label in ("quick", "slow") for n in range(6)]
    (clips / "index.csv").write_text("\n".join(["video,action,start_frame,stop_frame", *rows]))
    train = ("train", clips, "--backbone", model_folder, "--epochs", "1")
    for stride, count in ((1, 6), (2, 3)):
        model = tmp_path / f"mine{stride}"
        ran = run(*train, "-o", model, "--vid-stride", str(stride))
        assert ran.code == 0, ran.err
        told = json.loads((model / "evaluation.json").read_text(encoding="utf-8"))["memory"]
        clips_of = {row["label"]: row["clips"] for row in told["per_class"]}
        for label, row in zip(("background", "quick", "slow"), told["confusion"], strict=True):
            assert label == "background" or sum(row) == count * clips_of[label]


def test_compare_uses_the_given_split(run, clips, index, model_folder, tmp_path, monkeypatch):
    """`eval --compare` trains on the other parts of the data's split, judges its part test alone, and says so."""
    assert run("train", index, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1").code == 0
    judged, original = [], crossval.run_fold

    def run_fold(train, test, experiment, seed):
        judged.append(({clip.name for clip in train.dataset.clips}, {clip.name for clip in test.dataset.clips}))
        return original(train, test, experiment, seed)

    monkeypatch.setattr(crossval, "run_fold", run_fold)
    page, told = tmp_path / "page.html", tmp_path / "told.json"
    ran = run(
        *("eval", index, "-m", tmp_path / "mine", "--compare", "--seeds", "2"),
        *("--save-json", told, "--report", page),
    )
    assert ran.code == 0, ran.err
    assert judged == [({*GIVEN["train"], *GIVEN["validation"]}, set(GIVEN["test"]))] * 2
    assert "part test of the data's split, 2 seeds" in ran.out
    compare = json.loads(told.read_text(encoding="utf-8"))["compare"]
    assert (compare["folds"], compare["given_split"], compare["seeds"]) == (None, True, 2)
    assert "trained on the other parts of the data's own split" in page.read_text(encoding="utf-8")


def test_compare_refuses_a_split_that_leaves_too_little(run, clips, index, model_folder, tmp_path):
    """A given split that leaves one group to train on is refused before any clip is embedded."""
    assert run("train", index, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1").code == 0
    rows = ["file,label,split,group"]
    for part, names in GIVEN.items():
        rows += [f"{name},{name.split('/')[0]},{part},{'other' if part == 'test' else 'one'}" for name in names]
    index.write_text("\n".join(rows))
    ran = run("eval", index, "-m", tmp_path / "mine", "--compare")
    assert ran.code == 2 and "only one class or one group" in one_line(ran), ran


@pytest.mark.parametrize("seed", range(4))
def test_folds_of_the_comparison_keep_groups_whole(run, clips, seed):
    """Without a given split, no group of the data is on both sides of a fold."""
    rows = [f"{label}/{n}.mp4,{label},g{n // 2}" for label in ("quick", "slow") for n in range(6)]
    (clips / "index.csv").write_text("\n".join(["file,label,person", *rows]))
    data = read_dataset(clips)
    groups = {clip.name: clip.group for clip in data.clips}
    folds = [{groups[name] for name in fold} for fold in make_folds(data, 3, seed=seed)]
    assert sorted(group for fold in folds for group in fold) == ["g0", "g1", "g2"]
