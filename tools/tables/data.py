"""A set as rows, and windows of row numbers over them: cutting, splitting, and what two parts have in common."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Rows = np.ndarray  # (windows, steps) int64, row numbers
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Series:
    """All rows of a set, and the windows of each part.

    Attributes:
        x: (rows, features) float32.
        y: what each row is to be answered with, (rows,) int64 or (rows, n) float32.
        train, valid, test: (windows, steps) int64, the rows of each window in their order.
    """

    x: Tensor
    y: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor

    def shared(self, one: str, other: str) -> int:
        """Return how many rows of part `one` are rows of part `other` too."""
        mine, theirs = getattr(self, one).unique(), getattr(self, other).unique()
        return int(torch.isin(mine, theirs).sum())


def series(x: np.ndarray, y: np.ndarray, parts: Iterable[Rows]) -> Series:
    """A `Series` of numpy arrays; real-valued answers become (rows, n)."""
    answers = torch.from_numpy(y.astype(np.int64 if np.issubdtype(y.dtype, np.integer) else np.float32))
    if answers.is_floating_point() and answers.ndim == 1:
        answers = answers[:, None]
    return Series(torch.from_numpy(x.astype(np.float32)), answers, *(torch.from_numpy(part) for part in parts))


def cut(starts: Iterable[int], steps: int) -> Rows:
    """Return windows of `steps` rows that begin at `starts`."""
    return np.fromiter(starts, np.int64)[:, None] + np.arange(steps)


def permuted(windows: Rows, seed: int, *, valid: float = 0.1, test: float = 0.15) -> tuple[Rows, Rows, Rows]:
    """Windows dealt at random: the first `valid` of numpy's old permutation, then `test`, the rest for training."""
    order = np.random.RandomState(seed).permutation(len(windows))
    first, second = int(valid * len(windows)), int(test * len(windows))
    return windows[order[first + second :]], windows[order[:first]], windows[order[first : first + second]]


def blocks(rows: int, size: int, seed: int, *, valid: float = 0.1, test: float = 0.15) -> dict[str, list[range]]:
    """Blocks of `size` consecutive rows dealt at random; neighbours of one part are joined to longer runs.

    Returns:
        The runs of each part, in order; together they hold each row once. The last block takes what is left over.
    """
    count = max(1, rows // size)
    order = np.random.RandomState(seed).permutation(count)
    first, second = round(valid * count), round(test * count)
    owner = np.full(count, 0)
    owner[order[:first]], owner[order[first : first + second]] = 1, 2
    runs: dict[str, list[range]] = {part: [] for part in PARTS}
    for block in range(count):
        begin, end = block * size, (block + 1) * size if block + 1 < count else rows
        mine = runs[PARTS[owner[block]]]
        if mine and mine[-1].stop == begin:
            mine[-1] = range(mine[-1].start, end)
        else:
            mine.append(range(begin, end))
    return runs


def inside(runs: Iterable[range], steps: int, stride: int) -> Rows:
    """All windows, `stride` apart, that lie within one run each."""
    return cut((s for run in runs for s in range(run.start, run.stop - steps + 1, stride)), steps)


def standardised(given: Series) -> Series:
    """The same with every feature at mean 0 and deviation 1 over the rows of the training windows; constants at 0."""
    rows = given.x[given.train.unique()].double()
    scale = rows.std(0, correction=0)
    x = (given.x - rows.mean(0)) / torch.where(scale > 1e-8, scale, torch.inf)
    return Series(x.float(), given.y, given.train, given.valid, given.test)
