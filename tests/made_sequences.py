"""Made-up sequences of two classes, and small heads for them."""

from collections.abc import Sequence

import torch

from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.training.sequences import ClipSequence

WIDTH = 12


class SequenceList(list[ClipSequence]):
    """Sequences in memory, with the views of a `SequenceDataset`."""

    views = ("plain",)

    def sequence(self, index: int, view: str) -> ClipSequence:
        return self[index]


def rising_and_falling(
    count: int, *, steps: Sequence[int] = (12,), changes: bool = False, seed: int = 0
) -> SequenceList:
    """Clips of two classes that no single frame distinguishes: a number rises in class 1 and falls in class 0.

    Keywords: steps, the clips' lengths in turn; changes, whether the class changes in the middle of each clip.
    """
    random = torch.Generator().manual_seed(seed)
    sequences = SequenceList()
    for i in range(count):
        n, label = steps[i % len(steps)], i % 2
        dts = 0.05 + 0.1 * torch.rand(n, generator=random, dtype=torch.float64)
        times = dts.cumsum(0)
        targets = torch.full((n,), label)
        if changes:
            targets[n // 2 :] = 1 - label
        slope = (2.0 * targets - 1.0) * dts.float() * 3
        embeddings = 0.1 * torch.randn(n, WIDTH, generator=random)
        embeddings[:, 0] += slope.cumsum(0) + 6 * torch.randn((), generator=random)
        sequences.append(ClipSequence(f"clip{i}", embeddings, times, targets, whole_clip=not changes))
    return sequences


def tiny_head(*, seed: int = 0, cell: str = "gated", classes: int = 2, **options) -> LiquidHead:
    """A small head for `rising_and_falling`."""
    torch.manual_seed(seed)
    settings = {"components": 4, "taus": (0.2, 1.0), "width": 8, "units": 6, "cell": cell} | options
    return LiquidHead(LiquidHeadConfig((Layout(4, 1), Layout(2, 4)), classes, **settings))
