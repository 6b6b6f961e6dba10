"""What `train`, `eval`, `check` and `extract` print: progress bars, warnings, figures and the comparison table."""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from liquidvision.cli.command import Messages
from liquidvision.workflows.progress import ProgressListener

PIPE_WIDTH = 200  # characters of a line in a file or pipe


class TrainingOutput(ProgressListener):
    """Shows one bar at a time on the error stream, if that is a terminal; results go to the output stream.

    A context manager: the last bar is removed at its end.

    Args:
        messages: what the user wants to read.
    """

    def __init__(self, messages: Messages) -> None:
        self._quiet = messages.quiet
        self._out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        self._err = Console(stderr=True, highlight=False)
        self._stack, self._stage = ExitStack(), ""
        self._bars: Progress | None = None
        self._task = TaskID(0)
        self._times: dict[str, tuple[float, float]] = {}  # of the first and the last step of each stage

    def __enter__(self) -> "TrainingOutput":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._bars, self._stage = None, ""

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of this stage; a new stage replaces the bar of the last one."""
        if stage != self._stage or self._bars is None:
            self._stack.close()
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeRemainingColumn(),
            )
            disable = self._quiet or not sys.stderr.isatty()
            self._bars = self._stack.enter_context(
                Progress(*columns, console=self._err, transient=True, disable=disable)
            )
            self._task, self._stage = self._bars.add_task(stage, total=total, detail=detail), stage
        self._bars.update(self._task, completed=done, total=total, detail=detail)
        now = time.perf_counter()
        self._times[stage] = (self._times.get(stage, (now, now))[0], now)

    def seconds(self, stage: str) -> float:
        """Return how long a stage took, from its first step to its last."""
        first, last = self._times.get(stage, (0.0, 0.0))
        return last - first

    def warning(self, message: str) -> None:
        """Print a warning on the error stream, also with --quiet: it says what failed."""
        print(f"liquidvision: {message}", file=sys.stderr)

    def print(self, line: str) -> None:
        """Print a line of results."""
        if not self._quiet:
            self._out.print(line, markup=False)

    def print_table(self, table: Table) -> None:
        """Print a table of results."""
        if not self._quiet:
            self._out.print(table)

    def print_comparison(self, evaluation: Mapping[str, Any]) -> None:
        """Print the comparison of an evaluation, if it has one."""
        if evaluation.get("compare"):
            self.print_table(comparison_to_table(evaluation["compare"]))


def comparison_to_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table of an evaluation's "compare", a line for each method."""
    metric = comparison["metric"].replace("_", " ")
    judged = "part test of the data's split" if comparison.get("given_split") else f"{comparison['folds']} folds"
    title = f"{metric}, {judged}, {comparison['seeds']} seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for column in ("%", "95 % interval", "vs. first row"):
        table.add_column(column, no_wrap=True)
    dropped = comparison.get("dropped")
    stress_columns = {} if dropped is None else {"mean_dropped": f"{100 * dropped:.0f} %\ndropped"}
    stress_columns |= {"mean_after": "after\nanother"} if comparison.get("after") else {}
    if "after_75" in comparison.get("stress_tests", {}):
        stress_columns["mean_after_75"] = "after another,\n75 % dropped"
    for column in (*stress_columns.values(), "flips\na min"):
        table.add_column(column, no_wrap=True)
    for row in comparison["rows"]:
        difference = row["minus_reference"]
        table.add_row(
            row["text"],
            f"{100 * row['mean']:.1f}",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
            "" if difference is None else f"{100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}",
            *[stress_cell(row, mean.removeprefix("mean_")) for mean in stress_columns],
            "" if row["flips_per_minute"] is None else f"{row['flips_per_minute']:.0f}",
        )
    return table


def stress_cell(row: Mapping[str, Any], test: str) -> str:
    """Return a row's mean in a stress test, with the interval of its difference from the first row if that is known."""
    text = f"{100 * row[f'mean_{test}']:.1f}"
    difference = row.get("stressed", {}).get(test, {}).get("minus_reference")
    if difference is None:
        return text
    return f"{text} ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
