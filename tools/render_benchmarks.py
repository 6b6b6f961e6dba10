"""Write the tables of benchmarks into the pages that show them.

    python tools/render_benchmarks.py

A page shows the table of docs/results/NAME.json between two lines; what stands between them is replaced:

    <!-- table: NAME -->
    <!-- end of table: NAME -->

`<!-- table: NAME, with command -->` adds a line with the table's title, command and date, and with the machine where it
is not the usual one. `, rows 1-6 8` before the arrow shows only these rows, counted from 1. README.md and all pages of
docs/ are read. A test fails where one of them is not as this program would write it.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.benchmark_results import Result, read_result, render_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
USUAL_MACHINE = "two x86-64 cores of a shared virtual machine, no GPU"
MARKED = re.compile(
    r"<!-- table: (?P<name>[\w-]+)(?P<command>, with command)?(?:, rows (?P<rows>[\d -]+\d))? -->\n"
    r".*?<!-- end of table: (?P=name) -->",
    re.DOTALL,
)


def find_pages() -> list[Path]:
    """Return the pages that may show tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def render_page(text: str) -> str:
    """Return the page's text with every marked table rendered from its result."""

    def render_marked(found: re.Match[str]) -> str:
        result = read_result(RESULTS / f"{found['name']}.json")
        if found["rows"]:
            result = {**result, "rows": [result["rows"][number - 1] for number in parse_numbers(found["rows"])]}
        parts = [found[0].split("\n", 1)[0], render_table(result), f"<!-- end of table: {found['name']} -->"]
        if found["command"]:
            parts.insert(1, describe(result))
        return "\n\n".join(parts)

    return MARKED.sub(render_marked, text)


def parse_numbers(text: str) -> list[int]:
    """Return the numbers of "1-3 7": 1, 2, 3 and 7."""
    ranges = [[int(end) for end in part.split("-")] for part in text.split()]
    return [number for ends in ranges for number in range(ends[0], ends[-1] + 1)]


def describe(result: Result) -> str:
    """Return the line above a table: what is measured, with which command, when, and where."""
    where = "" if result["machine"] == USUAL_MACHINE else f", on {result['machine']}"
    command = result["command"] if result["command"].startswith("a program") else f"`{result['command']}`"
    return f"{result['title']}: {command}, {result['date']}{where}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for page in find_pages():
        text = page.read_text(encoding="utf-8")
        if (rendered := render_page(text)) != text:
            page.write_text(rendered, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
