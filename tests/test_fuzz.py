"""Damaged videos: the command fails with one clear line, or its output is complete."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.fuzz.layout import fields
from tools.fuzz.mutate import draw, make
from tools.fuzz.trial import faults_of_files, faults_of_words

ROOT = Path(__file__).parents[1]
forks = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs fork and pidfd_open (Linux)")

# Cases that once revealed a fault: the seed, and the two files it was drawn with.
FOUND = [
    # The edit list ended before the last picture.
    (1178, "torchcodec/testsrc2_444_8bit_hevc.mp4", "torchcodec/frame_exceeds_screen.gif"),
    # Sound, then video, of a codec that FFmpeg does not know.
    (1648, "decord/flipping_a_pancake.mkv", "torchcodec/testsrc2_odd_height_and_width_vp9.mp4"),
]


@pytest.mark.parametrize(("seed", "first", "second"), FOUND)
def test_what_was_found_stays_repaired(data, model_folder, run, tmp_path, seed, first, second):
    """A seed that once found a fault finds none."""
    videos = data / "testvideos"
    case = make(seed, (videos / first).read_bytes(), (videos / second).read_bytes())
    source, out = tmp_path / Path(first).name, tmp_path / "out"
    source.write_bytes(case.data)
    out.mkdir()
    target = ["-o", out / f"v{case.suffix}"] if case.suffix else ["--no-save"]
    ran = run("infer", source, "-m", model_folder, *target, "--save-json", out / "r.jsonl", *case.options)
    assert faults_of_files(ran.code, out, case.suffix) == []
    assert faults_of_words(ran.code, ran.err, quiet="--quiet" in case.options) == []


def test_a_case_is_a_function_of_its_seed_and_its_files(make_video):
    """The same seed and files make the same case; other seeds make others; the list determines only the files."""
    files = [make_video("a.mp4"), make_video("b.mkv")]
    first, second = (path.read_bytes() for path in files)
    cases = [make(seed, first, second) for seed in range(30)]
    assert cases == [make(seed, first, second) for seed in range(30)]
    assert len({case.data for case in cases}) > 25
    assert len({draw(seed, files) for seed in range(30)}) == 4


def test_header_fields_are_found(make_video):
    """Boxes and elements are found down to sample tables and track settings."""
    boxes = {field.name for field in fields(make_video("a.mp4").read_bytes())}
    assert {b"moov", b"mdhd", b"stsz", b"stts", b"avc1", b"avcC"} <= boxes
    elements = {field.name for field in fields(make_video("b.mkv").read_bytes())}
    assert {b"\xae", b"\xb0", b"\xba", b"\x2a\xd7\xb1", b"\xa3"} <= elements


@forks
def test_a_dozen_damaged_videos(make_video, tmp_path):
    """The program damages a folder's videos and finds no fault."""
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mkv", "c.avi"):
        make_video(name, sound=name == "a.mp4").rename(tmp_path / "videos" / name)
    program = [sys.executable, ROOT / "tools" / "fuzz_video.py"]
    places = ["--data", tmp_path / "videos", "--findings", tmp_path / "found"]
    done = subprocess.run([*program, "--inputs", "12", *places], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 inputs" in done.stdout


def test_a_fault_is_seen(tmp_path):
    """Files under final names after a failure, too few frames, and a second line of errors are faults."""
    (tmp_path / "r.jsonl").write_text(json.dumps({"index": 0}) + "\n")
    assert faults_of_files(0, tmp_path, "") == []
    assert "final names" in faults_of_files(1, tmp_path, "")[0]
    (tmp_path / "v.mp4").write_bytes(b"half a file")
    assert "does not decode" in faults_of_files(0, tmp_path, ".mp4")[0]
    assert faults_of_words(1, "liquidvision: no\n", quiet=True) == []
    assert faults_of_words(1, "liquidvision: no\nmore\n", quiet=False) == ["words: more"]
    assert faults_of_words(-6, "liquidvision: no\n", quiet=False) == ["exit code -6"]
