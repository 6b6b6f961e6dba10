"""Tasks: the one place that turns logits into scores, and scores into decisions."""

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor

from liquidvision.metrics.classification import most_probable


class Task(ABC):
    """What the numbers of a model mean."""

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Return scores (..., classes) of logits (..., classes)."""

    @abstractmethod
    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Return the decided class numbers (...) of scores (..., classes)."""


class Multiclass(Task):
    """Exactly one class holds at each instant: scores are probabilities that sum to 1."""

    def scores(self, logits: Tensor) -> Tensor:
        """Return softmax probabilities (..., classes)."""
        return logits.softmax(-1)

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Return the most probable class (...); the first of equals."""
        return most_probable(scores)


MULTICLASS = Multiclass()
