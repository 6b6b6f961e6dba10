"""The page about recordings: bounded, self-contained, and true to the intervals."""

import re
from fractions import Fraction

import numpy as np
import pytest
from commands import one_line

from liquidvision import Frame, Prediction
from liquidvision.annotation.interval import Interval
from liquidvision.inference.summary import Summary
from liquidvision.report.digest import MAX_POINTS, RecordingDigest
from liquidvision.report.recording_page import merge_bars, view_recording, write_recording_page

LABELS = ("rest", "eat", "<b>run</b>")


def digest_of(seconds: float, rate: float, **options) -> tuple[RecordingDigest, Summary]:
    """What is collected of a recording whose label changes every 10 s and whose score dips at every 100 s."""
    digest, summary = RecordingDigest("long.mp4", **options), Summary()
    image = np.full((48, 64, 3), 90, np.uint8)
    for number in range(int(seconds * rate)):
        time = number / rate
        scores = np.full(3, 0.05, np.float32)
        scores[int(time / 10) % 3] = 0.5 if time % 100 < 0.5 else 0.9
        prediction = Prediction(number, time, 1 / rate, LABELS, scores, scores)
        done = (
            [Interval(time - 10, time, LABELS[(int(time / 10) - 1) % 3], score=0.9)] if time and time % 10 == 0 else []
        )
        for interval in done:
            summary.count_interval(interval, 0.0)
        summary.count(prediction)
        digest.see(Frame(image, number, number, Fraction(1) / Fraction(rate)), prediction, done)
    return digest, summary


def test_a_long_recording_keeps_little():
    """Two hours keep a bounded number of pictures and points, spread over the whole recording."""
    digest, _ = digest_of(7200, 2)
    assert 12 <= len(digest.thumbnails) <= 24
    assert digest.thumbnails[-1].time > 6000
    assert len(digest.certainty) <= MAX_POINTS
    assert len(digest.uncertain) == 6
    assert all(moment.time % 100 < 0.6 and moment.score == pytest.approx(0.5) for moment in digest.uncertain)
    assert {label: round(moment.score, 2) for label, moment in digest.certain.items()} == dict.fromkeys(LABELS, 0.9)
    assert digest.certainty_line[-1][0] == pytest.approx(7200, abs=30)


def test_the_page_says_what_was_found(tmp_path):
    """Time budget, bouts and intervals are those of the summary; labels are text, and nothing is fetched."""
    digest, summary = digest_of(120, 2)
    view = view_recording(0, digest, summary, LABELS)
    assert next((row.label, row.count, round(row.seconds)) for row in view.budget) == ("rest", 4, 40)
    assert view.budget[0].share == pytest.approx(40 / 120, abs=0.01)
    assert [lane.label for lane in view.lanes] == list(LABELS)
    write_recording_page(tmp_path / "page.html", [(digest, summary)], LABELS, "mine", {"b.mp4": "no such file"})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;run&lt;/b&gt;" in page and "<b>run" not in page
    assert "no such file" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert len(page) < 300_000


def test_bars_of_a_timeline_are_bounded():
    """Intervals closer than a unit of the drawing are one bar; a short one is still seen."""
    bars = merge_bars([(n, n + 0.5) for n in range(7200)], 7200)
    assert len(bars) < 1001
    (only,) = merge_bars([(10.0, 10.1)], 7200)
    assert only[1] == 1.5 and only[2:] == (10.0, 10.1)


def test_the_command(run, model_folder, make_video, tmp_path):
    """`summarize` writes a page for one recording or several; one that cannot be read is named, with exit code 3."""
    source = make_video()
    ran = run("summarize", source, "-m", model_folder, "-o", tmp_path / "one.html")
    assert ran.code == 0, ran.err
    assert "clip.mp4" in (tmp_path / "one.html").read_text(encoding="utf-8")
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    ran = run("summarize", source, tmp_path / "broken.mp4", "-m", model_folder, "-o", tmp_path / "two.html")
    assert ran.code == 3
    assert "broken.mp4" in ran.err and "broken.mp4" in (tmp_path / "two.html").read_text(encoding="utf-8")
    for arguments, said in (
        ((source, "-o", tmp_path / "one.html"), "already exists"),
        ((source, "-o", tmp_path / "page.pdf"), ".html"),
        ((tmp_path / "broken.mp4", "-o", tmp_path / "x.html"), "broken.mp4"),
    ):
        ran = run("summarize", *arguments, "-m", model_folder)
        assert ran.code in (1, 2)
        assert said in one_line(ran)
    assert not (tmp_path / "x.html").exists()
