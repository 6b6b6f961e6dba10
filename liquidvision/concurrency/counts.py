"""Counters of what happened to a source's frames on the way."""

from dataclasses import dataclass


@dataclass(slots=True)
class SourceCounts:
    """What happened to a source's frames on the way.

    Attributes:
        damaged: packets and pictures that were damaged or could not be decoded; reading went on after them.
        dropped: frames left out because later ones came before there was time for them.
        stale: frames left out because they had waited too long.
        reconnects: times that a lost source was opened again.
    """

    damaged: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
