"""What a head learns from: embedded clips with their times and labels, and batches of them."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from liquidvision.data.dataset import Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.inference.clock import monotonic_times

MAX_MEMORY_BYTES = 2 * 2**30  # embeddings that stay in memory; the rest is read again from the cache


@dataclass(frozen=True, slots=True, eq=False)
class ClipSequence:
    """One clip as a head sees it.

    Attributes:
        name: of the clip.
        embeddings: (n, d) float32.
        times: (n,) float64 seconds, never falling.
        targets: (n,) int64 class of each frame; -1 where nobody said, which is seen and not judged.
        whole: whether one label holds for all of it, so that the clip is judged by the mean of its frames' logits.
    """

    name: str
    embeddings: Tensor
    times: Tensor
    targets: Tensor
    whole: bool

    def __len__(self) -> int:
        return len(self.times)

    def only(self, frames: slice | Tensor) -> "ClipSequence":
        """The same with some of its frames, which keep their own times."""
        return replace(self, embeddings=self.embeddings[frames], times=self.times[frames], targets=self.targets[frames])


class SequenceDataset(Sequence[ClipSequence]):
    """The clips of a dataset as lessons, read from the cache of embeddings and kept in memory while they fit.

    Args:
        dataset: annotated clips; all of them are readable.
        store: their embeddings.
        views: the views that training may choose from; the first is what evaluation sees.
    """

    def __init__(self, dataset: Dataset, store: EmbeddingStore, views: Sequence[str] = ("plain",)) -> None:
        self.dataset, self.store, self.views = dataset, store, tuple(views)
        self._shelf: dict[tuple[int, str], ClipSequence] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.dataset.clips)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # a slice of clips is nobody's wish
        return self.lesson(index, self.views[0])

    def __iter__(self) -> Iterator[ClipSequence]:
        return (self[i] for i in range(len(self)))

    def only(self, names: Sequence[str]) -> "SequenceDataset":
        """The lessons of these clips."""
        part = copy(self)
        part.dataset, part._shelf, part._bytes = self.dataset.only(names), {}, 0
        places = {clip.name: i for i, clip in enumerate(part.dataset.clips)}
        for (_, view), lesson in self._shelf.items():
            if lesson.name in places:
                part._put(places[lesson.name], view, lesson)
        return part

    def in_all_views(self) -> list[ClipSequence]:
        """Every clip in every view, view by view: what is learnt from."""
        return [self.lesson(index, view) for view in self.views for index in range(len(self))]

    def lesson(self, index: int, view: str) -> ClipSequence:
        """One clip in one of its views."""
        if (index, view) in self._shelf:
            return self._shelf[index, view]
        clip = self.dataset.clips[index]
        features = self.store.get(clip.path, view)
        times = features.times
        targets = clip.targets(times, self.dataset.labels, self.dataset.background)
        lesson = ClipSequence(
            clip.name,
            features.embeddings,
            torch.from_numpy(monotonic_times(times)),
            torch.from_numpy(targets),
            whole=clip.label is not None,
        )
        self._put(index, view, lesson)
        return lesson

    def _put(self, index: int, view: str, lesson: ClipSequence) -> None:
        if self._bytes + lesson.embeddings.nbytes <= MAX_MEMORY_BYTES:
            self._shelf[index, view] = lesson
            self._bytes += lesson.embeddings.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatch:
    """Lessons side by side, padded at their ends.

    Attributes:
        embeddings: (rows, steps, d) float32.
        dts: (rows, steps) float32 seconds.
        targets: (rows, steps) int64.
        lengths: (rows,) int64 frames of each row that count.
        whole: (rows,) bool, see `ClipSequence`.
    """

    embeddings: Tensor
    dts: Tensor
    targets: Tensor
    lengths: Tensor
    whole: Tensor

    @property
    def real(self) -> Tensor:
        """(rows, steps) bool, False in the padding."""
        return torch.arange(self.dts.shape[1], device=self.dts.device)[None] < self.lengths[:, None]

    def to(self, device: torch.device) -> "SequenceBatch":
        return SequenceBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def collate_sequences(lessons: Sequence[ClipSequence], first_dt: float) -> SequenceBatch:
    """Lessons of unequal length as one batch; Δt as a `Session` takes it: `first_dt`, then the seconds that passed."""
    lengths = torch.tensor([len(lesson) for lesson in lessons])
    steps, width = int(lengths.max()), lessons[0].embeddings.shape[1]
    batch = SequenceBatch(
        torch.zeros(len(lessons), steps, width),
        torch.zeros(len(lessons), steps),
        torch.zeros(len(lessons), steps, dtype=torch.int64),
        lengths,
        torch.tensor([lesson.whole for lesson in lessons]),
    )
    for row, lesson in enumerate(lessons):
        n = len(lesson)
        batch.embeddings[row, :n] = lesson.embeddings
        batch.dts[row, 0] = first_dt
        batch.dts[row, 1:n] = lesson.times.diff().float()
        batch.targets[row, :n] = lesson.targets
    return batch
