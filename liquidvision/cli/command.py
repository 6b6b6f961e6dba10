"""Builds a command from a dataclass: an option for each field, and what all commands set up in the same way."""

import inspect
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130  # exit codes
PLACEHOLDERS = {bool: "", int: "N", float: "X", str: "TEXT", Path: "PATH"}  # how the help shows values, by type
MESSAGES = "Messages"  # the panel of the options that every command may have
J = TypeVar("J")


@dataclass(frozen=True, slots=True)
class OldOption:
    """An earlier name of an option, which still works and is not shown in the help.

    Attributes:
        flag: its name.
        values: what its words meant; None: it takes the same values as the option.
    """

    flag: str
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """How a field of a job is given on the command line.

    Attributes:
        help: what it does, in one line.
        panel: the heading under which the help shows it.
        flags: its names; None: the field's name with dashes. A field that is a positional argument has ().
        parse: turns text into the field's value; None: by the field's type.
        metavar: how the help shows its value; None: by the field's type.
        old: an earlier name.
    """

    help: str
    panel: str | None = None
    flags: tuple[str, ...] | None = None
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    old: OldOption | None = None


@dataclass(frozen=True, slots=True)
class Messages:
    """What the person at the terminal wants to read.

    Attributes:
        quiet: errors only.
        verbose: every change of the label too.
        debug: the traceback of a failure.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


MESSAGE_OPTIONS = {
    "quiet": Option("Print errors only.", MESSAGES, ("-q", "--quiet")),
    "verbose": Option("Print every change of the label.", MESSAGES, ("-v", "--verbose")),
    "debug": Option("Show the traceback of a failure.", MESSAGES),
}


def job_command(
    job_type: type[J], options: Mapping[str, Option], *, quiet: bool = False, verbose: bool = False
) -> Callable[[Callable[[J, Messages], int | None]], Callable[..., int | None]]:
    """Turn a function of a job into a Typer command, with an option for each field of the job.

    The command sets up logging and SIGTERM, builds the job, and returns the function's exit code (None: `DONE`).

    Args:
        job_type: a dataclass; a field's type and default are those of its option.
        options: how each field is given, by its name; the help shows them in this order.
        quiet, verbose: whether the command has these options; every command has --debug.
    """

    def decorate(run: Callable[[J, Messages], int | None]) -> Callable[..., int | None]:
        parameters, old_names = _parameters(job_type, options)
        hints = get_type_hints(Messages)
        shown = [field for field in fields(Messages) if {"quiet": quiet, "verbose": verbose}.get(field.name, True)]
        parameters += [_parameter(field, hints[field.name], MESSAGE_OPTIONS[field.name]) for field in shown]

        def command(**values: Any) -> int | None:
            messages = Messages(**{field.name: values.pop(field.name) for field in shown})
            for name, old in old_names.items():
                given = values.pop(f"old_{name}")
                if given is not None:
                    values[name] = _old_value(old, given)
            start_messages(messages)
            return run(job_type(**values), messages)

        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def start_messages(messages: Messages) -> None:
    """Log to the error stream as `messages` says, and let SIGTERM finish the files as Ctrl-C does."""
    level = logging.ERROR if messages.quiet else logging.INFO if messages.verbose else logging.WARNING
    logging.basicConfig(level=level, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _parameters(job_type: type, options: Mapping[str, Option]) -> tuple[list[inspect.Parameter], dict[str, OldOption]]:
    """Return a job's fields as parameters of a command, and their earlier names by field."""
    parameters, old_names = [], {}
    hints = get_type_hints(job_type)
    by_name = {field.name: field for field in fields(job_type)}
    assert by_name.keys() == options.keys(), by_name.keys() ^ options.keys()
    for name, option in options.items():
        parameters.append(_parameter(by_name[name], hints[name], option))
        if option.old is not None:
            old_names[name] = option.old
            kind = hints[name] if option.old.values is None else str
            hidden = typer.Option(option.old.flag, hidden=True)
            parameters.append(_keyword(f"old_{name}", Annotated[kind | None, hidden], None))
    return parameters, old_names


def _parameter(field: Field[Any], kind: Any, option: Option) -> inspect.Parameter:
    """Return the parameter of a field."""
    shared: dict[str, Any] = {"help": option.help, "rich_help_panel": option.panel}
    shared["show_default"] = field.default not in (None, MISSING)
    if option.parse is not None:
        shared["parser"] = option.parse
    if option.flags == ():
        argument = typer.Argument(metavar=option.metavar, **shared)
        return _keyword(field.name, Annotated[kind, argument], field.default)
    plain = next((hint for hint in (kind, *get_args(kind)) if hint in PLACEHOLDERS), str)
    metavar = option.metavar or PLACEHOLDERS[plain]
    flags = option.flags or (f"--{field.name.replace('_', '-')}",)
    return _keyword(field.name, Annotated[kind, typer.Option(*flags, metavar=metavar, **shared)], field.default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _old_value(old: OldOption, given: Any) -> Any:
    """Return what an option's earlier name stands for, or raise where it is none of its words."""
    if old.values is None:
        return given
    if given not in old.values:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(old.values)}", param_hint=old.flag)
    return old.values[given]
