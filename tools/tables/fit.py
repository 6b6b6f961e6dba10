"""Training as in the paper: Adam, batches of 16, the epoch that is best in validation; losses and measures."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tools.tables.data import Series
from tools.tables.models import Network
from tools.tables.sets import Task

CHUNK = 20_000  # steps that one batch of an evaluation may hold


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        schedule: of the rate over the epochs: "constant" (the paper) or "cosine" (to 0, step by step).
    """

    epochs: int
    rate: float
    schedule: str = "constant"
    batch: int = 16


def compute_loss(task: Task, answers: Tensor, y: Tensor) -> Tensor:
    """Mean squared error, or mean cross entropy with each step's weighted by its class and divided by their number."""
    if task.metric == "mse":
        return functional.mse_loss(answers, y)
    each = functional.cross_entropy(answers.flatten(0, -2), y.flatten(), reduction="none")
    return (each * each.new_tensor(task.weights)[y.flatten()]).mean() if task.weights else each.mean()


def measure(metric: str, answers: Tensor, y: Tensor) -> float:
    """The metric over all steps at once: accuracy and F1 of class 1 from logits (..., classes), or squared errors."""
    if metric == "mse":
        return functional.mse_loss(answers.double(), y.double()).item()
    said = answers.argmax(-1)
    if metric == "accuracy":
        return (said == y).double().mean().item()
    right, positives = int(((said == 1) & (y == 1)).sum()), int((said == 1).sum() + (y == 1).sum())
    return 2 * right / positives if positives else 0.0


@torch.no_grad()
def evaluate(network: Network, task: Task, data: Series, windows: Tensor) -> float:
    """The task's metric over windows (n, steps)."""
    parts = windows.split(max(1, CHUNK // windows.shape[1]))
    answers = torch.cat([network(data.x[part]) for part in parts])
    return measure(task.metric, answers, targets(task, data, windows))


def targets(task: Task, data: Series, windows: Tensor) -> Tensor:
    """Return the targets of windows (n, steps): one for each step, or one for each window."""
    return data.y[windows[:, -1] if task.last else windows]


def fit(
    network: Network, task: Task, data: Series, recipe: Recipe, said: Callable[[str], None] = lambda _: None
) -> dict[str, float]:
    """Train, and return the figures of the epoch that is best in validation (the first of equals).

    Windows are shuffled in each epoch by torch's seed; those that do not fill a batch wait for another epoch,
    as in the authors' code. Training ends early where the loss is no longer finite.

    Returns:
        best_epoch (1 is after the first), epochs_run, train_loss, valid, test (of that epoch), last_test, seconds.
    """
    started = time.monotonic()
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate, fused=True)
    batches = len(data.train) // recipe.batch
    total = batches * recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / total) if recipe.schedule == "cosine" else 1.0
    )
    best: dict[str, float] = {}
    run, test = 0, math.nan
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        for chosen in torch.randperm(len(data.train))[: batches * recipe.batch].split(recipe.batch):
            windows = data.train[chosen]
            loss = compute_loss(task, network(data.x[windows]), targets(task, data, windows))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        if not math.isfinite(mean):
            break
        valid, test = (evaluate(network, task, data, part) for part in (data.valid, data.test))
        run = epoch
        better = valid < best.get("valid", math.inf) if task.lower_is_better else valid > best.get("valid", -1.0)
        if better:
            best = {"best_epoch": epoch, "train_loss": mean, "valid": valid, "test": test}
        said(f"epoch {epoch}: loss {mean:.4f}, valid {valid:.4f}, test {test:.4f}, {time.monotonic() - started:.0f} s")
    return {**best, "epochs_run": run, "last_test": test, "seconds": round(time.monotonic() - started, 1)}
