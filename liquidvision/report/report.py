"""Writes the report of an evaluation: one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from liquidvision.errors import SinkError, UsageError
from liquidvision.evaluation.evaluation_file import EVALUATION_FORMAT, EVALUATION_VERSION
from liquidvision.files import write_atomic
from liquidvision.report.charts import LineChart
from liquidvision.report.conclusion import describe_dt_gain, describe_second_pass, draw_conclusion
from liquidvision.report.confusion import class_rows, confusion_matrices, most_common_mistakes
from liquidvision.report.curves import ROBUSTNESS_LINES, calibration_chart, robustness_charts, training_charts
from liquidvision.report.metric_table import metric_rows
from liquidvision.report.number_formats import (
    DASH,
    compact_number,
    count,
    decimal,
    duration,
    is_number,
    percent,
    points,
    time_label,
)
from liquidvision.report.ranking import describe_ranking, rank_rows
from liquidvision.report.timelines import shared_colors, video_timelines

REQUIRED_PARTS = ("model", "data", "memory", "frame")
TEMPLATES = Path(__file__).parent / "templates"
MAX_WORST_CLIPS = 12  # shown with a still
INITIAL_VIDEOS = 12  # timelines that are not folded away
TEMPLATE_FILTERS = (compact_number, count, decimal, duration, percent, points, time_label)


def write_report(path: str | Path, evaluation: Mapping[str, Any]) -> None:
    """Write an evaluation as one HTML file that loads nothing from elsewhere.

    Parts that the evaluation does not have are left out.

    Args:
        path: the file; it appears under this name when it is complete. Missing folders are made.
        evaluation: an evaluation as JSON, see `evaluate_model`.

    Raises:
        UsageError: not an evaluation, of another version, or incomplete.
        SinkError: the file cannot be written.
    """
    page = encode_report(evaluation)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(path), page)
    except OSError as error:
        raise SinkError(f"cannot write the report {path}: {error.strerror or error}") from error


def encode_report(evaluation: Mapping[str, Any]) -> bytes:
    """Return the content of the report's file.

    Raises:
        UsageError: as `write_report`.
    """
    return render_report(evaluation).encode("utf-8", "replace")


def render_report(evaluation: Mapping[str, Any]) -> str:
    """Return the HTML of the report.

    Raises:
        UsageError: as `write_report`.
    """
    if evaluation.get("format") != EVALUATION_FORMAT or evaluation.get("version") != EVALUATION_VERSION:
        raise UsageError(
            f"the evaluation has format {evaluation.get('format')!r} and version {evaluation.get('version')!r}; "
            f"expected {EVALUATION_FORMAT!r} and {EVALUATION_VERSION!r}; evaluate the model again"
        )
    missing = [part for part in REQUIRED_PARTS if not evaluation.get(part)]
    if missing:
        raise UsageError(f"the evaluation lacks {', '.join(missing)}; evaluate the model again")
    return load_template("page.html.j2").render(template_values(evaluation))


@cache
def load_template(name: str) -> Template:
    """Return the template of a page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    environment.filters |= {function.__name__: function for function in TEMPLATE_FILTERS}
    return environment.get_template(name)


def template_values(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the template lays out."""
    model, data = evaluation["model"], evaluation["data"]
    labels = [str(label) for label in model["labels"]]
    curves = evaluation.get("robustness") or {}
    compare = evaluation.get("compare") or {}
    timing = evaluation.get("timing") or {}
    robustness = robustness_charts(curves, evaluation.get("robustness_metric") or "")
    training = training_charts(evaluation.get("training") or {})
    timelines = video_timelines(evaluation)
    return {
        "evaluation": evaluation,
        "model": model,
        "data": data,
        "labels": labels,
        "warnings": data_warnings(data),
        "conclusion": draw_conclusion(evaluation),
        "second_pass": describe_second_pass(evaluation),
        "metrics": metric_rows(evaluation["memory"], evaluation["frame"]),
        "ranking": rank_rows(compare),
        "ranking_sentence": describe_ranking(compare.get("rows") or []),
        "robustness": robustness,
        "robustness_legend": legend_entries(robustness),
        "robustness_columns": [name for *_, name in ROBUSTNESS_LINES],
        "dt_gain": describe_dt_gain(curves),
        "matrices": confusion_matrices(evaluation),
        "mistakes": most_common_mistakes(evaluation),
        "classes": class_rows(evaluation),
        "timelines": timelines,
        "video_count": len(evaluation.get("videos") or []),
        "initial_videos": INITIAL_VIDEOS,
        "color_legend": [(color, labels[i]) for i, color in shared_colors(labels, data.get("background")).items()],
        "worst": [timeline for timeline in timelines if timeline.still][:MAX_WORST_CLIPS],
        "calibration": calibration_chart(evaluation),
        "training": training,
        "training_legend": legend_entries(training),
        "timing": timing,
        "frames_per_second": frames_per_second(timing.get("p95_ms")),
        "facts": describe_data_and_model(model, data),
    }


def frames_per_second(milliseconds: float | None) -> str | None:
    """Return the frame rate that a time per frame allows; None if it is not known."""
    return count(1000 // milliseconds) if is_number(milliseconds) and milliseconds > 0 else None


def describe_data_and_model(model: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the data and the model, as (name, value)."""
    facts = [
        ("Data", data.get("name")),
        ("Part", data.get("part")),
        ("Videos", count(data.get("videos"))),
        ("Frames", count(data.get("frames"))),
        ("Length", duration(data.get("seconds"))),
        ("Background class", data.get("background")),
        ("Split by", data.get("split_by")),
        ("Videos seen in training", count(data.get("seen_in_training"))),
        ("Model", model.get("name")),
        ("Cell", model.get("cell")),
        ("Backbone", model.get("backbone")),
        ("Trained parameters", count(model.get("parameters"))),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, DASH)]


def legend_entries(charts: Sequence[LineChart]) -> list[tuple[str, str]]:
    """Return the common legend of several charts: (style, name) of each line that is drawn in any of them."""
    return list(dict.fromkeys((line.style, line.name) for chart in charts for line in chart.drawn))


def describe_training_overlap(data: Mapping[str, Any]) -> str:
    """Return how many of the videos the model was trained on, and what that means."""
    share = f"{data['seen_in_training']} of {data['videos']} videos"
    return f"{share} were used in training: expect lower figures on new videos"


def describe_refit(data: Mapping[str, Any]) -> str:
    """Return what the figures are of, where the saved model was trained again after them."""
    return (
        "These scores are of a model that was trained on the training part only; the saved model was then trained "
        f"again on {data['refit_clips']} clips"
    )


def data_warnings(data: Mapping[str, Any]) -> Sequence[str]:
    """Return what a reader must know before trusting the figures."""
    warnings = []
    if data.get("refit_clips"):
        warnings.append(f"{describe_refit(data)}.")
    if data.get("seen_in_training"):
        warnings.append(f"{describe_training_overlap(data)}.")
    if data.get("split_by") == "video":
        warnings.append(
            "Videos were split one by one. Related videos, such as clips of one person or place, may be both in the "
            "training and the test part, which makes the figures too high. Define groups to keep them together."
        )
    skipped = len(data.get("skipped") or [])
    if skipped:
        warnings.append(
            f"{skipped} file{' was' if skipped == 1 else 's were'} skipped and not evaluated; see Data and model."
        )
    return [*warnings, *map(str, data.get("notes") or [])]
