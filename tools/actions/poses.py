"""The backbone of `actions`: a network trained from random weights to find the rendered figure's joints."""

import copy
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model

from liquidvision import Backbone, Preprocessing
from liquidvision.models.folder import read_weights
from tools.actions.clips import SIDE
from tools.actions.stills import JOINTS, Stills
from tools.distill.degrade import distort, uniform
from tools.distill.training import CHECKPOINT, EXPORT, export, follow, replace_atomically

NETWORK, NODE, GRID = "mobilenet_v3_large", "features.15", 5  # the last narrow map, cell by cell
BATCH, RATE, DECAY, KEEP, WARM_UP = 256, 3e-3, 0.02, 0.998, 0.03
STILL = 0.15  # see `teach`
SAVE_EVERY, LOG_EVERY = 60.0, 20.0  # seconds
TURN, ZOOM, SHIFT, BEND = 0.1, 0.15, 0.04, (0.15, 0.3)  # radians, shares
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), shorter=None)


def bend(pictures: Tensor, joints: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures (n, side, side, 3) uint8 as images in 0..1, moved, turned, zoomed and bent, with their joints.

    The bend stretches one end of the picture and squeezes the other, by v + k v (1 - v) along each axis: bodies get
    proportions that were never drawn.
    """
    count, side, device = len(pictures), pictures.shape[1], pictures.device
    angle = uniform(-TURN, TURN, (count,), chance)
    zoom = torch.exp(uniform(-ZOOM, ZOOM, (count, 2), chance))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(count, 2, 2)
    matrix = turn * zoom[:, None]  # from the image's coordinates, about the middle, to the picture's
    back, matrix = torch.linalg.inv(matrix).to(device), matrix.to(device)
    middle = (0.5 + uniform(-SHIFT, SHIFT, (count, 1, 2), chance)).to(device)
    k = uniform(-1, 1, (count, 1, 2), chance) * torch.tensor(BEND)
    k = torch.where(k.abs() < 1e-3, 1e-3, k).to(device)  # it divides below
    steps = (torch.arange(side, device=device) + 0.5) / side
    places = torch.cartesian_prod(steps, steps).flip(1)[None]  # x, y of each pixel, row by row
    where = (places + k * places * (1 - places) - 0.5) @ matrix.mT + middle
    grid = (2 * where - 1).view(count, side, side, 2)
    images = pictures.permute(0, 3, 1, 2).float().div_(255)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    bent = (joints - middle) @ back.mT + 0.5
    root = ((1 + k).square() - 4 * k * bent).clamp_min(1e-4).sqrt()
    return images, ((1 + k) - root) / (2 * k)


class Pointer(nn.Module):
    """The network as far as its node, and a linear readout of the joints from the node's map."""

    def __init__(self) -> None:
        super().__init__()
        self.network = get_model(NETWORK, weights=None)
        self.depth = int(NODE.rpartition(".")[2]) + 1
        channels = self.network.features[self.depth][0].in_channels
        self.to_joints = nn.Linear(channels * GRID * GRID, 2 * JOINTS)
        for name, values in (("mean", PREPROCESSING.mean), ("std", PREPROCESSING.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return joints (n, 14, 2) as fractions of the picture, of images (n, 3, SIDE, SIDE) in 0..1."""
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            for layer in self.network.features[: self.depth]:
                x = layer(x)
        x = functional.adaptive_avg_pool2d(x.float(), GRID).flatten(1)
        return read_joints(x, self.to_joints)


def read_joints(embeddings: Tensor, to_joints: nn.Linear) -> Tensor:
    """Return joints (n, 14, 2) as fractions of the picture, of embeddings (n, dim)."""
    return 0.5 + 0.2 * to_joints(embeddings).unflatten(1, (JOINTS, 2))


def error(wanted: Tensor, found: Tensor) -> Tensor:
    """Return the loss: how far joints are off, in fifths of the picture; small errors count in full."""
    return functional.smooth_l1_loss(found / 0.2, wanted / 0.2, beta=0.05)


def make_generator(seed: int, step: int) -> torch.Generator:
    """Return the random generator of one step, so that a resumed run sees what an undisturbed one sees."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def teach(
    stills: Stills,
    work: Path,
    *,
    images: int,
    device: torch.device,
    batch: int = BATCH,
    rate: float = RATE,
    start: Path | None = None,
    still: float = STILL,
    seed: int = 0,
) -> Path:
    """Train until `images` images are seen, from the checkpoint in `work` if there is one; return the exported file.

    It holds the averaged weights in half precision, as `network.*` and `to_joints.*`: see `load_taught_backbone`.

    Args:
        stills: what to learn from.
        work: where the checkpoint and the exported file are kept.
        images: how many to see.
        device: where to train.
        batch: images in a step.
        rate: the peak of the learning rate.
        start: an exported file to begin with.
        still: share of the steps, at the end, in which the network normalises by running statistics, as it will in
            use: a channel that is nearly always silent has next to no variance there, and a picture that wakes it
            would make the embedding explode.
        seed: of everything random.
    """
    work.mkdir(parents=True, exist_ok=True)
    kept, pinned = work / CHECKPOINT, device.type == "cuda"
    torch.manual_seed(seed)
    pointer, before = Pointer(), {}
    if start is not None:
        pointer.load_state_dict(read_weights(start))
        with safe_open(str(start), framework="pt") as file:
            before = file.metadata() or {}
    pointer = pointer.to(device, memory_format=torch.channels_last).train()
    average = copy.deepcopy(pointer).eval()
    optimiser = torch.optim.AdamW(pointer.parameters(), lr=rate, weight_decay=DECAY, fused=True)
    step, steps = 0, math.ceil(images / batch)
    if kept.exists():
        saved = torch.load(kept, map_location=device, weights_only=True)
        pointer.load_state_dict(saved["pointer"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]

    def save() -> None:
        state = {"pointer": pointer.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        replace_atomically(kept, lambda partial: torch.save({**state, "step": step}, partial))
        about = {"images_seen": step * batch}
        if start is not None:
            about["images_after_start"] = step * batch
        totals = {name: value + int(before.get(name, 0)) for name, value in about.items()}
        totals["stills"] = max(len(stills.pictures), int(before.get("stills", 0)))  # the same ones in every run
        export(average, work / EXPORT, {name: str(value) for name, value in {**totals, "seed": seed}.items()})

    def draw(step: int) -> list[Tensor]:
        drawn = stills.draw(batch, make_generator(2 * seed, step))
        return [each.pin_memory() for each in drawn] if pinned else drawn

    saved_at = logged_at = time.monotonic()
    told, total = step, torch.zeros((), device=device)  # the sum is read only when told: a GPU is not waited for
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(draw, step)
        while step < steps:
            pictures, joints = (each.to(device, non_blocking=True) for each in coming.result())
            coming = ahead.submit(draw, step + 1)
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_at(step / steps)
            if step >= (1 - still) * steps:
                for layer in pointer.modules():
                    if isinstance(layer, nn.BatchNorm2d):
                        layer.eval()
            chance = make_generator(2 * seed + 1, step)
            seen, wanted = bend(pictures, joints, chance)
            loss = error(wanted, pointer(distort(seen, chance)))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(pointer.parameters(), 5.0)
            optimiser.step()
            step, total = step + 1, total + loss.detach()
            follow(average, pointer, min(KEEP, step / (step + 10)))
            if time.monotonic() - logged_at > LOG_EVERY:
                mean = float(total) / (step - told)
                speed = (step - told) * batch / (time.monotonic() - logged_at)
                print(f"{step * batch}/{images} images: loss {mean:.4f}, {speed:.0f} images/s", flush=True)
                logged_at, told = time.monotonic(), step
                total.zero_()
            if time.monotonic() - saved_at > SAVE_EVERY:
                save()
                saved_at = time.monotonic()
    save()
    return work / EXPORT


def rate_at(part: float) -> float:
    """Return the learning rate as a share of its peak, at a share of all steps: warm-up, then a cosine."""
    rate = part / WARM_UP if part < WARM_UP else 0.5 * (1 + math.cos(math.pi * (part - WARM_UP) / (1 - WARM_UP)))
    return max(rate, 1e-3)


def load_taught_backbone(weights: Path) -> tuple[Backbone, nn.Linear]:
    """Return the trained network as a backbone, in its stored half precision, and its readout of the joints."""
    state = read_weights(weights)
    backbone = Backbone(NETWORK, nodes={NODE: GRID}, weights=None, preprocessing=PREPROCESSING)
    own = backbone.extractor.state_dict()
    backbone.extractor.load_state_dict({name: state[f"network.{name}"] for name in own})
    to_joints = nn.Linear(backbone.dim, 2 * JOINTS).requires_grad_(False)
    to_joints.load_state_dict({name: state[f"to_joints.{name}"] for name in ("weight", "bias")})
    return backbone, to_joints
