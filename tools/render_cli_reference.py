"""Write the command reference, docs/cli/*.md, from the command line's own definitions.

python tools/render_cli_reference.py            # write the pages
python tools/render_cli_reference.py --check    # exit 1 if a page differs from the command line
"""

import argparse
import inspect
import re
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from typer.main import get_command

from liquidvision.cli.main import app

FOLDER = Path(__file__).parents[1] / "docs" / "cli"
NOTE = (
    "<!-- Made by tools/render_cli_reference.py from the command line itself. Change the help text, not this page. -->"
)
PLACEHOLDERS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}
DEFAULT_PANEL = "Options"
DEFAULT_GROUP = "Commands"
PROGRAM = "liquidvision"
EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "wrong usage: an unknown option, or values that cannot be meant",
    3: "some inputs failed, the others are done",
    130: "interrupted; what was written is finished and plays",
}


def text_or(value: object, otherwise: str) -> str:
    """The value where it is a text that says something; typer has placeholders for what was not given."""
    return value if isinstance(value, str) and value else otherwise


def required_type(hint: Any) -> Any:
    """The type of a value that is given: that of `X | None` is X."""
    if get_origin(hint) in (Union, UnionType):
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return hint


def placeholder(hint: Any) -> str:
    """What stands for an option's value in a usage line, by its type."""
    if get_origin(hint) is list:
        hint = get_args(hint)[0]
    return PLACEHOLDERS.get(hint, "TEXT")


def as_markdown(text: str) -> str:
    """Help text as Markdown: on one line, options as code, nothing read as HTML or as a table's border."""
    text = " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"(?<![\w-])(--?[a-z][\w-]*)", r"`\1`", part) for part in parts
    )


def as_examples(paragraph: str) -> str:
    """The commands of a paragraph that begins with "Example:" or "Examples:", one to a line."""
    commands = re.split(r"\s+·\s+|\n", paragraph.split(":", 1)[1].strip())
    return "```sh\n" + "\n".join(" ".join(command.split()) for command in commands if command.strip()) + "\n```"


def render_help(text: str) -> str:
    """A command's help: paragraphs, with its examples as a block of code."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(as_examples(p) if re.match(r"Examples?:", p) else as_markdown(p) for p in paragraphs)


def render_default(option: Any, default: object) -> str:
    """A sentence with the option's default, empty where there is none or the help says it."""
    if (
        option.show_default is False
        or default is None
        or isinstance(default, bool)
        or default is inspect.Parameter.empty
    ):
        return ""
    return f" Default: `{f'{default:g}' if isinstance(default, float) else default}`."


def render_options(rows: list[tuple[Any, Any, object]]) -> str:
    """A table of options or arguments, each with its type and default."""
    lines = ["| option | meaning |", "| --- | --- |"]
    for option, hint, default in rows:
        argument = option.param_type_name == "argument"
        hint = required_type(hint)
        names = [*sorted(option.opts, key=len, reverse=True), *option.secondary_opts]
        names = [option.name.upper()] if argument else names
        value = "" if argument or hint is bool else " " + text_or(option.metavar, placeholder(hint))
        shown = ", ".join(f"`{name}{value}`".replace("|", r"\|") for name in names)
        required = " Required." if option.required and not argument else ""
        help_text = as_markdown(option.help or "")
        lines.append(f"| {shown} | {help_text}{required}{render_default(option, default)} |")
    return "\n".join(lines)


def render_command(name: str, command: Any) -> str:
    """The page of one command."""
    function = inspect.unwrap(command.callback)
    hints, signature = get_type_hints(function), inspect.signature(function)
    arguments, panels = [], {}
    for option in command.params:
        if option.name == "help" or getattr(option, "hidden", False):
            continue
        row = (option, hints[option.name], signature.parameters[option.name].default)
        if option.param_type_name == "argument":
            arguments.append(row)
        else:
            panels.setdefault(text_or(option.rich_help_panel, DEFAULT_PANEL), []).append(row)
    usage = [PROGRAM, name, *("[OPTIONS]" if panels else "").split()]
    for option, hint, _ in arguments:
        shown = option.name.upper() + ("..." if get_origin(hint) is list else "")
        usage.append(shown if option.required else f"[{shown}]")
    first, *rest = inspect.cleandoc(command.help or "").split("\n\n")
    parts = [NOTE, f"# {PROGRAM} {name}", render_help(first), f"```text\n{' '.join(usage)}\n```"]
    parts += [render_help("\n\n".join(rest))] if rest else []
    if arguments:
        parts += ["## Arguments", render_options(arguments).replace("| option |", "| argument |")]
    for panel, rows in panels.items():
        parts += [f"## {panel}", render_options(rows)]
    return "\n\n".join(parts) + "\n"


def render_index(commands: dict[str, Any]) -> str:
    """The page that lists the commands in their groups, and the exit codes."""
    groups: dict[str, list[str]] = {}
    for name, command in commands.items():
        first = inspect.cleandoc(command.help or "").split("\n\n")[0]
        group = text_or(command.rich_help_panel, DEFAULT_GROUP)
        groups.setdefault(group, []).append(f"| [`{name}`]({name}.md) | {as_markdown(first)} |")
    parts = [
        NOTE,
        "# Commands",
        f"`{PROGRAM} COMMAND --help` prints the same in a terminal. `{PROGRAM} --version` prints the version.",
    ]
    for group, rows in groups.items():
        parts += [f"## {group}", "\n".join(["| command | what it does |", "| --- | --- |", *rows])]
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    parts += ["## Exit codes", "\n".join(["| code | meaning |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def render_pages() -> dict[str, str]:
    """Every page of the reference by its file name."""
    commands = {name: command for name, command in get_command(app).commands.items() if not command.hidden}
    return {"index.md": render_index(commands)} | {
        f"{name}.md": render_command(name, command) for name, command in commands.items()
    }


def main() -> int:
    """Write the pages, or compare them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    check = parser.parse_args().check
    pages = render_pages()
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if check:
        wrong = sorted(name for name in pages.keys() | found.keys() if pages.get(name) != found.get(name))
        print("\n".join(f"docs/cli/{name} differs from the command line" for name in wrong))
        return 1 if wrong else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in found.keys() - pages.keys():
        (FOLDER / name).unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
