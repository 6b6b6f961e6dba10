"""Counts one source's predictions and intervals into a Summary, in the same way for every command."""

import os
import time
from pathlib import Path

from liquidvision.annotation.interval import Interval
from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.errors import SourceError
from liquidvision.inference.intervals import IntervalTracker
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame
from liquidvision.video.read.reader import ReadWindow, VideoReader


class SummaryBuilder:
    """Builds the Summary of one source while its frames are predicted.

    Args:
        reader: the source; what was damaged, dropped or reconnected is taken from it at the end.
        session: the source's session; repeated frames, steps back of the clock and gaps are taken from it at the end.

        started: `time.perf_counter()` at the start of the work; None: now.
        rule: how scores become intervals. None: the model's rule.

    Attributes:
        summary: the counts so far.
        tracker: makes the intervals; continues with the unfinished ones of the session.
    """

    def __init__(
        self, reader: VideoReader, session: Session, started: float | None = None, rule: IntervalRule | None = None
    ) -> None:
        self.summary = Summary()
        self.tracker = IntervalTracker(
            session.model.labels,
            rule or session.model.interval_rule,
            max_gap=session.clock.max_gap,
            file=describe_recording(reader),
            origin=float(reader.start_time),
        )
        if session.unfinished_intervals is not None:
            self.tracker.resume(session.unfinished_intervals)
            session.unfinished_intervals = None
        self._reader, self._session = reader, session
        self._first: Prediction | None = None
        self._last: Prediction | None = None
        self._started = time.perf_counter() if started is None else started

    def add(self, prediction: Prediction, frame: Frame | None = None) -> list[Interval]:
        """Count one more frame, and return the intervals that can no longer change."""
        self.summary.count(prediction)
        self._first, self._last = self._first or prediction, prediction
        return self._count_intervals(self.tracker.push(prediction, None if frame is None else frame.duration_seconds))

    def close_intervals(self, *, continues: bool = False) -> list[Interval]:
        """End the intervals with the last frame, and return those that remain.

        Args:
            continues: leave them unfinished in the session instead, for the next run.
        """
        if continues:
            self._session.unfinished_intervals = self.tracker.state()
            return []
        return self._count_intervals(self.tracker.close())

    def _count_intervals(self, done: list[Interval]) -> list[Interval]:
        began = 0.0 if self._first is None else self._first.time - self.tracker.origin
        for interval in done:
            self.summary.count_interval(interval, began)
        return done

    def require_frames(self) -> None:
        """Raise an error if no frame was counted: KeyboardInterrupt after Ctrl-C, else SourceError."""
        if self._last is None and self.summary.interrupted:
            raise KeyboardInterrupt  # there is nothing to finish
        if self._last is None:
            raise SourceError(f"{self._reader.info.name} has no frame {describe_window(self._reader.window)}")

    def finish(self, outputs: list[Path]) -> Summary:
        """Return the summary, with what the reader and the session counted and the outputs that were written."""
        summary = self.summary
        for name in ("damaged", "outliers", "dropped", "stale", "reconnects"):
            setattr(summary, name, getattr(self._reader.counts, name))
        for name in ("repeated", "backwards", "gaps"):
            setattr(summary, name, getattr(self._session, name))
        if self._first is not None and self._last is not None:
            summary.media_seconds = self._last.time - self._first.time
        summary.outputs, summary.wall_seconds = outputs, time.perf_counter() - self._started
        return summary


def describe_recording(reader: VideoReader) -> str:
    """Return the absolute path of a file, or the name of a stream; it never contains a password."""
    return reader.info.name if reader.path is None else os.path.abspath(reader.path)


def describe_window(window: ReadWindow) -> str:
    """Return a window in words, for a message."""
    if window.stop is None:
        return f"from second {window.start:g} on"
    return f"between {window.start:g} and {window.stop:g} s"
