"""Training of a backward head: the second side of two passes, which sees a recording from its end."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.models.model import share_tensors
from liquidvision.training.optimise import MAX_STATISTICS_FRAMES, sample_excerpts
from liquidvision.training.sequences import ClipSequence, SequenceDataset, collate_sequences


class ReversedDataset(SequenceDataset):
    """The sequences of another dataset from their ends to their beginnings.

    Args:
        forward: the dataset; its sequences are loaded once for both directions.
    """

    def __init__(self, forward: SequenceDataset) -> None:
        super().__init__(forward.dataset, forward.store, forward.views)
        self._forward = forward

    def sequence(self, index: int, view: str) -> ClipSequence:
        """Return one clip in one of its views, reversed."""
        return reverse_sequence(self._forward.sequence(index, view))

    def select(self, names: Sequence[str]) -> "ReversedDataset":
        """Return the reversed sequences of the clips with these names."""
        return ReversedDataset(self._forward.select(names))


def reverse_sequence(sequence: ClipSequence) -> ClipSequence:
    """Return a sequence from its end to its beginning; its times count from 0 at its end."""
    return replace(
        sequence,
        embeddings=sequence.embeddings.flip(0),
        times=(sequence.times[-1] - sequence.times).flip(0),
        targets=sequence.targets.flip(0),
    )


@torch.no_grad()
def make_backward_head(head: LiquidHead, backwards: SequenceDataset, first_dt: float) -> LiquidHead:
    """Return a new backward head for a forward head: new weights, and statistics of its features by reversed clips.

    It shares the forward head's standardisation, whitening and readout of single frames.

    Args:
        head: the forward head; its statistics and its readout of single frames are set.
        backwards: reversed training clips, see `ReversedDataset`.
        first_dt: see `Model`.
    """
    new = LiquidHead(head.config).to(head.mean.device)
    share_tensors(head, new)
    batch = collate_sequences(sample_excerpts(backwards, MAX_STATISTICS_FRAMES), first_dt).to(head.mean.device)
    new.fit_feature_statistics(batch.embeddings, batch.dts, batch.lengths)
    return new
