"""`liquidvision check`: what is wrong with annotated videos, before they are trained on."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.errors import SourceError


def check_command(
    data: Annotated[
        Path, typer.Argument(help="A folder of class folders, a CSV or a JSON (ActivityNet).", show_default=False)
    ],
    background: Annotated[str, typer.Option(help="The class of what no interval covers.")] = "background",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Read every file of annotated videos, and say what they hold and what is wrong.

    Examples: liquidvision check clips/ · liquidvision check intervals.csv --background idle
    """
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text

    from liquidvision.data.audit import audit_dataset as check_data
    from liquidvision.data.formats import read_dataset

    dataset = read_dataset(data, background=background)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading", total=len(dataset.clips))
        report = check_data(dataset, on_file=lambda name: bar.advance(task))
    clips, errors = report.usable.clips, report.errors
    if not clips:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise SourceError(f"none of the videos of {data} can be read: {errors[0].text}{more}")

    out = Console(highlight=False, soft_wrap=True)
    by = f" in {len({clip.group for clip in clips})} groups" if dataset.grouped else ""
    seconds = list(report.seconds.values())
    shown = sum(extent.clips > 0 for extent in report.classes.values())
    out.print(f"{data}: {len(clips)} videos{by}, {shown} classes", markup=False)
    out.print(
        f"  {sum(report.frames.values())} frames, {sum(seconds):.1f} s; a video's length "
        f"{min(seconds):.2f}–{max(seconds):.2f} s, median {np.median(seconds):.2f} s"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  class", overflow="fold")
    for name in ("clips", *(["groups"] if dataset.grouped else []), "frames", "seconds", "share"):
        table.add_column(name, justify="right")
    whole = sum(extent.seconds for extent in report.classes.values())
    for label, extent in report.classes.items():
        cells = [extent.clips, *([extent.groups] if dataset.grouped else []), extent.frames, f"{extent.seconds:.1f}"]
        share = f"{extent.seconds / whole:.0%}" if whole else "–"
        table.add_row(Text(f"  {label}"), *map(str, cells), share)
    out.print(table)
    for problem in report.problems:
        where = f"{problem.name}: " if problem.name else ""
        out.print(f"{problem.level}: {where}{problem.text}", markup=False)
    warnings = len(report.problems) - len(errors)
    out.print(f"{len(errors)} of {len(dataset.clips)} files cannot be used; warnings: {warnings}")
    raise typer.Exit(3 if errors else 0)
