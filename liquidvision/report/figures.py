"""The evaluation's figures as rows and charts: headline table, comparison, robustness, calibration, training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from liquidvision.report.charts import Axis, Line, LineChart, around, axis_ticks, share_axis
from liquidvision.report.formats import decimal, is_number, percent, points, signed
from liquidvision.report.verdict import relation

BINS = 10  # of confidence
FEWEST = 10  # points that a bin needs to be drawn


@dataclass(frozen=True, slots=True)
class FigureSpec:
    """How one metric is shown: where it is, its name, what it means, how it is written, whether more is better."""

    keys: tuple[str, ...]
    name: str
    meaning: str
    write: Callable[[Any], str]
    differ: Callable[[Any], str]
    more_is_better: bool = True
    full: float | None = 1.0  # what fills its bar; None: the larger side

    def of(self, side: Mapping[str, Any]) -> float | None:
        value: Any = side
        for key in self.keys:
            value = (value or {}).get(key)
        return value if is_number(value) else None


def share_row(key: str, name: str, meaning: str, **options: Any) -> FigureSpec:
    return FigureSpec((key,), name, meaning, percent, partial(points, unit="points"), **options)


def score_row(keys: tuple[str, ...], name: str, meaning: str) -> FigureSpec:
    return FigureSpec(keys, name, meaning, decimal, signed, full=100.0)


def seconds_row(key: str, name: str, meaning: str) -> FigureSpec:
    return FigureSpec(
        ("onset_delay", key),
        name,
        meaning,
        partial(decimal, digits=2, unit="s"),
        partial(signed, digits=2, unit="s"),
        more_is_better=False,
        full=None,
    )


FIGURES = (
    share_row("clip_accuracy", "Clips right", "a clip's label by the mean over its frames"),
    share_row("frame_accuracy", "Frames right", "at each instant, of all videos"),
    share_row("mean_class_accuracy", "Mean recall of the classes", "rare classes count as much as common ones"),
    share_row("map", "Mean average precision", "each class against all others, at any threshold"),
    score_row(("edit",), "Segment edit score", "0 to 100: the segments come in the true order"),
    score_row(("f1", "10"), "Segment F1 at 10 % overlap", "0 to 100: segments found, roughly"),
    score_row(("f1", "25"), "Segment F1 at 25 % overlap", "0 to 100"),
    score_row(("f1", "50"), "Segment F1 at 50 % overlap", "0 to 100: segments found with their extent"),
    FigureSpec(
        ("flips_per_minute",),
        "Needless changes of the answer",
        "a minute, beyond those of the truth",
        decimal,
        signed,
        more_is_better=False,
        full=None,
    ),
    seconds_row("median", "Delay of an onset, median", "from the truth's change to the right answer"),
    seconds_row("p90", "Delay of an onset, 90th percentile", "one onset in ten is later"),
    FigureSpec(
        ("onset_delay", "missed"),
        "Onsets missed",
        "never answered right before the next",
        percent,
        partial(points, unit="points"),
        more_is_better=False,
    ),
    share_row("ece", "Calibration error", "how far confidence is from the share right", more_is_better=False),
)


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A line of the table: written figures, bars as shares of their full length, and what the difference means."""

    name: str
    meaning: str
    memory: str
    frame: str
    bars: tuple[float, float]
    difference: str
    word: str
    more_is_better: bool


def figure_rows(memory: Mapping[str, Any], frame: Mapping[str, Any]) -> list[FigureRow]:
    """All metrics that either side has."""
    rows = []
    for figure in FIGURES:
        a, b = figure.of(memory), figure.of(frame)
        if a is None and b is None:
            continue
        full = figure.full or max(a or 0.0, b or 0.0) or 1.0
        bars = tuple(min(1.0, max(0.0, (value or 0.0) / full)) for value in (a, b))
        difference, word = "", ""
        if a is not None and b is not None:
            difference = figure.differ(a - b)
            if figure.write(a) == figure.write(b):
                word = "same"
            else:
                word = "better" if (a > b) is figure.more_is_better else "worse"
        rows.append(
            FigureRow(
                figure.name,
                figure.meaning,
                figure.write(a),
                figure.write(b),
                (bars[0], bars[1]),
                difference,
                word,
                figure.more_is_better,
            )
        )
    return rows


LINES = (
    ("memory", "memory", "with memory"),
    ("memory_without_dt", "blind", "with memory, Δt pretended constant"),
    ("frame", "frame", "each frame alone"),
)
CURVES = {
    "drop": ("Frames dropped at random", "share of the frames dropped"),
    "rate": ("A lower frame rate", "share of the frames kept"),
    "blackout": ("Blackouts", "share of the time that is black"),
    "noise": ("Noise", "σ, as a share of the range"),
    "blur": ("Blur", "σ, in % of the shorter side"),
    "dark": ("Darkness", "share of the light taken away"),
}
JUDGED = {"clip_accuracy": "clips right", "frame_accuracy": "frames right"}


def robustness(curves: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> list[LineChart]:
    """A chart for each curve, all over the same range of accuracies."""
    kept = {
        name: [
            row for row in rows or [] if is_number(row.get("level")) and any(is_number(row.get(k)) for k, *_ in LINES)
        ]
        for name, rows in curves.items()
    }
    values = [row[key] for rows in kept.values() for row in rows for key, *_ in LINES if is_number(row.get(key))]
    if not values:
        return []
    y = share_axis(JUDGED.get(metric, metric), values)
    return [robustness_curve(name, rows, y) for name, rows in kept.items() if rows]


def robustness_curve(name: str, rows: Sequence[Mapping[str, Any]], y: Axis) -> LineChart:
    """One robustness curve, the mildest level at the left."""
    title, axis = CURVES.get(name, (name, "level"))
    levels = [row["level"] for row in rows]
    as_share = max(levels) <= 1 and name != "blur"
    texts = [f"{100 * level:.3g} %" if as_share else f"{level:g}" for level in levels]
    x = Axis(axis, levels[0], levels[-1], list(zip(levels, texts, strict=True)))
    lines = []
    for key, style, words in LINES:
        there = [row for row in rows if is_number(row.get(key))]
        lines.append(
            Line(
                style,
                words,
                [(row["level"], row[key]) for row in there],
                [f"{words}, {row.get('text') or row['level']}: {percent(row[key])}" for row in there],
            )
        )
    ends = [
        f"{line.name} from {percent(line.points[0][1])} to {percent(line.points[-1][1])}"
        for line in lines
        if line.points
    ]
    table = [
        (str(row.get("text") or text), [percent(row.get(key)) for key, *_ in LINES])
        for row, text in zip(rows, texts, strict=True)
    ]
    return LineChart(
        title, f"{y.title.capitalize()}, {axis} {texts[0]} to {texts[-1]}: {'; '.join(ends)}.", x, y, lines, table
    )


def training(course: Mapping[str, Any]) -> list[LineChart]:
    """Loss and validation over epochs: one chart where both are losses, else two."""
    epochs = course.get("epochs") or []
    metric = str(course.get("metric") or "validation")
    lines = [
        Line(style, words, [(e, v) for e, v in zip(epochs, course.get(key) or [], strict=False) if is_number(v)])
        for key, style, words in (("loss", "memory", "training loss"), ("validation", "frame", f"validation {metric}"))
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return []
    together = metric.endswith("loss")
    x = Axis("epoch", epochs[0], epochs[-1], [(e, f"{e:g}") for e in axis_ticks(epochs[0], epochs[-1]) if e == int(e)])
    groups = [("loss", lines)] if together else [(line.name, [line]) for line in lines]
    charts = []
    for name, group in groups:
        low, high = around([v for line in group for _, v in line.points], least=0.01)
        y = Axis(name, low, high, [(v, f"{v:g}") for v in axis_ticks(low, high)])
        text = "; ".join(f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in group)
        charts.append(LineChart(name.capitalize(), f"Over {len(epochs)} epochs: {text}.", x, y, group))
    return charts


def calibration(evaluation: Mapping[str, Any]) -> LineChart | None:
    """How often frames are right by how sure the model is of them, from the timelines; None where there are few."""
    pairs = [
        (score, said == truth)
        for video in evaluation.get("videos") or []
        for score, said, truth in zip(video.get("score") or [], video["memory"], video["truth"], strict=False)
        if is_number(score)
    ]
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for pair in pairs:
        bins[min(BINS - 1, max(0, int(pair[0] * BINS)))].append(pair)
    full = [part for part in bins if len(part) >= FEWEST]
    if not full:
        return None
    places = [(sum(s for s, _ in part) / len(part), sum(r for _, r in part) / len(part)) for part in full]
    hints = [
        f"sure of {percent(x, 0)}, right {percent(y, 0)} of {len(part):,} frames"
        for (x, y), part in zip(places, full, strict=True)
    ]
    marks = [(value, f"{100 * value:g} %") for value in axis_ticks(0, 1)]
    lines = [
        Line("ideal", "as sure as right", [(0, 0), (1, 1)]),
        Line("memory", "with memory", places, hints),
    ]
    rows = [(percent(x, 0), [percent(y, 0), f"{len(part):,}"]) for (x, y), part in zip(places, full, strict=True)]
    x, y = Axis("how sure the model is", 0, 1, marks), Axis("frames right", 0, 1, marks)
    return LineChart("How sure, how right", f"{'; '.join(hints)}.", x, y, lines, rows)


@dataclass(frozen=True, slots=True)
class Rival:
    """A row of the comparison; `at` are mean, low and high in per cent of the axis."""

    row: Mapping[str, Any]
    at: tuple[float, float, float]
    is_reference: bool
    relation: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison, best first, over one axis with ticks at per cent of its length."""

    compare: Mapping[str, Any]
    metric: str
    ticks: list[tuple[float, str]]
    rivals: list[Rival]
    reference_at: float | None


def comparison(compare: Mapping[str, Any]) -> Comparison | None:
    """The rows by their mean; None where there are none."""
    rows = [row for row in compare.get("rows") or [] if is_number(row.get("mean"))]
    if not rows:
        return None
    rows.sort(key=lambda row: -row["mean"])
    metric = str(compare.get("metric") or "")
    ends = [[row[end] if is_number(row.get(end)) else row["mean"] for end in ("mean", "low", "high")] for row in rows]
    axis = share_axis(JUDGED.get(metric, metric), [value for row in ends for value in row])
    reference = compare.get("reference")
    rivals = [
        Rival(row, (at[0], at[1], at[2]), row.get("name") == reference, relation(row.get("minus_reference")))
        for row, at in (
            (row, [round(100 * axis.share(value), 2) for value in end]) for row, end in zip(rows, ends, strict=True)
        )
    ]
    mine = next((rival.at[0] for rival in rivals if rival.is_reference), None)
    placed = [(round(100 * axis.share(value), 2), text) for value, text in axis.ticks]
    return Comparison(compare, axis.title, placed, rivals, mine)
