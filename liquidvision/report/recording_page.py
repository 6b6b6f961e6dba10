"""Writes the page about recordings: what happens in them and when, in one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liquidvision.errors import SinkError
from liquidvision.files import write_atomic
from liquidvision.inference.summary import Summary
from liquidvision.rendering.primitives import class_color
from liquidvision.report.digest import PicturedMoment, RecordingDigest
from liquidvision.report.number_formats import time_label
from liquidvision.report.report import load_template

WIDTH = 1000.0  # of a timeline, in units of its drawing
MIN_WIDTH = 1.5  # of an interval, so that it is seen
MAX_ROWS = 200  # of the list of intervals


@dataclass(frozen=True, slots=True)
class Lane:
    """A label's row in a timeline.

    Attributes:
        label: the label.
        color: as CSS.
        bars: left end, width and title of each interval; those closer than a unit are one.
    """

    label: str
    color: str
    bars: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """What a label's intervals (bouts) add up to.

    Attributes:
        label, color: the label, and its colour as CSS.
        count: number of intervals.
        seconds: total duration.
        share: of the recording's duration, 0 to 1.
        mean: mean duration, in seconds.
        latency: seconds until the first one begins.
    """

    label: str
    color: str
    count: int
    seconds: float
    share: float
    mean: float
    latency: float


@dataclass(frozen=True, slots=True)
class RecordingView:
    """What the page shows of one recording."""

    name: str
    anchor: str
    seconds: float
    frames: int
    flips: int
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    line: str
    thumbnails: tuple[PicturedMoment, ...]
    certain: tuple[PicturedMoment, ...]
    uncertain: tuple[PicturedMoment, ...]
    budget: tuple[BudgetRow, ...]
    rows: tuple[tuple[str, str, str, float], ...]
    more_rows: int


def write_recording_page(
    path: str | Path,
    recordings: Sequence[tuple[RecordingDigest, Summary]],
    labels: Sequence[str],
    model: str,
    failed: Mapping[str, str],
) -> None:
    """Write a page about recordings, with a row and a section for each.

    Args:
        path: the file; it appears under this name when it is complete.
        recordings: what was collected of each, and its summary.
        labels: all labels of the model, in its order.
        model: the model's name.
        failed: why recordings could not be read, by name.

    Raises:
        SinkError: the file cannot be written.
    """
    page = load_template("recordings.html.j2").render(
        recordings=[view_recording(number, *each, labels) for number, each in enumerate(recordings)],
        model=model,
        failed=failed,
    )
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(path), page.encode("utf-8", "replace"))
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def view_recording(number: int, digest: RecordingDigest, summary: Summary, labels: Sequence[str]) -> RecordingView:
    """Return what the page shows of a recording."""
    seconds = max(digest.end, 1e-3)
    colors = {label: "#{:02x}{:02x}{:02x}".format(*class_color(place)) for place, label in enumerate(labels)}
    found = {label: own for label, own in summary.intervals.items() if own.count}
    ordered = sorted(found, key=lambda label: (found[label].latency, label))
    intervals = sorted(digest.intervals, key=lambda interval: (interval.start, interval.end))
    lanes = []
    for label in ordered:
        bars = merge_bars([(i.start, i.end) for i in intervals if i.label == label], seconds)
        titled = [(x, width, f"{label}, {time_label(begin)} to {time_label(end)}") for x, width, begin, end in bars]
        lanes.append(Lane(label, colors[label], tuple(titled)))
    budget = [
        BudgetRow(label, colors[label], own.count, own.seconds, own.seconds / seconds, own.mean_seconds, own.latency)
        for label, own in sorted(found.items(), key=lambda item: -item[1].seconds)
    ]
    rows = tuple((time_label(i.start), time_label(i.end), i.label, i.score or 0.0) for i in intervals[:MAX_ROWS])
    points = " ".join(f"{WIDTH * time / seconds:.1f},{40 - 40 * score:.1f}" for time, score in digest.certainty_line)
    return RecordingView(
        name=digest.name,
        anchor=f"recording-{number}",
        seconds=seconds,
        frames=summary.frames,
        flips=summary.flips,
        lanes=tuple(lanes),
        ticks=tuple((WIDTH * share, time_label(share * seconds)) for share in (0, 0.25, 0.5, 0.75)),
        line=points,
        thumbnails=tuple(digest.thumbnails),
        certain=tuple(sorted(digest.certain.values(), key=lambda moment: -moment.score)[:6]),
        uncertain=tuple(digest.uncertain),
        budget=tuple(budget),
        rows=rows,
        more_rows=len(intervals) - len(rows),
    )


def merge_bars(spans: Sequence[tuple[float, float]], seconds: float) -> list[tuple[float, float, float, float]]:
    """Return left end, width, start and end of bars; bars closer than a unit of the drawing are one.

    So a timeline has at most `WIDTH` bars, however long the recording is.
    """
    scale = WIDTH / seconds
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and (start - merged[-1][1]) * scale < 1:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return [(round(s * scale, 1), round(max((e - s) * scale, MIN_WIDTH), 1), s, e) for s, e in merged]
