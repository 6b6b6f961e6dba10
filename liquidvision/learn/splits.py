"""Splits that do not leak: whole groups go to training, validation or test, never a part of one."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from liquidvision import checkpoint
from liquidvision.errors import ModelError, SinkError, UsageError
from liquidvision.learn.annotations import Clip, Dataset

PARTS = {"train": 0.7, "validation": 0.15, "test": 0.15}
FORMAT, VERSION = "liquidvision-split", 1


def split(dataset: Dataset, *, seed: int = 0, shares: Mapping[str, float] = PARTS) -> dict[str, tuple[str, ...]]:
    """The names of the clips of each part; the first part has every class that the data allows it.

    Args:
        dataset: what to split.
        seed: another seed, another split; the order of the files plays no part.
        shares: of the clips, by part; they sum to 1.

    Raises:
        UsageError: fewer groups than parts.
    """
    parts = assign(dataset, list(shares.values()), seed)
    return dict(zip(shares, parts, strict=True))


def folds(dataset: Dataset, k: int, *, seed: int = 0) -> list[tuple[str, ...]]:
    """The names of the clips of `k` folds, of about the same size and mixture of classes.

    Raises:
        UsageError: k is below 2, or there are fewer groups than folds.
    """
    if k < 2:
        raise UsageError(f"folds is {k}; expected 2 or more")
    return assign(dataset, [1 / k] * k, seed)


def assign(dataset: Dataset, shares: list[float], seed: int) -> list[tuple[str, ...]]:
    """Groups to parts: the largest first, each to the part that lacks most of what the group brings.

    A part's lack is counted class by class, in clips: what its share of the class would be, less what it has.
    """
    groups: dict[str, list[Clip]] = {}
    for clip in dataset.clips:
        groups.setdefault(clip.group, []).append(clip)
    if len(groups) < len(shares):
        what = "groups" if dataset.grouped else "videos"
        raise UsageError(f"there are {len(groups)} {what}; {len(shares)} parts need as many at least")
    labels = {label: i for i, label in enumerate(dataset.labels)}
    brings = {name: np.zeros(len(labels)) for name in groups}
    for name, clips in groups.items():
        for clip in clips:
            own = Counter([clip.label] if clip.label is not None else [i.label for i in clip.intervals])
            for label, count in own.items():
                brings[name][labels[label]] += count / own.total()
            if not own and dataset.background is not None:
                brings[name][labels[dataset.background]] += 1
    draw = np.random.default_rng(seed)
    order = sorted(groups)
    order = [order[i] for i in draw.permutation(len(order))]
    order.sort(key=lambda name: -brings[name].sum())
    lack = np.outer(shares, sum(brings.values()))
    whole = lack.sum(0)
    chosen: list[list[str]] = [[] for _ in shares]
    for place, name in enumerate(order):
        empty = [part for part, names in enumerate(chosen) if not names]
        last_chance = len(order) - place <= len(empty)
        # Rare classes weigh as much as common ones; a class that a part has none of yet, most of all.
        need = (lack / np.maximum(whole, 1e-9) * (brings[name] > 0)).sum(1) + 1e-3 * lack.sum(1)
        part = max(empty if last_chance else range(len(shares)), key=lambda p: (need[p], shares[p], -p))
        chosen[part].append(name)
        lack[part] -= brings[name]
    return [tuple(sorted(clip.name for name in names for clip in groups[name])) for names in chosen]


def write_split(path: Path, parts: Mapping[str, tuple[str, ...]], *, seed: int, by: str) -> None:
    """Write a split as JSON, beside the model.

    Raises:
        SinkError: the file cannot be written.
    """
    told = {"format": FORMAT, "version": VERSION, "seed": seed, "by": by, "parts": parts}
    try:
        checkpoint.replace(path, json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def read_split(path: Path) -> dict[str, tuple[str, ...]]:
    """The parts of a split that `write_split` wrote.

    Raises:
        ModelError: the file is damaged or another.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT or told["version"] != VERSION:
            raise ValueError(f"format {told['format']}, version {told['version']}")
        return {str(part): tuple(map(str, names)) for part, names in told["parts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a split ({error}); train again, or leave it out") from error
