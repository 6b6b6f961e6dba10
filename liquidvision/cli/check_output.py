"""What `check` prints: the amount of data by class, and the problems."""

from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from liquidvision.cli.training_output import TrainingOutput
from liquidvision.data.audit import AuditReport


def print_audit(data: Path, report: AuditReport, output: TrainingOutput) -> None:
    """Print what annotated videos contain and what is wrong with them."""
    clips, grouped = report.usable.clips, report.usable.grouped
    by = f" in {len({clip.group for clip in clips})} groups" if grouped else ""
    seconds = list(report.seconds.values())
    shown = sum(extent.clips > 0 for extent in report.classes.values())
    output.print(f"{data}: {len(clips)} videos{by}, {shown} classes")
    output.print(
        f"  {sum(report.frames.values())} frames, {sum(seconds):.1f} s; a video's length "
        f"{min(seconds):.2f}–{max(seconds):.2f} s, median {np.median(seconds):.2f} s"
    )
    output.print_table(class_table(report))
    for problem in report.problems:
        output.print(str(problem))
    errors = len(report.errors)
    output.print(f"{errors} of {len(clips) + errors} files cannot be used; warnings: {len(report.problems) - errors}")


def class_table(report: AuditReport) -> Table:
    """Return a table of the amount of data of each class."""
    grouped = report.usable.grouped
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  class", overflow="fold")
    for name in ("clips", *(["groups"] if grouped else []), "frames", "seconds", "share"):
        table.add_column(name, justify="right")
    total = sum(extent.seconds for extent in report.classes.values())
    for label, extent in report.classes.items():
        groups = [extent.groups] if grouped else []
        cells = [extent.clips, *groups, extent.frames, f"{extent.seconds:.1f}"]
        share = f"{extent.seconds / total:.0%}" if total else "–"
        table.add_row(Text(f"  {label}"), *map(str, cells), share)
    return table
