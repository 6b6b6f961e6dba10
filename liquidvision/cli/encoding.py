"""Prints that never fail: characters that the terminal or the file cannot hold are replaced."""

import codecs
import sys

REPLACEMENTS = {"→": "->", "·": "-", "×": "x", "…": "...", "°": " deg", "±": "+-", "≥": ">=", "≤": "<=", "τ": "tau"}
HANDLER = "liquidvision"  # its name among the error handlers of codecs


def print_safely() -> None:
    """Let standard output and error replace what their encoding cannot hold, such as an arrow in cp1252."""
    codecs.register_error(HANDLER, replace_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a stream that was replaced by another object may not have it
            reconfigure(errors=HANDLER)


def replace_characters(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that cannot be encoded: a likeness in ASCII, else a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(REPLACEMENTS.get(character, "?") for character in text), error.end
