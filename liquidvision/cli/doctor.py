"""`liquidvision doctor`: does this machine have what is needed?"""

import platform
import sys
from dataclasses import dataclass

import typer

import liquidvision
from liquidvision.cli.command import DONE, FAILED, Messages, job_command


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """`doctor` has no options of its own."""


@job_command(DoctorOptions, {})
def doctor_command(options: DoctorOptions, messages: Messages) -> int:
    """Print versions, codecs and devices of this machine, and what does not work; exit 1 if there is a problem."""
    from liquidvision.workflows.doctor import check_machine

    typer.echo(f"liquidvision {liquidvision.__version__}, Python {platform.python_version()}, {platform.platform()}")
    report = check_machine()
    for name, value in report.facts:
        typer.echo(f"  {name:18} {value}")
    for problem in report.problems:
        print(f"problem: {problem}", file=sys.stderr)
    typer.echo("no problem found" if not report.problems else f"{len(report.problems)} problem(s)")
    return FAILED if report.problems else DONE
