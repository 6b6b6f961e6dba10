"""Trains heads epoch by epoch: one, or several side by side that share whitening, traces and projection."""

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
from liquidvision.training.sequences import (
    UNLABELLED,
    ClipSequence,
    SequenceBatch,
    SequenceDataset,
    collate_sequences,
)

MAX_STATISTICS_FRAMES = 20_000  # enough for means and axes
MIN_EXCERPT_FRAMES = 64  # shorter excerpts say little about a clip's traces
MAX_PRECEDING_SECONDS = 3.0  # of another clip before a training clip: about as long as traces remember
DEFAULT_STEP = 0.04  # seconds between two clips of one frame each


@dataclass(frozen=True, slots=True)
class Passage:
    """A range of frames of one clip that is trained on separately."""

    clip: int
    start: int
    stop: int


def fit_statistics(heads: Sequence[LiquidHead], sequences: SequenceDataset, first_dt: float) -> None:
    """Set the statistics and class means of all `heads` to the same, from excerpts spread evenly over the clips."""
    excerpts = sample_excerpts(sequences, MAX_STATISTICS_FRAMES)
    batch = collate_sequences(excerpts, first_dt).to(device_of(heads))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the axes are found by random projection
        heads[0].fit_statistics(batch.embeddings, batch.dts, batch.lengths)
    heads[0].fit_class_means(batch.embeddings[batch.real], batch.targets[batch.real])
    for head in heads[1:]:
        for own, first in zip(head.buffers(), heads[0].buffers(), strict=True):
            own.copy_(first)


def sample_excerpts(sequences: SequenceDataset, frames: int) -> list[ClipSequence]:
    """Return whole clips while their total is about `frames` at most; else excerpts of equal maximum length.

    If there are too many clips for excerpts of `MIN_EXCERPT_FRAMES`, every Nth clip is taken.
    """
    step = math.ceil(len(sequences) * MIN_EXCERPT_FRAMES / frames)
    some = [sequences[i] for i in range(0, len(sequences), step)]
    longest, left = 0, frames
    for place, length in enumerate(sorted(len(sequence) for sequence in some)):
        longest = left // (len(some) - place)
        if length > longest:
            break
        left -= length
        longest = length
    starts = np.random.default_rng(0).random(len(some))
    return [
        sequence.select(slice(start := round(share * max(0, len(sequence) - longest)), start + longest))
        for sequence, share in zip(some, starts, strict=True)
    ]


class EpochLoop:
    """Trains one head or several, epoch by epoch. Everything random comes from torch's generator.

    Args:
        heads: trained together on the same batches, noise and dropped frames. They have the same statistics; if there
            are several, the time constants of their traces are not learnt.
        sequences: what they are trained on, in all its views.
        recipe: the numbers.
        first_dt: see `Model`.
    """

    def __init__(
        self, heads: Sequence[LiquidHead], sequences: SequenceDataset, recipe: Recipe, *, first_dt: float
    ) -> None:
        self.heads, self.sequences, self.recipe, self.first_dt = list(heads), sequences, recipe, first_dt
        self.device = device_of(heads)
        self.lengths = [len(sequence) for sequence in sequences]
        self.weights = class_weights(sequences, heads[0].config.classes, recipe.balance).to(self.device)
        parameters = [p for head in heads for p in head.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        batches = math.ceil(sum(math.ceil(n / recipe.passage) for n in self.lengths) / recipe.batch)
        # Fewer than 3 steps cannot rise and fall; one more follows the last batch.
        steps = max(3, recipe.epochs * batches + 1)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.learning_rate, total_steps=steps, pct_start=max(recipe.warm_up, 2 / steps)
        )

    def run_epoch(self) -> list[float]:
        """Train on every clip once; return the mean loss of each head."""
        for head in self.heads:
            head.train()
        total, batches = torch.zeros(len(self.heads)), self.make_batches()
        for passages in batches:
            total += self.train_batch(self.load_batch(passages))
            self.schedule.step()
        for head in self.heads:
            head.eval()
        return (total / len(batches)).tolist()

    def make_batches(self) -> list[list[Passage]]:
        """Return all clips' passages in batches: in random order, with passages of similar length together."""
        size, longest = self.recipe.batch, self.recipe.passage
        passages = []
        for clip, n in enumerate(self.lengths):
            count = math.ceil(n / longest)
            edges = [n * i // count for i in range(count + 1)]
            if count > 1:  # cut at other places in every epoch
                shift = int(torch.randint(-(n // count // 2), n // count // 2 + 1, ()))
                edges = [0, *(edge + shift for edge in edges[1:-1]), n]
            passages += [Passage(clip, a, b) for a, b in pairwise(edges)]
        shuffled = [passages[i] for i in torch.randperm(len(passages)).tolist()]
        if len({p.stop - p.start for p in passages}) > 1:
            reach = 8 * size
            pools = [shuffled[i : i + reach] for i in range(0, len(shuffled), reach)]
            shuffled = [p for pool in pools for p in sorted(pool, key=lambda p: p.stop - p.start)]
        groups = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
        return [groups[i] for i in torch.randperm(len(groups)).tolist()]

    def load_batch(self, passages: Sequence[Passage]) -> SequenceBatch:
        """Load passages as a batch: each in a random view, with some frames dropped, some after another clip's end."""
        rows, recipe = [], self.recipe
        for passage in passages:
            view = self.sequences.views[int(torch.randint(len(self.sequences.views), ()))]
            sequence = self.sequences.sequence(passage.clip, view).select(slice(passage.start, passage.stop))
            share = float(torch.rand(())) * recipe.most_dropped
            sequence = drop_frames(sequence, share)
            if sequence.whole_clip and recipe.preceded and torch.rand(()) < recipe.preceded:
                other = self.sequences.sequence(int(torch.randint(len(self.sequences), ())), view)
                end = other.select(other.times >= other.times[-1] - MAX_PRECEDING_SECONDS * float(torch.rand(())))
                sequence = join_after(drop_frames(end, share), sequence)
            rows.append(sequence)
        return collate_sequences(rows, self.first_dt).to(self.device)

    def train_batch(self, batch: SequenceBatch) -> Tensor:
        """Train on a batch window by window and return each head's mean loss (heads,).

        The state is carried from window to window; gradients are not.
        """
        recipe, first, rows = self.recipe, self.heads[0], len(batch.lengths)
        targets = functional.one_hot(batch.targets.clamp_min(0), len(self.weights)).float()
        judged = batch.real & (batch.targets >= 0)
        partners = torch.randperm(rows, device=self.device)
        share = self.mixup_share(batch.real, partners)
        targets = share[..., None] * targets + (1 - share[..., None]) * targets[partners]
        clip_noise = torch.randn(rows, 1, first.project.in_features, device=self.device)
        state, cells = first.initial(rows), [head.cell.initial(rows) for head in self.heads]
        means = [RunningMeans(batch.whole_clip) for _ in self.heads]
        losses, windows = torch.zeros(len(self.heads)), 0
        for start in range(0, batch.dts.shape[1], recipe.window):
            span = slice(start, start + recipe.window)
            left = (batch.lengths - start).clamp(0, len(batch.dts[0, span]))
            with torch.set_grad_enabled(first.config.learn_taus), self.autocast():
                percept = first.perceive(batch.embeddings[:, span], batch.dts[:, span], state, left)
                features = percept.features
                features = share[:, span, None] * features + (1 - share[:, span, None]) * features[partners]
                noise = (clip_noise + torch.randn_like(features)) * 0.5**0.5
                percept = replace(percept, features=features + recipe.noise * noise)
            parts = []
            for i, head in enumerate(self.heads):
                with self.autocast():
                    out = head.classify(percept, cells[i])
                cells[i] = out.state["cell"].detach()
                parts.append(self.loss(out, targets[:, span], judged[:, span], batch.dts[:, span], means[i]))
            state = {name: part.detach() for name, part in percept.state.items()}
            if judged[:, span].any():  # else there is no loss
                self.step(parts)
                losses += torch.stack(parts).detach().cpu()
                windows += 1
        return losses / max(1, windows)

    def loss(self, out: HeadOutput, targets: Tensor, judged: Tensor, dts: Tensor, means: "RunningMeans") -> Tensor:
        """Return the loss of a window: cross-entropy of clips of one label, and of frames where labels change.

        A clip's logits are the mean over its frames so far. That leaves its frames free to flicker, so the change of
        their probabilities per second is added. Per second and not per frame: else clips that lost most of their
        frames would pay more for the same changes.

        Args:
            out: the output of the window.
            targets: (rows, steps, classes) soft targets.
            judged: (rows, steps) bool, frames that count.
            dts: (rows, steps) seconds.
            means: the means of the clips' earlier windows; updated.
        """
        logits, has_frames = out.logits.float(), judged.any(1)
        frames = (self.cross_entropy(logits, targets) * judged).sum(1) / judged.sum(1).clamp_min(1)
        clips = self.cross_entropy(*means.update(logits, targets, judged))
        change, both = logits.softmax(-1).diff(dim=1).abs().sum(-1), judged[:, 1:] & judged[:, :-1]
        seconds = (dts[:, 1:] * both).sum(1)
        flicker = torch.where(seconds > 0, (change * both).sum(1) / seconds.clamp_min(1e-6), 0.0)
        rows = torch.where(means.whole_clip, clips + self.recipe.calm * flicker, frames)
        return rows[has_frames].mean()

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted cross-entropy (...) of logits and soft targets (..., classes)."""
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
        """Take one step of the optimiser down the heads' losses, with each head's gradient clipped."""
        self.optimiser.zero_grad()
        torch.stack(list(losses)).sum().backward()
        for head in self.heads:
            nn.utils.clip_grad_norm_(head.parameters(), self.recipe.clip_norm)
        self.optimiser.step()

    def mixup_share(self, real: Tensor, partners: Tensor) -> Tensor:
        """Return the share (rows, steps) of each frame that stays its own in mixup; 1 where the partner has ended."""
        rows = len(real)
        share = torch.rand(rows, 1, device=self.device)  # Beta(1, 1)
        if torch.rand(()) >= self.recipe.mixup:
            share = torch.ones_like(share)
        return torch.where(real & real[partners], share.expand(real.shape), 1.0)

    def autocast(self) -> torch.autocast:
        """Use mixed precision on GPUs that support bfloat16."""
        on = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=on)


class RunningMeans:
    """The means of clips' logits and targets over their frames so far; earlier windows are constants to gradients.

    Args:
        whole_clip: (rows,) bool, see `ClipSequence`.
    """

    def __init__(self, whole_clip: Tensor) -> None:
        self.whole_clip = whole_clip
        self._sums: tuple[Tensor, Tensor] | None = None
        self._count = torch.zeros(len(whole_clip), 1, device=whole_clip.device)

    def update(self, logits: Tensor, targets: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
        """Add a window (rows, steps, classes), of which frames `judged` (rows, steps) count; return (rows, classes)."""
        new = tuple((value * judged[..., None]).sum(1) for value in (logits, targets))
        old = self._sums or (0.0, 0.0)
        sums = (old[0] + new[0], old[1] + new[1])
        self._count = self._count + judged.sum(1, keepdim=True)
        self._sums = (sums[0].detach(), sums[1])
        return sums[0] / self._count.clamp_min(1), sums[1] / self._count.clamp_min(1)


def drop_frames(sequence: ClipSequence, share: float, *, keep_first: bool = False) -> ClipSequence:
    """Drop a random share of a sequence's frames; one always stays: a random one, or the first."""
    keep = torch.rand(len(sequence)) >= share
    keep[0 if keep_first else torch.randint(len(sequence), ())] = True
    return sequence.select(keep)


def join_after(before: ClipSequence, sequence: ClipSequence) -> ClipSequence:
    """Return a sequence at its own times with another one before it, whose frames are not judged.

    The two are the median step apart.
    """
    steps = torch.cat([before.times.diff(), sequence.times.diff()])
    gap = steps.median() if len(steps) else DEFAULT_STEP
    return replace(
        sequence,
        embeddings=torch.cat([before.embeddings, sequence.embeddings]),
        times=torch.cat([before.times - before.times[-1] + sequence.times[0] - gap, sequence.times]),
        targets=torch.cat([torch.full_like(before.targets, UNLABELLED), sequence.targets]),
    )


def class_weights(sequences: SequenceDataset, classes: int, balance: float) -> Tensor:
    """Return class weights (classes,): inverse frequencies to the power `balance`, with mean 1 over the data.

    Frequencies are of clips, or of frames where labels change within clips. An absent class has weight 0.
    """
    counts = torch.zeros(classes)
    for sequence in sequences:
        one_hot = functional.one_hot(sequence.targets[sequence.targets >= 0], classes).float()
        counts += one_hot.mean(0) if sequence.whole_clip else one_hot.sum(0)
    weights = torch.where(counts > 0, counts.clamp_min(1e-9) ** -balance, 0.0)
    return weights * counts.sum() / (weights * counts).sum()


def device_of(heads: Sequence[LiquidHead]) -> torch.device:
    """Return the device that the heads are on."""
    return heads[0].mean.device
