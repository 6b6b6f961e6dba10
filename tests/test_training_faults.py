"""`train` on wrong data, and failed writes: one line each, and no incomplete files."""

import errno
import json
from pathlib import Path

import pytest
from commands import one_line, scores

from liquidvision import Model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))


def test_wrong_data_is_refused_in_one_line(run, clips, model_folder, tmp_path):
    """An empty folder, a single class, a wrong column, an existing folder: one line each, exit code 2."""
    empty, single, wrong = tmp_path / "empty", tmp_path / "single" / "quick", tmp_path / "wrong.csv"
    empty.mkdir()
    single.mkdir(parents=True)
    (single / "a.mp4").write_bytes((clips / "quick" / "0.mp4").read_bytes())
    wrong.write_text("file,colour\na.mp4,quick\n")
    for data, said in (
        (empty, "class folders"),
        (single.parent, "only one class"),
        (wrong, "label"),
        (tmp_path / "no", "no"),
    ):
        ran = run("train", data, "-o", tmp_path / "mine", "--backbone", model_folder)
        assert ran.code == 2 and said in one_line(ran), (data, ran)
    ran = run("train", clips, "-o", clips, "--backbone", model_folder)
    assert ran.code == 2 and "--exist-ok" in one_line(ran)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--traces x", "--traces"),
        ("--traces .1,0", "seconds above 0"),
        ("--traces -1", "seconds above 0"),
        ("--traces nan", "seconds above 0"),
        ("--head liquid", "expected one of ltc, gated"),
        ("--folds 1", "folds is 1"),
        ("--folds -1", "folds is -1"),
        ("--folds 13", "12 videos"),
        ("--folds 3 --no-refit", "leave out --no-refit"),
        ("--seeds 2 --no-refit", "together with folds"),
        ("--folds 3 --seeds 0", "seeds is 0"),
        ("--seeds 3 --folds 0", "together with folds"),
        ("--seed -1", "seed is -1"),
        (f"--seed {2**32}", "from 0 to 4294967295"),
        ("--epochs 0", "epochs is 0"),
    ],
)
def test_invalid_options_are_refused_first(run, clips, model_folder, tmp_path, options, said):
    """An invalid option gives one line, before anything is embedded or written."""
    ran = run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, *options.split())
    assert ran.code == 2 and said in one_line(ran), ran
    assert not (tmp_path / "mine").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_corrupt_clip_is_left_out(run, clips, model_folder, tmp_path):
    """A clip that cannot be read is named and left out; training continues with the others."""
    (clips / "quick" / "broken.mp4").write_bytes(b"no video")
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    ran = run(*begin, "--folds", "0")
    assert ran.code == 0 and "left out" in ran.err and "broken.mp4" in ran.err
    assert "broken.mp4" not in (tmp_path / "mine" / "split.json").read_text(encoding="utf-8")
    told = scores(run, clips, tmp_path / "mine", tmp_path / "scores.json")
    assert told["data"]["part"] == "test" and told["data"]["seen_in_training"] == 0
    assert [file["name"] for file in told["data"]["skipped"]] == ["quick/broken.mp4"]


def test_a_class_without_a_readable_clip_stays_among_the_labels(run, clips, model_folder, tmp_path):
    """Its label stays with a note, the other classes are trained and evaluated; a single class is refused."""
    (clips / "broken").mkdir()
    (clips / "broken" / "a.mp4").write_bytes(b"no video")
    ran = run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0 and "no usable clip shows broken" in ran.err
    assert Model.from_pretrained(tmp_path / "mine").labels == ("broken", "quick", "slow")
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text(encoding="utf-8"))
    assert [row["clips"] > 0 for row in told["memory"]["per_class"]] == [False, True, True]
    assert any("broken" in note for note in told["data"]["notes"])
    told = scores(run, clips, tmp_path / "mine", tmp_path / "scores.json", "--part", "all", "--report", "page.html")
    assert told["model"]["labels"] == ["broken", "quick", "slow"] and told["data"]["videos"] == 12
    assert "no usable clip shows broken" in Path("page.html").read_text(encoding="utf-8")
    for path in (clips / "slow").iterdir():
        path.write_bytes(b"no video")
    ran = run("train", clips, "-o", tmp_path / "other", "--backbone", model_folder)
    assert ran.code == 2 and "only one class, quick" in ran.err.splitlines()[-1]
    assert not (tmp_path / "other").exists()


def test_intervals_past_the_end_are_left_out(run, clips, model_folder, tmp_path):
    """An interval beyond its video is left out, one past the end is cut, both with a warning; training continues."""
    table = ["file,start,end,label"]
    for number in range(6):
        table += [f"quick/{number}.mp4,0,0.2,quick", f"slow/{number}.mp4,0.5,1,slow"]
    table += ["quick/0.mp4,50,60,quick", "slow/0.mp4,1.2,99,slow", "slow/1.mp4,50,60,rare"]
    (clips / "index.csv").write_text("\n".join(table))
    ran = run("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--epochs", "1")
    assert ran.code == 0, ran.err
    for line, words in zip(
        ran.err.splitlines(),
        ("quick/0.mp4: quick 50", "slow/0.mp4: slow 1.2", "slow/1.mp4: rare 50", "no usable clip shows rare"),
        strict=True,
    ):
        assert line.startswith(f"liquidvision: {words}"), ran.err
    assert Model.from_pretrained(tmp_path / "mine").labels == ("background", "quick", "rare", "slow")
    told = scores(run, clips, tmp_path / "mine", tmp_path / "scores.json", "--part", "all")
    assert [row["clips"] for row in told["memory"]["per_class"]] == [12, 6, 0, 6]


WRITTEN = (
    *("training.safetensors", "training.refit.safetensors", "metrics.csv", "model.safetensors", "README.md"),
    *("split.json", "split.safetensors", "evaluation.json", "report.html"),
)


@pytest.mark.parametrize("name", [*WRITTEN, "config.json", "the cache"])
def test_a_full_disk_leaves_the_earlier_model(run, clips, model_folder, tmp_path, monkeypatch, name):
    """If a file cannot be written completely, one line says so, and the earlier model is unchanged."""
    begin = ("train", clips, "-o", tmp_path / "mine", "--backbone", model_folder, "--exist-ok", "--folds", "0")
    assert run(*begin, "--epochs", "1").code == 0
    model = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    if name == "the cache":
        monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "another"))

    def write(self: Path, content: bytes) -> int:
        full = name in self.name or (name == "the cache" and "another" in self.parts)
        with self.open("wb") as file:
            file.write(content[: len(content) // 2] if full else content)
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    ran = run(*begin, "--epochs", "2", "--seed", "5")
    assert ran.code == 1 and "No space left on device" in one_line(ran)
    there = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    for kept in ("training.safetensors", "training.refit.safetensors", "metrics.csv"):  # of the interrupted training
        there.pop(kept, None), model.pop(kept, None)
    assert there == model
    assert not list(tmp_path.rglob("*.part"))
