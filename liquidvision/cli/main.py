"""The `liquidvision` command: its subcommands, and how failures are reported."""

import os
import sys
from typing import Annotated

import typer

import liquidvision
from liquidvision.cli import (
    bench,
    check,
    convert,
    doctor,
    evaluate,
    explain,
    extract,
    infer,
    info,
    models,
    summarize,
    train,
    webcam,
)
from liquidvision.cli.command import DONE, FAILED, INTERRUPTED, USAGE
from liquidvision.cli.encoding import print_safely
from liquidvision.errors import LiquidVisionError, UsageError

app = typer.Typer(
    help="Video classification with a memory: a liquid network carries context from frame to frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
USE, TRAIN, INSPECT = "Use", "Train", "Inspect"
# In the order of the help. A command that needs arguments prints its help without them.
for group, name, command, needs_arguments in (
    (USE, "infer", infer.infer_command, True),
    (USE, "webcam", webcam.webcam_command, False),
    (USE, "explain", explain.explain_command, True),
    (USE, "summarize", summarize.summarize_command, True),
    (TRAIN, "check", check.check_command, True),
    (TRAIN, "convert", convert.convert_command, True),
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
    """The options before the command."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 some inputs failed, 130 interrupted."""
    print_safely()
    debug = "--debug" in sys.argv
    # Torch's threads must sleep while they wait: spinning, they would take the cores from the decoder and the encoder,
    # and on a busy machine from each other. The variable is read when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = DONE
    try:
        code = app(standalone_mode=False) or DONE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of the output is gone; nothing can be printed to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except LiquidVisionError as error:
        if debug:
            raise
        print_error(str(error))
        code = USAGE if isinstance(error, UsageError) else FAILED
    except OSError as error:  # of a file or folder that the system refuses
        if debug:
            raise
        print_error(f"{error.filename or type(error).__name__}: {error.strerror or error}")
        code = FAILED
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
    """Print what failed, in one line on the error stream."""
    print(f"liquidvision: {' '.join(message.split())}", file=sys.stderr)


def print_usage_error(error: Exception, code: int) -> int:
    """Print what is wrong with the command line, or the help if it is empty; return the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        typer.echo(context.get_help())
    else:
        command = context.command_path if context is not None else "liquidvision"
        print_error(f"{getattr(error, 'format_message', error.__str__)().rstrip('.')}; see {command} --help")
    return code
