"""The backbone of `actions`: a small network, taught from nothing where the rendered figure's joints are."""

import copy
import json
import math
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_small

from tools.actions.clips import SIDE
from tools.distill.degrade import degrade, warp
from tools.distill.training import export, follow, replace_atomically
from tools.figures import render_clip

NETWORK, NODE, GRID = "mobilenet_v3_small", "features.11", 5  # the last map with few channels, cell by cell
JOINTS = 14
STILLS, SECONDS = 12, 30.0  # pictures of a clip, and the time they are spread over
BATCH, RATE, DECAY, KEEP, WARM_UP = 64, 2e-3, 0.02, 0.998, 0.03
SAVE_EVERY, LOG_EVERY = 240.0, 60.0  # seconds
FIRST = 200_000  # seeds below are those of the head's clips
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def stills_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (STILLS, SIDE, SIDE, 3) uint8 and joints (STILLS, 14, 2) of one clip at random times."""
    times = np.sort(np.random.default_rng(seed).uniform(0, SECONDS, STILLS))
    rendered = list(render_clip(seed, times=times, size=(SIDE, SIDE)))
    return np.stack([each.image for each in rendered]), np.stack([each.joints for each in rendered])


def render_stills(folder: Path, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Stills of so many clips, rendered into `folder` or opened there: pictures (n, ...) and joints (n, 14, 2)."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{clips}.json"
    mode, count = ("r" if done.exists() else "w+"), clips * STILLS
    pictures = np.memmap(folder / "pictures.u8", np.uint8, mode, shape=(count, SIDE, SIDE, 3))
    joints = np.memmap(folder / "joints.f32", np.float32, mode, shape=(count, JOINTS, 2))
    if mode == "w+":
        with get_context("spawn").Pool() as pool:
            for number, (some, where) in enumerate(pool.imap(stills_of, range(FIRST, FIRST + clips), chunksize=8)):
                rows = slice(number * STILLS, (number + 1) * STILLS)
                pictures[rows], joints[rows] = some, where
                if number % 500 == 499:
                    print(f"stills: {number + 1}/{clips} clips", flush=True)
        pictures.flush()
        joints.flush()
        done.write_text(json.dumps({"clips": clips, "stills": STILLS}))
    return pictures, np.array(joints)


class Pointer(nn.Module):
    """The network as far as its node, and a linear readout of the joints from the node's map."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mobilenet_v3_small(weights=None)
        self.depth = int(NODE.rpartition(".")[2]) + 1
        channels = self.network.features[self.depth][0].in_channels
        self.to_joints = nn.Linear(channels * GRID * GRID, 2 * JOINTS)

    def forward(self, images: Tensor) -> Tensor:
        """Joints (batch, 14, 2) as fractions of the picture, of images (batch, 3, SIDE, SIDE) in 0..1."""
        x = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        for layer in self.network.features[: self.depth]:
            x = layer(x)
        return 0.5 + 0.2 * self.to_joints(functional.adaptive_avg_pool2d(x, GRID).flatten(1)).unflatten(1, (JOINTS, 2))


def error(wanted: Tensor, found: Tensor) -> Tensor:
    """The loss: how far joints are off, in fifths of the picture; small errors count in full."""
    return functional.smooth_l1_loss(found / 0.2, wanted / 0.2, beta=0.05)


def teach(pictures: np.ndarray, joints: np.ndarray, work: Path, *, images: int, seed: int = 0) -> Path:
    """Train until so many images are seen; a run whose checkpoint lies in `work` goes on. The exported file."""
    work.mkdir(parents=True, exist_ok=True)
    out, kept = work / "backbone.safetensors", work / "checkpoint.pt"
    torch.manual_seed(seed)
    pointer = Pointer().to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(pointer).eval()
    optimiser = torch.optim.AdamW(pointer.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    step, steps, total, told = 0, math.ceil(images / BATCH), 0.0, 0
    if kept.exists():
        saved = torch.load(kept, map_location="cpu", weights_only=True)
        pointer.load_state_dict(saved["pointer"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step = told = saved["step"]

    def save() -> None:
        state = {"pointer": pointer.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        replace_atomically(kept, lambda partial: torch.save({**state, "step": step}, partial))
        about = {"images_seen": str(step * BATCH), "stills": str(len(pictures)), "seed": str(seed)}
        export(average.network, out, about)

    saved_at = logged_at = time.monotonic()
    while step < steps:
        part = step / steps
        rate = part / WARM_UP if part < WARM_UP else 0.5 * (1 + math.cos(math.pi * (part - WARM_UP) / (1 - WARM_UP)))
        for group in optimiser.param_groups:
            group["lr"] = RATE * max(rate, 1e-3)
        # Of each step its own draws: a run that goes on sees what an undisturbed one sees.
        chance = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(pictures), (BATCH,), generator=chance).sort().values.numpy()
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(BATCH, 4)
        plain = torch.zeros(BATCH, dtype=torch.bool)  # joints have sides
        seen, wanted = warp(
            torch.from_numpy(pictures[rows]), whole, plain, SIDE, chance, torch.from_numpy(joints[rows])
        )
        loss = error(wanted, pointer(degrade(seen, chance)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(pointer.parameters(), 5.0)
        optimiser.step()
        step, total = step + 1, total + loss.item()
        follow(average, pointer, min(KEEP, step / (step + 10)))
        if time.monotonic() - logged_at > LOG_EVERY:
            print(f"{step * BATCH}/{images} images: loss {total / (step - told):.4f}", flush=True)
            logged_at, total, told = time.monotonic(), 0.0, step
        if time.monotonic() - saved_at > SAVE_EVERY:
            save()
            saved_at = time.monotonic()
    save()
    return out
