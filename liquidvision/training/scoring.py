"""Runs heads over many sequences at once, and scores their logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.models.tasks import MULTICLASS
from liquidvision.training.sequences import ClipSequence, collate_sequences

CHUNK_FRAMES = 256  # frames of each row computed at once; the state is carried on


@dataclass(frozen=True, slots=True, eq=False)
class ClipLogits:
    """The logits of one head for one sequence, each (n, classes).

    Attributes:
        memory: the logits with memory.
        frame: the logits of each frame alone.
    """

    memory: Tensor
    frame: Tensor


@torch.inference_mode()
def clip_logits(
    heads: Sequence[LiquidHead], sequences: Sequence[ClipSequence], first_dt: float, *, batch: int = 32
) -> list[list[ClipLogits]]:
    """Compute logits by head and sequence, equal to those of a `Session` frame by frame up to float32 rounding.

    Args:
        heads: heads in eval mode with the same whitening and traces; what precedes the cell is computed once for all.
        sequences: none is empty.
        first_dt: see `Model`.
        batch: sequences side by side.
    """
    done: list[list[ClipLogits]] = [[None] * len(sequences) for _ in heads]  # type: ignore[list-item]
    device = heads[0].mean.device
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for rows in (order[i : i + batch] for i in range(0, len(order), batch)):
        part = collate_sequences([sequences[i] for i in rows], first_dt).to(device)
        state, cells = heads[0].initial(len(rows)), [head.cell.initial(len(rows)) for head in heads]
        memory: list[list[Tensor]] = [[] for _ in heads]
        alone: list[list[Tensor]] = [[] for _ in heads]
        for start in range(0, part.dts.shape[1], CHUNK_FRAMES):
            span = slice(start, start + CHUNK_FRAMES)
            left = (part.lengths - start).clamp(0, len(part.dts[0, span]))
            percept = heads[0].perceive(part.embeddings[:, span], part.dts[:, span], state, left)
            state = percept.state
            for h, head in enumerate(heads):
                out = head.classify(percept, cells[h])
                cells[h] = out.state["cell"]
                memory[h].append(out.logits)
                alone[h].append(out.frame_logits)
        for h in range(len(heads)):
            logits, frame_logits = torch.cat(memory[h], 1).cpu(), torch.cat(alone[h], 1).cpu()
            for row, i in enumerate(rows):
                n = len(sequences[i])
                done[h][i] = ClipLogits(logits[row, :n].clone(), frame_logits[row, :n].clone())
    return done


@dataclass(frozen=True, slots=True)
class LogitScore:
    """How good logits are.

    Attributes:
        loss: mean cross-entropy, over clips where one label holds for each clip, else over frames.
        accuracy: share of clips or frames that are right with memory, 0..1.
        frame_accuracy: the same by each frame alone, 0..1.
    """

    loss: float
    accuracy: float
    frame_accuracy: float


def score_logits(sequences: Sequence[ClipSequence], logits: Sequence[ClipLogits]) -> LogitScore:
    """Score all clips; a clip of one label counts once, by the mean of its frames' logits."""
    losses, right, alone = [], [], []
    for sequence, own in zip(sequences, logits, strict=True):
        memory, frame, targets = judged_logits(sequence, own)
        losses.append(functional.cross_entropy(memory, targets, reduction="none"))
        right.append(MULTICLASS.decide(memory) == targets)
        alone.append(MULTICLASS.decide(frame) == targets)
    return LogitScore(*(float(torch.cat(values).float().mean()) for values in (losses, right, alone)))


def clip_correctness(sequences: Sequence[ClipSequence], logits: Sequence[ClipLogits]) -> Tensor:
    """Return the share of each clip that is right with memory, (clips,): 0 or 1 for a clip of one label."""
    judged = (judged_logits(sequence, own) for sequence, own in zip(sequences, logits, strict=True))
    return torch.stack([(MULTICLASS.decide(memory) == targets).float().mean() for memory, _, targets in judged])


def judged_logits(sequence: ClipSequence, logits: ClipLogits) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits with memory, of each frame alone (n, classes), and labels (n,); n is 1 for a clip of one label."""
    if sequence.whole_clip:
        return logits.memory.mean(0)[None], logits.frame.mean(0)[None], sequence.targets[:1]
    return logits.memory, logits.frame, sequence.targets
