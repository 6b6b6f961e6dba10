"""Every error liquidvision raises on purpose: one clear line, and a builtin beside it.

LiquidVisionError
├── UsageError (ValueError)      an argument that cannot be meant: wrong shape, range or combination
├── SourceError (OSError)        a video, camera or stream that cannot be opened or read
├── SinkError (OSError)          an output that cannot be written
├── ModelError (ValueError)      a model folder that is cut short, of another version or of wrong shapes
├── WeightsError (OSError)       weights that are neither bundled, nor on disk, nor to be downloaded
└── DependencyError (ImportError) an installed package is missing or does not fit the others

Messages are written for the person at the terminal: what was wrong, what was expected, what to do.
"""


class LiquidVisionError(Exception):
    """Base of all errors that liquidvision raises on purpose."""


class UsageError(LiquidVisionError, ValueError):
    """An argument that cannot be meant: a wrong shape, range or combination."""


class SourceError(LiquidVisionError, OSError):
    """A video, camera or stream that cannot be opened or read."""


class SinkError(LiquidVisionError, OSError):
    """An output that cannot be written."""


class ModelError(LiquidVisionError, ValueError):
    """A model folder that is cut short, of another version or of wrong shapes."""


class WeightsError(LiquidVisionError, OSError):
    """Weights that are neither bundled, nor on disk, nor to be downloaded."""


class DependencyError(LiquidVisionError, ImportError):
    """An installed package is missing or does not fit the others."""


def first_line(error: BaseException) -> str:
    """The gist of a library's message, for a line of our own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
