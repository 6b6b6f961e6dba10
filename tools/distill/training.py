"""The training loop: mixed batches from pools, learning rate and size over the run, checkpoints and the export."""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .degrade import degrade, warp
from .pictures import UNKNOWN
from .student import FROZEN, Student, Targets, total_loss
from .targets import Pool

CHECKPOINT, EXPORT, METRICS = "checkpoint.pt", "backbone.safetensors", "metrics.csv"
WARM_UP = 0.03
SAMPLE_FOR_STATISTICS = 4000


@dataclass(frozen=True)
class Settings:
    """What a run is, apart from its pictures."""

    images: int
    batch: int = 64
    sizes: Sequence[tuple[int, float]] = ((128, 0.5), (160, 0.5))
    rate: float = 1e-4
    decay: float = 0.03
    ema: float = 0.998
    seed: int = 0
    save_every: float = 240.0  # seconds
    log_every: float = 20.0  # seconds

    def size_at(self, part: float) -> int:
        """The pictures' size when this part (0..1) of the run is done."""
        reached = 0.0
        for size, length in self.sizes:
            reached += length
            if part < reached - 1e-9:
                return size
        return self.sizes[-1][0]

    def rate_at(self, part: float) -> float:
        """The learning rate when this part (0..1) of the run is done."""
        if part < WARM_UP:
            return self.rate * max(part, 1e-3) / WARM_UP
        return self.rate * 0.5 * (1 + math.cos(math.pi * (part - WARM_UP) / (1 - WARM_UP)))


class Batches:
    """Batches by number: any batch can be made again, so a resumed run sees what an undisturbed one sees."""

    def __init__(self, pools: Sequence[Pool], settings: Settings) -> None:
        # The pools with joints go last, as Targets wants them.
        self.pools = sorted(pools, key=lambda pool: pool.joints is not None)
        self.seed = settings.seed
        shares = np.array([pool.weight for pool in self.pools])
        reached = np.round(np.cumsum(shares / shares.sum()) * settings.batch).astype(int)
        self.counts = np.diff(reached, prepend=0).tolist()
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def rows(self, which: int, step: int) -> np.ndarray:
        """The pictures of one pool in a batch: the pool in a new random order in each round through it."""
        length, count = len(self.pools[which].pixels), self.counts[which]
        places = np.arange(step * count, (step + 1) * count)
        chosen = np.empty(count, np.int64)
        for turn in np.unique(places // length):
            if (which, turn) not in self._orders:
                self._orders = {key: order for key, order in self._orders.items() if key[0] != which}
                self._orders[which, turn] = np.random.default_rng([self.seed, which, turn]).permutation(length)
            here = places // length == turn
            chosen[here] = self._orders[which, turn][places[here] % length]
        return chosen

    def batch(self, step: int, size: int) -> tuple[Tensor, Targets]:
        """The degraded images of one batch, and the teacher's targets for them."""
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        images, embeddings, logits, grids, joints, labels = [], [], [], [], [], []
        for which, pool in enumerate(self.pools):
            rows = self.rows(which, step)
            if not len(rows):
                continue
            views = torch.randint(pool.boxes.shape[1], (len(rows),), generator=chance).numpy()
            # The teacher's targets of a mirrored picture are taken to be the plain one's, mirrored: nearly true, and
            # it halves the teacher's work. Joints have sides, so rendered figures stay as they are.
            mirrored = torch.rand(len(rows), generator=chance) < (0.5 if pool.joints is None else 0.0)
            its_joints = None if pool.joints is None else torch.from_numpy(pool.joints[rows])
            its_images, its_joints = warp(
                torch.from_numpy(pool.pixels[rows]),
                torch.from_numpy(pool.boxes[rows, views]),
                mirrored,
                size,
                chance,
                its_joints,
            )
            images.append(its_images)
            embeddings.append(torch.from_numpy(pool.embedding[rows, views]).float())
            logits.append(torch.from_numpy(pool.logits[rows, views]).float())
            grid = torch.from_numpy(pool.grid[rows, views]).float()
            labels.append(torch.from_numpy(pool.labels[rows]))
            grids.append(torch.where(mirrored[:, None, None, None], grid.flip(-1), grid))
            if its_joints is not None:
                joints.append(its_joints)
        targets = Targets(
            torch.cat(embeddings),
            torch.cat(logits),
            torch.cat(grids),
            torch.cat(labels),
            torch.cat(joints) if joints else None,
        )
        return degrade(torch.cat(images), chance), targets


def statistics_sample(pools: Sequence[Pool]) -> tuple[Tensor, Tensor]:
    """Evenly spaced targets of all pools' whole pictures: embeddings and grids."""
    embeddings, grids = [], []
    for pool in pools:
        rows = np.unique(np.linspace(0, len(pool.pixels) - 1, SAMPLE_FOR_STATISTICS).astype(int))
        embeddings.append(torch.from_numpy(pool.embedding[rows, 0]).float())
        grids.append(torch.from_numpy(pool.grid[rows, 0]).float())
    return torch.cat(embeddings), torch.cat(grids)


def labelled_in(pools: Sequence[Pool]) -> list[int]:
    """The classes that the pools have labels of."""
    return sorted({int(label) for pool in pools for label in pool.labels if label != UNKNOWN})


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the averaged weights and BatchNorm statistics a little towards the network's."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    means, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    get_ema_multi_avg_fn(keep)(means, values, None)  # one launch on a GPU, not one a tensor
    for count, value in pairs:
        if not count.is_floating_point():
            count.copy_(value)


def replace_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that no reader ever sees half of it."""
    partial = file.with_name(file.name + ".partial")
    write(partial)
    os.replace(partial, file)


def export(network: nn.Module, file: Path, about: dict[str, str]) -> None:
    """Write a network's state in half precision, with a description of how it came to be."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in network.state_dict().items()
    }
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"not finite in half precision: {', '.join(broken)}")
    replace_atomically(file, lambda partial: save_file(state, partial, metadata=about))


def decay_groups(student: Student, decay: float) -> list[dict]:
    """Weight decay for weight matrices and kernels only, not for biases and BatchNorm."""
    learning = [parameter for parameter in student.parameters() if parameter.requires_grad]
    flat = [parameter for parameter in learning if parameter.ndim < 2]
    deep = [parameter for parameter in learning if parameter.ndim >= 2]
    return [{"params": deep, "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}]


def distil(
    pools: Sequence[Pool], work: Path, settings: Settings, *, teacher: Path | None = None, stop_after: int | None = None
) -> nn.Module:
    """Train a student, which begins as its teacher, on the pools and return its averaged network.

    A run whose checkpoint lies in the work folder goes on from it. `stop_after` ends this call early, with a
    checkpoint, once that many images have been seen in all.
    """
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    student = Student(teacher, labelled_in(pools)).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(student.network).eval()
    optimiser = torch.optim.AdamW(decay_groups(student, settings.decay), lr=settings.rate, fused=True)
    batches = Batches(pools, settings)
    step = 0
    if (work / CHECKPOINT).exists():
        saved = torch.load(work / CHECKPOINT, map_location="cpu", weights_only=True)
        student.load_state_dict(saved["student"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
    else:
        student.standardise_by(*statistics_sample(batches.pools))

    steps = math.ceil(settings.images / settings.batch)
    last = steps if stop_after is None else min(steps, math.ceil(stop_after / settings.batch))

    def save() -> None:
        state = {
            "student": student.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
        }
        replace_atomically(work / CHECKPOINT, lambda partial: torch.save(state, partial))
        export(average, work / EXPORT, describe(batches, settings, step))

    log = ProgressLog(work / METRICS, settings, step)
    saved_at = time.monotonic()
    while step < last:
        part = step / steps
        for group in optimiser.param_groups:
            group["lr"] = settings.rate_at(part)
        images, targets = batches.batch(step, settings.size_at(part))
        with torch.autocast("cpu", torch.bfloat16):
            losses = student.losses(images, targets)
        optimiser.zero_grad(set_to_none=True)
        total_loss(losses).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimiser.step()
        step += 1
        follow(average, student.network, min(settings.ema, step / (step + 10)))
        log.add(step, settings.size_at(part), losses)
        if time.monotonic() - saved_at > settings.save_every:
            save()
            saved_at = time.monotonic()
    save()
    return average


def describe(batches: Batches, settings: Settings, step: int) -> dict[str, str]:
    """What an export says about itself."""
    return {
        "architecture": "torchvision mobilenet_v2, 1000 classes",
        "recipe": "begins as MobileNetV2 (ImageNet) and is distilled from it to small and damaged pictures: "
        "standardised embedding, logits, features.13 on a 4x4 grid; labels of tiny ImageNet; joints of rendered "
        f"figures; the first {FROZEN} blocks stay",
        "input": f"RGB stretched to {settings.sizes[-1][0]}x{settings.sizes[-1][0]}, ImageNet mean and deviation",
        "pictures": ", ".join(f"{pool.name} ({len(pool.pixels)})" for pool in batches.pools),
        "images_seen": str(step * settings.batch),
        "images_planned": str(settings.images),
        "sizes": ", ".join(f"{size} for {part:g}" for size, part in settings.sizes),
        "optimiser": f"AdamW, batch {settings.batch}, rate {settings.rate:g}, cosine, weight average {settings.ema:g}",
        "seed": str(settings.seed),
    }


class ProgressLog:
    """Prints a line of progress and appends it to a CSV file at intervals."""

    FIELDS = ("images", "size", "images_per_second", "mse", "cosine", "logits", "grid", "labels", "joints")

    def __init__(self, file: Path, settings: Settings, step: int) -> None:
        self.file, self.settings = file, settings
        self._start_over(step)

    def _start_over(self, step: int) -> None:
        self.since, self.first, self.sums = time.monotonic(), step, dict.fromkeys(self.FIELDS[3:], 0.0)

    def add(self, step: int, size: int, losses: dict[str, Tensor]) -> None:
        """Count one step's losses."""
        for name, loss in losses.items():
            self.sums[name] += loss.item()
        seconds = time.monotonic() - self.since
        if seconds < self.settings.log_every:
            return
        count = step - self.first
        rate = count * self.settings.batch / seconds
        values = [step * self.settings.batch, size, round(rate, 1)]
        values += [round(total / count, 4) for total in self.sums.values()]
        new = not self.file.exists()
        with self.file.open("a", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            if new:
                writer.writerow(self.FIELDS)
            writer.writerow(values)
        print("  ".join(f"{name} {value}" for name, value in zip(self.FIELDS, values, strict=True)), flush=True)
        self._start_over(step)
