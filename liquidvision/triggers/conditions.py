"""Conditions of rules, evaluated from frame to frame: each keeps what it has to remember."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from liquidvision.triggers import rules
from liquidvision.triggers.rules import COMPARISONS, Condition

TIME_TOLERANCE = 1e-9  # seconds, as in intervals
MAX_COUNTED = 10_000  # intervals of a label that `count` remembers


@dataclass(frozen=True, slots=True, eq=False)
class Instant:
    """What is known at one time of a stream.

    Attributes:
        time: seconds on the source's clock.
        silent: seconds since the last frame; 0 at a frame.
        scores: (classes,) of the last frame; None where it is too long ago to say anything.
        holding: when the interval of each label that holds began, by the number of the label.
    """

    time: float
    silent: float
    scores: np.ndarray | None
    holding: Mapping[int, float]


class Watcher(ABC):
    """A condition that remembers."""

    @abstractmethod
    def see(self, instant: Instant) -> bool:
        """Return whether the condition holds now. Called for every instant, in order."""


class ScoreWatcher(Watcher):
    """Compares the score of a label."""

    def __init__(self, condition: rules.Compare, labels: Sequence[str]) -> None:
        self._number, self._value = labels.index(condition.label), condition.value
        self._compare = COMPARISONS[condition.comparison]

    def see(self, instant: Instant) -> bool:
        """Without a score, no comparison holds."""
        return instant.scores is not None and self._compare(float(instant.scores[self._number]), self._value)


class HoldWatcher(Watcher):
    """Sees whether a label holds."""

    def __init__(self, condition: rules.Holds, labels: Sequence[str]) -> None:
        self._number = labels.index(condition.label)

    def see(self, instant: Instant) -> bool:
        """Over a gap, nothing holds."""
        return instant.scores is not None and self._number in instant.holding


class CountWatcher(Watcher):
    """Counts the intervals of a label that began within the last seconds."""

    def __init__(self, condition: rules.CountIn, labels: Sequence[str]) -> None:
        self._number, self._seconds = labels.index(condition.label), condition.seconds
        self._compare, self._value = COMPARISONS[condition.comparison], condition.value
        self._starts: deque[float] = deque(maxlen=MAX_COUNTED)

    def see(self, instant: Instant) -> bool:
        """An interval that continues after a short gap is the same one."""
        start = instant.holding.get(self._number)
        if start is not None and (not self._starts or start > self._starts[-1]):
            self._starts.append(start)
        while self._starts and instant.time - self._starts[0] > self._seconds + TIME_TOLERANCE:
            self._starts.popleft()
        return self._compare(len(self._starts), self._value)


class SilenceWatcher(Watcher):
    """Sees that no frames come."""

    def __init__(self, condition: rules.NoFrames) -> None:
        self._seconds = condition.seconds

    def see(self, instant: Instant) -> bool:
        """False at every frame."""
        return instant.silent >= self._seconds - TIME_TOLERANCE


class DurationWatcher(Watcher):
    """Sees for how long a condition has held without a break."""

    def __init__(self, inner: Watcher, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._since: float | None = None

    def see(self, instant: Instant) -> bool:
        """True from the first instant that is late enough."""
        if not self._inner.see(instant):
            self._since = None
            return False
        self._since = instant.time if self._since is None else self._since
        return instant.time - self._since >= self._seconds - TIME_TOLERANCE


class RecencyWatcher(Watcher):
    """Sees whether a condition held within the last seconds."""

    def __init__(self, inner: Watcher, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._last = -math.inf

    def see(self, instant: Instant) -> bool:
        """True also at the instants at which it holds."""
        if self._inner.see(instant):
            self._last = instant.time
        return instant.time - self._last <= self._seconds + TIME_TOLERANCE


class NotWatcher(Watcher):
    """Turns a condition around."""

    def __init__(self, inner: Watcher) -> None:
        self._inner = inner

    def see(self, instant: Instant) -> bool:
        """True where the condition does not hold."""
        return not self._inner.see(instant)


class GroupWatcher(Watcher):
    """Combines conditions by and, or by or. Each sees every instant."""

    def __init__(self, parts: Sequence[Watcher], *, needs_all: bool) -> None:
        self._parts, self._needs_all = parts, needs_all

    def see(self, instant: Instant) -> bool:
        """Every part is asked, since parts remember."""
        answers = [part.see(instant) for part in self._parts]
        return all(answers) if self._needs_all else any(answers)


def make_watcher(condition: Condition, labels: Sequence[str]) -> Watcher:
    """Return what evaluates a condition of a stream with these labels."""
    match condition:
        case rules.Compare():
            return ScoreWatcher(condition, labels)
        case rules.Holds():
            return HoldWatcher(condition, labels)
        case rules.CountIn():
            return CountWatcher(condition, labels)
        case rules.NoFrames():
            return SilenceWatcher(condition)
        case rules.HoldsFor():
            return DurationWatcher(make_watcher(condition.condition, labels), condition.seconds)
        case rules.HeldWithin():
            return RecencyWatcher(make_watcher(condition.condition, labels), condition.seconds)
        case rules.Not():
            return NotWatcher(make_watcher(condition.condition, labels))
        case rules.AllOf():
            return GroupWatcher([make_watcher(part, labels) for part in condition.conditions], needs_all=True)
        case rules.AnyOf():
            return GroupWatcher([make_watcher(part, labels) for part in condition.conditions], needs_all=False)


def silences(condition: Condition) -> set[float]:
    """Return the seconds without a frame after which a condition may change."""
    match condition:
        case rules.NoFrames():
            return {condition.seconds}
        case rules.HoldsFor() | rules.HeldWithin() | rules.Not():
            return silences(condition.condition)
        case rules.AllOf() | rules.AnyOf():
            return {seconds for part in condition.conditions for seconds in silences(part)}
    return set()
