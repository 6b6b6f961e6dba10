"""Tasks: the one place that turns logits into scores, and scores into decisions."""

from abc import ABC, abstractmethod
from typing import TypeVar

import numpy as np
from torch import Tensor

from liquidvision.prediction import most_probable

Scores = TypeVar("Scores", np.ndarray, Tensor)


class Task(ABC):
    """What the numbers of a model mean."""

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Return scores (..., classes) of logits (..., classes)."""

    @abstractmethod
    def mix(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the logits (..., classes) of two heads that saw the same frames from both sides, mixed."""

    @abstractmethod
    def decide(self, scores: Scores) -> Scores:
        """Return the decided class numbers (...) of scores or logits (..., classes)."""


class Multiclass(Task):
    """Exactly one class holds at each instant: scores are probabilities that sum to 1."""

    def scores(self, logits: Tensor) -> Tensor:
        """Return softmax probabilities (..., classes)."""
        return logits.softmax(-1)

    def mix(self, one: Tensor, other: Tensor) -> Tensor:
        """Return ½ log p + ½ log q, (..., classes), of the probabilities p and q that the logits stand for."""
        return (one.log_softmax(-1) + other.log_softmax(-1)) / 2

    def decide(self, scores: Scores) -> Scores:
        """Return the most probable class (...)."""
        return scores.argmax(-1) if isinstance(scores, Tensor) else most_probable(scores)


MULTICLASS = Multiclass()
