"""The summary of a run of inference: frames, flips, labels, intervals, and irregularities of the source."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from liquidvision.annotation.interval import Interval
from liquidvision.inference.runs import RunTracker
from liquidvision.prediction import Prediction


@dataclass(slots=True)
class LabelIntervals:
    """What a label's intervals add up to. In behavioural science: bouts, their time budget, and the latency.

    Attributes:
        count: number of intervals (bouts).
        seconds: their total duration; divided by `Summary.media_seconds` it is the time budget.
        latency: seconds from the first frame to the start of the first interval.
    """

    count: int = 0
    seconds: float = 0.0
    latency: float = math.inf

    @property
    def mean_seconds(self) -> float:
        """The mean duration; 0 without intervals."""
        return self.seconds / self.count if self.count else 0.0


@dataclass(slots=True)
class Summary:
    """Counts and outputs of one source, returned by `infer`.

    Attributes:
        frames: frames predicted.
        media_seconds: seconds from the first frame's time to the last frame's.
        wall_seconds: duration of the run in seconds.
        flips: changes of the most probable label from one instant to the next, with memory.
        frame_flips: the same from each frame alone.
        label_frames: for each label, the number of frames on which it was the most probable.
        events: for each rule of `infer --on`, the number of events.
        intervals: for each label that has intervals, what they add up to.
        repeated: frames with the same time as the frame before; they do not step the memory.
        backwards: how often the source's clock stepped back.
        gaps: steps longer than the session's `max_gap`.
        damaged: packets and frames that were damaged or could not be decoded.
        outliers: frames whose time was far from those before and after; they got times in between.
        dropped: frames of a live source that were dropped because newer ones arrived before they were used.
        stale: frames of a live source that were dropped because they had waited longer than `max_staleness`.
        reconnects: how often a lost source was opened again.
        skipped: frames that were not embedded, since they add nothing new (with `adaptive`).
        adapted: whether the memory adapted to the source.
        interrupted: whether Ctrl-C ended the run.
        outputs: the files and folders written.
        notes: one line for each part of the source that an output could not keep.
    """

    frames: int = 0
    media_seconds: float = 0.0
    wall_seconds: float = 0.0
    flips: int = 0
    frame_flips: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, LabelIntervals] = field(default_factory=dict)
    repeated: int = 0
    backwards: int = 0
    gaps: int = 0
    damaged: int = 0
    outliers: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
    skipped: int = 0
    adapted: bool = False
    interrupted: bool = False
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    _with_memory: RunTracker = field(default_factory=RunTracker, repr=False, compare=False)
    _frame_alone: RunTracker = field(default_factory=RunTracker, repr=False, compare=False)

    def count(self, prediction: Prediction) -> None:
        """Add the prediction of the next frame to the counts."""
        self.frames += 1
        self.adapted |= prediction.adapted
        self.label_frames[prediction.label] = self.label_frames.get(prediction.label, 0) + 1
        self.flips += self._with_memory.see(prediction.time, prediction.label_index)
        self.frame_flips += self._frame_alone.see(prediction.time, prediction.frame_label_index)

    def count_interval(self, interval: Interval, began: float) -> None:
        """Add an interval to the counts.

        Args:
            interval: it does not change any more.
            began: when the first frame came, on the same clock.
        """
        own = self.intervals.setdefault(interval.label, LabelIntervals())
        own.count += 1
        own.seconds += interval.duration
        own.latency = min(own.latency, max(0.0, interval.start - began))
