"""The command line, run in this process."""

from collections.abc import Callable
from typing import NamedTuple


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
