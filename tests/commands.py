"""Helpers for tests that run commands in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def one_line(ran: Ran) -> str:
    """Return the error stream, which must be one line that begins with the program's name, without a traceback."""
    assert ran.err.count("\n") == 1 and ran.err.startswith("liquidvision: "), ran.err
    assert "Traceback" not in ran.err
    return ran.err


def scores(run: Run, data: Path, model: Path, path: Path, *arguments: str) -> dict[str, Any]:
    """Run `eval` and return the JSON that it writes."""
    ran = run("eval", data, "-m", model, "--save-json", path, *arguments)
    assert ran.code == 0, ran.err
    return json.loads(path.read_text())
