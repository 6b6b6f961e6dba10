"""The line charts of the report: robustness, training and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from liquidvision.report.charts import Axis, Line, LineChart, axis_ticks, percent_axis, round_range
from liquidvision.report.number_formats import is_number, percent

CONFIDENCE_BINS = 10
MIN_BIN_FRAMES = 10  # bins with fewer frames are not drawn
METRIC_NAMES = {"clip_accuracy": "clip accuracy", "frame_accuracy": "frame accuracy"}
# The lines of a robustness chart: key of the evaluation, CSS class, name.
ROBUSTNESS_LINES = (
    ("memory", "memory", "with memory"),
    ("memory_without_dt", "no-dt", "with memory, constant Δt"),
    ("frame", "frame", "each frame alone"),
)
# Title and x axis of each robustness chart.
DEGRADATIONS = {
    "drop": ("Dropped frames", "share of frames dropped at random"),
    "rate": ("Lower frame rate", "share of frames kept"),
    "blackout": ("Blackouts", "share of time that is black"),
    "noise": ("Noise", "σ, share of the value range"),
    "blur": ("Blur", "σ, % of the shorter side"),
    "dark": ("Darkness", "share of light removed"),
}


def robustness_charts(curves: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> list[LineChart]:
    """Return a chart for each robustness curve, all with the same y axis."""
    keys = [key for key, *_ in ROBUSTNESS_LINES]
    drawable = {
        name: [row for row in rows or [] if is_number(row.get("level")) and any(is_number(row.get(k)) for k in keys)]
        for name, rows in curves.items()
    }
    values = [row[key] for rows in drawable.values() for row in rows for key in keys if is_number(row.get(key))]
    if not values:
        return []
    y = percent_axis(METRIC_NAMES.get(metric, metric), values)
    return [robustness_chart(name, rows, y) for name, rows in drawable.items() if rows]


def robustness_chart(name: str, rows: Sequence[Mapping[str, Any]], y: Axis) -> LineChart:
    """Return the chart of one robustness curve, the mildest level at the left."""
    title, axis = DEGRADATIONS.get(name, (name, "level"))
    levels = [row["level"] for row in rows]
    as_share = max(levels) <= 1 and name != "blur"
    texts = [f"{100 * level:.3g} %" if as_share else f"{level:g}" for level in levels]
    x = Axis(axis, levels[0], levels[-1], list(zip(levels, texts, strict=True)))
    lines = []
    for key, style, line_name in ROBUSTNESS_LINES:
        known = [row for row in rows if is_number(row.get(key))]
        lines.append(
            Line(
                style,
                line_name,
                [(row["level"], row[key]) for row in known],
                [f"{line_name}, {row.get('text') or row['level']}: {percent(row[key])}" for row in known],
            )
        )
    ends = [
        f"{line.name} from {percent(line.points[0][1])} to {percent(line.points[-1][1])}"
        for line in lines
        if line.points
    ]
    table = [
        (str(row.get("text") or text), [percent(row.get(key)) for key, *_ in ROBUSTNESS_LINES])
        for row, text in zip(rows, texts, strict=True)
    ]
    description = f"{y.title.capitalize()}, {axis} {texts[0]} to {texts[-1]}: {'; '.join(ends)}."
    return LineChart(title, description, x, y, lines, table)


def training_charts(record: Mapping[str, Any]) -> list[LineChart]:
    """Return the charts of loss and validation over epochs: one if both are losses, otherwise two.

    Args:
        record: the "training" part of an evaluation.
    """
    epochs = record.get("epochs") or []
    metric = str(record.get("metric") or "validation")
    lines = [
        Line(style, name, [(e, v) for e, v in zip(epochs, record.get(key) or [], strict=False) if is_number(v)])
        for key, style, name in (("loss", "memory", "training loss"), ("validation", "frame", f"validation {metric}"))
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return []
    x = Axis("epoch", epochs[0], epochs[-1], [(e, f"{e:g}") for e in axis_ticks(epochs[0], epochs[-1]) if e == int(e)])
    groups = [("loss", lines)] if metric.endswith("loss") else [(line.name, [line]) for line in lines]
    charts = []
    for name, group in groups:
        low, high = round_range([v for line in group for _, v in line.points], min_span=0.01)
        y = Axis(name, low, high, [(v, f"{v:g}") for v in axis_ticks(low, high)])
        text = "; ".join(f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in group)
        charts.append(LineChart(name.capitalize(), f"Over {len(epochs)} epochs: {text}.", x, y, group))
    return charts


def calibration_chart(evaluation: Mapping[str, Any]) -> LineChart | None:
    """Return the accuracy of frames by confidence, from the timelines; None if there are too few frames."""
    frames = [
        (score, predicted == truth)
        for video in evaluation.get("videos") or []
        for score, predicted, truth in zip(video.get("score") or [], video["memory"], video["truth"], strict=False)
        if is_number(score)
    ]
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(CONFIDENCE_BINS)]
    for frame in frames:
        bins[min(CONFIDENCE_BINS - 1, max(0, int(frame[0] * CONFIDENCE_BINS)))].append(frame)
    drawn = [part for part in bins if len(part) >= MIN_BIN_FRAMES]
    if not drawn:
        return None
    points = [(sum(s for s, _ in part) / len(part), sum(c for _, c in part) / len(part)) for part in drawn]
    hints = [
        f"confidence {percent(x, 0)}, accuracy {percent(y, 0)}, {len(part):,} frames"
        for (x, y), part in zip(points, drawn, strict=True)
    ]
    ticks = [(value, f"{100 * value:g} %") for value in axis_ticks(0, 1)]
    lines = [
        Line("ideal", "perfect calibration", [(0, 0), (1, 1)]),
        Line("memory", "with memory", points, hints),
    ]
    rows = [(percent(x, 0), [percent(y, 0), f"{len(part):,}"]) for (x, y), part in zip(points, drawn, strict=True)]
    x, y = Axis("confidence", 0, 1, ticks), Axis("frame accuracy", 0, 1, ticks)
    return LineChart("Accuracy by confidence", f"{'; '.join(hints)}.", x, y, lines, rows)
