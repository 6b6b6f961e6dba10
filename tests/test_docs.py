"""The documentation keeps its word: references are current, commands and options exist, the site builds offline."""

import ast
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from test_architecture import IMPORTERS, LAYERS
from typer.main import get_command

import liquidvision
import liquidvision.liquid
from liquidvision.cli.main import app
from tools.render_cli_reference import render_pages

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages by hand. History speaks of options as they were called.
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in ("cli", "research")),
]
COMMANDS = get_command(app).commands
HIDDEN = {name for command in COMMANDS.values() for p in command.params if p.hidden for name in p.opts}


def texts() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}


def shown_commands() -> list[tuple[str, str, bool]]:
    """Page, command line, and whether it is a line of a block of shell rather than code within a sentence."""
    found = []
    for page, text in texts().items():
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        lines = [(line.strip(), True) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        lines += [(" ".join(span.split()), False) for span in re.findall(r"`([^`]*)`", prose)]
        found += [(page, line, whole) for line, whole in lines if re.match(r"liquidvision [a-z]+", line)]
    return found


def test_the_command_reference_is_current():
    """docs/cli holds exactly the pages that the command line gives now; tools/render_cli_reference.py writes them."""
    pages = render_pages()
    found = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "cli").glob("*.md")}
    assert sorted(found) == sorted(pages)
    wrong = [name for name in pages if found[name] != pages[name]]
    assert not wrong, f"run python tools/render_cli_reference.py; it would change {', '.join(wrong)}"


def test_the_command_reference_has_every_option():
    """Each option that is not hidden is on the page of its command."""
    pages = render_pages()
    for name, command in COMMANDS.items():
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" and parameter.name != "help" else ():
                assert (f"`{option}" in pages[f"{name}.md"]) != parameter.hidden, f"{name} {option}"


def test_every_public_name_is_on_one_api_page():
    """Each name of the package's list and of `liquidvision.liquid` is documented once, and nothing else is."""
    shown = [
        name
        for page in (DOCS / "api").glob("*.md")
        for name in re.findall(r"^::: liquidvision\.(\S+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    cells = {f"liquid.{name}" for name in liquidvision.liquid.__all__}
    wanted = {name for name in liquidvision.__all__ if not name.startswith("__")} - {"liquid"} | cells
    assert sorted(shown) == sorted(wanted)


def test_shown_commands_are_understood():
    """Every command line in README and docs parses: its command and its options exist, their values fit."""
    lines = shown_commands()
    assert len(lines) > 40
    for page, line, whole in lines:
        words = shlex.split(line, comments=True)[1:]
        words = words[: next((i for i, word in enumerate(words) if word in ("|", "&&", ">", "beside")), None)]
        assert words[0] in COMMANDS, f"{page}: {line}"
        if words[1:] == ["--help"]:
            continue
        try:
            COMMANDS[words[0]].make_context(words[0], [word for word in words[1:] if word != "..."])
        except Exception as error:
            if whole or type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
                pytest.fail(f"{page}: {line}: {type(error).__name__}: {error}")
        assert not HIDDEN & set(words), f"{page}: {line} uses a hidden option"


def test_named_options_exist():
    """Every option that a page names belongs to a command, or to a program of tools/."""
    known = {name for command in COMMANDS.values() for p in command.params for name in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version", "--hypothesis-profile"} - HIDDEN
    for program in (ROOT / "tools").rglob("*.py"):
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', program.read_text(encoding="utf-8")))
    foreign = {"--from", "--to", "--strict", "--check", "--logdir"}  # of caddy, MkDocs and TensorBoard
    for page, text in texts().items():
        if page.endswith(("changelog.md", "CHANGELOG.md")):
            continue
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        spans = [*re.findall(r"`([^`]+)`", prose), *re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)]
        named = {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
        assert not named - known - foreign, f"{page} names {named - known - foreign}"


def test_contributing_lists_who_imports_what():
    """The table of libraries in CONTRIBUTING.md is that of the architecture test; the layers stand there in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE)
    table = {library: {f"{name}.py" for name in re.findall(r"`([\w/]+)`", files)} for library, files in rows}
    assert {library: table.get(library) for library in IMPORTERS} == IMPORTERS
    order = [
        layer
        for line in re.findall(r"^\d+\. (.*)$", text, flags=re.MULTILINE)
        for layer in re.findall(r"`(\w+)/?`", line)
    ]
    assert [layer for layer in order if layer in {r for layers in LAYERS for r in layers}] == [
        r for layers in LAYERS for r in layers
    ]


def test_contributing_lists_where_threads_start():
    """Files that start threads or pools of threads are those that CONTRIBUTING.md lists."""
    package = Path(liquidvision.__file__).parent
    makers = {"Thread", "ThreadPoolExecutor", "start_new_thread", "Timer"}
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in makers:
                    found.add(path.relative_to(package).with_suffix("").as_posix())
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^\| thread \|.*?(?=\n\n)", text, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([a-z_]+/[\w/]+)`", section)) == found


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs MkDocs (the extra docs)")
def test_the_site_builds_without_a_warning(tmp_path):
    """`mkdocs build --strict` succeeds, and the pages fetch no script, style or picture from another host."""
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=quiet)
    assert ran.returncode == 0, ran.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    fetched = r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^\"> ]+"
    foreign = {hit for page in pages for hit in re.findall(fetched, page.read_text(encoding="utf-8"))}
    assert not foreign
    styles = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert not re.findall(r"url\([\"']?(?:https?:)?//", styles)
    ids = re.findall(r'id="(liquidvision\.[\w.]+)"', "".join(p.read_text(encoding="utf-8") for p in pages))
    assert {"liquidvision.predict", "liquidvision.liquid.LTC"} <= set(ids)
    assert not [a for a, b in pairwise(sorted(ids)) if a == b]
