"""Counts one source's predictions into a Summary, in the same way for every command."""

import time
from pathlib import Path

from liquidvision.errors import SourceError
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import ReadWindow, VideoReader


class SummaryBuilder:
    """Builds the Summary of one source while its frames are predicted.

    Args:
        reader: the source; what was damaged, dropped or reconnected is taken from it at the end.
        session: the source's session; repeated frames, steps back of the clock and gaps are taken from it at the end.

        started: `time.perf_counter()` at the start of the work; None: now.

    Attributes:
        summary: the counts so far.
    """

    def __init__(self, reader: VideoReader, session: Session, started: float | None = None) -> None:
        self.summary = Summary()
        self._reader, self._session = reader, session
        self._first: Prediction | None = None
        self._last: Prediction | None = None
        self._started = time.perf_counter() if started is None else started

    def add(self, prediction: Prediction) -> None:
        """Count one more frame."""
        self.summary.count(prediction)
        self._first, self._last = self._first or prediction, prediction

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


def describe_window(window: ReadWindow) -> str:
    """Return a window in words, for a message."""
    if window.stop is None:
        return f"from second {window.start:g} on"
    return f"between {window.start:g} and {window.stop:g} s"
