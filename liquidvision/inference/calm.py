"""The calm timeline: labels of a whole recording without runs that are too short to be true."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.metrics.segments import last_frame_end

SHORTEST_RUN = 0.3  # seconds


def calm_labels(
    labels: Sequence[int] | np.ndarray,
    times: Sequence[float] | np.ndarray,
    read_log_scores: Callable[[int, int], np.ndarray],
    *,
    shortest: float = SHORTEST_RUN,
    breaks: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """Return the labels without runs shorter than `shortest` seconds.

    The shortest run is dissolved first, the earliest of equals: its frames go to the runs beside it, cut where the sum
    of log p_left - log p_right up to the cut is greatest. This repeats until no run is too short, or until one run is
    left. A run lasts until the next one begins; the last one ends after the median step. Takes O(n log n) for n frames
    at a rate that hardly varies.

    Args:
        labels: the number of the most probable class of each frame, (n,).
        times: seconds, (n,), non-decreasing.
        read_log_scores: returns the logarithms of the scores of frames from `start` to `stop`, (stop - start, classes),
            up to a constant for each frame.
        shortest: seconds, 0 or more.
        breaks: frames at which a new part begins, such as after a gap; no frame goes to a run of another part.

    Raises:
        UsageError: `shortest` is negative or not finite.
    """
    if not 0 <= shortest < float("inf"):
        raise UsageError(f"the shortest run is {shortest} s; expected seconds, 0 or more")
    calm, times = np.array(labels, np.int64), np.asarray(times, np.float64)
    edges = [0, *sorted({int(start) for start in breaks} - {0}), len(calm)]
    for start, stop in pairwise(edges):
        if stop > start:
            _Part(calm, times, start, stop, read_log_scores).dissolve(shortest)
    return calm


@dataclass(slots=True)
class _Run:
    """A run of one label: frames from `start` to `stop`, and its neighbours."""

    start: int
    stop: int
    label: int
    before: "_Run | None" = None
    after: "_Run | None" = None
    gone: bool = False


class _Part:
    """A part of a recording without breaks. Its labels are changed in place."""

    def __init__(
        self,
        labels: np.ndarray,
        times: np.ndarray,
        start: int,
        stop: int,
        read_log_scores: Callable[[int, int], np.ndarray],
    ) -> None:
        self._labels, self._read = labels, read_log_scores
        self._times = np.append(times[start:stop], last_frame_end(times[start:stop]))
        self._start = start
        firsts = start + np.flatnonzero(np.append(True, labels[start + 1 : stop] != labels[start : stop - 1]))
        stops = [*firsts[1:].tolist(), stop]
        self._queue: list[tuple[float, int, int, _Run]] = []  # seconds, first frame, frames, run
        last: _Run | None = None
        for first, end in zip(firsts.tolist(), stops, strict=True):
            run = _Run(first, end, int(labels[first]), last)
            if last is not None:
                last.after = run
            last = run
            self._push(run)

    def _push(self, run: _Run) -> None:
        seconds = float(self._times[run.stop - self._start] - self._times[run.start - self._start])
        # Times are rounded sums: runs whose lengths differ only by that are equally long.
        heapq.heappush(self._queue, (round(seconds, 9), run.start, run.stop, run))

    def dissolve(self, shortest: float) -> None:
        """Dissolve runs until none is shorter than `shortest` seconds, or one is left."""
        while self._queue:
            seconds, start, stop, run = heapq.heappop(self._queue)
            if run.gone or (run.start, run.stop) != (start, stop):
                continue  # changed since it was pushed
            if seconds >= shortest or (run.before is None and run.after is None):
                return
            self._dissolve_run(run)

    def _dissolve_run(self, run: _Run) -> None:
        before, after = run.before, run.after
        cut = self._find_cut(run, before, after)
        if before is not None and after is not None and before.label == after.label:
            cut = run.stop
        run.gone = True
        if before is not None:
            self._labels[run.start : cut] = before.label
            before.stop, before.after = cut, after
        if after is not None:
            self._labels[cut : run.stop] = after.label
            after.start, after.before = cut, before
        if before is not None and after is not None and before.label == after.label:
            after.gone = True
            before.stop, before.after = after.stop, after.after
            if after.after is not None:
                after.after.before = before
            after = None
        for changed in (before, after):
            if changed is not None:
                self._push(changed)

    def _find_cut(self, run: _Run, before: _Run | None, after: _Run | None) -> int:
        """Return the frame from which on the frames of a run go to the run after it."""
        if before is None or after is None:
            return run.start if before is None else run.stop
        scores = np.asarray(self._read(run.start, run.stop), np.float64)
        gains = np.append(0.0, (scores[:, before.label] - scores[:, after.label]).cumsum())
        return run.start + int(gains.argmax())
