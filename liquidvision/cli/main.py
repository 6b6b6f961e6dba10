"""The `liquidvision` command: its subcommands, and how a failure is told."""

import os
import sys
from typing import Annotated

import typer

import liquidvision
from liquidvision.cli import bench, check, doctor, evaluate, explain, extract, infer, info, models, train, webcam
from liquidvision.cli.command import DONE, FAILED, INTERRUPTED, USAGE
from liquidvision.errors import LiquidVisionError, UsageError

app = typer.Typer(
    help="Video classification with a memory: a liquid network carries context from frame to frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
USE, TRAIN, INSPECT = "Use", "Train", "Inspect"
# The groups stand in the help in this order, and the commands in each. Without its arguments a command prints its help.
for group, name, command, needs_arguments in (
    (USE, "infer", infer.infer_command, True),
    (USE, "webcam", webcam.webcam_command, False),
    (USE, "explain", explain.explain_command, True),
    (TRAIN, "check", check.check_command, True),
    (TRAIN, "extract", extract.extract_command, True),
    (TRAIN, "train", train.train_command, True),
    (TRAIN, "eval", evaluate.evaluate_command, True),
    (INSPECT, "info", info.info_command, True),
    (INSPECT, "models", models.models_command, False),
    (INSPECT, "bench", bench.bench_command, False),
    (INSPECT, "doctor", doctor.doctor_command, False),
):
    app.command(name, rich_help_panel=group, no_args_is_help=needs_arguments)(command)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"liquidvision {liquidvision.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 some inputs failed, 130 interrupted."""
    debug = "--debug" in sys.argv
    # Torch's threads must sleep while they wait: spinning, they starve decoder and encoder, and on a
    # busy machine each other. Read when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = DONE
    try:
        code = app(standalone_mode=False) or DONE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except LiquidVisionError as error:
        if debug:
            raise
        print_error(str(error))
        code = USAGE if isinstance(error, UsageError) else FAILED
    except Exception as error:
        if isinstance(code_of_usage := getattr(error, "exit_code", None), int):  # Typer's own: an unknown option
            code = print_usage_error(error, code_of_usage)
        elif debug:
            raise
        else:
            print_error(f"unexpected {type(error).__name__}: {error} (run again with --debug and report it)")
            code = FAILED
    sys.exit(code)


def print_error(message: str) -> None:
    """Say what failed, in one line on the error stream."""
    print(f"liquidvision: {' '.join(message.split())}", file=sys.stderr)


def print_usage_error(error: Exception, code: int) -> int:
    """Say what is wrong with the command line, or show the help where it is empty."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        typer.echo(context.get_help())
    else:
        command = context.command_path if context is not None else "liquidvision"
        print_error(f"{getattr(error, 'format_message', error.__str__)().rstrip('.')}; see {command} --help")
    return code
