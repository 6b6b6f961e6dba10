"""The table of all metrics: with memory, by each frame alone, and the difference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from liquidvision.report.number_formats import decimal, number_at, percent, points, signed


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """How one metric is shown.

    Attributes:
        keys: path to the value in one side of the evaluation.
        name: shown name.
        meaning: one line of explanation.
        format: writes the value.
        format_difference: writes a difference of two values.
        more_is_better: whether a larger value is better.
        bar_maximum: value that fills the bar; None: the larger of the two sides.
    """

    keys: tuple[str, ...]
    name: str
    meaning: str
    format: Callable[[Any], str]
    format_difference: Callable[[Any], str]
    more_is_better: bool = True
    bar_maximum: float | None = 1.0

    def read(self, side: Mapping[str, Any]) -> float | None:
        """Return the value of one side of the evaluation; None if there is none."""
        return number_at(side, self.keys)


def _share(keys: tuple[str, ...], name: str, meaning: str, **options: Any) -> MetricSpec:
    return MetricSpec(keys, name, meaning, percent, partial(points, unit="points"), **options)


def _score(keys: tuple[str, ...], name: str, meaning: str) -> MetricSpec:
    return MetricSpec(keys, name, meaning, decimal, signed, bar_maximum=100.0)


def _seconds(keys: tuple[str, ...], name: str, meaning: str) -> MetricSpec:
    return MetricSpec(
        keys,
        name,
        meaning,
        partial(decimal, digits=2, unit="s"),
        partial(signed, digits=2, unit="s"),
        more_is_better=False,
        bar_maximum=None,
    )


METRICS = (
    _share(("clip_accuracy",), "Clip accuracy", "of the label with the highest mean over the clip"),
    _share(("frame_accuracy",), "Frame accuracy", "over the frames of all videos"),
    _share(("mean_class_accuracy",), "Mean class recall", "rare classes count as much as common ones"),
    _share(("map",), "Mean average precision", "each class against all others, over all thresholds"),
    _score(("edit",), "Segment edit score", "order of the segments, 0 to 100"),
    _score(("f1", "10"), "Segment F1 at 10 % overlap", "segments found at all, 0 to 100"),
    _score(("f1", "25"), "Segment F1 at 25 % overlap", "0 to 100"),
    _score(("f1", "50"), "Segment F1 at 50 % overlap", "segments found with their extent, 0 to 100"),
    MetricSpec(
        ("flips_per_minute",),
        "Excess flips per minute",
        "changes of the prediction beyond those of the truth",
        decimal,
        signed,
        more_is_better=False,
        bar_maximum=None,
    ),
    _seconds(("onset_delay", "median"), "Onset delay, median", "from a change of the truth to the correct prediction"),
    _seconds(("onset_delay", "p90"), "Onset delay, 90th percentile", "one onset in ten takes longer"),
    _share(
        ("onset_delay", "missed"),
        "Missed onsets",
        "never predicted before the label changes again",
        more_is_better=False,
    ),
    _share(("ece",), "Calibration error", "mean gap between confidence and accuracy", more_is_better=False),
)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A row of the table: formatted values, bars as shares of their full length, and what the difference means."""

    name: str
    meaning: str
    memory: str
    frame: str
    bars: tuple[float, float]
    difference: str
    word: str
    more_is_better: bool


def metric_rows(memory: Mapping[str, Any], frame: Mapping[str, Any]) -> list[MetricRow]:
    """Return a row for each metric that either side has."""
    pairs = [(metric, metric.read(memory), metric.read(frame)) for metric in METRICS]
    return [_metric_row(metric, a, b) for metric, a, b in pairs if a is not None or b is not None]


def _metric_row(metric: MetricSpec, memory: float | None, frame: float | None) -> MetricRow:
    full = metric.bar_maximum or max(memory or 0.0, frame or 0.0) or 1.0
    memory_bar, frame_bar = (min(1.0, max(0.0, (value or 0.0) / full)) for value in (memory, frame))
    difference, word = "", ""
    if memory is not None and frame is not None:
        difference = metric.format_difference(memory - frame)
        if metric.format(memory) == metric.format(frame):
            word = "same"
        else:
            word = "better" if (memory > frame) is metric.more_is_better else "worse"
    return MetricRow(
        metric.name,
        metric.meaning,
        metric.format(memory),
        metric.format(frame),
        (memory_bar, frame_bar),
        difference,
        word,
        metric.more_is_better,
    )
