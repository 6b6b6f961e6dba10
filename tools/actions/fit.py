"""Fit a liquid head to embedded clips: whitening, then training with dropped frames and their true Δt."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from liquidvision import LiquidHead, LiquidHeadConfig
from liquidvision.models.heads.liquid_head import Percept
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
    config: LiquidHeadConfig, clips: ClipSet, recipe: Recipe, *, readout: Tensor | None = None, log=print
) -> LiquidHead:
    """Train a head on clips, through the given readouts of the embedding if any; return it in eval mode."""
    torch.manual_seed(recipe.seed)
    head = LiquidHead(config)
    times, labels, embeddings = as_tensors(clips)
    some = slice(None, None, max(1, len(labels) // 200))  # enough for means and axes
    head.fit_statistics(embeddings[some].float(), steps_between(times[some], recipe.first_dt), readout=readout)
    optimiser, schedule = make_optimiser(head, recipe, -(-len(labels) // recipe.batch))
    head.train()
    for epoch in range(recipe.epochs):
        losses = []
        for rows in torch.randperm(len(labels)).split(recipe.batch):
            xs, dts, ys, lengths = draw_batch(head, embeddings[rows], labels[rows], times[rows], recipe)
            out = head(xs, dts, lengths=lengths)
            real = torch.arange(xs.shape[1])[None] < lengths[:, None]
            # The readout of single frames learns beside it; nothing else depends on its gradient.
            loss = functional.cross_entropy(out.frame_logits[real], ys[real], label_smoothing=recipe.smoothing)
            losses.append(step(head, optimiser, loss + memory_loss(out.logits, ys, real, recipe)))
            schedule.step()
        log(f"epoch {epoch + 1}/{recipe.epochs}: loss {np.mean(losses):.4f}")
    return head.eval()


def fit_backward(
    forward: LiquidHead, config: LiquidHeadConfig, clips: ClipSet, recipe: Recipe, *, variants: int = 6, log=print
) -> LiquidHead:
    """Train a backward head for a forward head, on clips from their ends; return it in eval mode.

    It is trained as `fit` trains heads, but each clip is only seen in a few variants of noise and dropped frames,
    whose features are computed once. The readout of single frames stays the forward head's.
    """
    torch.manual_seed(recipe.seed)
    head = LiquidHead(config)
    times, labels, embeddings = as_tensors(clips)
    times, labels, embeddings = (times[:, -1:] - times).flip(1), labels.flip(1), embeddings.flip(1)
    some = slice(None, None, max(1, len(labels) // 200))
    share_tensors(forward, head)
    head.fit_feature_statistics(embeddings[some].float(), steps_between(times[some], recipe.first_dt))
    batches: list[list[tuple[Percept, Tensor, Tensor]]] = []
    for variant in range(variants):
        batches.append([])
        for rows in torch.randperm(len(labels)).split(recipe.batch):
            xs, dts, ys, lengths = draw_batch(head, embeddings[rows], labels[rows], times[rows], recipe)
            with torch.no_grad():
                percept = head.perceive(xs, dts, lengths=lengths)
            real = torch.arange(xs.shape[1])[None] < lengths[:, None]
            # The embeddings themselves are large, and only the readout of single frames takes them.
            kept = replace(percept, features=percept.features.half(), embedding=xs[..., :0])
            batches[-1].append((kept, ys, real))
        log(f"variant {variant + 1}/{variants} is drawn")
    own_readout, head.frame_readout = head.frame_readout, nn.Identity()  # type: ignore[assignment]
    optimiser, schedule = make_optimiser(head, recipe, len(batches[0]))
    head.train()
    for epoch in range(recipe.epochs):
        drawn, losses = batches[epoch % variants], []
        for number in torch.randperm(len(drawn)).tolist():
            percept, ys, real = drawn[number]
            out = head.classify(replace(percept, features=percept.features.float()), head.cell.initial(len(ys)))
            losses.append(step(head, optimiser, memory_loss(out.logits, ys, real, recipe)))
            schedule.step()
        log(f"epoch {epoch + 1}/{recipe.epochs}: loss {np.mean(losses):.4f}")
    head.frame_readout = own_readout
    return head.eval()


def make_optimiser(
    head: LiquidHead, recipe: Recipe, per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimiser of a head and its schedule."""
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * per_epoch, pct_start=0.2
    )
    return optimiser, schedule


def draw_batch(
    head: LiquidHead, embeddings: Tensor, labels: Tensor, times: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return clips with noise and dropped frames: embeddings, Δt, labels (rows, steps, ...), and lengths (rows,)."""
    dropped = torch.rand(len(labels), 1) * recipe.most_dropped
    keep = torch.rand(labels.shape) >= dropped
    lengths, (xs, ys, ts) = drop_frames(keep, embeddings.float(), labels, times)
    noise = (torch.randn(len(xs), 1, xs.shape[2]) + torch.randn_like(xs)) * 0.5**0.5
    xs = xs + recipe.noise * noise / head.inverse_std
    return xs, steps_between(ts, recipe.first_dt).clamp_min(0), ys, lengths


def memory_loss(logits: Tensor, labels: Tensor, real: Tensor, recipe: Recipe) -> Tensor:
    """Return the loss of logits with memory (rows, steps, classes): cross-entropy, and flicker while labels hold."""
    loss = functional.cross_entropy(logits[real], labels[real], label_smoothing=recipe.smoothing)
    change = logits.softmax(-1).diff(dim=1).abs().sum(-1)
    holds = real[:, 1:] & (labels[:, 1:] == labels[:, :-1])
    return loss + recipe.calm * change[holds].mean()


def step(head: LiquidHead, optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    """Take one step down the loss; return it."""
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    optimiser.step()
    return loss.item()


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
