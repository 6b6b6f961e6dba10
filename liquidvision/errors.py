"""The errors that liquidvision raises. Each is also a subclass of a builtin exception.

LiquidVisionError
├── UsageError (ValueError)      an argument has a wrong shape, range or combination
├── SourceError (OSError)        a video, camera or stream cannot be opened or read
├── SinkError (OSError)          an output cannot be written
├── ModelError (ValueError)      a model or saved state is missing, damaged or of another version
├── WeightsError (OSError)       weights cannot be found, downloaded or loaded
└── DependencyError (ImportError) a package is missing or incompatible with the others

A message is one line: what was wrong, what was expected, and what to do.
"""


class LiquidVisionError(Exception):
    """Base class of all errors that liquidvision raises."""


class UsageError(LiquidVisionError, ValueError):
    """An argument has a wrong shape or range, or does not fit the others."""


class SourceError(LiquidVisionError, OSError):
    """A video, camera or stream cannot be opened or read."""


class SinkError(LiquidVisionError, OSError):
    """An output file or folder cannot be written."""


class ModelError(LiquidVisionError, ValueError):
    """A model folder or saved state is missing, truncated, of another version, or has wrong shapes."""


class WeightsError(LiquidVisionError, OSError):
    """Weights are not on disk, cannot be downloaded, or belong to another model."""


class DependencyError(LiquidVisionError, ImportError):
    """A required package is missing or incompatible with the others."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not empty, or else the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
