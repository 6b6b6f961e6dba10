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
        look_ahead: seconds after this frame that the scores or the label may depend on: 0 for a causal prediction,
            infinity if the whole recording was seen.
        causal_scores: (classes,) float32, what `scores` would be without a look ahead; None where they are causal.
        decided: the number of the label where it was decided from the whole recording, see `calm_labels`; None where it
            is the most probable one.
        adapted: whether the memory adapts to the stream, see `Session`.
    """

    index: int
    time: float
    dt: float
    labels: tuple[str, ...]
    scores: np.ndarray
    frame_scores: np.ndarray
    time_constants: np.ndarray | None = None
    hidden_state: np.ndarray | None = None
    look_ahead: float = 0.0
    causal_scores: np.ndarray | None = None
    decided: int | None = None
    adapted: bool = False

    @property
    def causal(self) -> bool:
        """Whether the prediction depends on no frame after this one."""
        return self.look_ahead == 0

    @property
    def label_index(self) -> int:
        """The number of the label: the most probable one, the first of equals, unless `decided` says otherwise."""
        return int(most_probable(self.scores)) if self.decided is None else self.decided

    @property
    def label(self) -> str:
        """The label: the most probable one, unless `decided` says otherwise."""
        return self.labels[self.label_index]

    @property
    def score(self) -> float:
        """The probability of `label`, 0 to 1."""
        return float(self.scores[self.label_index])

    @property
    def frame_label_index(self) -> int:
        """The number of the most probable label from this frame alone; the first one of equals."""
        return int(most_probable(self.frame_scores))

    @property
    def frame_label(self) -> str:
        """The most probable label from this frame alone."""
        return self.labels[self.frame_label_index]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` most probable labels with their probabilities, best first; all of them if there are fewer.

        A label that was `decided` comes first, whatever its probability.
        """
        return top_labels(self.labels, self.scores, k, self.decided)

    def frame_top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` most probable labels from this frame alone with their probabilities, best first."""
        return top_labels(self.labels, self.frame_scores, k)


def top_labels(
    labels: tuple[str, ...], scores: np.ndarray, k: int, first: int | None = None
) -> list[tuple[str, float]]:
    """Return the `k` largest of `scores` (classes,) with their labels, best first; ties keep their order.

    Args:
        labels: names of the classes.
        scores: (classes,).
        k: how many.
        first: the number of a label that comes before all others; None: the one with the largest score.
    """
    order = np.argsort(-scores, kind="stable")
    if first is not None:
        order = np.append(first, order[order != first])
    order = order[:k]
    return [(labels[i], float(scores[i])) for i in order]


def most_probable(scores: np.ndarray) -> np.ndarray:
    """Return the number of the most probable class (...) of scores (..., classes); the first of equals."""
    return scores.argmax(-1)
