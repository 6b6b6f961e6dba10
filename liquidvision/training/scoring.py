"""What heads say of lessons, many lessons at once, and how good that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.training.sequences import ClipSequence, collate_sequences

CHUNK_FRAMES = 256  # of each row at once; the state is carried on


@dataclass(frozen=True, slots=True, eq=False)
class ClipLogits:
    """What one head says of one lesson: logits (n, classes) with memory, and by each frame alone."""

    memory: Tensor
    frame: Tensor


@torch.inference_mode()
def clip_logits(
    heads: Sequence[LiquidHead], lessons: Sequence[ClipSequence], first_dt: float, *, batch: int = 32
) -> list[list[ClipLogits]]:
    """Verdicts by head and lesson: the same numbers as a `Session` gives frame by frame, to float32's rounding.

    Args:
        heads: of the same statistics, in eval mode; what precedes the cell is computed once for all.
        lessons: what to judge; none is empty.
        first_dt: see `Model`.
        batch: lessons side by side.
    """
    done: list[list[ClipLogits]] = [[None] * len(lessons) for _ in heads]  # type: ignore[list-item]
    device = heads[0].mean.device
    order = sorted(range(len(lessons)), key=lambda i: len(lessons[i]))
    for rows in (order[i : i + batch] for i in range(0, len(order), batch)):
        part = collate_sequences([lessons[i] for i in rows], first_dt).to(device)
        state, cells = heads[0].initial(len(rows)), [head.cell.initial(len(rows)) for head in heads]
        pieces: list[list[Tensor]] = [[] for _ in heads]
        alone: list[list[Tensor]] = [[] for _ in heads]
        for start in range(0, part.dts.shape[1], CHUNK_FRAMES):
            span = slice(start, start + CHUNK_FRAMES)
            left = (part.lengths - start).clamp(0, len(part.dts[0, span]))
            percept = heads[0].perceive(part.embeddings[:, span], part.dts[:, span], state, left)
            state = percept.state
            for h, head in enumerate(heads):
                out = head.classify(percept, cells[h])
                cells[h] = out.state["cell"]
                pieces[h].append(out.logits)
                alone[h].append(out.frame_logits)
        for h in range(len(heads)):
            logits, frame_logits = torch.cat(pieces[h], 1).cpu(), torch.cat(alone[h], 1).cpu()
            for row, i in enumerate(rows):
                n = len(lessons[i])
                done[h][i] = ClipLogits(logits[row, :n].clone(), frame_logits[row, :n].clone())
    return done


@dataclass(frozen=True, slots=True)
class LogitScore:
    """How good verdicts are.

    Attributes:
        loss: mean cross-entropy, of clips where one label holds for a clip, else of frames.
        accuracy: share right with memory, of clips or of frames alike; 0..1.
        frame_accuracy: the same by each frame alone; 0..1.
    """

    loss: float
    accuracy: float
    frame_accuracy: float


def score_logits(lessons: Sequence[ClipSequence], said: Sequence[ClipLogits]) -> LogitScore:
    """A score over all clips: a clip of one label counts by the mean of its frames' logits."""
    losses, right, alone = [], [], []
    for lesson, verdict in zip(lessons, said, strict=True):
        logits, single, targets = judged_frames(lesson, verdict)
        losses.append(functional.cross_entropy(logits, targets, reduction="none"))
        right.append(logits.argmax(-1) == targets)
        alone.append(single.argmax(-1) == targets)
    return LogitScore(*(float(torch.cat(values).float().mean()) for values in (losses, right, alone)))


def clip_correctness(lessons: Sequence[ClipSequence], said: Sequence[ClipLogits]) -> Tensor:
    """For each clip the share of it that is right with memory (clips,): 0 or 1 for a clip of one label."""
    both = (judged_frames(lesson, verdict) for lesson, verdict in zip(lessons, said, strict=True))
    return torch.stack([(logits.argmax(-1) == targets).float().mean() for logits, _, targets in both])


def judged_frames(lesson: ClipSequence, verdict: ClipLogits) -> tuple[Tensor, Tensor, Tensor]:
    """Logits with memory and by each frame alone (n, classes) and labels (n,): of frames, or one of a whole clip."""
    if lesson.whole:
        return verdict.memory.mean(0)[None], verdict.frame.mean(0)[None], lesson.targets[:1]
    return verdict.memory, verdict.frame, lesson.targets
