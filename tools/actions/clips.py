"""Rendered clips as arrays on disk: pictures, times, labels; and their embeddings by a frozen backbone."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from liquidvision import Backbone
from tools.figures import render_clip

SIDE = 160  # pixels; the backbone's input


@dataclass(frozen=True, slots=True)
class ClipSet:
    """Clips of equal length: times (n, t) seconds, labels (n, t), and pictures or embeddings (n, t, ...)."""

    times: np.ndarray
    labels: np.ndarray
    values: np.ndarray


def instants(seed: int, *, seconds: float, rate: float, jitter: float) -> np.ndarray:
    """Return the times of a clip's frames: steps of 1 / rate, each longer or shorter by up to the share `jitter`."""
    steps = np.random.default_rng(seed).uniform(1 - jitter, 1 + jitter, round(seconds * rate)) / rate
    return np.concatenate([[0.0], np.cumsum(steps)[:-1]])


def render_set(
    folder: Path, split: str, seeds: range, *, seconds: float = 8.0, rate: float = 25.0, jitter: float = 0.5
) -> ClipSet:
    """Render clips into `folder`, or open those that an earlier call finished there."""
    recipe = {"split": split, "seeds": [seeds.start, seeds.stop], "seconds": seconds, "rate": rate, "jitter": jitter}
    done, shape = folder / "done.json", (len(seeds), round(seconds * rate))
    folder.mkdir(parents=True, exist_ok=True)
    finished = done.exists() and json.loads(done.read_text()) == recipe
    mode = "r" if finished else "w+"
    pictures = np.memmap(folder / "pictures.u8", np.uint8, mode, shape=(*shape, SIDE, SIDE, 3))
    labels = np.memmap(folder / "labels.u8", np.uint8, mode, shape=shape)
    times = np.stack([instants(seed, seconds=seconds, rate=rate, jitter=jitter) for seed in seeds])
    if not finished:
        with get_context("spawn").Pool() as pool:
            clips = pool.imap(partial(rendered, split), zip(seeds, times, strict=True))
            for row, (some, said) in enumerate(clips):
                pictures[row], labels[row] = some, said
                if row % 100 == 99:
                    print(f"{folder.name}: {row + 1}/{len(seeds)} clips rendered", flush=True)
        pictures.flush()
        labels.flush()
        done.write_text(json.dumps(recipe))
    return ClipSet(times, np.array(labels), pictures)


def rendered(split: str, clip: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (t, SIDE, SIDE, 3) uint8 and labels (t,) of a clip, given by a seed and times."""
    frames = list(render_clip(clip[0], split=split, times=clip[1], size=(SIDE, SIDE)))
    return np.stack([frame.image for frame in frames]), np.array([frame.label for frame in frames])


def embed_set(clips: ClipSet, backbone: Backbone, cache: Path, key: str) -> ClipSet:
    """Return the clips' embeddings (n, t, dim) in half precision; kept in `cache` under the backbone's `key`."""
    path = cache / f"{key}.npy"
    if not path.exists():
        rows = np.empty((*clips.labels.shape, backbone.dim), np.float16)
        for row, pictures in enumerate(clips.values):
            for start in range(0, len(pictures), 50):
                rows[row, start : start + 50] = backbone.embed(list(pictures[start : start + 50])).cpu().numpy()
            if row % 20 == 19:
                print(f"{cache.name}: {row + 1}/{len(rows)} clips embedded", flush=True)
        part = path.with_suffix(".part.npy")
        np.save(part, rows)
        part.replace(path)
    return ClipSet(clips.times, clips.labels, np.load(path))


def embed_clips(
    backbone: Backbone,
    folder: Path,
    name: str,
    split: str,
    seeds: range,
    sampling: Callable[[int], np.ndarray],
    *,
    seconds: float = math.inf,
) -> list[Path]:
    """Render and embed clips one by one; return the files that hold them, one a clip, see `read_clip`.

    Args:
        backbone: the backbone.
        folder: where the files are kept; those that are there are not made again.
        name: begins the names of the files.
        split: of the renderer.
        seeds: of the clips.
        sampling: returns the times of a clip's frames, by its seed.
        seconds: stop after this time, as if there were no more seeds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begin, height, width, done = time.monotonic(), *backbone.preprocessing.size, []
    for seed in seeds:
        path = folder / f"{name}-{seed}.npz"
        if not path.exists():
            if time.monotonic() - begin > seconds:
                break
            frames = list(render_clip(seed, split=split, times=sampling(seed), size=(width, height)))
            rows = [
                backbone.embed([frame.image for frame in frames[start : start + 50]]).cpu().numpy()
                for start in range(0, len(frames), 50)
            ]
            part = path.with_suffix(".part.npz")
            np.savez(
                part,
                times=np.array([frame.time for frame in frames]),
                labels=np.array([frame.label for frame in frames]),
                embeddings=np.concatenate(rows).astype(np.float16),
            )
            part.replace(path)
        done.append(path)
    return done


def read_clip(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times (t,), labels (t,) and embeddings (t, dim) in half precision of a clip."""
    with np.load(path) as file:
        return file["times"], file["labels"], file["embeddings"]


def as_tensors(clips: ClipSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return times float64, labels int64 and embeddings float16 as tensors."""
    return torch.from_numpy(clips.times), torch.from_numpy(clips.labels).long(), torch.from_numpy(clips.values)
