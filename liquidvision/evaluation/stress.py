"""Stress tests: the clips of a dataset as a stream would show them, after another clip, at other rates, with gaps."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from liquidvision.training.optimise import drop_frames, join_after
from liquidvision.training.sequences import ClipSequence

StressTest = Callable[[Sequence[ClipSequence]], list[ClipSequence]]
MAX_STRIDE = 8  # frames from one to the next at irregular rates


def with_dropped_frames(
    sequences: Sequence[ClipSequence], share: float, *, keep_first: bool = False
) -> list[ClipSequence]:
    """Return the clips without a random share of their frames.

    Args:
        sequences: whole clips.
        share: share of the frames that is left out.
        keep_first: whether each clip keeps its first frame. Traces assume that the first frame has been on screen
            forever; a clip that begins later lacks that baseline too, which is a different loss from that of a gap.
    """
    return [drop_frames(sequence, share, keep_first=keep_first) for sequence in sequences]


def after_other_clips(
    sequences: Sequence[ClipSequence], share: float = 0.0, *, keep_first: bool = False
) -> list[ClipSequence]:
    """Return each clip appended to the whole of another one, in random order, as in a stream without resets.

    Args:
        sequences: whole clips.
        share: share of the frames of both that is left out.
        keep_first: see `with_dropped_frames`.
    """
    order = torch.randperm(len(sequences)).tolist()
    before = dict(zip(order, [order[-1], *order[:-1]], strict=True))
    if not share:
        return [join_after(sequences[before[i]], sequence) for i, sequence in enumerate(sequences)]
    return [
        join_after(drop_frames(sequences[before[i]], share), drop_frames(sequence, share, keep_first=keep_first))
        for i, sequence in enumerate(sequences)
    ]


def with_every_nth_frame(sequences: Sequence[ClipSequence], n: int) -> list[ClipSequence]:
    """Return every nth frame of the clips, from the first on: the same clips at a lower rate."""
    return [sequence.select(slice(None, None, n)) for sequence in sequences]


def with_irregular_frames(sequences: Sequence[ClipSequence]) -> list[ClipSequence]:
    """Return frames of the clips with random strides of 1 to `MAX_STRIDE` frames from one to the next."""
    kept = []
    for sequence in sequences:
        places = torch.randint(1, MAX_STRIDE + 1, (len(sequence),)).cumsum(0) - 1
        places = places[places < len(sequence)]
        kept.append(sequence.select(places if len(places) else slice(0, 1)))
    return kept


def stress_tests(*, keep_first: bool = False) -> Mapping[str, StressTest]:
    """Return all stress tests of clips of one label by name, see `STRESS_TITLES`."""
    tests: dict[str, StressTest] = {}
    for name, share in (("dropped_50", 0.5), ("dropped", 0.75), ("dropped_90", 0.9)):
        tests[name] = partial(with_dropped_frames, share=share, keep_first=keep_first)
    for name, share in (("after", 0.0), ("after_50", 0.5), ("after_75", 0.75), ("after_90", 0.9)):
        tests[name] = partial(after_other_clips, share=share, keep_first=keep_first)
    for n in (2, 4, 8):
        tests[f"every_{n}"] = partial(with_every_nth_frame, n=n)
    return {**tests, "irregular": with_irregular_frames}


STRESS_TITLES = {
    "dropped_50": "50 % dropped",
    "dropped": "75 % dropped",
    "dropped_90": "90 % dropped",
    "after": "after another clip",
    "after_50": "after another, 50 % dropped",
    "after_75": "after another, 75 % dropped",
    "after_90": "after another, 90 % dropped",
    "every_2": "every 2nd frame",
    "every_4": "every 4th frame",
    "every_8": "every 8th frame",
    "irregular": "irregular rate",
}
