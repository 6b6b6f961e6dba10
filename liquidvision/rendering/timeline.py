"""What the overlay remembers of one stream: recent labels, flips, and the order of its bars."""

import numpy as np

from liquidvision.inference.runs import RunTracker
from liquidvision.prediction import Prediction

MAX_RUNS = 4096  # more runs than columns of a 4K picture cannot be distinguished
UNSURE_LABEL = -1  # label of a run in which the best score is below the threshold


class TimelineSide:
    """One of the two answers for a stream, with memory or by each frame alone.

    Attributes:
        shown: the runs to draw; `UNSURE_LABEL` where the best score is below the threshold.
    """

    def __init__(self) -> None:
        self._decided = RunTracker()
        self.shown = RunTracker(max_runs=MAX_RUNS)
        self._rows: list[int] = []

    @property
    def flips(self) -> int:
        """Changes of the most probable label, whether it was shown as sure or not."""
        return self._decided.flips

    def see(self, time: float, label: int, score: float, conf: float, seconds: float) -> None:
        """Take in the next frame's most probable label and its score; keep the last `seconds`."""
        self._decided.see(time, label)
        self.shown.see(time, label if score >= conf else UNSURE_LABEL)
        self.shown.forget_before(time - seconds)

    def arrange_rows(self, scores: np.ndarray, count: int) -> list[int]:
        """Return the `count` best classes; a class that was there before keeps its row, so that rows do not jump."""
        if count >= len(scores):
            return list(range(len(scores)))
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:count]]
        kept = [index if index in best else None for index in self._rows[:count]]
        kept += [None] * (count - len(kept))
        newcomers = iter([index for index in best if index not in kept])
        self._rows = [next(newcomers) if index is None else index for index in kept]
        return self._rows


class StreamTimeline:
    """What an overlay remembers of one stream.

    Attributes:
        memory, alone: the two answers.
    """

    def __init__(self) -> None:
        self.memory, self.alone = TimelineSide(), TimelineSide()

    def see(self, prediction: Prediction, conf: float, seconds: float) -> None:
        """Take in the next prediction.

        Args:
            prediction: of the stream's next frame.
            conf: the threshold below which a label is unsure, 0 to 1.
            seconds: how much of the past to keep.
        """
        time = prediction.time
        self.memory.see(time, prediction.label_index, prediction.score, conf, seconds)
        self.alone.see(time, prediction.frame_label_index, float(prediction.frame_scores.max()), conf, seconds)
