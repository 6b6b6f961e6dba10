"""The teacher's targets: computed once for each stored view of each picture and kept on disk in half precision."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import mobilenet_v2

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GRID = 4
TEACHER_EMBEDDING, CLASSES, TEACHER_MAP, TEACHER_MAP_LAYER = 1280, 1000, 96, 13
CHUNK = 16  # pictures at once: small enough for the maps to stay in the processor's cache
SAVE_EVERY = 64  # chunks


@dataclass(frozen=True)
class Pool:
    """Pictures of one source, with the teacher's targets for each of their views."""

    name: str
    weight: float
    pixels: np.ndarray  # (count, side, side, 3) uint8
    boxes: np.ndarray  # (count, views, 4) left, top, right, bottom as fractions
    embedding: np.ndarray  # (count, views, 1280) half
    logits: np.ndarray  # (count, views, 1000) half
    grid: np.ndarray  # (count, views, 96, 4, 4) half
    labels: np.ndarray  # (count,) ImageNet class, -1 where it is not known
    joints: np.ndarray | None = None  # (count, joints, 2) fractions of width and height


class Teacher(nn.Module):
    """MobileNetV2 that gives its pooled embedding, its logits and its stride-16 map on a 4 x 4 grid."""

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        network = mobilenet_v2(weights=None)
        if weights is not None:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        network.eval()
        fold_batchnorm(network)
        self.network = network.to(memory_format=torch.channels_last).requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Targets of images (batch, 3, height, width) in 0..1."""
        x = (images - self.mean) / self.std
        grid = x
        for index, layer in enumerate(self.network.features):
            x = layer(x)
            if index == TEACHER_MAP_LAYER:
                grid = functional.adaptive_avg_pool2d(x, GRID)
        embedding = x.mean((2, 3))
        return embedding, self.network.classifier(embedding), grid


def fold_batchnorm(network: nn.Module) -> None:
    """Fold every BatchNorm that directly follows a convolution into it, for speed."""
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            names = list(block._modules)
            for first, second in pairwise(names):
                if isinstance(block[int(first)], nn.Conv2d) and isinstance(block[int(second)], nn.BatchNorm2d):
                    block[int(first)] = fuse_conv_bn_eval(block[int(first)], block[int(second)])
                    block[int(second)] = nn.Identity()


def view_boxes(count: int, views: int, side: int, seed: int) -> np.ndarray:
    """Boxes (count, views, 4) in whole pixels: first the whole picture, then random crops."""
    chance = np.random.default_rng(seed)
    boxes = np.zeros((count, views, 4), np.int64)
    boxes[:, 0] = (0, 0, side, side)
    area = chance.uniform(0.3, 0.95, (count, views - 1))
    aspect = np.exp(chance.uniform(np.log(3 / 4), np.log(4 / 3), (count, views - 1)))
    width = np.clip(np.round(side * np.sqrt(area * aspect)), 1, side)
    height = np.clip(np.round(side * np.sqrt(area / aspect)), 1, side)
    left = np.floor(chance.uniform(0, 1, width.shape) * (side - width + 1))
    top = np.floor(chance.uniform(0, 1, width.shape) * (side - height + 1))
    boxes[:, 1:] = np.stack([left, top, left + width, top + height], axis=-1)
    return boxes


def _half(values: Tensor) -> np.ndarray:
    return values.to(torch.float16).numpy()


def with_targets(
    name: str,
    pixels: np.ndarray,
    joints: np.ndarray | None,
    labels: np.ndarray,
    teacher: nn.Module,
    folder: Path,
    *,
    views: int,
    teacher_size: int,
    weight: float,
    seed: int,
) -> Pool:
    """The pool of these pictures; targets that an earlier run stored in the folder are not computed again."""
    folder.mkdir(parents=True, exist_ok=True)
    count, side = len(pixels), pixels.shape[1]
    boxes = view_boxes(count, views, side, seed)
    shapes = {"embedding": (TEACHER_EMBEDDING,), "logits": (CLASSES,), "grid": (TEACHER_MAP, GRID, GRID)}
    files = {part: folder / f"{name}.{part}.npy" for part in shapes}
    progress = folder / f"{name}.json"
    total = count * views
    done = json.loads(progress.read_text(encoding="utf-8"))["done"] if progress.exists() else 0
    if done < total:
        arrays = {
            part: open_memmap(files[part], "r+")
            if done
            else open_memmap(files[part], "w+", np.float16, (count, views, *shape))
            for part, shape in shapes.items()
        }
        _fill(arrays, pixels, boxes, teacher, teacher_size, progress, done)
    ready = {part: np.load(file, mmap_mode="r") for part, file in files.items()}
    return Pool(name, weight, pixels, (boxes / side).astype(np.float32), labels=labels, joints=joints, **ready)


@torch.inference_mode()
def _fill(
    arrays: dict[str, np.ndarray],
    pixels: np.ndarray,
    boxes: np.ndarray,
    teacher: nn.Module,
    teacher_size: int,
    progress: Path,
    done: int,
) -> None:
    count, views = boxes.shape[:2]
    total, started, first = count * views, time.monotonic(), done
    flat = {part: array.reshape(total, *array.shape[2:]) for part, array in arrays.items()}
    for chunk, start in enumerate(range(done, total, CHUNK), start=1):
        end = min(start + CHUNK, total)
        batch = np.empty((end - start, teacher_size, teacher_size, 3), np.uint8)
        for row, index in enumerate(range(start, end)):
            left, top, right, bottom = boxes[index // views, index % views]
            crop = np.ascontiguousarray(pixels[index // views, top:bottom, left:right])
            shrinks = max(crop.shape[:2]) > teacher_size
            kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            batch[row] = cv2.resize(crop, (teacher_size, teacher_size), interpolation=kind)
        outputs = teacher(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)
        for part, values in zip(("embedding", "logits", "grid"), outputs, strict=True):
            flat[part][start:end] = _half(values)
        if chunk % SAVE_EVERY == 0 or end == total:
            for array in arrays.values():
                array.flush()
            partial = progress.with_suffix(".partial")
            partial.write_text(json.dumps({"done": end}), encoding="utf-8")
            os.replace(partial, progress)
            rate = (end - first) / (time.monotonic() - started)
            print(f"targets {progress.stem}: {end}/{total} views, {rate:.0f}/s", flush=True)
