"""Splits that do not leak: whole groups go to training, validation or test, never a part of one."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.errors import ModelError, UsageError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
FORMAT, VERSION = "liquidvision-split", 1


def split_dataset(
    dataset: Dataset, *, seed: int = 0, shares: Mapping[str, float] = SHARES
) -> dict[str, tuple[str, ...]]:
    """The names of the clips of each part, groups whole; no part is empty.

    The first part, training, has every class; the others have every class as far as groups are left. What then remains
    goes where it brings the parts nearest to their shares. Of parts with equal shares the last has the most.

    Args:
        dataset: what to split.
        seed: another seed, another split; neither the order of the files nor the place of the data plays a part.
        shares: of the clips, by part; they sum to 1. In small data they yield to the rules above.

    Raises:
        UsageError: shares that are none, fewer groups than parts, or too few to have every class in training.
    """
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"shares are {dict(shares)}; expected numbers above 0 that sum to 1")
    groups = clips_by_group(dataset, len(shares))
    brings = brought(dataset, groups)
    left = drawn(brings, seed)
    first, *others = shares
    chosen = {first: cover(left, brings, shares[first], len(left))}
    left = [name for name in left if name not in chosen[first]]
    if len(left) < len(others):
        noun = group_noun(dataset)
        raise UsageError(
            f"training takes {len(chosen[first])} of {len(groups)} {noun}, to have all {len(dataset.labels)} classes; "
            f"what is left is too little for {' and '.join(others)}: add {noun} of classes that have one alone"
        )
    for number, part in enumerate(reversed(others), 1):
        chosen[part] = cover(left, brings, shares[part], len(left) - (len(others) - number))
        left = [name for name in left if name not in chosen[part]]
    fill_parts(list(chosen.values()), left, brings, [shares[part] for part in chosen])
    for share in set(shares.values()):
        equal = [part for part in others if shares[part] == share]
        richest_last = sorted((chosen[part] for part in equal), key=lambda names: richness(names, brings))
        chosen |= dict(zip(equal, richest_last, strict=True))
    table = [chosen[part] for part in shares]
    return dict(zip(shares, clips_in(table, groups), strict=True))


def make_folds(dataset: Dataset, k: int, *, seed: int = 0) -> list[tuple[str, ...]]:
    """The names of the clips of `k` folds, groups whole, of about the same size and mixture of classes.

    A class of two groups or more is in two folds or more, as far as can be, so that no training goes without it.

    Raises:
        UsageError: k is below 2, or there are fewer groups than folds.
    """
    if k < 2:
        raise UsageError(f"folds is {k}; expected 2 or more")
    groups = clips_by_group(dataset, k)
    brings = brought(dataset, groups)
    table: list[list[str]] = [[] for _ in range(k)]
    fill_parts(table, drawn(brings, seed), brings, [1 / k] * k)
    return clips_in(table, groups)


def clips_by_group(dataset: Dataset, parts: int) -> dict[str, list[Clip]]:
    """The clips of each group, all in order of their names; or UsageError where there are fewer groups than parts."""
    groups: dict[str, list[Clip]] = {group: [] for group in sorted({clip.group for clip in dataset.clips})}
    for clip in sorted(dataset.clips, key=lambda clip: clip.name):
        groups[clip.group].append(clip)
    if len(groups) < parts:
        raise UsageError(f"there are {len(groups)} {group_noun(dataset)}; {parts} parts need as many at least")
    return groups


def group_noun(dataset: Dataset) -> str:
    """What a split keeps whole, in words."""
    return "groups" if dataset.grouped else "videos"


def brought(dataset: Dataset, groups: Mapping[str, Sequence[Clip]]) -> dict[str, np.ndarray]:
    """How many clips each group has of each class and, last, in all: (classes + 1,).

    A clip of several classes counts in parts, by its intervals.
    """
    labels = {label: i for i, label in enumerate(dataset.labels)}
    brings = {name: np.zeros(len(labels) + 1) for name in groups}
    for name, clips in groups.items():
        for clip in clips:
            own = [i.label for i in clip.intervals] if clip.label is None else [clip.label]
            if not own and dataset.background is not None:
                own = [dataset.background]
            for label, count in sorted(Counter(own).items()):
                brings[name][labels[label]] += count / len(own)
            brings[name][-1] += 1
    return brings


def drawn(brings: Mapping[str, np.ndarray], seed: int) -> list[str]:
    """The groups, large ones first, those of about a size in an order that hangs on their names and the seed alone."""
    chance = {name: hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest() for name in brings}
    return sorted(brings, key=lambda name: (-int(brings[name][-1]).bit_length(), chance[name]))


def cover(names: Sequence[str], brings: Mapping[str, np.ndarray], share: float, limit: int) -> list[str]:
    """Few of these groups, `limit` at most, that have all the classes that these groups have: the rarest first.

    Of groups that add equally many classes it takes the one that fits best into the part's share.
    """
    have = {name: brings[name] > 0 for name in names}
    counts = np.sum(list(have.values()), axis=0)
    whole = np.sum(list(brings.values()), axis=0)
    missing, lack = counts > 0, share * whole
    taken: list[str] = []
    while missing.any() and len(taken) < limit:
        rarest = np.where(missing, counts, np.inf).argmin()
        fitting = [name for name in names if have[name][rarest]]
        name = max(fitting, key=lambda n: ((have[n] & missing).sum(), wanted_sizes(brings[n], lack, whole)))
        taken.append(name)
        missing, lack = missing & ~have[name], lack - brings[name]
    if not missing.any():
        for name in list(taken):  # what was taken first may be in those that were taken later
            others = [have[other] for other in taken if other != name]
            if others and (np.any(others, axis=0) == (counts > 0)).all():
                taken.remove(name)
    return taken


def fill_parts(
    table: Sequence[list[str]], names: Sequence[str], brings: Mapping[str, np.ndarray], shares: Sequence[float]
) -> None:
    """Add each group to the part that wants it most; a class in one part alone is worse, and no part stays empty."""
    nothing = np.zeros(len(next(iter(brings.values()))))
    whole = np.sum(list(brings.values()), axis=0)
    lack = [share * whole - sum((brings[n] for n in part), nothing) for share, part in zip(shares, table, strict=True)]
    spread = np.array([sum((brings[n] > 0 for n in part), nothing) for part in table])
    to_come = sum((brings[n] > 0 for n in names), nothing)
    for place, name in enumerate(names):
        own = brings[name]
        to_come = to_come - (own > 0)
        lonely = ((own > 0) & (to_come == 0) & (spread > 0) & (spread == spread.sum(0))).sum(1)
        empty = [part for part, inside in enumerate(table) if not inside]
        choice = empty if len(names) - place <= len(empty) else range(len(table))
        part = max(choice, key=lambda p: (-lonely[p], wanted_sizes(own, lack[p], whole), -p))
        table[part].append(name)
        lack[part] = lack[part] - own
        spread[part] += own > 0


def wanted_sizes(own: np.ndarray, lack: np.ndarray, whole: np.ndarray) -> float:
    """By how much a group lessens Σ (lack / whole)² of a part, over the classes and clips in all, rare ones alike."""
    return float((own * (2 * lack - own) / np.maximum(whole, 1e-9) ** 2).sum())


def richness(names: Sequence[str], brings: Mapping[str, np.ndarray]) -> tuple[int, float]:
    """How many classes groups have together, and how many clips."""
    together = np.sum([brings[name] for name in names], axis=0)
    return int((together > 0).sum()), float(together[-1])


def clips_in(table: Sequence[Sequence[str]], groups: Mapping[str, Sequence[Clip]]) -> list[tuple[str, ...]]:
    """The names of the clips of each part, in order."""
    return [tuple(sorted(clip.name for name in names for clip in groups[name])) for names in table]


@dataclass(frozen=True, slots=True)
class Split:
    """A split as it is kept beside the model that was trained by it.

    Attributes:
        parts: names of clips, by part; no clip is in two.
        seed: of the split.
        by: "group" or "video", what was kept whole.
        contents: a hash of each clip's bytes, by name; empty where it is not known.
    """

    parts: Mapping[str, tuple[str, ...]]
    seed: int
    by: str
    contents: Mapping[str, str] = field(default_factory=dict)

    def find(self, contents: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """The parts in which each of these clips is: a copy, or a clip that was moved or renamed, is known again.

        Args:
            contents: hashes by name, as in `Split`. A name decides only where the split has no hash for it.
        """
        inside: dict[str, set[str]] = defaultdict(set)
        for part, names in self.parts.items():
            for name in names:
                inside[self.contents.get(name, name)].add(part)
        nowhere: set[str] = set()
        return {
            name: frozenset(inside.get(content, nowhere) | inside.get(name, nowhere))
            for name, content in contents.items()
        }

    def encode(self) -> bytes:
        """The split as JSON, to be read by `read_split`."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1).encode() + b"\n"


def read_split(path: Path) -> Split:
    """The split in a file that `Split.encode` made.

    Raises:
        ModelError: the file is missing, damaged or another, or has a clip in two parts.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT or told["version"] != VERSION:
            raise ValueError(f"it is {told['format']}, version {told['version']}; expected {FORMAT}, version {VERSION}")
        parts = {str(part): tuple(map(str, names)) for part, names in told["parts"].items()}
        twice = [
            name for name, count in Counter(name for names in parts.values() for name in names).items() if count > 1
        ]
        if twice:
            raise ValueError(f"{twice[0]} is there twice")
        return Split(parts, int(told["seed"]), str(told["by"]), dict(told.get("contents", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a split ({error}); train again, or leave it out") from error
