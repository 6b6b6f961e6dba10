"""Formats numbers for the page; missing values and NaN become a dash."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

DASH = "–"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number; booleans are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number_at(side: Mapping[str, Any], keys: Sequence[str]) -> float | None:
    """Return a number inside one side of the evaluation; None if there is none."""
    value: Any = side
    for key in keys:
        value = (value or {}).get(key)
    return value if is_number(value) else None


def decimal(value: Any, digits: int = 1, unit: str = "") -> str:
    """Format a number with a unit; zero has no sign."""
    if not is_number(value):
        return DASH
    text = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)
    return f"{text}{SPACE}{unit}" if unit else text


def signed(value: Any, digits: int = 1, unit: str = "") -> str:
    """Format a difference: with its sign, unless it rounds to zero."""
    text = decimal(value, digits, unit)
    return f"+{text}" if is_number(value) and round(value, digits) > 0 else text


def percent(value: Any, digits: int = 1) -> str:
    """Format a share, 0 to 1, in percent."""
    return decimal(100 * value, digits, "%") if is_number(value) else DASH


def points(value: Any, unit: str = "") -> str:
    """Format a difference of two shares in percentage points."""
    return signed(100 * value, 1, unit) if is_number(value) else DASH


def count(value: Any) -> str:
    """Format a whole number."""
    return f"{round(value):,}" if is_number(value) else DASH


def compact_number(value: float) -> str:
    """Format a count in at most four characters, for narrow cells."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{value / size:.0f}{letter}" if value >= 9.95 * size else f"{value / size:.1f}{letter}"
    return f"{value:.0f}"


def duration(seconds: Any) -> str:
    """Format a length of time: 3.2 s, 1 min 01 s, 1 h 02 min."""
    if not is_number(seconds):
        return DASH
    if seconds < 60:
        return decimal(seconds, 1, "s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes:02}{SPACE}min" if hours else f"{minutes}{SPACE}min {rest:02}{SPACE}s"


def time_label(seconds: float) -> str:
    """Format a position on a time axis: 2.5 s, or 1:05 from one minute on."""
    if abs(seconds) < 60:
        return f"{round(seconds, 3):g}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
