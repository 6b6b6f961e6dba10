"""The command line, run in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def one_line(ran: Ran) -> str:
    """The error stream, which is one line that says who speaks, and no traceback."""
    assert ran.err.count("\n") == 1 and ran.err.startswith("liquidvision: "), ran.err
    assert "Traceback" not in ran.err
    return ran.err


def scores(run: Run, data: Path, model: Path, path: Path, *arguments: str) -> dict[str, Any]:
    """What `eval` writes as JSON."""
    ran = run("eval", data, "-m", model, "--json", path, *arguments)
    assert ran.code == 0, ran.err
    return json.loads(path.read_text())
