"""Predictions: the scores of one stream at the instant of one frame."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The scores of a stream at the instant of one frame.

    Example:
        >>> for frame, prediction in predict("clip.mp4", model):
        ...     print(f"{prediction.time:.2f} s: {prediction.label} {prediction.score:.0%}")

    Attributes:
        index: the frame's number in its source, from 0.
        time: seconds on the source's own clock.
        dt: elapsed seconds that the memory's step to this frame used; 0 for a repeated frame.
        labels: the names of the classes, in the order of `scores`.
        scores: (classes,) float32 probabilities with memory of the frames before; they sum to 1.
        frame_scores: (classes,) float32 probabilities from this frame alone, without memory.
        time_constants: (units,) float32 effective time constants of the cell in seconds; None if it has none.
        hidden_state: (n,) float32 outputs of the recurrent cell; None if there is no cell.
    """

    index: int
    time: float
    dt: float
    labels: tuple[str, ...]
    scores: np.ndarray
    frame_scores: np.ndarray
    time_constants: np.ndarray | None = None
    hidden_state: np.ndarray | None = None

    @property
    def label_index(self) -> int:
        """The number of the most probable label; the first one of equals."""
        return int(most_probable(self.scores))

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[self.label_index]

    @property
    def score(self) -> float:
        """The probability of the most probable label, 0 to 1."""
        return float(self.scores.max())

    @property
    def frame_label_index(self) -> int:
        """The number of the most probable label from this frame alone; the first one of equals."""
        return int(most_probable(self.frame_scores))

    @property
    def frame_label(self) -> str:
        """The most probable label from this frame alone."""
        return self.labels[self.frame_label_index]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` most probable labels with their probabilities, best first; all of them if there are fewer."""
        return top_labels(self.labels, self.scores, k)

    def frame_top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` most probable labels from this frame alone with their probabilities, best first."""
        return top_labels(self.labels, self.frame_scores, k)


def top_labels(labels: tuple[str, ...], scores: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Return the `k` largest of `scores` (classes,) with their labels, best first; ties keep their order."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [(labels[i], float(scores[i])) for i in order]


def most_probable(scores: np.ndarray) -> np.ndarray:
    """Return the number of the most probable class (...) of scores (..., classes); the first of equals."""
    return scores.argmax(-1)
