"""The current label of a stream, its flips, and its runs: stretches of time with one label."""

from collections import deque
from typing import NamedTuple


class LabelRun(NamedTuple):
    """A stretch of time with one label.

    Attributes:
        start, end: seconds on the source's clock. A run ends at the time of the next frame, if there is one.
        label: the number of the class.
    """

    start: float
    end: float
    label: int


class RunTracker:
    """Track the label of one stream.

    A flip is a change of label from one instant to the next. A frame with the same time as the frame before belongs to
    the same instant and is ignored. When the clock steps back, tracking starts over; that is not a flip.

    Args:
        hold_seconds: longest time for which a label holds without a frame. A run reaches to the next frame if that
            comes within this time, and else ends at its last frame. Not the `max_gap` of a session.
        max_runs: how many of the newest runs to keep.

    Attributes:
        label: the current label; None before the first frame.
        time: the time of the last instant, in seconds; None before the first frame.
        flips: changes of the label so far.
        runs: the kept runs, oldest first; the last one is still open.
    """

    def __init__(self, *, hold_seconds: float = 1.0, max_runs: int = 1) -> None:
        self._hold_seconds = hold_seconds
        self.label: int | None = None
        self.time: float | None = None
        self.flips = 0
        self.runs: deque[LabelRun] = deque(maxlen=max_runs)

    def see(self, time: float, label: int) -> bool:
        """Add the label of the next frame, and return whether it is a flip."""
        if self.time is not None and time < self.time:
            self.runs.clear()
            self.label = None
        elif time == self.time:
            return False
        flip = self.label is not None and label != self.label
        self.flips += flip
        self.label, self.time = label, time
        if self.runs and time - self.runs[-1].end <= self._hold_seconds:
            # A label holds until the next frame is shown, so the previous run extends to it.
            self.runs[-1] = self.runs[-1]._replace(end=time)
        if not self.runs or self.runs[-1].end < time or self.runs[-1].label != label:
            self.runs.append(LabelRun(time, time, label))
        return flip

    def forget_before(self, time: float) -> None:
        """Drop the runs that ended before this time."""
        while self.runs and self.runs[0].end < time:
            self.runs.popleft()
