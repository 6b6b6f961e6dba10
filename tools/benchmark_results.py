"""The form in which benchmarks keep their figures: one JSON file per table, and the Markdown table made from it.

A result is a JSON object:

    title      what is measured
    command    the command line that measures it
    date       when the figures were taken, YYYY-MM-DD
    machine    where, in words
    versions   package name -> version, as far as known
    interval   what "low" and "high" mean, or null where only means are known
    columns    list of {"key", "title"} with, where needed, "digits" (after the point), "suffix" (" %"), "signed"
               (true: a plus sign) and "parts" (what the figures of a cell with several mean)
    rows       list of {"name", and a cell for each column's key}; "digits" in a row goes before those of its columns
    row_title  title of the first column, if it has one
    notes      list of sentences

A cell is null (not measured), text, a number, a list of cells, or {"value": number} with "low" and "high" (an
interval) or "deviation" (null: unknown) and, where fewer than the table's seeds were run, "seeds".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Cell = Any
Result = dict[str, Any]

PACKAGES = ("torch", "torchvision", "numpy", "av", "opencv-python-headless", "openvino", "numba", "ncps", "ultralytics")


def add_save_option(parser: argparse.ArgumentParser) -> None:
    """Give a program the option `--save-json PATH`."""
    parser.add_argument("--save-json", type=Path, metavar="PATH", help="write the figures to this file")


def make_result(
    title: str,
    columns: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Cell]],
    *,
    row_title: str = "",
    interval: str | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Return a result with the running command, today's date, this machine and the installed packages' versions."""
    program = Path(sys.argv[0]).name
    return {
        "title": title,
        "command": shlex.join(["python", f"tools/{program}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "versions": {"python": platform.python_version(), **installed_versions()},
        "interval": interval,
        "row_title": row_title,
        "columns": list(columns),
        "rows": list(rows),
        "notes": list(notes),
    }


def save_result(path: Path | None, result: Result) -> None:
    """Write a result as JSON, or nothing where `path` is None."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        ValueError: a row has a cell that belongs to no column.
    """
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    keys = {column["key"] for column in result["columns"]}
    for row in result["rows"]:
        if unknown := set(row) - keys - {"name", "digits"}:
            raise ValueError(f"{path}: row {row['name']!r} has cells without a column: {', '.join(sorted(unknown))}")
    return result


def describe_machine() -> str:
    """Return the cores that this process may use, the processor and, if there is one, the CUDA GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = f"{cores} cores, {find_processor()}"
    if "torch" in sys.modules:
        import torch

        words += f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return words


def find_processor() -> str:
    """Return the processor's name where the system reports it, else its architecture."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].split(":", 1)[1].strip() if names else platform.machine()


def installed_versions() -> dict[str, str]:
    """Return the versions of those packages that figures depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def render_table(result: Result) -> str:
    """Return the Markdown table of a result."""
    columns = result["columns"]
    lines = [" | ".join([result.get("row_title", ""), *(column["title"] for column in columns)])]
    lines += ["|".join(["---"] * (len(columns) + 1))]
    for row in result["rows"]:
        own = {"digits": row["digits"]} if "digits" in row else {}
        cells = (render_cell(row.get(column["key"]), {**column, **own}) for column in columns)
        lines.append(" | ".join([row["name"], *cells]))
    return "\n".join(f"|{line}|" if line.startswith("-") else f"| {line} |" for line in lines)


def render_cell(cell: Cell, column: Mapping[str, Any]) -> str:
    """Return a cell as text: "77.9 (73.3 to 82.1)", "94.75 ± 0.68", "75.3, 73.3"."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list):
        return ", ".join(render_cell(part, column) or "-" for part in cell)
    if isinstance(cell, Mapping):
        text = render_number(cell["value"], column)
        if cell.get("low") is not None:
            text += f" ({render_number(cell['low'], column)} to {render_number(cell['high'], column)})"
        if cell.get("deviation") is not None:
            text += f" ± {render_number(cell['deviation'], column)}"
        if "seeds" in cell:
            text += f" ({cell['seeds']} seeds)"
        return f"**{text}**" if cell.get("bold") else text
    return render_number(cell, column)


def render_number(number: float, column: Mapping[str, Any]) -> str:
    """Return a number with the column's digits, sign and suffix; without digits, as JSON has it."""
    digits, sign = column.get("digits"), "+" if column.get("signed") else ""
    text = f"{number:{sign}.{digits}f}" if digits is not None else f"{number:{sign},}"
    return text + column.get("suffix", "")
