"""The overlay's memory of one stream: recent labels, flips, and the order of the bars."""

import numpy as np

from liquidvision.inference.runs import RunTracker
from liquidvision.prediction import Prediction, most_probable

MAX_RUNS = 4096  # a 4K picture has fewer columns
UNSURE_LABEL = -1  # label of a run in which the best score is below the threshold


class TimelineSide:
    """One of the two predictions for a stream: with memory, or from each frame alone.

    Attributes:
        shown: the runs to draw; `UNSURE_LABEL` where the best score is below the threshold.
    """

    def __init__(self) -> None:
        self._all = RunTracker()
        self.shown = RunTracker(max_runs=MAX_RUNS)
        self._rows: list[int] = []

    @property
    def flips(self) -> int:
        """Changes of the most probable label, including labels shown as unsure."""
        return self._all.flips

    def see(self, time: float, label: int, score: float, conf: float, seconds: float) -> None:
        """Add the next frame's most probable label and its score; keep the last `seconds`."""
        self._all.see(time, label)
        self.shown.see(time, label if score >= conf else UNSURE_LABEL)
        self.shown.forget_before(time - seconds)

    def arrange_rows(self, scores: np.ndarray, count: int) -> list[int]:
        """Return the `count` best classes in display order. A class keeps its row while it is among the best."""
        if count >= len(scores):
            return list(range(len(scores)))
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:count]]
        kept = [index if index in best else None for index in self._rows[:count]]
        kept += [None] * (count - len(kept))
        new_classes = iter([index for index in best if index not in kept])
        self._rows = [next(new_classes) if index is None else index for index in kept]
        return self._rows


class StreamTimeline:
    """The recent predictions of one stream.

    Attributes:
        memory: predictions with memory; where they look ahead, these.
        alone: predictions from each frame alone.
        causal: predictions with memory that do not look ahead, beside those that do.
    """

    def __init__(self) -> None:
        self.memory, self.alone, self.causal = TimelineSide(), TimelineSide(), TimelineSide()

    def see(self, prediction: Prediction, conf: float, seconds: float) -> None:
        """Add the prediction of the stream's next frame.

        Args:
            prediction: the prediction of the next frame.
            conf: score below which a label is shown as unsure, 0 to 1.
            seconds: length of the history to keep.
        """
        time = prediction.time
        self.memory.see(time, prediction.label_index, prediction.score, conf, seconds)
        self.alone.see(time, prediction.frame_label_index, float(prediction.frame_scores.max()), conf, seconds)
        if prediction.causal_scores is not None:
            causal = prediction.causal_scores
            self.causal.see(time, int(most_probable(causal)), float(causal.max()), conf, seconds)
