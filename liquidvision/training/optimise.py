"""Trains heads on lessons: one, or many side by side that share the statistics and all that precedes the cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from liquidvision.models.heads.base import HeadOutput
from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import ClipSequence, SequenceBatch, SequenceDataset, collate_sequences

STATISTICS_FRAMES = 20_000  # enough for means and axes
SHORTEST_RUN = 64  # frames of a clip that tell something of its traces
EARLIER = 3.0  # seconds of another clip, at most, that come before one in training: about as long as traces remember


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A run of frames of one clip that is learnt by itself."""

    clip: int
    start: int
    stop: int


def fit_statistics(heads: Sequence[LiquidHead], lessons: SequenceDataset, first_dt: float) -> None:
    """Set the statistics of `heads`, all alike, from runs of frames spread evenly over clips and their lengths."""
    batch = collate_sequences(cut_excerpt(lessons, STATISTICS_FRAMES), first_dt).to(device_of(heads))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the axes are found by random projection
        heads[0].fit_statistics(batch.embeddings, batch.dts, batch.lengths)
    for head in heads[1:]:
        for own, first in zip(head.buffers(), heads[0].buffers(), strict=True):
            own.copy_(first)


def cut_excerpt(lessons: SequenceDataset, frames: int) -> list[ClipSequence]:
    """Clips whole while that makes no more than about so many frames; else as long a run of each as there is room for.

    Of very many clips only some, evenly spread.
    """
    step = math.ceil(len(lessons) * SHORTEST_RUN / frames)
    some = [lessons[i] for i in range(0, len(lessons), step)]
    longest, left = 0, frames
    for place, length in enumerate(sorted(len(lesson) for lesson in some)):
        longest = left // (len(some) - place)
        if length > longest:
            break
        left -= length
        longest = length
    starts = np.random.default_rng(0).random(len(some))
    return [
        lesson.only(slice(start := round(share * max(0, len(lesson) - longest)), start + longest))
        for lesson, share in zip(some, starts, strict=True)
    ]


class EpochLoop:
    """The training of one head or several, epoch by epoch; everything random comes from torch's generator.

    Args:
        heads: in training together: the same batches, noise and frames left out. They have the same
            statistics, and time constants of the traces that are not learnt where there are several.
        lessons: what they learn from; all views of it.
        recipe: the numbers.
        first_dt: see `Model`.
    """

    def __init__(
        self, heads: Sequence[LiquidHead], lessons: SequenceDataset, recipe: Recipe, *, first_dt: float
    ) -> None:
        self.heads, self.lessons, self.recipe, self.first_dt = list(heads), lessons, recipe, first_dt
        self.device = device_of(heads)
        self.lengths = [len(lesson) for lesson in lessons]
        self.weights = class_weights(lessons, heads[0].config.classes, recipe.balance).to(self.device)
        parameters = [p for head in heads for p in head.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        batches = math.ceil(sum(math.ceil(n / recipe.passage) for n in self.lengths) / recipe.batch)
        steps = max(3, recipe.epochs * batches + 1)  # fewer have no way up and down, and one follows the last batch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.learning_rate, total_steps=steps, pct_start=max(recipe.warm_up, 2 / steps)
        )

    def epoch(self) -> list[float]:
        """See every clip once; the mean loss of each head."""
        for head in self.heads:
            head.train()
        total, batches = torch.zeros(len(self.heads)), self.batches()
        for passages in batches:
            total += self.learn(self.batch_of(passages))
            self.schedule.step()
        for head in self.heads:
            head.eval()
        return (total / len(batches)).tolist()

    def batches(self) -> list[list[Excerpt]]:
        """Every clip's passages in random order, those of about one length together."""
        size, most = self.recipe.batch, self.recipe.passage
        passages = []
        for clip, n in enumerate(self.lengths):
            count = math.ceil(n / most)
            edges = [n * i // count for i in range(count + 1)]
            if count > 1:  # cut elsewhere in every epoch
                shift = int(torch.randint(-(n // count // 2), n // count // 2 + 1, ()))
                edges = [0, *(edge + shift for edge in edges[1:-1]), n]
            passages += [Excerpt(clip, a, b) for a, b in pairwise(edges)]
        shuffled = [passages[i] for i in torch.randperm(len(passages)).tolist()]
        if len({p.stop - p.start for p in passages}) > 1:
            reach = 8 * size
            pools = [shuffled[i : i + reach] for i in range(0, len(shuffled), reach)]
            shuffled = [p for pool in pools for p in sorted(pool, key=lambda p: p.stop - p.start)]
        groups = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
        return [groups[i] for i in torch.randperm(len(groups)).tolist()]

    def batch_of(self, passages: Sequence[Excerpt]) -> SequenceBatch:
        """Lessons of a batch: each in a random view, some frames left out; some after the end of another."""
        lessons, recipe = [], self.recipe
        for passage in passages:
            view = self.lessons.views[int(torch.randint(len(self.lessons.views), ()))]
            lesson = self.lessons.lesson(passage.clip, view).only(slice(passage.start, passage.stop))
            share = float(torch.rand(())) * recipe.most_dropped
            lesson = drop_frames(lesson, share)
            if lesson.whole and recipe.preceded and torch.rand(()) < recipe.preceded:
                other = self.lessons.lesson(int(torch.randint(len(self.lessons), ())), view)
                end = other.only(other.times >= other.times[-1] - EARLIER * float(torch.rand(())))
                lesson = join_after(drop_frames(end, share), lesson)
            lessons.append(lesson)
        return collate_sequences(lessons, self.first_dt).to(self.device)

    def learn(self, batch: SequenceBatch) -> Tensor:
        """One batch, window by window: the state is carried on, the gradient cut between. Each head's mean loss."""
        recipe, first, rows = self.recipe, self.heads[0], len(batch.lengths)
        targets = functional.one_hot(batch.targets.clamp_min(0), len(self.weights)).float()
        counted = batch.real & (batch.targets >= 0)
        partners = torch.randperm(rows, device=self.device)
        kept = self.blending(batch.real, partners)
        targets = kept[..., None] * targets + (1 - kept[..., None]) * targets[partners]
        for_clip = torch.randn(rows, 1, first.project.in_features, device=self.device)
        state, cells = first.initial(rows), [head.cell.initial(rows) for head in self.heads]
        prefixes = [Prefix(batch.whole) for _ in self.heads]
        losses, windows = torch.zeros(len(self.heads)), 0
        for start in range(0, batch.dts.shape[1], recipe.window):
            span = slice(start, start + recipe.window)
            left = (batch.lengths - start).clamp(0, len(batch.dts[0, span]))
            with torch.set_grad_enabled(first.config.learn_taus), self.autocast():
                percept = first.perceive(batch.embeddings[:, span], batch.dts[:, span], state, left)
                features = percept.features
                features = kept[:, span, None] * features + (1 - kept[:, span, None]) * features[partners]
                noise = (for_clip + torch.randn_like(features)) * 0.5**0.5
                percept = replace(percept, features=features + recipe.noise * noise)
            parts = []
            for i, head in enumerate(self.heads):
                with self.autocast():
                    out = head.classify(percept, cells[i])
                cells[i] = out.state["cell"].detach()
                parts.append(self.loss(out, targets[:, span], counted[:, span], batch.dts[:, span], prefixes[i]))
            state = {name: part.detach() for name, part in percept.state.items()}
            if counted[:, span].any():  # else there is nothing to learn from
                self.step(parts)
                losses += torch.stack(parts).detach().cpu()
                windows += 1
        return losses / max(1, windows)

    def loss(self, out: HeadOutput, targets: Tensor, real: Tensor, dts: Tensor, prefix: "Prefix") -> Tensor:
        """Cross-entropy of clips, by the mean of their frames' logits so far, and of frames where labels change.

        A clip's mean leaves its frames free to flicker, so it is joined by how much their probabilities change
        in a second; by the frame, clips that lost most of theirs would pay more for the same changes.
        """
        logits, going = out.logits.float(), real.any(1)
        frames = (self.cross_entropy(logits, targets) * real).sum(1) / real.sum(1).clamp_min(1)
        clips = self.cross_entropy(*prefix.mean(logits, targets, real))
        change, both = logits.softmax(-1).diff(dim=1).abs().sum(-1), real[:, 1:] & real[:, :-1]
        seconds = (dts[:, 1:] * both).sum(1)
        flicker = torch.where(seconds > 0, (change * both).sum(1) / seconds.clamp_min(1e-6), 0.0)
        rows = torch.where(prefix.whole, clips + self.recipe.calm * flicker, frames)
        return rows[going].mean()

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per row: logits and soft targets (..., classes) to (...)."""
        classes = len(self.weights)
        flat = functional.cross_entropy(
            logits.reshape(-1, classes),
            targets.reshape(-1, classes),
            self.weights,
            label_smoothing=self.recipe.smoothing,
            reduction="none",
        )
        return flat.view(logits.shape[:-1])

    def step(self, losses: Sequence[Tensor]) -> None:
        self.optimiser.zero_grad()
        torch.stack(list(losses)).sum().backward()
        for head in self.heads:
            nn.utils.clip_grad_norm_(head.parameters(), self.recipe.clip_norm)
        self.optimiser.step()

    def blending(self, real: Tensor, partners: Tensor) -> Tensor:
        """How much of each frame (rows, steps) stays its own in mixup; 1 where the partner has ended."""
        rows = len(real)
        share = torch.rand(rows, 1, device=self.device)  # Beta(1, 1)
        if torch.rand(()) >= self.recipe.mixup:
            share = torch.ones_like(share)
        return torch.where(real & real[partners], share.expand(real.shape), 1.0)

    def autocast(self) -> torch.autocast:
        """Mixed precision on GPUs that have bfloat16."""
        on = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on)


class Prefix:
    """The mean of a clip's logits, and of its targets, over its frames so far; what is past is a constant."""

    def __init__(self, whole: Tensor) -> None:
        self.whole = whole
        self._sums: tuple[Tensor, Tensor] | None = None
        self._count = torch.zeros(len(whole), 1, device=whole.device)

    def mean(self, logits: Tensor, targets: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Means (rows, classes) up to and with these frames (rows, steps, classes); `real` (rows, steps) ones count."""
        new = tuple((value * real[..., None]).sum(1) for value in (logits, targets))
        old = self._sums or (0.0, 0.0)
        sums = (old[0] + new[0], old[1] + new[1])
        self._count = self._count + real.sum(1, keepdim=True)
        self._sums = (sums[0].detach(), sums[1])
        return sums[0] / self._count.clamp_min(1), sums[1] / self._count.clamp_min(1)


def drop_frames(lesson: ClipSequence, share: float, *, but_first: bool = False) -> ClipSequence:
    """A lesson without a random share of its frames; one is always left, the first where it is to stay."""
    keep = torch.rand(len(lesson)) >= share
    keep[0 if but_first else torch.randint(len(lesson), ())] = True
    return lesson.only(keep)


def join_after(before: ClipSequence, lesson: ClipSequence) -> ClipSequence:
    """A lesson at its own times, and what the stream showed before it: as far apart as frames are, and not judged."""
    steps = torch.cat([before.times.diff(), lesson.times.diff()])
    gap = steps.median() if len(steps) else 0.04
    return replace(
        lesson,
        embeddings=torch.cat([before.embeddings, lesson.embeddings]),
        times=torch.cat([before.times - before.times[-1] + lesson.times[0] - gap, lesson.times]),
        targets=torch.cat([torch.full_like(before.targets, -1), lesson.targets]),
    )


def class_weights(lessons: SequenceDataset, classes: int, balance: float) -> Tensor:
    """Inverse frequencies (classes,) of clips, or of frames where labels change, to a power; mean 1 over the data."""
    counts = torch.zeros(classes)
    for lesson in lessons:
        one = functional.one_hot(lesson.targets[lesson.targets >= 0], classes).float()
        counts += one.mean(0) if lesson.whole else one.sum(0)
    weights = torch.where(counts > 0, counts.clamp_min(1e-9) ** -balance, 0.0)
    return weights * counts.sum() / (weights * counts).sum()


def device_of(heads: Sequence[LiquidHead]) -> torch.device:
    return heads[0].mean.device
