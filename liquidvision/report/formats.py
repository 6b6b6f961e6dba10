"""How numbers are written on the page; what is missing or no number is a dash, never NaN."""

import math
from typing import Any, TypeGuard

NONE = "–"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether there is a finite number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def decimal(value: Any, digits: int = 1, unit: str = "") -> str:
    """A number with a unit; zero has no sign."""
    if not is_number(value):
        return NONE
    text = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)
    return f"{text}{SPACE}{unit}" if unit else text


def signed(value: Any, digits: int = 1, unit: str = "") -> str:
    """A difference: its sign is always written, but for none."""
    text = decimal(value, digits, unit)
    return f"+{text}" if is_number(value) and round(value, digits) > 0 else text


def percent(value: Any, digits: int = 1) -> str:
    """A share, 0 to 1, in per cent."""
    return decimal(100 * value, digits, "%") if is_number(value) else NONE


def points(value: Any, unit: str = "") -> str:
    """A difference of two shares, in percentage points."""
    return signed(100 * value, 1, unit) if is_number(value) else NONE


def count(value: Any) -> str:
    """A whole number."""
    return f"{round(value):,}" if is_number(value) else NONE


def compact_number(value: float) -> str:
    """A count in at most four characters, for narrow cells."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{value / size:.0f}{letter}" if value >= 9.95 * size else f"{value / size:.1f}{letter}"
    return f"{value:.0f}"


def duration(seconds: Any) -> str:
    """A length of time, as short as it can be said."""
    if not is_number(seconds):
        return NONE
    if seconds < 60:
        return decimal(seconds, 1, "s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes:02}{SPACE}min" if hours else f"{minutes}{SPACE}min {rest:02}{SPACE}s"


def report_clock(seconds: float) -> str:
    """An instant on a time axis: 2.5 s, or 1:05 from a minute on."""
    if abs(seconds) < 60:
        return f"{round(seconds, 3):g}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
