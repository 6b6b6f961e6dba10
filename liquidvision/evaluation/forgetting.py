"""How fast a memory forgets, in seconds, at several frame rates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liquidvision.models.heads.liquid_head import LiquidHead, Percept
from liquidvision.training.sequences import ClipSequence, collate_sequences

STRIDES = (1, 2, 4, 8)  # frames from one to the next
SECONDS = (0.25, 0.5, 1.0, 2.0)  # after the disturbance
MIN_FRAMES = 3  # before the disturbance
LEAST = 1e-6  # what is left is not distinguished from this
MAX_CLIPS = 40  # that are disturbed, about


@torch.inference_mode()
def forgetting_curves(
    heads: Mapping[str, LiquidHead], sequences: Sequence[ClipSequence], first_dt: float
) -> dict[str, list[list[float | None]]]:
    """Return how much of a disturbance of the state is left after some seconds, at several frame rates.

    At a third of each clip the cell's state is replaced by that of another clip at the same moment; both streams then
    see the same frames. What is left is the distance of the cell's outputs from the undisturbed ones, relative to that
    right before: 1 at first, 0 when the other clip is forgotten. A memory in seconds has the same curve at all rates.

    Args:
        heads: heads with the same statistics, by name; those whose cell has no state are left out.
        sequences: clips of more than one scene.
        first_dt: see `Model`.

    Returns:
        By head: for each of `STRIDES` and each of `SECONDS` the median over clips; None where no clip is long enough.
    """
    own = {name: head for name, head in heads.items() if head.cell.state_size}
    if not own:
        return {}
    first = next(iter(own.values()))
    some = sequences[:: max(1, len(sequences) // MAX_CLIPS)]
    curves: dict[str, list[list[float | None]]] = {name: [] for name in own}
    for stride in STRIDES:
        clips = [sequence.select(slice(None, None, stride)) for sequence in some]
        clips = [clip for clip in clips if len(clip) >= 3 * MIN_FRAMES]
        percepts = [_perceive(first, clip, first_dt) for clip in clips]
        for name, head in own.items():
            parts = [_run_begin(head, percept) for percept in percepts]
            left = [
                _what_is_left(head, clip, percept, part, other)
                for clip, percept, part, other in zip(clips, percepts, parts, [*parts[1:], *parts[:1]], strict=True)
            ]
            curves[name].append([_median([row[i] for row in left]) for i in range(len(SECONDS))])
    return curves


def _perceive(head: LiquidHead, sequence: ClipSequence, first_dt: float) -> Percept:
    batch = collate_sequences([sequence], first_dt).to(head.mean.device)
    return head.perceive(batch.embeddings, batch.dts)


def _begin(percept: Percept) -> int:
    """Return the number of frames before the disturbance."""
    return percept.dt.shape[1] // 3


def _run_begin(head: LiquidHead, percept: Percept) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cell's inputs of a whole clip (1, steps, n), and its last output and state before the disturbance."""
    inputs = head.normalise(head.project(percept.features))
    outputs, state = head.cell(inputs[:, : _begin(percept)], percept.dt[:, : _begin(percept)])
    return inputs, outputs[0, -1], state


def _what_is_left(
    head: LiquidHead,
    sequence: ClipSequence,
    percept: Percept,
    own: tuple[Tensor, Tensor, Tensor],
    other: tuple[Tensor, Tensor, Tensor],
) -> list[float | None]:
    """Return the distance that is left after each of `SECONDS`; None where the clip has ended before.

    Args:
        head, sequence, percept: the head and the clip.
        own, other: what `_run_begin` returned for this clip and for the one whose state is put in its place.
    """
    begin, (inputs, output, state), (_, strange, disturbed) = _begin(percept), own, other
    dt = percept.dt[:, begin:].expand(2, -1)
    outputs, _ = head.cell(inputs[:, begin:].expand(2, -1, -1), dt, torch.cat([state, disturbed]))
    before = (output - strange).norm().clamp_min(1e-9)
    distance = ((outputs[0] - outputs[1]).norm(dim=-1) / before).clamp_min(LEAST).log().tolist()
    seconds = (sequence.times[begin:] - sequence.times[begin - 1]).tolist()
    values = np.exp(np.interp(SECONDS, [0.0, *seconds], [0.0, *distance]))  # memories fade exponentially
    return [float(value) if seconds[-1] >= after else None for value, after in zip(values, SECONDS, strict=True)]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def average_curves(folds: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float | None]]]:
    """Return the mean over folds of what `forgetting_curves` returned for each."""
    names = dict.fromkeys(name for fold in folds for name in fold)
    averages = {}
    for name in names:
        values = np.array([fold[name] for fold in folds if name in fold], dtype=np.float64)  # None becomes NaN
        known = np.isfinite(values)
        sums, counts = np.where(known, values, 0.0).sum(0), known.sum(0)
        averages[name] = [
            [float(total / n) if n else None for total, n in zip(*rows, strict=True)]
            for rows in zip(sums, counts, strict=True)
        ]
    return averages
