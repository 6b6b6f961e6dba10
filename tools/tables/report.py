"""Finished runs as lines of JSON, appended one by one, and the tables made from them."""

import json
import statistics
from pathlib import Path
from typing import Any

from tools.tables.models import CELLS
from tools.tables.sets import TASKS

Record = dict[str, Any]
KEY = "settings"  # of a record: all that decides its figures


def finished(path: Path) -> list[Record]:
    """Return the records of the file, if it exists, without a last line that a crash cut short."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def append(path: Path, record: Record) -> None:
    """Append one record on its own line, even where the last line was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            torn = file.read() != b"\n"
        else:
            torn = False
        file.write(b"\n" * torn + json.dumps(record).encode() + b"\n")


RESULT_COLUMNS = [
    {"key": "parameters", "title": "parameters"},
    {"key": "test", "title": "test"},
    {"key": "settings", "title": "settings"},
]


def make_result_rows(records: list[Record]) -> list[dict[str, Any]]:
    """Return a row for each setting: its test figure as mean and sample deviation over seeds."""
    rows = []
    for group in group_by_setting(records):
        settings, good = group[0][KEY], [record["test"] for record in group if "test" in record]
        task = TASKS[settings["set"]]
        values = [value * task.scale for value in good]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        test = {"value": statistics.fmean(values), "deviation": deviation, "seeds": len(values)} if values else None
        described = json.dumps({key: value for key, value in settings.items() if key not in ("seed", "model")})
        rows.append(
            {
                "name": CELLS[settings["model"]][0],
                "parameters": group[0].get("parameters"),
                "test": test,
                "settings": described,
                "digits": 2 if task.metric == "accuracy" else 3,
            }
        )
    return rows


def group_by_setting(records: list[Record]) -> list[list[Record]]:
    """Return records that differ only in their seed, together."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        key = json.dumps({k: v for k, v in record[KEY].items() if k != "seed"})
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def table(records: list[Record]) -> str:
    """Return the Markdown table of one set: mean ± sample deviation over seeds, a row for each setting."""
    task = TASKS[records[0][KEY]["set"]]
    digits = 2 if task.metric == "accuracy" else 3

    def shown(values: list[float]) -> str:
        mean = statistics.fmean(values) * task.scale
        spread = f" ± {statistics.stdev(values) * task.scale:.{digits}f}" if len(values) > 1 else ""
        return f"{mean:.{digits}f}{spread}"

    unit = {"accuracy": "accuracy, %", "f1": "F1", "mse": "MSE"}[task.metric]
    lines = [
        f"| | parameters | n | validation | test {unit} | published | best epoch | settings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in group_by_setting(records):
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
