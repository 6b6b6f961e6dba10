"""The comparison of the model with other heads and baselines, best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liquidvision.report.charts import percent_axis
from liquidvision.report.conclusion import ROUNDING_ERROR
from liquidvision.report.curves import METRIC_NAMES
from liquidvision.report.number_formats import is_number

UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One row of the comparison.

    Attributes:
        row: the row of the evaluation.
        positions: the positions of mean, low and high on the axis, in percent of its length.
        is_reference: whether the others are compared with this row.
        relation: "better", "worse" or `UNCLEAR`, see `relation_to_reference`; None if unknown.
    """

    row: Mapping[str, Any]
    positions: tuple[float, float, float]
    is_reference: bool
    relation: str | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The comparison, best first, over one axis.

    Attributes:
        compare: the "compare" part of the evaluation.
        metric: name of the metric.
        ticks: the ticks of the axis, as (percent of its length, text).
        rows: best first.
        reference_position: the position of the reference's mean, in percent of the axis; None without a reference.
    """

    compare: Mapping[str, Any]
    metric: str
    ticks: list[tuple[float, str]]
    rows: list[RankingRow]
    reference_position: float | None


def rank_rows(compare: Mapping[str, Any]) -> Ranking | None:
    """Sort the rows of a comparison by their mean; None if there are none."""
    rows = [row for row in compare.get("rows") or [] if is_number(row.get("mean"))]
    if not rows:
        return None
    rows.sort(key=lambda row: -row["mean"])
    metric = str(compare.get("metric") or "")
    intervals = [
        [row[end] if is_number(row.get(end)) else row["mean"] for end in ("mean", "low", "high")] for row in rows
    ]
    axis = percent_axis(METRIC_NAMES.get(metric, metric), [value for interval in intervals for value in interval])
    ranked = []
    for row, interval in zip(rows, intervals, strict=True):
        mean, low, high = (round(100 * axis.position(value), 2) for value in interval)
        is_reference = row.get("name") == compare.get("reference")
        ranked.append(
            RankingRow(row, (mean, low, high), is_reference, relation_to_reference(row.get("minus_reference")))
        )
    reference = next((row.positions[0] for row in ranked if row.is_reference), None)
    ticks = [(round(100 * axis.position(value), 2), text) for value, text in axis.ticks]
    return Ranking(compare, axis.title, ticks, ranked, reference)


def describe_ranking(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return one sentence on how the reference compares with the other rows; None if no difference is known."""
    relations = [relation for row in rows if (relation := relation_to_reference(row.get("minus_reference")))]
    if not relations:
        return None
    better, worse, unclear = (relations.count(word) for word in ("better", "worse", UNCLEAR))
    total = f"{len(relations)} alternative{'' if len(relations) == 1 else 's'}"
    return (
        f"Of {total}, {worse} {_is_are(worse)} clearly worse than the reference and {better} {_is_are(better)} clearly "
        f"better; {unclear} {'shows' if unclear == 1 else 'show'} no clear difference."
    )


def _is_are(number: int) -> str:
    return "is" if number == 1 else "are"


def relation_to_reference(minus_reference: Mapping[str, Any] | None) -> str | None:
    """Return "better", "worse" or `UNCLEAR` from the 95 % interval of a row's difference; None if it is not known."""
    if not minus_reference or not all(is_number(minus_reference.get(end)) for end in ("low", "high")):
        return None
    if minus_reference["low"] > ROUNDING_ERROR:
        return "better"
    return "worse" if minus_reference["high"] < -ROUNDING_ERROR else UNCLEAR
