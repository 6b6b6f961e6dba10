"""The report: one self-contained page that shows the evaluation and omits absent parts."""

import copy
import errno
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from evaluations import STILL, evaluation
from pages import Page

from liquidvision.errors import SinkError, UsageError
from liquidvision.report.number_formats import decimal, percent, points
from liquidvision.report.ranking import rank_rows
from liquidvision.report.report import render_report, write_report

ACTIONS = ("background", "pour", "stir")
MADE: dict[str, dict[str, Any]] = {
    "two classes": {},
    "many classes": {"labels": tuple(f"class {i}" for i in range(40)), "videos": 80},
    "intervals, bare": {"labels": ACTIONS, "whole_clip": False, "background": "background", "full": False},
}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 191 }} {% raw %} &amp;",
    "</title></style></svg><b>",
    "ידיים‮ \u0645\u0635\u0627\u0641\u062d\u0629",
    "long " * 60 + "x" * 300,
)


@pytest.fixture(params=list(MADE))
def made(request) -> dict[str, Any]:
    return evaluation(**MADE[request.param])


def test_the_page_is_well_formed_and_navigable(made):
    """Every element closes, ids are unique, links and labels have targets, and heading levels are consecutive."""
    page = Page(render_report(made))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"][1:] for attrs in page.every("a")]
    targets += [name for _, attrs in page.tags for name in (attrs.get("aria-labelledby") or "").split()]
    assert len(targets) > 10 and set(targets) <= set(ids)
    assert len(page.every("caption")) == len(page.every("table"))
    assert all({"aria-label", "aria-labelledby", "aria-hidden"} & set(attrs) for attrs in page.every("svg"))
    assert all(attrs.get("alt") for attrs in page.every("img"))
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_loads_nothing(made):
    """The page has no external address, and its policy forbids loading any."""
    html = render_report(made)
    page = Page(html)
    assert not re.search(r"https?:|url\(|@import|import\(|fetch\(|XMLHttp|src=.?//", html)
    assert all(attrs["src"].startswith("data:image/") for attrs in page.every("img"))
    assert [attrs["href"] for attrs in page.every("link")] == ["data:,"]
    assert not any("src" in attrs for attrs in page.every("script"))
    policy = next(attrs["content"] for attrs in page.every("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy and "img-src data:" in policy


def test_the_metric_table_shows_the_evaluation(made):
    """The table shows the values of both sides as in the evaluation."""
    page = Page(render_report(made))
    for start, write, *keys in (
        ("Clip accuracy", percent, "clip_accuracy"),
        ("Frame accuracy", percent, "frame_accuracy"),
        ("Mean class recall", percent, "mean_class_accuracy"),
        ("Mean average precision", percent, "map"),
        ("Segment edit score", decimal, "edit"),
        ("Segment F1 at 25", decimal, "f1", "25"),
        ("Excess flips per minute", decimal, "flips_per_minute"),
        ("Missed onsets", percent, "onset_delay", "missed"),
        ("Calibration error", percent, "ece"),
    ):
        values = []
        for side in ("memory", "frame"):
            value = made[side]
            for key in keys:
                value = value[key]
            values.append(value)
        if values == [None, None]:
            assert start not in page.words
        else:
            assert page.row(start)[1:3] == [write(value) for value in values]
    for mine in made["memory"]["per_class"]:
        row = next(row for row in page.rows if row and row[0] == mine["label"] and len(row) == 7)
        assert row[1:3] + row[5:] == [str(mine["clips"]), *(percent(mine[k]) for k in ("recall", "precision", "ap"))]


def test_the_comparison_shows_the_evaluation():
    """Every row of the comparison has its means, interval and difference, the best row first."""
    made = evaluation()
    page = Page(render_report(made))
    rows = made["compare"]["rows"]
    for row in rows:
        cells = next(cells for cells in page.rows if cells and cells[0].startswith(row["text"]) and len(cells) > 5)
        assert cells[2] == f"{percent(row['mean'])}{percent(row['low'])} to {percent(row['high'])}"
        for cell, test in zip(cells[3:6], ("dropped", "after", "after_75"), strict=True):
            difference = row["stressed"][test]["minus_reference"]
            ends = f"{points(difference['low'])} to {points(difference['high'])}" if difference else ""
            assert cell == percent(row[f"mean_{test}"]) + ends
        if row["minus_reference"]:
            assert cells[7].startswith(points(row["minus_reference"]["mean"]))
    ranking = rank_rows(made["compare"])
    assert [row.row["mean"] for row in ranking.rows] == sorted((row["mean"] for row in rows), reverse=True)
    assert all(0 <= low <= mean <= high <= 100 for mean, low, high in (row.positions for row in ranking.rows))
    assert ranking.reference_position == next(row.positions[0] for row in ranking.rows if row.row["name"] == "gated")


@pytest.mark.parametrize("whole", [True, False])
def test_optional_parts_may_be_absent_or_null(whole):
    """A part that is absent, null or empty is left out of the page and its menu, and nothing else is."""
    full = evaluation(("background", "run"), whole_clip=whole, background="background")
    sections = {
        "robustness": ["robustness"],
        "compare": ["comparison"],
        "training": ["training"],
        "timing": ["timing"],
        "videos": ["videos", "worst", "calibration"],
        "robustness_metric": [],
        "created": [],
        "liquidvision": [],
        "clip_accuracy": [],
    }
    sections_found = {attrs["id"] for attrs in Page(render_report(full)).every("section")}
    assert sections_found == {"conclusion", "mistakes", "classes", "data"}.union(*sections.values())
    for part, gone in sections.items():
        for value in (None, {}, "absent"):
            made = {key: v for key, v in full.items() if key != part} | ({} if value == "absent" else {part: value})
            assert {attrs["id"] for attrs in Page(render_report(made)).every("section")} == sections_found - set(
                gone
            ), part
    bare = {key: full[key] for key in ("format", "version")} | {
        "model": {"labels": ["a", "b"]},
        "data": {"videos": 3},
        "memory": {"frame_accuracy": 0.5},
        "frame": {"frame_accuracy": None},
    }
    page = Page(render_report(bare))
    assert [attrs["id"] for attrs in page.every("section")] == ["conclusion", "data"]
    assert page.row("Frame accuracy")[1:3] == ["50.0\u00a0%", "–"]


def test_hostile_names_are_shown_as_text():
    """Names that look like markup or templates are shown as text and create no element."""
    made = evaluation(HOSTILE)
    plain = evaluation(tuple(f"class {i}" for i in range(len(HOSTILE))))
    for page in (made, plain):
        page["data"]["skipped"] = [{"name": "name", "error": "error"}]
    for video, name in zip(made["videos"], HOSTILE, strict=False):
        video["name"] = video["group"] = name
    made["data"] |= {"name": HOSTILE[0], "skipped": [{"name": HOSTILE[1], "error": HOSTILE[0]}]}
    made["model"]["name"] = HOSTILE[3]
    for row, name in zip(made["compare"]["rows"], HOSTILE, strict=False):
        row["text"] = row["tuned"] = name
    made["robustness"]["drop"][0]["text"] = HOSTILE[1]
    page = Page(render_report(made))
    assert all(name in "".join(page.text) for name in HOSTILE)
    for tag in ("script", "img", "b", "title", "style"):
        marks = [len(p.every(tag)) for p in (page, Page(render_report(plain)))]
        assert marks[0] == marks[1] if tag != "title" else marks[0] > 1, tag
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_a_name_with_invalid_bytes_is_written(tmp_path):
    """A file name that is not valid UTF-8 does not prevent the page from being written."""
    made = evaluation(full=False)
    made["videos"][0]["name"] = "clip\udcff.mp4"
    write_report(tmp_path / "report.html", made)
    assert "clip?.mp4" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_stills_are_pictures_in_the_file_alone():
    """A still that is not an embedded picture is not shown."""
    made = evaluation(full=False)
    outside = ("https://host/x.png", "data:text/html;base64,AAAA", 'data:image/png;base64,A" onload="x', "x.png", 7)
    for video, still in zip(made["videos"], (STILL, *outside), strict=False):
        video["still"] = still
    assert [attrs["src"] for attrs in Page(render_report(made)).every("img")] == [STILL]


def test_a_still_has_a_caption():
    """A still has a caption with its time, the predicted label and the score."""
    made = evaluation()
    assert "at 1.5 s: 97 % calm" in Page(render_report(made)).words
    for video in made["videos"]:
        video.pop("still_time", None)
    assert "% calm" not in Page(render_report(made)).words


def test_missing_numbers_are_never_printed():
    """NaN, infinity and None become a dash or are not drawn."""

    def replace_floats(value: Any, bad: float | None) -> Any:
        if isinstance(value, dict):
            return {key: replace_floats(v, bad) for key, v in value.items()}
        if isinstance(value, list):
            return [replace_floats(v, bad) for v in value]
        return bad if isinstance(value, float) else value

    for bad in (math.nan, math.inf, -math.inf, None):
        made = evaluation()
        for part in ("memory", "frame", "robustness", "compare", "training", "timing", "data"):
            made[part] = replace_floats(made[part], bad)
        for video in made["videos"]:
            video["score"][::2] = [bad] * len(video["score"][::2])
        html = render_report(made)
        body = re.sub(
            r'<(style|script)>.*?</\1>|<meta [^>]*>|(class|preserveAspectRatio)="[^"]*"', "", html, flags=re.S
        )
        assert not re.search(r"\b(nan|inf|infinity|none)\b", body, re.I)


def test_warnings_come_first():
    """Warnings about training videos, splits, skipped files and notes precede all figures."""
    made = evaluation()
    made["data"] |= {"seen_in_training": 5, "split_by": "video", "notes": ["nothing is left of run"]}
    page = Page(render_report(made))
    words = page.words
    conclusion = words.index("Does memory help?")
    warnings = (
        "5 of 24 videos were used in training",
        "split one by one",
        "1 file was skipped",
        "nothing is left of run",
    )
    for text in warnings:
        assert words.index(text) < conclusion
    assert page.row("broken.mp4") == ["broken.mp4", "moov atom not found"]


def test_hundreds_of_videos_make_a_small_page():
    """500 videos whose label flickers at each of 400 points make a page below 5 MB; more are not drawn."""
    made = evaluation(full=False, videos=4)
    flicker = [0, 1] * 200
    points_ = {"truth": flicker, "memory": flicker, "frame": flicker, "score": [0.1234] * 400}
    video = made["videos"][0] | points_ | {"times": [round(0.0417 * i, 4) for i in range(400)]}
    made["videos"] = [video | {"name": f"folder/of/scene/clip{i:05}.mp4"} for i in range(600)]
    html = render_report(made)
    assert len(html.encode()) < 5e6
    assert html.count('<li id="v') == 500
    assert "The page shows 500 of 600 videos" in Page(html).words


def test_rendering_leaves_the_evaluation_unchanged():
    """Rendering does not modify the evaluation and is repeatable."""
    made = evaluation()
    before = copy.deepcopy(made)
    assert render_report(made) == render_report(made)
    assert made == before


def test_a_write_error_is_one_line(tmp_path, monkeypatch):
    """A file in place of a folder and a full disk raise a one-line SinkError, and the old page stays."""
    path = tmp_path / "new" / "report.html"  # a missing folder is made
    write_report(str(path), evaluation())
    with pytest.raises(SinkError, match=r"cannot write the report .*inside.html: \w+"):
        write_report(path / "inside.html", evaluation())
    before = path.read_bytes()

    def full(self: Path, content: bytes) -> int:
        self.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError, match=r"No space left on device$"):
        write_report(path, evaluation())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "something"}, "expected 'liquidvision-evaluation'"),
        ({"version": 2}, "evaluate the model again"),
        ({"memory": None, "data": {}}, "lacks data, memory"),
    ],
)
def test_other_json_is_refused(change, words):
    """JSON of another format or version, or without required parts, is refused in one line."""
    with pytest.raises(UsageError, match=words) as caught:
        render_report(evaluation(full=False) | change)
    assert "\n" not in str(caught.value)
