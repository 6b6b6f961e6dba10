"""`infer --save-intervals`: rows that `train` reads, on disk as they close, after a kill, and over several runs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from alternating import alternating_model
from conftest import picture_frames

import liquidvision as lv
from liquidvision.data.formats import read_dataset

SETTINGS = {"enter": 0.5, "leave": 0.45, "min_duration": 0.0, "merge_gap": 0.0}
OPTIONS = ("--enter", ".5", "--leave", ".45", "--min-duration", "0", "--merge-gap", "0", "--no-save", "-q")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clip(make_video) -> Path:
    """A video of 300 frames, a second apart."""
    return make_video("clip.mp4", pts=range(0, 300 * 12800, 12800))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A tiny model whose labels alternate."""
    folder = tmp_path_factory.mktemp("model") / "alternating"
    alternating_model().save_pretrained(folder)
    return folder


def spans(found: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """Everything but the score, whose last digit depends on how many frames were computed at once."""
    return [(row["file"], row["start"], row["end"], row["label"]) for row in found]


def test_the_rows_are_what_train_reads(run, clip, model_folder, tmp_path):
    """The CSV holds the intervals of the predictions, with the file relative to its folder; the summary counts them."""
    out = tmp_path / "deep" / "rows.csv"
    ran = run("infer", clip, "-m", model_folder, "--save-intervals", out, *OPTIONS[:-1])
    assert ran.code == 0, ran.err
    found = list(lv.intervals(lv.predict(clip, lv.Model.from_pretrained(model_folder)), **SETTINGS))
    expected = [("../clip.mp4", str(each.start), str(each.end), each.label) for each in found]
    assert spans(rows(out)) == expected and len(expected) > 3
    assert [float(row["score"]) for row in rows(out)] == pytest.approx([each.score for each in found], abs=1e-4)
    (read,) = read_dataset(out).clips
    assert read.path.resolve() == clip.resolve() and len(read.intervals) == len(expected)
    label = found[0].label
    own = [each.duration for each in found if each.label == label]
    assert f"{label}: {len(own)} intervals, {sum(own):.1f} s, mean {sum(own) / len(own):.1f} s, first after" in ran.out
    assert not read_dataset(out).notes


def test_json_lines_say_the_same(run, clip, model_folder, tmp_path):
    """The suffix .jsonl chooses JSON Lines; another is refused, and so is standard output."""
    for name in ("rows.csv", "rows.jsonl"):
        assert run("infer", clip, "-m", model_folder, "--save-intervals", tmp_path / name, *OPTIONS).code == 0
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [{key: str(value) for key, value in line.items()} for line in lines] == rows(tmp_path / "rows.csv")
    for name in ("rows.xls", "-"):
        assert run("infer", clip, "-m", model_folder, "--save-intervals", name, *OPTIONS).code == 2


def test_a_recording_without_intervals_has_a_row(run, clip, model_folder, tmp_path):
    """A row with the file only, which `train` reads as nothing but background."""
    out = tmp_path / "rows.csv"
    ran = run("infer", clip, "-m", model_folder, "--save-intervals", out, "--enter", "1", "--no-save")
    assert ran.code == 0 and "interval" not in ran.out
    assert out.read_text().splitlines() == ["file,start,end,label,score", "clip.mp4,,,,"]


def test_several_sources_get_a_file_each(run, make_video, model_folder, tmp_path):
    """A folder gets one CSV for each source, and --resume leaves complete ones alone."""
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    arguments = ("infer", tmp_path, "-m", model_folder, "--save-intervals", tmp_path / "rows", *OPTIONS, "--resume")
    assert run(*arguments).code == 0
    assert sorted(path.name for path in (tmp_path / "rows").glob("*.csv")) == ["a.csv", "b.csv"]
    (tmp_path / "rows" / "b.csv").unlink()
    before = (tmp_path / "rows" / "a.csv").stat().st_mtime_ns
    assert run(*arguments).code == 0
    assert (tmp_path / "rows" / "b.csv").is_file() and (tmp_path / "rows" / "a.csv").stat().st_mtime_ns == before


def test_a_saved_state_carries_what_is_open(run, clip, model_folder, tmp_path):
    """A recording in three runs, each with the state of the one before, has the rows of one run."""
    whole = tmp_path / "whole.csv"
    assert run("infer", clip, "-m", model_folder, "--save-intervals", whole, *OPTIONS).code == 0
    parts: list[dict[str, str]] = []
    for number, cut in enumerate((("--end", "31"), ("--start", "31", "--end", "173"), ("--start", "173"))):
        out, state = tmp_path / f"{number}.csv", tmp_path / "state.safetensors"
        states = (*(("--state-in", state) if number else ()), *(("--state-out", state) if number < 2 else ()))
        ran = run("infer", clip, "-m", model_folder, "--save-intervals", out, *OPTIONS, *cut, *states)
        assert ran.code == 0, ran.err
        parts += [row for row in rows(out) if row["label"]]
    assert spans(parts) == spans(rows(whole)) and len(parts) > 3
    scores = [[float(row["score"]) for row in found] for found in (parts, rows(whole))]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_times_count_from_the_beginning_of_the_file(run, make_video, model_folder, tmp_path):
    """Where a file's clock does not begin at 0, rows still count from its beginning, as `train` does."""
    late = make_video("late.mkv", pts=range(90_000, 190_000, 1000), time_base=Fraction(1, 1000))
    with lv.open_video(late) as video:
        assert video.start_time > 1
    out = tmp_path / "rows.csv"
    assert run("infer", late, "-m", model_folder, "--save-intervals", out, *OPTIONS).code == 0
    assert rows(out)[0]["start"] == "0.0"


def test_a_source_that_breaks_off_keeps_its_intervals(model_folder, tmp_path):
    """What closed, and what was open where the source broke off, is in the temporary file."""
    model, frames = lv.Model.from_pretrained(model_folder), picture_frames(30, step=1.0)

    def broken():
        yield from frames
        raise lv.SourceError("the camera is gone")

    sink = lv.IntervalRecordSink(tmp_path / "rows.csv", "camera")
    with pytest.raises(lv.SourceError, match="gone"):
        lv.infer(broken(), model, intervals=[sink], interval_rule=lv.IntervalRule().change(**SETTINGS))
    expected = list(lv.intervals(lv.predict(frames, model), **SETTINGS))
    kept = [(float(row["start"]), float(row["end"]), row["label"]) for row in rows(sink.part)]
    assert kept == [(each.start, each.end, each.label) for each in expected] and kept[-1][1] == 30


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which Windows lacks")
def test_a_kill_loses_no_interval(clip, model_folder, tmp_path, run):
    """After SIGKILL, every closed interval is on disk, and --resume writes each once."""
    whole = tmp_path / "whole.csv"
    assert run("infer", clip, "-m", model_folder, "--save-intervals", whole, *OPTIONS).code == 0
    out = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "liquidvision", "infer", clip, "-m", model_folder, "--save-intervals", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for wanted in (1, 6):
        part = tmp_path / "rows.part.csv"
        part.unlink(missing_ok=True)
        child = subprocess.Popen([*command, *OPTIONS, "--batch", "1", "--device", "cpu"], env=environment)
        while not (part.is_file() and len(rows(part)) >= wanted) and child.poll() is None:
            time.sleep(0.002)
        child.kill()
        child.wait()
        if out.exists():  # it was quicker
            out.unlink()
            continue
        kept = rows(part)
        assert len(kept) >= wanted and spans(kept) == spans(rows(whole))[: len(kept)]
    assert run("infer", clip, "-m", model_folder, "--save-intervals", out, *OPTIONS, "--resume").code == 0
    assert spans(rows(out)) == spans(rows(whole))
