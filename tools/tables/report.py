"""Finished runs as lines of JSON, appended one by one, and the table in Markdown that they make."""

import json
import statistics
from pathlib import Path
from typing import Any

from tools.tables.models import CELLS
from tools.tables.sets import TASKS

Record = dict[str, Any]
KEY = "settings"  # of a record: all that decides its figures


def finished(path: Path) -> list[Record]:
    """Records of the file, if there is one; a line cut short by a crash is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def append(path: Path, record: Record) -> None:
    """Add one record, on a line of its own even where the last one was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            torn = file.read() != b"\n"
        else:
            torn = False
        file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")


def table(records: list[Record]) -> str:
    """Mean ± sample deviation over seeds, one row a setting; records of one set, in any order."""
    task = TASKS[records[0][KEY]["set"]]
    digits = 2 if task.metric == "accuracy" else 3
    rows: dict[str, list[Record]] = {}
    for record in records:
        rows.setdefault(json.dumps({k: v for k, v in record[KEY].items() if k != "seed"}), []).append(record)

    def shown(values: list[float]) -> str:
        mean = statistics.fmean(values) * task.scale
        spread = f" ± {statistics.stdev(values) * task.scale:.{digits}f}" if len(values) > 1 else ""
        return f"{mean:.{digits}f}{spread}"

    unit = {"accuracy": "accuracy, %", "f1": "F1", "mse": "MSE"}[task.metric]
    lines = [
        f"| | parameters | n | validation | test {unit} | published | best epoch | settings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in rows.values():
        settings, model = group[0][KEY], group[0][KEY]["model"]
        published = "{} ± {}".format(*task.published[model]) if model in task.published else ""
        good = [r for r in group if "test" in r]
        if not good:
            lines.append(f"| {CELLS[model][0]} | | 0 of {len(group)} | diverged | | {published} | | |")
            continue
        epochs = sorted(r["best_epoch"] for r in good)
        count = f"{len(good)}" if len(good) == len(group) else f"{len(good)} of {len(group)}, the rest diverged"
        described = (
            f"{settings['protocol']}, {settings['inputs']} inputs, {settings['epochs']} epochs, "
            f"{settings['schedule']} rate {settings['rate']:g}"
        )
        if "liquid" in settings:
            liquid = settings["liquid"]
            described += f", {liquid['unfolds']} {liquid['solver']}, τ {liquid['fastest']:g} to {liquid['slowest']:g}"
        lines.append(
            f"| {CELLS[model][0]} | {good[0]['parameters']:,} | {count} | {shown([r['valid'] for r in good])} | "
            f"{shown([r['test'] for r in good])} | {published} | {epochs[0]} to {epochs[-1]} | {described} |"
        )
    others = ", ".join(f"{name.upper()} {mean} ± {spread}" for name, (mean, spread) in task.published.items())
    return "\n".join([*lines, "", f"Published (n = 5): {others}."])
