"""Each video over its seconds: strips of the truth, of what memory says and of what each frame alone says."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from liquidvision.metrics.segments import find_segments, last_frame_end
from liquidvision.report.charts import axis_ticks
from liquidvision.report.formats import is_number, report_clock
from liquidvision.report.verdict import share_right

ACROSS = 1000  # units of a strip's width
STRIP, GAP = 16, 4  # units of a strip's height, and between two
DEEP = 26  # of the confidence's curve
MOST_VIDEOS = 500  # that are drawn
MOST_CONFIDENCES = 100  # points of the curve
COLORS = 7  # that can be told apart, by the colour-blind too
BACKGROUND, OTHER, OTHERS = "kb", "ko", "other classes"
SIDES = (("truth", "truth"), ("frame", "frame alone"), ("memory", "with memory"))
STILL = re.compile(r"data:image/(webp|png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")  # nothing that is fetched


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One side's classes over time: a path for each colour, as (CSS class, label, path)."""

    name: str
    paths: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class VideoTimeline:
    """A video's row.

    Attributes:
        number: its place among all videos.
        name, group: of the file.
        truth, said: labels, where one holds for the whole video; else None.
        right: whether it was done right with memory.
        memory, frame: shares of the points that are right, 0 to 1.
        strips: what is drawn.
        confidence: the path of the best score over time; "" where there is none.
        ticks: (per cent from the left, text).
        legend: (CSS class, label), where colours are this video's own.
        still: a picture as data URI, or None.
        still_says: when it was, and what the model was how sure of then.
    """

    number: int
    name: str
    group: str | None
    truth: str | None
    said: str | None
    right: bool
    memory: float
    frame: float
    strips: list[TimelineRow]
    confidence: str
    ticks: list[tuple[float, str]]
    legend: list[tuple[str, str]]
    still: str | None
    still_says: tuple[str, str, float] | None


def shared_legend(labels: Sequence[str], background: str | None) -> dict[int, str]:
    """A colour for each class, as class index to CSS class; empty where there are more classes than colours."""
    actions = [i for i, label in enumerate(labels) if label != background]
    if len(actions) > COLORS:
        return {}
    colors = {i: f"k{place}" for place, i in enumerate(actions)}
    return colors | {i: BACKGROUND for i, label in enumerate(labels) if label == background}


def video_timelines(evaluation: Mapping[str, Any]) -> list[VideoTimeline]:
    """A row for each video, at most `MOST_VIDEOS`: those that went wrong first, else in the evaluation's order."""
    labels = [str(label) for label in evaluation["model"]["labels"]]
    background = evaluation["data"].get("background")
    videos = [video for video in evaluation.get("videos") or [] if video.get("times")]
    videos.sort(key=lambda video: bool(video.get("right")))
    shared = shared_legend(labels, background)
    return [make_timeline(video, i, labels, background, shared) for i, video in enumerate(videos[:MOST_VIDEOS])]


def make_timeline(
    video: Mapping[str, Any], number: int, labels: Sequence[str], background: str | None, shared: Mapping[int, str]
) -> VideoTimeline:
    """One video's row."""
    times = np.maximum.accumulate(np.array(video["times"], dtype=float))
    begin, end = float(times[0]), last_frame_end(times)
    seconds = end - begin or 1.0
    colors = shared or own_colors(video, labels, background)
    strips = [
        TimelineRow(name, paths(np.array(video[side]), times, colors, labels, STRIP // 2 + place * (STRIP + GAP)))
        for place, (side, name) in enumerate(SIDES)
    ]
    drawn = {i for side, _ in SIDES for i in video[side]}
    legend = [(color, labels[i]) for i, color in colors.items() if i in drawn and color != OTHER]
    if any(colors[i] == OTHER for i in drawn):
        legend.append((OTHER, OTHERS))
    still = video.get("still")
    said = video.get("clip_prediction")
    return VideoTimeline(
        number=number,
        name=str(video["name"]),
        group=video.get("group") if video.get("group") != video["name"] else None,
        truth=video.get("label"),
        said=labels[said] if said is not None else None,
        right=bool(video.get("right")),
        memory=share_right(video, "memory"),
        frame=share_right(video, "frame"),
        strips=strips,
        confidence=confidence(video.get("score") or [], times, begin, seconds),
        ticks=[(round(100 * (at - begin) / seconds, 1), report_clock(at)) for at in axis_ticks(begin, end, 7)],
        legend=[] if shared else legend,
        still=still if isinstance(still, str) and STILL.fullmatch(still) else None,
        still_says=(report_clock(at), labels[video["still_prediction"]], video["still_score"])
        if is_number(at := video.get("still_time"))
        else None,
    )


def own_colors(video: Mapping[str, Any], labels: Sequence[str], background: str | None) -> dict[int, str]:
    """A colour for each class of one video: true ones first, then what memory and frames say most; others share one."""
    order = dict.fromkeys(i for side in ("truth", "memory", "frame") for i, _ in Counter(video[side]).most_common())
    actions = [i for i in order if labels[i] != background]
    colors = {i: f"k{place}" if place < COLORS else OTHER for place, i in enumerate(actions)}
    return colors | {i: BACKGROUND for i in order if labels[i] == background}


def paths(
    classes: np.ndarray, times: np.ndarray, colors: Mapping[int, str], labels: Sequence[str], y: int
) -> list[tuple[str, str, str]]:
    """A strip at the height `y` as horizontal strokes, those of one colour in one path: (CSS class, label, path)."""
    seconds = last_frame_end(times) - times[0] or 1.0
    runs, starts, ends = find_segments(classes, times)
    begins, stops = (((edges - times[0]) / seconds * ACROSS).round().astype(int) for edges in (starts, ends))
    stops[-1] = ACROSS  # also where a video's only frame has no extent
    strokes: dict[str, str] = {}
    reached: dict[str, int] = {}
    names: dict[str, str] = {}
    for kind, x, stop in zip(runs.tolist(), begins.tolist(), stops.tolist(), strict=True):
        if stop > x:
            color = colors[kind]
            names[color] = labels[kind] if color != OTHER else OTHERS
            gap = x - reached[color] if color in reached else None
            move = f"M{x} {y}" if gap is None else f"m{gap} 0" if gap else ""
            strokes[color] = f"{strokes.get(color, '')}{move}h{stop - x}"
            reached[color] = stop
    return [(color, names[color], stroke) for color, stroke in strokes.items()]


def confidence(scores: Sequence[float | None], times: np.ndarray, begin: float, seconds: float) -> str:
    """The curve of the best score, 0 to 1, over time; thinned, each point the least of those it stands for."""
    if len(scores) != len(times):
        return ""
    values = np.array([np.nan if score is None else score for score in scores], dtype=float)
    step = -(-len(values) // MOST_CONFIDENCES)
    top = len(SIDES) * (STRIP + GAP)
    points = []
    for first in range(0, len(values), step):
        part = values[first : first + step]
        if np.isfinite(part).any():
            x, y = (times[first] - begin) / seconds * ACROSS, top + DEEP * (1 - np.clip(np.nanmin(part), 0, 1))
            points.append(f"{x:.0f} {y:.0f}")
    return f"M{'L'.join(points)}H{ACROSS}" if points else ""
