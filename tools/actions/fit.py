"""Fit a liquid head to embedded clips: whitening, then training with dropped frames and their true Δt."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision import LiquidHead, LiquidHeadConfig
from liquidvision.models.model import share_tensors
from tools.actions.clips import ClipSet, as_tensors


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained.

    Attributes:
        epochs: passes over the clips.
        batch: clips a step.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: of AdamW.
        noise: standard deviation of Gaussian noise on the standardised embedding, half of it drawn
            once a clip and half once a frame.
        most_dropped: each clip loses a share of its frames drawn between 0 and this.
        smoothing: of the labels.
        calm: weight of the change of the probabilities from frame to frame while the label holds; without it
            the labels flicker.
        first_dt: seconds for which the first picture is taken to have stood there.
        seed: of the weights and of every draw.
    """

    epochs: int = 30
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    noise: float = 0.02
    most_dropped: float = 0.7
    smoothing: float = 0.05
    calm: float = 3.0
    first_dt: float = 1.0
    seed: int = 0


def steps_between(times: Tensor, first_dt: float) -> Tensor:
    """Return Δt (n, t) float32 of times (n, t): `first_dt`, then the differences."""
    return torch.cat([torch.full_like(times[:, :1], first_dt), times.diff(dim=1)], 1).float()


def drop_frames(keep: Tensor, *rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the kept frames of each row (n, t, ...), packed to the left, and their number in each row (n,)."""
    lengths = keep.sum(1)
    order = torch.argsort(~keep, dim=1, stable=True)[:, : int(lengths.max())]
    return lengths, [row[torch.arange(len(row))[:, None], order] for row in rows]


def fit(
    config: LiquidHeadConfig,
    clips: ClipSet,
    recipe: Recipe,
    *,
    readout: Tensor | None = None,
    forward: LiquidHead | None = None,
    log=print,
) -> LiquidHead:
    """Train a head on clips, through the given readouts of the embedding if any; return it in eval mode.

    With `forward` it becomes the backward head of that head: the clips are seen from their ends, and the readout of
    single frames stays the forward head's.
    """
    torch.manual_seed(recipe.seed)
    head = LiquidHead(config)
    times, labels, embeddings = as_tensors(clips)
    some = slice(None, None, max(1, len(labels) // 200))  # enough for means and axes
    if forward is None:
        head.fit_statistics(embeddings[some].float(), steps_between(times[some], recipe.first_dt), readout=readout)
    else:
        times, labels, embeddings = (times[:, -1:] - times).flip(1), labels.flip(1), embeddings.flip(1)
        share_tensors(forward, head)
        head.fit_feature_statistics(embeddings[some].float(), steps_between(times[some], recipe.first_dt))
        head.frame_readout.requires_grad_(False)
    per_epoch = -(-len(labels) // recipe.batch)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * per_epoch, pct_start=0.2
    )
    spread = 1 / head.inverse_std
    head.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in torch.randperm(len(labels)).split(recipe.batch):
            dropped = torch.rand(len(rows), 1) * recipe.most_dropped
            keep = torch.rand(len(rows), labels.shape[1]) >= dropped
            lengths, (xs, ys, ts) = drop_frames(keep, embeddings[rows].float(), labels[rows], times[rows])
            noise = (torch.randn(len(rows), 1, xs.shape[2]) + torch.randn_like(xs)) * 0.5**0.5
            xs = xs + recipe.noise * noise * spread
            dts = steps_between(ts, recipe.first_dt).clamp_min(0)
            out = head(xs, dts, lengths=lengths)
            real = torch.arange(xs.shape[1])[None] < lengths[:, None]
            loss = functional.cross_entropy(out.logits[real], ys[real], label_smoothing=recipe.smoothing)
            if forward is None:
                # The readout of single frames learns beside it; nothing else depends on its gradient.
                frame_logits = out.frame_logits[real]
                loss = loss + functional.cross_entropy(frame_logits, ys[real], label_smoothing=recipe.smoothing)
            probabilities = out.logits.softmax(-1)
            change = (probabilities[:, 1:] - probabilities[:, :-1]).abs().sum(-1)
            holds = real[:, 1:] & (ys[:, 1:] == ys[:, :-1])
            loss = loss + recipe.calm * change[holds].mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        log(f"epoch {epoch + 1}/{recipe.epochs}: loss {total / per_epoch:.4f}")
    return head.eval()


@torch.inference_mode()
def accuracy(head: LiquidHead, clips: ClipSet, first_dt: float) -> tuple[float, float]:
    """Return the share of frames right with memory, and by each frame alone, 0..1."""
    times, labels, embeddings = as_tensors(clips)
    right = alone = 0
    for rows in torch.arange(len(labels)).split(20):
        out = head(embeddings[rows].float(), steps_between(times[rows], first_dt))
        right += int((out.logits.argmax(-1) == labels[rows]).sum())
        alone += int((out.frame_logits.argmax(-1) == labels[rows]).sum())
    return right / labels.numel(), alone / labels.numel()
