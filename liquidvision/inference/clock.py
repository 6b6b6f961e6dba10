"""The rules for time: seconds per step, gaps, repeated frames and clocks that step back."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from liquidvision.errors import UsageError

GAP_POLICIES = ("decay", "carry", "reset")


@dataclass(frozen=True, slots=True)
class Step:
    """How the memory steps to a frame.

    Attributes:
        dt: seconds to step by, 0 or more.
        reset: whether the memory starts from scratch with this frame.
    """

    dt: float
    reset: bool = False


class Clock:
    """Turn the frame times of one stream into steps of its memory.

    - The first frame steps by `first_dt`.
    - A repeated frame, with the same time as the frame before, steps by 0.
    - When the source's clock steps back, the step is 0 and counting continues from the new time.
    - A step longer than `max_gap` is a gap, handled according to `gap_policy`.

    Args:
        first_dt: elapsed seconds assumed before the first frame.
        max_gap: the longest step, in seconds, that is not a gap.
        gap_policy: "decay" steps by the true seconds, so that the memory forgets according to its time constants;
            "carry" steps by at most `max_gap`, so that the memory survives; "reset" starts the memory from scratch.

    Attributes:
        last_time: time of the last frame in seconds; None before the first.
        repeated: frames with the same time as the frame before.
        backwards: how often the clock stepped back.
        gaps: steps longer than `max_gap`.

    Raises:
        UsageError: `max_gap` is not positive, or the policy is unknown.
    """

    def __init__(self, first_dt: float, *, max_gap: float = 5.0, gap_policy: str = "decay") -> None:
        if not max_gap > 0:
            raise UsageError(f"max_gap is {max_gap}; expected seconds above 0")
        if gap_policy not in GAP_POLICIES:
            raise UsageError(f"gap_policy is {gap_policy!r}; expected one of {', '.join(GAP_POLICIES)}")
        self.first_dt, self.max_gap, self.gap_policy = first_dt, max_gap, gap_policy
        self.repeated = self.backwards = self.gaps = 0
        self.restart()

    def restart(self) -> None:
        """Forget all times; the counts stay."""
        self.last_time: float | None = None
        self._last_duration = 0.0  # seconds for which the last frame is shown, if known
        self._resumed = False  # True until the first frame after `resume`

    def tick(self, time: float, duration: float | None = None) -> Step:
        """Return the step to the next frame.

        Args:
            time: the frame's time, in seconds on the source's clock.
            duration: seconds for which the frame is shown; None if unknown.
        """
        last, resumed = self.last_time, self._resumed
        self._resumed = False
        step = 0.0 if last is None else time - last
        if resumed and step <= 0:
            # The next segment of a recorded feed, whose clock starts again: it follows immediately.
            step = self._last_duration
        self._last_duration = duration if duration is not None else max(step, 0.0) or self._last_duration
        self.last_time = time
        if last is None:
            return Step(self.first_dt)
        if step < 0:
            self.backwards += 1
            return Step(0.0)
        if step == 0:
            self.repeated += 1
        if step > self.max_gap:
            self.gaps += 1
            if self.gap_policy == "carry":
                return Step(self.max_gap)
            if self.gap_policy == "reset":
                return Step(self.first_dt, reset=True)
        return Step(step)

    def copy(self) -> "Clock":
        """Return a clock that continues from here on its own."""
        return copy(self)

    def state(self) -> tuple[float, float]:
        """Return the last frame's time (NaN before the first frame) and its duration, in seconds."""
        return (math.nan if self.last_time is None else self.last_time), self._last_duration

    def resume(self, last_time: float, last_duration: float) -> None:
        """Continue from what `state` returned.

        If the next frame's time is not later than the saved one, it is treated as the start of a new segment that
        directly follows.
        """
        self.last_time = None if math.isnan(last_time) else last_time
        self._last_duration, self._resumed = last_duration, True


def monotonic_times(times: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return frame times as the memory counts them, (n,) float64 seconds that never decrease.

    They begin with the first time. Where the clock steps back, no time passes, and counting continues from there:
    [0, 1, 2, 0, 1, 2] becomes [0, 1, 2, 2, 3, 4].
    """
    times = np.asarray(times, np.float64)
    stepped_back = np.maximum(-np.diff(times, prepend=times[:1]), 0.0)
    return np.maximum.accumulate(times + stepped_back.cumsum())  # without steps back, exactly the times
