"""Counters of damaged and dropped frames and of reconnections."""

from dataclasses import dataclass


@dataclass(slots=True)
class SourceCounts:
    """Counts what a source lost while it was read.

    Attributes:
        damaged: packets and frames that were damaged or could not be decoded; reading continued after them.
        outliers: frames whose time was far from those before and after; they got times in between.
        dropped: frames dropped because newer frames arrived before they were used.
        stale: frames dropped because they had waited too long.
        reconnects: times that a lost source was opened again.
    """

    damaged: int = 0
    outliers: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
