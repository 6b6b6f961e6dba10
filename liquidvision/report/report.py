"""The report: one HTML page of an evaluation, complete in itself, to look at and to decide by."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from liquidvision.errors import SinkError, UsageError
from liquidvision.files import write_atomic
from liquidvision.report.charts import LineChart
from liquidvision.report.figures import LINES, calibration, comparison, figure_rows, robustness, training
from liquidvision.report.formats import NONE, compact_number, count, decimal, duration, is_number, percent, points
from liquidvision.report.mistakes import class_rows, commonest_mistakes, confusion_matrices
from liquidvision.report.timelines import shared_legend, video_timelines
from liquidvision.report.verdict import draw_conclusion, standing, worth_of_time

FORMAT, VERSION = "liquidvision-evaluation", 1
NEEDED = ("model", "data", "memory", "frame")
PAGE = Path(__file__).parent / "templates"
WORST = 12  # clips shown with a still
FIRST = 12  # videos shown at once
WRITTEN = (compact_number, count, decimal, duration, percent, points)


def write_report(path: str | Path, evaluation: Mapping[str, Any]) -> None:
    """Write an evaluation as one HTML file that fetches nothing.

    What the evaluation does not have, the page leaves out.

    Args:
        path: the file; it appears under this name only when it is whole.
        evaluation: the evaluation's JSON, see `evaluation`.

    Raises:
        UsageError: it is no evaluation, of another version, or cut short.
        SinkError: the file cannot be written.
    """
    page = render(evaluation)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(path), page.encode("utf-8", "replace"))
    except OSError as error:
        raise SinkError(f"cannot write the report {path}: {error.strerror or error}") from error


def render(evaluation: Mapping[str, Any]) -> str:
    """The page's HTML.

    Raises:
        UsageError: as `write_report`.
    """
    if evaluation.get("format") != FORMAT or evaluation.get("version") != VERSION:
        raise UsageError(
            f'a report needs an evaluation, "format": "{FORMAT}", "version": {VERSION}; '
            f"this has {evaluation.get('format')!r} and {evaluation.get('version')!r}: evaluate the model again"
        )
    missing = [part for part in NEEDED if not evaluation.get(part)]
    if missing:
        raise UsageError(f"the evaluation lacks {', '.join(missing)}: evaluate the model again")
    return template().render(content(evaluation))


@cache
def template() -> Template:
    """The page's template."""
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    environment.filters |= {write.__name__: write for write in WRITTEN}
    return environment.get_template("page.html.j2")


def content(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the template lays out."""
    model, data = evaluation["model"], evaluation["data"]
    labels = [str(label) for label in model["labels"]]
    curves = evaluation.get("robustness") or {}
    compare = evaluation.get("compare") or {}
    timing = evaluation.get("timing") or {}
    charts = robustness(curves, evaluation.get("robustness_metric") or "")
    course = training(evaluation.get("training") or {})
    rows = video_timelines(evaluation)
    legend = [(color, labels[i]) for i, color in shared_legend(labels, data.get("background")).items()]
    return {
        "evaluation": evaluation,
        "model": model,
        "data": data,
        "labels": labels,
        "warnings": warnings(data),
        "verdict": draw_conclusion(evaluation),
        "figures": figure_rows(evaluation["memory"], evaluation["frame"]),
        "comparison": comparison(compare),
        "standing": standing(compare.get("rows") or []),
        "robustness": charts,
        "robustness_lines": lines_of(charts),
        "robustness_columns": [words for *_, words in LINES],
        "worth_of_time": worth_of_time(curves),
        "matrices": confusion_matrices(evaluation),
        "mistakes": commonest_mistakes(evaluation),
        "classes": class_rows(evaluation),
        "timelines": rows,
        "videos": len(evaluation.get("videos") or []),
        "first": FIRST,
        "legend": legend,
        "worst": [row for row in rows if row.still][:WORST],
        "calibration": calibration(evaluation),
        "training": course,
        "training_lines": lines_of(course),
        "timing": timing,
        "rate": rate(timing.get("p95_ms")),
        "facts": facts(model, data),
    }


def rate(milliseconds: float | None) -> str | None:
    """How many frames a second there is time for, where each takes so long; None where that is not known."""
    return count(1000 // milliseconds) if is_number(milliseconds) and milliseconds > 0 else None


def facts(model: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the data and the model, as (name, value)."""
    known = [
        ("Data", data.get("name")),
        ("Part", data.get("part")),
        ("Videos", count(data.get("videos"))),
        ("Frames", count(data.get("frames"))),
        ("Length", duration(data.get("seconds"))),
        ("Background class", data.get("background")),
        ("Split by", data.get("split_by")),
        ("Seen in training", count(data.get("seen_in_training"))),
        ("Model", model.get("name")),
        ("Cell", model.get("cell")),
        ("Backbone", model.get("backbone")),
        ("Trained parameters", count(model.get("parameters"))),
    ]
    return [(name, str(value)) for name, value in known if value not in (None, NONE)]


def lines_of(charts: Sequence[LineChart]) -> list[tuple[str, str]]:
    """What the legend of several charts names: (style, name) of each line that is drawn in any."""
    return list(dict.fromkeys((line.style, line.name) for chart in charts for line in chart.drawn))


def seen_before(data: Mapping[str, Any]) -> str:
    """How much of the data the model knew, and what that does to the figures."""
    return (
        f"{data['seen_in_training']} of {data['videos']} videos were seen in training: the figures are better than new "
        "videos would give"
    )


def warnings(data: Mapping[str, Any]) -> Sequence[str]:
    """What must be known before any figure is believed."""
    found = []
    if data.get("seen_in_training"):
        found.append(f"{seen_before(data)}.")
    if data.get("split_by") == "video":
        found.append(
            "Videos were split one by one: what belongs together, such as clips of one person or one place, may be in "
            "training and here, and then the figures are too good. Name groups to keep it together."
        )
    skipped = len(data.get("skipped") or [])
    if skipped:
        found.append(
            f"{skipped} file{' was' if skipped == 1 else 's were'} skipped and in no figure; see Data and model."
        )
    return [*found, *map(str, data.get("notes") or [])]
