"""Tiny ImageNet as classes with readable names, and simulated clips of its pictures as the backbone sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from liquidvision import Backbone
from liquidvision.training.sequences import ClipSequence
from tools.distill.pictures import zipped_named
from tools.objects.simulate import clip

ARCHIVE, WORDS = "tiny_imagenet_200.zip", "tiny_imagenet_200_words.txt"


def names(images: Path) -> dict[str, str]:
    """Return a name for each class, by its WordNet id: the shortest of its names that no other class has."""
    given = {}
    for line in (images / WORDS).read_text(encoding="utf-8").splitlines():
        wnid, words = line.split("\t")
        given[wnid] = [word.strip() for word in words.split(",")]
    chosen: dict[str, str] = {}
    for wnid, words in sorted(given.items()):
        free = [word for word in words if word not in chosen.values()]
        chosen[wnid] = free[0] if free else f"{words[0]} ({wnid})"
    return chosen


def pictures(images: Path, part: str, wnids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tiny ImageNet's pictures (n, 64, 64, 3) of "train" or "val", and their places in `wnids`."""
    found, labels = [], []
    for name, image in zipped_named(images / ARCHIVE, lambda name: name.startswith(f"{part}/")):
        found.append(np.asarray(image))
        labels.append(wnids.index(name.split("/")[1]))
    return np.stack(found), np.array(labels)


def halves(pool: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every other picture, and the rest.

    A distilled classifier knows tiny ImageNet's train part by heart, and a filter must see how sure it is of pictures
    that it does not know: so filters are trained and tuned on one half of the val part, and judged on the other.
    """
    return [(pool[0][half::2], pool[1][half::2]) for half in (0, 1)]


def simulated(
    backbone: Backbone, pool: tuple[np.ndarray, np.ndarray], seeds: range, split: str, cache: Path
) -> list[ClipSequence]:
    """Clips of one to three of the pool's pictures each, embedded; clips of an earlier call are read from `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    clips = []
    for seed in seeds:
        file = cache / f"{split}_{seed}.pt"
        if not file.exists():
            draw = np.random.default_rng([seed, 7])
            rows = draw.integers(0, len(pool[0]), draw.integers(1, 4))
            shots = list(clip([(pool[0][row], int(pool[1][row])) for row in rows], seed, split))
            parts = [backbone.embed([shot.image for shot in shots[i : i + 16]]) for i in range(0, len(shots), 16)]
            times = torch.tensor([shot.time for shot in shots], dtype=torch.float64)
            labels = torch.tensor([shot.label for shot in shots])
            partial = file.with_suffix(".partial")
            torch.save({"embeddings": torch.cat(parts).half(), "times": times, "labels": labels}, partial)
            partial.replace(file)
            if seed % 20 == 19:
                print(f"{split}: clip {seed} embedded", flush=True)
        saved = torch.load(file, weights_only=True)
        clips.append(ClipSequence(file.stem, saved["embeddings"], saved["times"], saved["labels"], whole_clip=False))
    return clips
