"""The tables of benchmarks: their files, the pages that show them, and the programs that write them."""

import argparse
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.benchmark_results import (
    add_save_option,
    make_result,
    read_result,
    render_table,
    save_result,
)
from tools.render_benchmarks import MARKED, RESULTS, find_pages, render_page

ROOT = Path(__file__).parents[1]
FILES = sorted(RESULTS.glob("*.json"))
KEYS = ("title", "command", "date", "machine", "versions", "interval", "columns", "rows", "notes")
WITH_TABLES = (
    "bench_actions", "bench_adaptive", "bench_context", "bench_extract", "bench_frames", "bench_graphs", "bench_infer",
    "bench_liquid", "bench_objects", "bench_poses", "bench_streams", "bench_web", "paper_tables", "probe_backbone",
)  # fmt: skip


@pytest.mark.parametrize("page", find_pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_show_the_tables_of_the_results(page: Path) -> None:
    """Every marked table is the one that its file gives; tools/render_benchmarks.py writes them."""
    text = page.read_text(encoding="utf-8")
    assert len(MARKED.findall(text)) == text.count("<!-- table: ") == text.count("<!-- end of table: ")
    assert text == render_page(text), "run python tools/render_benchmarks.py"


def test_benchmarks_has_no_typed_figures() -> None:
    """docs/benchmarks.md has at most 150 lines, and no percentage or decimal outside of its rendered tables."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    prose = MARKED.sub("", text)
    assert set(re.findall(r"\d+ %|\d+\.\d+", prose)) <= {"95 %"}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_results_are_complete(file: Path) -> None:
    """A result says how, when and where it was measured, fits its columns, and is shown on a page."""
    result = read_result(file)
    assert [key for key in KEYS if key not in result] == []
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"]) and result["rows"]
    pages = [page.read_text(encoding="utf-8") for page in find_pages()]
    assert any(f"<!-- table: {file.stem}" in page for page in pages)


@pytest.mark.parametrize("program", WITH_TABLES)
def test_programs_can_save_their_figures(program: str) -> None:
    """Every program whose table is published has the option --save-json and uses it."""
    text = (ROOT / "tools" / f"{program}.py").read_text(encoding="utf-8")
    assert "add_save_option(" in text and ".save_json, " in text


def test_a_saved_result_is_read_and_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers keep their digits, intervals and deviations are shown, an empty cell stays empty."""
    monkeypatch.setattr(sys, "argv", ["tools/bench_x.py", "a clip.mp4"])
    parser = argparse.ArgumentParser()
    add_save_option(parser)
    path = parser.parse_args(["--save-json", str(tmp_path / "new" / "x.json")]).save_json
    columns = [
        {"key": "share", "title": "share", "digits": 1, "suffix": " %"},
        {"key": "less", "title": "less", "digits": 1, "signed": True},
        {"key": "count", "title": "count"},
    ]
    rows = [
        {"name": "a", "share": {"value": 77.94, "low": 73, "high": 82.1}, "less": 1, "count": 1234},
        {"name": "b", "share": {"value": 5, "deviation": 0.25, "seeds": 2}, "less": [-1.0, 2.0], "digits": 2},
    ]
    save_result(path, make_result("x", columns, rows))
    result = read_result(path)
    assert result["command"] == "python tools/bench_x.py 'a clip.mp4'" and "torch" in result["versions"]
    assert render_table(result).splitlines() == [
        "|  | share | less | count |",
        "|---|---|---|---|",
        "| a | 77.9 % (73.0 % to 82.1 %) | +1.0 | 1,234 |",
        "| b | 5.00 % ± 0.25 % (2 seeds) | -1.00, +2.00 |  |",
    ]


def test_rows_can_be_chosen() -> None:
    """A marker that names rows shows these only."""
    names = [row["name"] for row in read_result(RESULTS / "context.json")["rows"]]
    page = render_page("<!-- table: context, rows 1-2 4 -->\n<!-- end of table: context -->\n")
    assert [line.split(" |")[0][2:] for line in page.splitlines()[4:7]] == [names[0], names[1], names[3]]


def test_a_cell_without_a_column_is_an_error(tmp_path: Path) -> None:
    """A misspelt key is reported with its row."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"columns": [{"key": "a", "title": "a"}], "rows": [{"name": "r", "b": 1}]}))
    with pytest.raises(ValueError, match=r"row 'r' has cells without a column: b"):
        read_result(path)
