"""Clips that are folders or patterns of pictures: in `train`, `eval`, `extract`, `check`, `explain` and the others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Run, one_line, scores
from test_stills import save_pictures

import liquidvision as lv
from liquidvision.data.content import hash_content
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.errors import UsageError
from liquidvision.video.read.file_options import FileOptions


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Two classes of six clips each, a folder of pictures for each clip; "back" shows them in reverse order."""
    for number in range(6):
        numbers = list(range(number, number + 8))
        save_pictures(tmp_path / "shots" / "forth" / f"clip{number}", numbers, "{:05d}.jpg")
        folder = save_pictures(tmp_path / "shots" / "back" / f"clip{number}", numbers, "old{:05d}.jpg")
        for place, path in enumerate(sorted(folder.iterdir(), reverse=True)):
            path.rename(folder / f"{place:05d}.jpg")
    return tmp_path / "shots"


def test_train_and_eval_on_folders_of_pictures(run: Run, shots: Path, model_folder: Path, tmp_path: Path) -> None:
    """`train` and `eval` take each folder of pictures in a class folder as a clip, at the times of the rate."""
    mine = tmp_path / "mine"
    options = ("--rate", "10", "--backbone", model_folder, "--epochs", "1", "--folds", "0")
    ran = run("train", shots, "-o", mine, *options)
    assert ran.code == 0, ran.err
    told = json.loads((mine / "evaluation.json").read_text())
    assert told["training"]["plan"]["stride"] == 1 and told["data"]["videos"] == 2
    assert sum(len(names) for names in json.loads((mine / "split.json").read_text())["parts"].values()) == 12
    page = tmp_path / "page.html"
    told = scores(run, shots, mine, tmp_path / "all.json", "--rate", "10", "--part", "all", "--report", str(page))
    assert (told["data"]["videos"], told["data"]["frames"]) == (12, 96)
    assert told["data"]["seconds"] == pytest.approx(12 * 0.8)
    assert {row["name"] for row in told["videos"]} == {f"{way}/clip{n}" for way in ("back", "forth") for n in range(6)}
    assert all("still" in row for row in told["videos"][:1] if not row["right"])


def test_a_table_names_folders_and_patterns(run: Run, shots: Path, make_video, tmp_path: Path) -> None:
    """A CSV may mix folders, patterns of numbers, patterns with a star, and videos with times of their own."""
    make_video().rename(shots / "a.mp4")
    table = shots / "data.csv"
    table.write_text(
        "file,start_frame,end_frame,label\nforth/clip0,0,4,x\nforth/clip1/%05d.jpg,2,8,y\nback/clip2/*.jpg,0,8,x\n"
        "a.mp4,0,5,x\n"
    )
    report = lv.check(table, rate=4)
    assert not report.errors
    assert report.seconds == pytest.approx(
        {"a.mp4": 0.8, "forth/clip0": 2, "forth/clip1/%05d.jpg": 2, "back/clip2/*.jpg": 2}
    )
    found = {clip.name: [(i.start, i.end, i.label) for i in clip.intervals] for clip in report.usable.clips}
    assert found["forth/clip1/%05d.jpg"] == [(0.5, 2, "y")] and found["a.mp4"] == [(0, 0.2, "x")]


@pytest.mark.parametrize("command", ["train", "eval", "extract", "check"])
def test_pictures_without_a_rate_and_a_rate_without_pictures(
    run: Run, shots: Path, clips: Path, model_folder: Path, tmp_path: Path, command: str
) -> None:
    """Each command asks for the rate of pictures, and refuses a rate where there are none, before any work."""
    more = {"train": ("-o", tmp_path / "out"), "eval": ("-m", model_folder), "extract": (), "check": ()}[command]
    ran = run(command, shots, *more)
    assert ran.code == 2 and ("--rate" in one_line(ran) or "holds no videos" in one_line(ran))
    table = shots / "data.csv"
    table.write_text("file,label\nforth/clip0,red\nback/clip0/%05d.jpg,green\n")
    ran = run(command, table, *more)
    assert ran.code == 2 and "give their number per second with --rate" in one_line(ran)
    ran = run(command, clips, "--rate", "10", *more)
    assert ran.code == 2 and "leave it out" in one_line(ran)
    for rate in ("0", "-1", "nan", "inf"):
        ran = run(command, shots, f"--rate={rate}", *more)
        assert ran.code == 2 and "expected pictures per second above 0" in one_line(ran)


def test_check_of_pictures(run: Run, shots: Path) -> None:
    """`check` counts the seconds of pictures, names what cannot be read, and finds copies of a folder."""
    (shots / "forth" / "clip3" / "00005.jpg").write_bytes(b"no picture")
    (shots / "back" / "clip9").mkdir()
    for path in (shots / "forth" / "clip1").iterdir():
        (shots / "back" / "clip9" / path.name).write_bytes(path.read_bytes())
    for path in (shots / "back" / "clip4").iterdir():
        path.write_bytes(b"")
    ran = run("check", shots, "--rate", "10")
    assert ran.code == 3 and "12 videos, 2 classes" in ran.out
    assert "error: back/clip4: clip4 has no picture that can be decoded" in ran.out
    assert "warning: forth/clip3: 1 damaged" in ran.out
    assert "back/clip9: the same content as forth/clip1" in ran.out


def test_what_is_a_folder_of_pictures(shots: Path, make_video, caplog: pytest.LogCaptureFixture) -> None:
    """Pictures beside videos are no clip; hidden pictures are none; a link to a folder of pictures is one."""
    (shots / "forth" / "both").mkdir()
    make_video().rename(shots / "forth" / "both" / "a.mp4")
    save_pictures(shots / "forth" / "both", [0])
    (shots / "back" / "hidden").mkdir()
    save_pictures(shots / "back" / "hidden", [0], "._{}.jpg")
    (shots / "back" / "linked").symlink_to(shots / "forth" / "clip0")
    names = [clip.name for clip in read_dataset(shots, pictures=True).clips]
    assert "forth/both/a.mp4" in names and "back/linked" in names and len(names) == 14
    assert "the pictures in both (beside videos, or folders of pictures)" in caplog.text
    caplog.clear()
    with pytest.raises(UsageError, match="only one class"):
        read_dataset(shots)  # one video
    assert "clip0 (pictures; a rate, --rate, makes it a video)" in caplog.text


def test_pictures_without_a_folder_for_each_clip(run: Run, tmp_path: Path) -> None:
    """Pictures directly in class folders, as of an image classifier, are refused with what is expected."""
    for label in ("dog", "cat"):
        save_pictures(tmp_path / "flat" / label, [0, 1, 2])
    for options in ([], ["--rate", "10"]):
        ran = run("check", tmp_path / "flat", *options)
        assert ran.code == 2 and "pictures without a folder for each clip; expected" in one_line(ran)


def test_a_given_split_of_folders_of_pictures(shots: Path, tmp_path: Path) -> None:
    """Folders train/CLASS/CLIP and test/CLASS/CLIP are the split."""
    for part in ("train", "test"):
        shutil.copytree(shots, tmp_path / "data" / part)
    data = read_dataset(tmp_path / "data", pictures=True)
    assert {clip.part for clip in data.clips} == {"train", "test"} and len(data.clips) == 24


def test_activitynet_names_folders_of_pictures(shots: Path) -> None:
    """The videos that a JSON names may be folders of pictures."""
    entries = {
        name: {"annotations": [{"segment": [0, 0.5], "label": label}]}
        for name, label in (("clip0", "x"), ("dotted.name", "y"))
    }
    (shots / "back" / "clip0").rename(shots / "back" / "dotted.name")
    (shots / "data.json").write_text(json.dumps({"database": entries}))
    data = read_dataset(shots / "data.json", pictures=True)
    assert [clip.name for clip in data.clips] == ["back/dotted.name", "forth/clip0"]


def test_embeddings_of_pictures(run: Run, shots: Path, model: lv.Model, model_folder: Path) -> None:
    """`extract` and `lv.embed` agree; folder and pattern share an entry, another rate or deinterlacing does not."""
    for source, told in (
        (shots, "12 videos, views plain: 96 frames"),
        (shots / "forth" / "clip0", "1 of 1 already existed"),
        (shots / "forth" / "clip0" / "%05d.jpg", "1 of 1 already existed"),
        (shots / "forth" / "clip0" / "*.jpg", "1 of 1 already existed"),
    ):
        ran = run("extract", source, "--rate", "12.5", "-m", model_folder)
        assert ran.code == 0 and told in ran.out, ran
    assert "8 frames in" in run("extract", shots / "forth" / "clip0", "--rate", "5", "-m", model_folder).out
    clip = lv.embed(shots / "forth" / "clip0", model, rate=12.5)
    assert isinstance(clip, lv.ClipEmbeddings) and clip.times == pytest.approx(np.arange(8) / 12.5)
    store = EmbeddingStore(model.backbone, files=FileOptions(12.5))
    assert store.has(shots / "forth" / "clip0")
    assert not EmbeddingStore(model.backbone, files=FileOptions(12.5, "off")).has(shots / "forth" / "clip0")
    (shots / "forth" / "clip0" / "00003.jpg").unlink()
    assert not store.has(shots / "forth" / "clip0")


def test_the_rate_does_not_concern_videos(make_video, model: lv.Model) -> None:
    """The entry of a video in the cache is the same with any rate, and another without deinterlacing."""
    video = make_video()
    EmbeddingStore(model.backbone).get(video)
    assert EmbeddingStore(model.backbone, files=FileOptions(5)).has(video)
    assert not EmbeddingStore(model.backbone, files=FileOptions(deinterlace="off")).has(video)


def test_content_of_pictures(shots: Path, tmp_path: Path) -> None:
    """The content of pictures is their bytes and their places in time, wherever they are and whatever their names."""
    folder = shots / "forth" / "clip0"
    first = hash_content(folder)
    folder.rename(tmp_path / "moved")
    assert hash_content(tmp_path / "moved") == hash_content(tmp_path / "moved" / "%05d.jpg") == first
    (tmp_path / "moved" / "00007.jpg").rename(tmp_path / "moved" / "00009.jpg")
    assert hash_content(tmp_path / "moved") == first != hash_content(tmp_path / "moved" / "%05d.jpg")


@pytest.mark.parametrize("source", ["forth/clip0", "forth/clip0/%05d.jpg", "forth/clip0/*.jpg"])
def test_commands_of_one_source(
    run: Run, shots: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """`explain`, `info`, `infer` and `bench` take pictures with a rate, and refuse them without."""
    monkeypatch.chdir(shots)
    for command, options in (
        ("explain", ("-m", model_folder, "-o", tmp_path / "a.svg")),
        ("infer", ("-m", model_folder, "-o", tmp_path / "a.mkv")),
        ("bench", ("-m", model_folder, "--rounds", "1", "--save-json", tmp_path / "a.json")),
        ("info", ()),
    ):
        ran = run(command, source, "--rate", "10", *options)
        assert ran.code == 0, ran.err
        if command != "infer" or "*" not in source:  # which then is single pictures
            ran = run(
                command,
                source,
                *(f"{str(option)[:-4]}b{str(option)[-4:]}" if "a." in str(option) else option for option in options),
            )
            assert ran.code == 2 or "*" in source, ran
    assert json.loads((tmp_path / "a.json").read_text())["frames"] == 8
    with lv.open_video(tmp_path / "a.mkv") as video:
        assert [frame.time for frame in video] == pytest.approx(np.arange(8) / 10, abs=1e-3)


def test_infer_on_a_folder_of_folders(run: Run, shots: Path, make_video, model_folder: Path, tmp_path: Path) -> None:
    """With a rate, the folders of pictures in a folder are sources beside its videos; without, one of several fails."""
    make_video().rename(shots / "forth" / "a.mp4")
    ran = run("infer", shots / "forth", "--rate", "10", "-m", model_folder, "--save-csv", tmp_path / "out", "--no-save")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.csv")) == [
        "a.csv",
        *(f"clip{number}.csv" for number in range(6)),
    ]
    ran = run("infer", shots / "forth" / "clip0", shots / "forth" / "a.mp4", "-m", model_folder, "-o", tmp_path / "two")
    assert ran.code == 3 and "give their number per second with --rate" in ran.err
    assert (tmp_path / "two" / "a.mp4").is_file()


def test_a_folder_with_a_dot_in_its_name(
    run: Run, shots: Path, model_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """Outputs of a folder of pictures have its whole name, also when it is the current folder."""
    (shots / "forth" / "clip0").rename(shots / "v1.2")
    monkeypatch.chdir(shots / "v1.2")
    assert run("infer", ".", "--rate", "5", "-m", model_folder, "-o", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out").glob("*.mp4")] == ["v1.2.mp4"]


def test_deinterlacing_is_an_option_wherever_files_are_read(
    run: Run, clips: Path, model_folder: Path, tmp_path: Path
) -> None:
    """Another word than auto and off is refused by each command in one line."""
    video = clips / "slow" / "0.mp4"
    for command, source, more in (
        ("train", clips, ("-o", tmp_path / "out")),
        ("eval", clips, ("-m", model_folder)),
        ("extract", clips, ("-m", model_folder)),
        ("check", clips, ()),
        ("explain", video, ("-m", model_folder)),
        ("bench", video, ("-m", model_folder)),
        ("infer", video, ("-m", model_folder)),
    ):
        ran = run(command, source, "--deinterlace", "yes", *more)
        assert ran.code == 2 and "deinterlace is 'yes'; expected one of auto, off" in one_line(ran), command
