"""Which classes are taken for which: confusion matrices, the commonest mistakes and a row for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liquidvision.report.formats import is_number

MOST_CLASSES = 30  # of a matrix; the others are one row and one column
MOST_PAIRS = 12


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """How many of one truth's clips or frames were predicted as one class: number, and share 0 to 1.

    `kind`: "hit" or "miss", or "both" where several classes are one row and one column.
    """

    number: float
    share: float
    kind: str


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts, truth × predicted, over `labels`; the last label stands for `others` classes together, if any."""

    title: str
    labels: list[str]
    rows: list[list[MatrixCell]]
    others: int


def confusion_matrices(evaluation: Mapping[str, Any]) -> list[ConfusionMatrix]:
    """All confusion matrices that there are, the one that counts most first."""
    labels = [str(label) for label in evaluation["model"]["labels"]]
    sides = (("memory", "with memory"), ("frame", "each frame alone"))
    found = []
    for key, unit in (("clip_confusion", "clips"), ("confusion", "frames")):
        for side, words in sides:
            counts = evaluation[side].get(key)
            if counts:
                found.append(matrix(f"{unit.capitalize()}, {words}", labels, counts))
    return found


def matrix(title: str, labels: Sequence[str], counts: Sequence[Sequence[float]]) -> ConfusionMatrix:
    """A matrix of the classes with most mistakes, in their own order, and all others as one."""
    every = range(len(labels))
    kept = list(every)
    if len(labels) > MOST_CLASSES:
        wrong = [sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i] for i in every]
        kept = sorted(sorted(every, key=lambda i: -wrong[i])[: MOST_CLASSES - 1])
    groups = [[i] for i in kept]
    rest = sorted(set(every) - set(kept))
    if rest:
        groups.append(rest)
    rows = []
    for truth in groups:
        numbers = [sum(counts[i][j] for i in truth for j in predicted) for predicted in groups]
        total = sum(numbers)
        rows.append(
            [
                MatrixCell(number, number / total if total else 0.0, kind(truth, predicted))
                for number, predicted in zip(numbers, groups, strict=True)
            ]
        )
    names = [labels[i] for i in kept] + ([f"{len(rest)} other classes"] if rest else [])
    return ConfusionMatrix(title, names, rows, len(rest))


def kind(truth: Sequence[int], predicted: Sequence[int]) -> str:
    if truth != predicted:
        return "miss"
    return "hit" if len(truth) == 1 else "both"


def commonest_mistakes(evaluation: Mapping[str, Any]) -> list[tuple[str, str, int, float]]:
    """With memory: (truth, predicted, how often, share of that truth), the most frequent first."""
    side = evaluation["memory"]
    counts = side.get("clip_confusion") or side.get("confusion") or []
    labels = [str(label) for label in evaluation["model"]["labels"]]
    pairs = [
        (labels[i], labels[j], number, number / sum(row))
        for i, row in enumerate(counts)
        for j, number in enumerate(row)
        if i != j and number
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3]))[:MOST_PAIRS]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What is known of one class; shares are 0 to 1, None where not defined."""

    label: str
    clips: float | None
    recall: float | None
    frame_recall: float | None
    precision: float | None
    ap: float | None

    @property
    def gain(self) -> float | None:
        """Recall with memory less recall by each frame alone."""
        if self.recall is None or self.frame_recall is None:
            return None
        return self.recall - self.frame_recall


def class_rows(evaluation: Mapping[str, Any]) -> list[ClassRow]:
    """A row for each class, in the order of the labels."""
    alone = {row["label"]: row for row in evaluation["frame"].get("per_class") or []}
    return [
        ClassRow(
            str(row["label"]),
            clips=label_number(row, "clips"),
            recall=label_number(row, "recall"),
            frame_recall=label_number(alone.get(row["label"], {}), "recall"),
            precision=label_number(row, "precision"),
            ap=label_number(row, "ap"),
        )
        for row in evaluation["memory"].get("per_class") or []
    ]


def label_number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return value if is_number(value) else None
