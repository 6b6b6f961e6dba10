"""Splits without leaks: each group goes to training, validation or test as a whole."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from liquidvision.data.dataset import Clip, Dataset, labels_in
from liquidvision.errors import ModelError, UsageError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
FORMAT, VERSION = "liquidvision-split", 2
READABLE_VERSIONS = (1, VERSION)  # version 1 has no `seen`
FITTED = ("train", "validation")  # parts that a model is trained on or chosen by, if it is not refitted


def split_dataset(
    dataset: Dataset, *, seed: int = 0, shares: Mapping[str, float] = SHARES
) -> dict[str, tuple[str, ...]]:
    """Split a dataset into parts; groups stay whole, and no part is empty.

    The first part, training, has every class. The others have every class as far as there are groups left. The rest is
    distributed so that the parts come close to their shares. Of parts with equal shares the last is the largest.

    Args:
        dataset: what to split.
        seed: the seed of the draw. The result does not depend on the order of the files or the folder of the data.
        shares: shares of the clips by part; they sum to 1. In small datasets the rules above take precedence.

    Returns:
        The names of the clips of each part.

    Raises:
        UsageError: shares that do not sum to 1, fewer groups than parts, or too few to have every class in training.
    """
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"shares are {dict(shares)}; expected numbers above 0 that sum to 1")
    groups = clips_by_group(dataset, len(shares))
    counts = count_classes(dataset, groups)
    left = shuffle_groups(counts, seed)
    first, *others = shares
    chosen = {first: choose_covering(left, counts, shares[first], len(left))}
    left = [name for name in left if name not in chosen[first]]
    if len(left) < len(others):
        noun = group_noun(dataset)
        raise UsageError(
            f"training needs {len(chosen[first])} of {len(groups)} {noun} to have all {len(dataset.labels)} classes; "
            f"too few are left for {' and '.join(others)}: add {noun} of the classes that have only one"
        )
    for number, part in enumerate(reversed(others), 1):
        chosen[part] = choose_covering(left, counts, shares[part], len(left) - (len(others) - number))
        left = [name for name in left if name not in chosen[part]]
    fill_parts(list(chosen.values()), left, counts, [shares[part] for part in chosen])
    for share in set(shares.values()):
        equal = [part for part in others if shares[part] == share]
        richest_last = sorted((chosen[part] for part in equal), key=lambda names: count_covered(names, counts))
        chosen |= dict(zip(equal, richest_last, strict=True))
    table = [chosen[part] for part in shares]
    return dict(zip(shares, names_by_part(table, groups), strict=True))


def split_as_given(
    dataset: Dataset, *, seed: int = 0, shares: Mapping[str, float] = SHARES
) -> dict[str, tuple[str, ...]]:
    """Return the split that the annotations give; where they give none, that of `split_dataset`.

    A part that they do not give is taken from the part train, by the rules of `split_dataset`.

    Args:
        dataset, seed: see `split_dataset`.
        shares: see `split_dataset`; the names are those of `Clip.part`, "train" is the first.

    Raises:
        UsageError: see `split_dataset`; or the given part train lacks a class.
    """
    if not has_given_split(dataset):
        return split_dataset(dataset, seed=seed, shares=shares)
    given = {part: tuple(clip.name for clip in dataset.clips if clip.part == part) for part in shares}
    train = dataset.select(given["train"])
    shown = labels_in(train.clips, dataset.background)
    if missing := [label for label in labels_in(dataset.clips, dataset.background) if label not in shown]:
        raise UsageError(
            f"the given split has no clip of {', '.join(missing)} in the part train; expected every class in it: move "
            "clips, or leave the split out"
        )
    if empty := [part for part in shares if not given[part]]:
        rest = {part: shares[part] for part in empty}
        given |= split_dataset(train, seed=seed, shares={"train": 1 - sum(rest.values()), **rest})
    return given


def has_given_split(dataset: Dataset) -> bool:
    """Return whether the annotations give a split."""
    return any(clip.part is not None for clip in dataset.clips)


def make_folds(dataset: Dataset, k: int, *, seed: int = 0) -> list[tuple[str, ...]]:
    """Return the names of the clips of `k` folds of similar size and mixture of classes; groups stay whole.

    A class of two or more groups is in two or more folds if possible, so that no training part lacks it.

    Raises:
        UsageError: k is below 2, or there are fewer groups than folds.
    """
    if k < 2:
        raise UsageError(f"folds is {k}; expected 2 or more")
    groups = clips_by_group(dataset, k)
    counts = count_classes(dataset, groups)
    table: list[list[str]] = [[] for _ in range(k)]
    fill_parts(table, shuffle_groups(counts, seed), counts, [1 / k] * k)
    return names_by_part(table, groups)


def clips_by_group(dataset: Dataset, parts: int) -> dict[str, list[Clip]]:
    """Return the clips of each group, groups and clips sorted by name.

    Raises:
        UsageError: there are fewer groups than parts.
    """
    groups: dict[str, list[Clip]] = {group: [] for group in sorted({clip.group for clip in dataset.clips})}
    for clip in sorted(dataset.clips, key=lambda clip: clip.name):
        groups[clip.group].append(clip)
    if len(groups) < parts:
        raise UsageError(f"there are {len(groups)} {group_noun(dataset)}; expected at least {parts}, one for each part")
    return groups


def group_noun(dataset: Dataset) -> str:
    """Return what a split keeps whole, in words."""
    return "groups" if dataset.grouped else "videos"


def count_classes(dataset: Dataset, groups: Mapping[str, Sequence[Clip]]) -> dict[str, np.ndarray]:
    """Return the number of clips of each group by class and, last, in total: (classes + 1,).

    A clip of several classes counts in fractions, by its intervals.
    """
    labels = {label: i for i, label in enumerate(dataset.labels)}
    counts = {name: np.zeros(len(labels) + 1) for name in groups}
    for name, clips in groups.items():
        for clip in clips:
            own = clip.interval_labels if clip.label is None else [clip.label]
            if not own and dataset.background is not None:
                own = [dataset.background]
            for label, count in sorted(Counter(own).items()):
                counts[name][labels[label]] += count / len(own)
            counts[name][-1] += 1
    return counts


def shuffle_groups(counts: Mapping[str, np.ndarray], seed: int) -> list[str]:
    """Return the groups, large ones first; groups of similar size are in a random order of their names and the seed."""
    draw = {name: hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest() for name in counts}
    return sorted(counts, key=lambda name: (-int(counts[name][-1]).bit_length(), draw[name]))


def choose_covering(names: Sequence[str], counts: Mapping[str, np.ndarray], share: float, limit: int) -> list[str]:
    """Choose few of these groups, at most `limit`, that have all the classes of these groups; the rarest class first.

    Of groups that add equally many classes, the one is chosen that fits best into the part's share.
    """
    have = {name: counts[name] > 0 for name in names}
    occurrences = np.sum(list(have.values()), axis=0)
    whole = np.sum(list(counts.values()), axis=0)
    missing, lack = occurrences > 0, share * whole
    taken: list[str] = []
    while missing.any() and len(taken) < limit:
        rarest = np.where(missing, occurrences, np.inf).argmin()
        candidates = [name for name in names if have[name][rarest]]
        name = max(candidates, key=lambda n: ((have[n] & missing).sum(), deficit_reduction(counts[n], lack, whole)))
        taken.append(name)
        missing, lack = missing & ~have[name], lack - counts[name]
    if not missing.any():
        for name in list(taken):  # groups taken later may have made earlier ones unnecessary
            others = [have[other] for other in taken if other != name]
            if others and (np.any(others, axis=0) == (occurrences > 0)).all():
                taken.remove(name)
    return taken


def fill_parts(
    table: Sequence[list[str]], names: Sequence[str], counts: Mapping[str, np.ndarray], shares: Sequence[float]
) -> None:
    """Add each group to the part that lacks it most.

    Avoids that a class ends up in one part only, which weighs more, and that a part stays empty.
    """
    zeros = np.zeros(len(next(iter(counts.values()))))
    whole = np.sum(list(counts.values()), axis=0)
    lack = [share * whole - sum((counts[n] for n in part), zeros) for share, part in zip(shares, table, strict=True)]
    spread = np.array([sum((counts[n] > 0 for n in part), zeros) for part in table])
    to_come = sum((counts[n] > 0 for n in names), zeros)
    for place, name in enumerate(names):
        own = counts[name]
        to_come = to_come - (own > 0)
        lonely = ((own > 0) & (to_come == 0) & (spread > 0) & (spread == spread.sum(0))).sum(1)
        empty = [part for part, inside in enumerate(table) if not inside]
        choice = empty if len(names) - place <= len(empty) else range(len(table))
        part = max(choice, key=lambda p: (-lonely[p], deficit_reduction(own, lack[p], whole), -p))
        table[part].append(name)
        lack[part] = lack[part] - own
        spread[part] += own > 0


def deficit_reduction(own: np.ndarray, lack: np.ndarray, whole: np.ndarray) -> float:
    """Return by how much a group reduces a part's Σ (lack / whole)² over classes and total, rare classes alike."""
    return float((own * (2 * lack - own) / np.maximum(whole, 1e-9) ** 2).sum())


def count_covered(names: Sequence[str], counts: Mapping[str, np.ndarray]) -> tuple[int, float]:
    """Return how many classes and how many clips the groups have together."""
    together = np.sum([counts[name] for name in names], axis=0)
    return int((together > 0).sum()), float(together[-1])


def names_by_part(table: Sequence[Sequence[str]], groups: Mapping[str, Sequence[Clip]]) -> list[tuple[str, ...]]:
    """Return the names of the clips of each part, sorted."""
    return [tuple(sorted(clip.name for name in names for clip in groups[name])) for names in table]


@dataclass(frozen=True, slots=True)
class Split:
    """A split, as it is saved with the model that was trained on it.

    Attributes:
        parts: names of clips by part; no clip is in two parts.
        seed: the seed of the split.
        by: "group" or "video", what was kept whole; "annotation" for a split that the annotations give.
        contents: a hash of each clip's bytes by name; empty if unknown.
        seen: the parts that the saved model was trained on, or chosen by.
    """

    parts: Mapping[str, tuple[str, ...]]
    seed: int
    by: str
    contents: Mapping[str, str] = field(default_factory=dict)
    seen: tuple[str, ...] = FITTED

    def find_parts(self, contents: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """Return the parts in which each of these clips is; copies and moved or renamed clips are recognised.

        Args:
            contents: hashes by name, as in `Split`. The name decides only if the split has no hash for it.
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
        """Return the split as JSON, which `read_split` reads."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1).encode() + b"\n"


def read_split(path: Path) -> Split:
    """Read a split that `Split.encode` made.

    Raises:
        ModelError: the file is missing, damaged or no split, or has a clip in two parts.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["format"] != FORMAT or saved["version"] not in READABLE_VERSIONS:
            raise ValueError(
                f"it is {saved['format']}, version {saved['version']}; expected {FORMAT}, version {VERSION}"
            )
        parts = {str(part): tuple(map(str, names)) for part, names in saved["parts"].items()}
        twice = [
            name for name, count in Counter(name for names in parts.values() for name in names).items() if count > 1
        ]
        if twice:
            raise ValueError(f"{twice[0]} is in it twice")
        seen = tuple(map(str, saved.get("seen", FITTED)))
        return Split(parts, int(saved["seed"]), str(saved["by"]), dict(saved.get("contents", {})), seen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a split ({error}); train again, or delete the file") from error
