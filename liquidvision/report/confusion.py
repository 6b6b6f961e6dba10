"""Confusion matrices, the most common mistakes, and the figures of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liquidvision.report.number_formats import is_number

MAX_MATRIX_CLASSES = 30  # the other classes share one row and one column
MAX_MISTAKES = 12


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """Clips or frames of one true class that were predicted as one class.

    Attributes:
        number: how many.
        share: share of the true class's frames, 0 to 1.
        kind: "hit" or "miss"; "both" if several classes share the row and the column.
    """

    number: float
    share: float
    kind: str


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts, truth × predicted, over `labels`; if `others` is not 0, the last label stands for that many classes."""

    title: str
    labels: list[str]
    rows: list[list[MatrixCell]]
    others: int


def confusion_matrices(evaluation: Mapping[str, Any]) -> list[ConfusionMatrix]:
    """Return all confusion matrices of the evaluation, the most important first."""
    labels = [str(label) for label in evaluation["model"]["labels"]]
    matrices = []
    for key, unit in (("clip_confusion", "clips"), ("confusion", "frames")):
        for side, name in (("memory", "with memory"), ("frame", "each frame alone")):
            counts = evaluation[side].get(key)
            if counts:
                matrices.append(make_matrix(f"{unit.capitalize()}, {name}", labels, counts))
    return matrices


def make_matrix(title: str, labels: Sequence[str], counts: Sequence[Sequence[float]]) -> ConfusionMatrix:
    """Return a matrix of the classes with the most mistakes, in their own order, and of all others as one class."""
    every = range(len(labels))
    kept = list(every)
    if len(labels) > MAX_MATRIX_CLASSES:
        mistakes = [sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i] for i in every]
        kept = sorted(sorted(every, key=lambda i: -mistakes[i])[: MAX_MATRIX_CLASSES - 1])
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
                MatrixCell(number, number / total if total else 0.0, _cell_kind(truth, predicted))
                for number, predicted in zip(numbers, groups, strict=True)
            ]
        )
    names = [labels[i] for i in kept] + ([f"{len(rest)} other classes"] if rest else [])
    return ConfusionMatrix(title, names, rows, len(rest))


def _cell_kind(truth: Sequence[int], predicted: Sequence[int]) -> str:
    if truth != predicted:
        return "miss"
    return "hit" if len(truth) == 1 else "both"


def most_common_mistakes(evaluation: Mapping[str, Any]) -> list[tuple[str, str, int, float]]:
    """Return mistakes with memory as (truth, predicted, count, share of the true class), the most frequent first."""
    side = evaluation["memory"]
    counts = side.get("clip_confusion") or side.get("confusion") or []
    labels = [str(label) for label in evaluation["model"]["labels"]]
    mistakes = [
        (labels[i], labels[j], number, number / sum(row))
        for i, row in enumerate(counts)
        for j, number in enumerate(row)
        if i != j and number
    ]
    return sorted(mistakes, key=lambda mistake: (-mistake[2], -mistake[3]))[:MAX_MISTAKES]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The figures of one class; shares are 0 to 1, None if not defined."""

    label: str
    clips: float | None
    recall: float | None
    frame_recall: float | None
    precision: float | None
    ap: float | None

    @property
    def gain(self) -> float | None:
        """Recall with memory minus recall by each frame alone."""
        if self.recall is None or self.frame_recall is None:
            return None
        return self.recall - self.frame_recall


def class_rows(evaluation: Mapping[str, Any]) -> list[ClassRow]:
    """Return a row for each class, in the order of the labels."""
    frame_rows = {row["label"]: row for row in evaluation["frame"].get("per_class") or []}
    return [
        ClassRow(
            str(row["label"]),
            clips=_number_or_none(row, "clips"),
            recall=_number_or_none(row, "recall"),
            frame_recall=_number_or_none(frame_rows.get(row["label"], {}), "recall"),
            precision=_number_or_none(row, "precision"),
            ap=_number_or_none(row, "ap"),
        )
        for row in evaluation["memory"].get("per_class") or []
    ]


def _number_or_none(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return value if is_number(value) else None
