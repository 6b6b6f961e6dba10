"""Fits the liquid filter to simulated clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.learn.metrics import Track
from liquidvision.liquid.filter import FilterConfig, LiquidFilter
from tools.objects.clips import Clip

FIRST_DT = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a filter is trained.

    Attributes:
        epochs: passes over the clips.
        batch: clips a step.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: of AdamW.
        calm: weight of the change of the probabilities from frame to frame while the label holds.
        seed: of the weights and of every draw.
    """

    epochs: int = 24
    batch: int = 16
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    calm: float = 0.5
    seed: int = 0


def together(clips: Sequence[Clip]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clips side by side, padded at their ends: embeddings, Δt (rows, steps), labels (rows, steps), lengths."""
    lengths = torch.tensor([len(clip.labels) for clip in clips])
    rows, steps = len(clips), int(lengths.max())
    xs = torch.zeros(rows, steps, clips[0].embeddings.shape[1])
    dts, labels = torch.zeros(rows, steps), torch.zeros(rows, steps, dtype=torch.int64)
    for row, clip in enumerate(clips):
        n = len(clip.labels)
        xs[row, :n] = clip.embeddings.float()
        dts[row, :n] = torch.from_numpy(np.diff(clip.times, prepend=clip.times[0] - FIRST_DT)).float()
        labels[row, :n] = torch.from_numpy(clip.labels)
    return xs, dts, labels, lengths


def fit(config: FilterConfig, clips: Sequence[Clip], recipe: Recipe) -> LiquidFilter:
    """Train a filter on clips; returns it in eval mode."""
    torch.manual_seed(recipe.seed)
    head = LiquidFilter(config)
    xs, dts, _, lengths = together(clips[:: max(1, len(clips) // 64)])
    head.fit_statistics(xs, dts, lengths)
    per_epoch = -(-len(clips) // recipe.batch)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * per_epoch, pct_start=0.2
    )
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in torch.randperm(len(clips)).split(recipe.batch):
            xs, dts, labels, lengths = together([clips[i] for i in rows.tolist()])
            real = torch.arange(xs.shape[1])[None] < lengths[:, None]
            logits = head(xs, dts, lengths=lengths).logits
            change = logits.softmax(-1).diff(dim=1).abs().sum(-1)
            held = real[:, 1:] & (labels[:, 1:] == labels[:, :-1])
            loss = functional.cross_entropy(logits[real], labels[real]) + recipe.calm * change[held].mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{recipe.epochs}: loss {total / per_epoch:.4f}", flush=True)
    return head.eval()


@torch.inference_mode()
def tracks(head: LiquidFilter, clips: Sequence[Clip]) -> tuple[list[Track], list[Track]]:
    """What a filter says of clips, and what each frame alone does."""
    with_memory, alone = [], []
    for start in range(0, len(clips), 16):
        some = clips[start : start + 16]
        xs, dts, _, lengths = together(some)
        out = head(xs, dts, lengths=lengths)
        for row, clip in enumerate(some):
            n = len(clip.labels)
            for said, logits in ((with_memory, out.logits), (alone, out.frame_logits)):
                said.append(Track(clip.labels, logits[row, :n].softmax(-1).numpy(), clip.times))
    return with_memory, alone
