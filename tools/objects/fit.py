"""Fit the liquid filter to simulated clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from liquidvision.metrics.classification import ClipScores
from liquidvision.models.heads.liquid_filter import LiquidFilter, LiquidFilterConfig
from liquidvision.training.sequences import ClipSequence, collate_sequences

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


def fit(config: LiquidFilterConfig, clips: Sequence[ClipSequence], recipe: Recipe) -> LiquidFilter:
    """Train a filter on clips; return it in eval mode."""
    torch.manual_seed(recipe.seed)
    head = LiquidFilter(config)
    some = collate_sequences(clips[:: max(1, len(clips) // 64)], FIRST_DT)
    head.fit_statistics(some.embeddings, some.dts, some.lengths)
    per_epoch = -(-len(clips) // recipe.batch)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * per_epoch, pct_start=0.2
    )
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in torch.randperm(len(clips)).split(recipe.batch):
            batch = collate_sequences([clips[i] for i in rows.tolist()], FIRST_DT)
            real, labels = batch.real, batch.targets
            logits = head(batch.embeddings, batch.dts, lengths=batch.lengths).logits
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
def tracks(head: LiquidFilter, clips: Sequence[ClipSequence]) -> tuple[list[ClipScores], list[ClipScores]]:
    """Return a filter's scores of clips, and those of each frame alone."""
    with_memory, alone = [], []
    for start in range(0, len(clips), 16):
        some = clips[start : start + 16]
        batch = collate_sequences(some, FIRST_DT)
        out = head(batch.embeddings, batch.dts, lengths=batch.lengths)
        for row, clip in enumerate(some):
            for said, logits in ((with_memory, out.logits), (alone, out.frame_logits)):
                scores = logits[row, : len(clip)].softmax(-1).numpy()
                said.append(ClipScores(clip.targets.numpy(), scores, clip.times.numpy()))
    return with_memory, alone
