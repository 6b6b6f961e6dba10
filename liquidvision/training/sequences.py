"""The sequences that heads are trained on: embedded clips with their times and labels, and batches of them."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from liquidvision.data.dataset import Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.inference.clock import monotonic_times

MAX_MEMORY_BYTES = 2 * 2**30  # embeddings kept in memory; the rest is read from the cache each time
UNLABELLED = -1  # target of frames that a head sees and is not judged by


@dataclass(frozen=True, slots=True, eq=False)
class ClipSequence:
    """One clip as a head sees it.

    Attributes:
        name: the clip's name.
        embeddings: (n, d) float32.
        times: (n,) float64 seconds, non-decreasing.
        targets: (n,) int64 class of each frame, or `UNLABELLED`.
        whole_clip: whether one label holds for the whole clip, which is then judged by the mean of its frames' logits.
    """

    name: str
    embeddings: Tensor
    times: Tensor
    targets: Tensor
    whole_clip: bool

    def __len__(self) -> int:
        return len(self.times)

    def select(self, frames: slice | Tensor) -> "ClipSequence":
        """Return the sequence with some of its frames, which keep their times."""
        return replace(self, embeddings=self.embeddings[frames], times=self.times[frames], targets=self.targets[frames])


class SequenceDataset(Sequence[ClipSequence]):
    """The clips of a dataset as sequences, read from the cache of embeddings and kept in memory while they fit.

    Args:
        dataset: annotated clips, all readable.
        store: their embeddings.
        views: the views that training chooses from; evaluation uses the first.
    """

    def __init__(self, dataset: Dataset, store: EmbeddingStore, views: Sequence[str] = ("plain",)) -> None:
        self.dataset, self.store, self.views = dataset, store, tuple(views)
        self._loaded: dict[tuple[int, str], ClipSequence] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.dataset.clips)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # slices are not supported
        return self.sequence(index, self.views[0])

    def __iter__(self) -> Iterator[ClipSequence]:
        return (self[i] for i in range(len(self)))

    def select(self, names: Sequence[str]) -> "SequenceDataset":
        """Return the sequences of the clips with these names."""
        part = copy(self)
        part.dataset, part._loaded, part._bytes = self.dataset.select(names), {}, 0
        places = {clip.name: i for i, clip in enumerate(part.dataset.clips)}
        for (_, view), sequence in self._loaded.items():
            if sequence.name in places:
                part._keep(places[sequence.name], view, sequence)
        return part

    def all_views(self) -> list[ClipSequence]:
        """Return every clip in every view, view by view."""
        return [self.sequence(index, view) for view in self.views for index in range(len(self))]

    def sequence(self, index: int, view: str) -> ClipSequence:
        """Return one clip in one of its views."""
        if (index, view) in self._loaded:
            return self._loaded[index, view]
        clip = self.dataset.clips[index]
        embedded = self.store.get(clip.path, view)
        times = embedded.times
        targets = clip.targets(times, self.dataset.labels, self.dataset.background)
        sequence = ClipSequence(
            clip.name,
            embedded.embeddings,
            torch.from_numpy(monotonic_times(times)),
            torch.from_numpy(targets),
            whole_clip=clip.label is not None,
        )
        self._keep(index, view, sequence)
        return sequence

    def _keep(self, index: int, view: str, sequence: ClipSequence) -> None:
        if self._bytes + sequence.embeddings.nbytes <= MAX_MEMORY_BYTES:
            self._loaded[index, view] = sequence
            self._bytes += sequence.embeddings.nbytes


class EveryNthFrame(SequenceDataset):
    """Every nth frame of the clips of another dataset, from the first on: the same clips at a lower rate.

    Args:
        whole: the clips with all frames.
        n: frames from one to the next.
    """

    def __init__(self, whole: SequenceDataset, n: int) -> None:
        super().__init__(whole.dataset, whole.store, whole.views)
        self.whole, self.n = whole, n

    def select(self, names: Sequence[str]) -> "EveryNthFrame":
        return EveryNthFrame(self.whole.select(names), self.n)

    def sequence(self, index: int, view: str) -> ClipSequence:
        return self.whole.sequence(index, view).select(slice(None, None, self.n))


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatch:
    """Sequences side by side, padded at their ends.

    Attributes:
        embeddings: (rows, steps, d) float32.
        dts: (rows, steps) float32 seconds.
        targets: (rows, steps) int64.
        lengths: (rows,) int64 number of frames of each row; the rest is padding.
        whole_clip: (rows,) bool, see `ClipSequence`.
    """

    embeddings: Tensor
    dts: Tensor
    targets: Tensor
    lengths: Tensor
    whole_clip: Tensor

    @property
    def real(self) -> Tensor:
        """(rows, steps) bool, False in the padding."""
        return torch.arange(self.dts.shape[1], device=self.dts.device)[None] < self.lengths[:, None]

    def to(self, device: torch.device) -> "SequenceBatch":
        return SequenceBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def collate_sequences(sequences: Sequence[ClipSequence], first_dt: float) -> SequenceBatch:
    """Pad sequences to one batch. Δt is as in a `Session`: `first_dt` at first, then the elapsed seconds."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    steps, width = int(lengths.max()), sequences[0].embeddings.shape[1]
    batch = SequenceBatch(
        torch.zeros(len(sequences), steps, width),
        torch.zeros(len(sequences), steps),
        torch.zeros(len(sequences), steps, dtype=torch.int64),
        lengths,
        torch.tensor([sequence.whole_clip for sequence in sequences]),
    )
    for row, sequence in enumerate(sequences):
        n = len(sequence)
        batch.embeddings[row, :n] = sequence.embeddings
        batch.dts[row, 0] = first_dt
        batch.dts[row, 1:n] = sequence.times.diff().float()
        batch.targets[row, :n] = sequence.targets
    return batch
