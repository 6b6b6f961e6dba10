"""Timelines of the videos: strips of the truth and of the predictions over time, and a curve of the confidence."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from liquidvision.metrics.segments import find_segments, last_frame_end
from liquidvision.report.charts import axis_ticks
from liquidvision.report.conclusion import share_correct
from liquidvision.report.number_formats import is_number, time_label

STRIP_WIDTH, STRIP_HEIGHT, STRIP_GAP = 1000, 16, 4  # in units of the drawing
CONFIDENCE_HEIGHT = 26
MAX_VIDEOS = 500
MAX_CONFIDENCE_POINTS = 100
MAX_COLORS = 7  # that people, also with a colour vision deficiency, can distinguish
BACKGROUND_STYLE, OTHER_STYLE, OTHER_NAME = "kb", "ko", "other classes"
STRIPS = (("truth", "truth"), ("frame", "frame alone"), ("memory", "with memory"), ("two_pass", "two passes"))
ORDER = ("truth", "memory", "frame", "two_pass")  # in which classes get the colours of one video
STILL_URI = re.compile(r"data:image/(webp|png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")  # the page must not fetch anything


@dataclass(frozen=True, slots=True)
class Strip:
    """Classes over time: one path per colour, as (CSS class, label, path)."""

    name: str
    paths: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class VideoTimeline:
    """The timeline of one video.

    Attributes:
        number: its place among all videos.
        name: the file's name.
        group: the video's group; None if it is the same as the name.
        truth: the label of the whole video; None if labels change within it.
        predicted: the predicted label of the whole video; None if labels change within it.
        right: whether the prediction with memory is correct.
        memory: share of correct points with memory, 0 to 1.
        frame: share of correct points by each frame alone, 0 to 1.
        strips: what is drawn.
        height: of the drawing, in its units.
        confidence: path of the highest score over time; "" if unknown.
        ticks: the ticks of the time axis, as (percent from the left, text).
        legend: (CSS class, label), if the colours apply to this video only.
        still: a picture as data URI, or None.
        still_caption: its time, the predicted label and the score then.
    """

    number: int
    name: str
    group: str | None
    truth: str | None
    predicted: str | None
    right: bool
    memory: float
    frame: float
    strips: list[Strip]
    height: int
    confidence: str
    ticks: list[tuple[float, str]]
    legend: list[tuple[str, str]]
    still: str | None
    still_caption: tuple[str, str, float] | None


def shared_colors(labels: Sequence[str], background: str | None) -> dict[int, str]:
    """Return the CSS class of each class, by index; empty if there are more classes than colours."""
    actions = [i for i, label in enumerate(labels) if label != background]
    if len(actions) > MAX_COLORS:
        return {}
    colors = {i: f"k{place}" for place, i in enumerate(actions)}
    return colors | {i: BACKGROUND_STYLE for i, label in enumerate(labels) if label == background}


def video_timelines(evaluation: Mapping[str, Any]) -> list[VideoTimeline]:
    """Return the timelines of at most `MAX_VIDEOS` videos, misclassified ones first, in the evaluation's order."""
    labels = [str(label) for label in evaluation["model"]["labels"]]
    background = evaluation["data"].get("background")
    videos = [video for video in evaluation.get("videos") or [] if video.get("times")]
    videos.sort(key=lambda video: bool(video.get("right")))
    shared = shared_colors(labels, background)
    return [make_timeline(video, i, labels, background, shared) for i, video in enumerate(videos[:MAX_VIDEOS])]


def make_timeline(
    video: Mapping[str, Any], number: int, labels: Sequence[str], background: str | None, shared: Mapping[int, str]
) -> VideoTimeline:
    """Return the timeline of one video; `shared` are the colours of all videos, empty if each has its own."""
    times = np.maximum.accumulate(np.array(video["times"], dtype=float))
    start, end = float(times[0]), last_frame_end(times)
    colors = shared or own_colors(video, labels, background)
    shown = [strip for strip in STRIPS if strip[0] in video]
    strips = [
        Strip(
            name,
            strip_paths(
                np.array(video[side]), times, colors, labels, STRIP_HEIGHT // 2 + place * (STRIP_HEIGHT + STRIP_GAP)
            ),
        )
        for place, (side, name) in enumerate(shown)
    ]
    seconds = end - start or 1.0
    still, predicted, still_time = video.get("still"), video.get("clip_prediction"), video.get("still_time")
    caption = None
    if is_number(still_time):
        caption = (time_label(still_time), labels[video["still_prediction"]], video["still_score"])
    return VideoTimeline(
        number=number,
        name=str(video["name"]),
        group=video.get("group") if video.get("group") != video["name"] else None,
        truth=video.get("label"),
        predicted=labels[predicted] if predicted is not None else None,
        right=bool(video.get("right")),
        memory=share_correct(video, "memory"),
        frame=share_correct(video, "frame"),
        strips=strips,
        height=len(shown) * (STRIP_HEIGHT + STRIP_GAP) + CONFIDENCE_HEIGHT + 2,
        confidence=confidence_path(
            video.get("score") or [], times, start, seconds, len(shown) * (STRIP_HEIGHT + STRIP_GAP)
        ),
        ticks=[(round(100 * (at - start) / seconds, 1), time_label(at)) for at in axis_ticks(start, end, 7)],
        legend=[] if shared else own_legend(video, labels, colors),
        still=still if isinstance(still, str) and STILL_URI.fullmatch(still) else None,
        still_caption=caption,
    )


def own_colors(video: Mapping[str, Any], labels: Sequence[str], background: str | None) -> dict[int, str]:
    """Return colours for the classes of one video: true classes first, then the most predicted; the rest share one."""
    order = dict.fromkeys(i for side in ORDER if side in video for i, _ in Counter(video[side]).most_common())
    actions = [i for i in order if labels[i] != background]
    colors = {i: f"k{place}" if place < MAX_COLORS else OTHER_STYLE for place, i in enumerate(actions)}
    return colors | {i: BACKGROUND_STYLE for i in order if labels[i] == background}


def own_legend(video: Mapping[str, Any], labels: Sequence[str], colors: Mapping[int, str]) -> list[tuple[str, str]]:
    """Return the legend of a video with its own colours, as (CSS class, label)."""
    drawn = {i for side, _ in STRIPS if side in video for i in video[side]}
    legend = [(color, labels[i]) for i, color in colors.items() if i in drawn and color != OTHER_STYLE]
    return [*legend, (OTHER_STYLE, OTHER_NAME)] if any(colors[i] == OTHER_STYLE for i in drawn) else legend


def strip_paths(
    classes: np.ndarray, times: np.ndarray, colors: Mapping[int, str], labels: Sequence[str], y: int
) -> list[tuple[str, str, str]]:
    """Return a strip as horizontal strokes at height `y`, one path per colour: (CSS class, label, path)."""
    seconds = last_frame_end(times) - times[0] or 1.0
    runs, starts, ends = find_segments(classes, times)
    lefts, rights = (((edges - times[0]) / seconds * STRIP_WIDTH).round().astype(int) for edges in (starts, ends))
    rights[-1] = STRIP_WIDTH  # also if the only frame of a video has no duration
    strokes: dict[str, str] = {}
    pen: dict[str, int] = {}  # where the last stroke of each colour ends
    names: dict[str, str] = {}
    for index, left, right in zip(runs.tolist(), lefts.tolist(), rights.tolist(), strict=True):
        if right > left:
            color = colors[index]
            names[color] = labels[index] if color != OTHER_STYLE else OTHER_NAME
            gap = left - pen[color] if color in pen else None
            move = f"M{left} {y}" if gap is None else f"m{gap} 0" if gap else ""
            strokes[color] = f"{strokes.get(color, '')}{move}h{right - left}"
            pen[color] = right
    return [(color, names[color], stroke) for color, stroke in strokes.items()]


def confidence_path(scores: Sequence[float | None], times: np.ndarray, start: float, seconds: float, top: int) -> str:
    """Return the curve of the highest score, 0 to 1, over time; each of its points is the minimum of several frames.

    `top` is the height at which a score of 1 is drawn.
    """
    if len(scores) != len(times):
        return ""
    values = np.array([np.nan if score is None else score for score in scores], dtype=float)
    step = -(-len(values) // MAX_CONFIDENCE_POINTS)
    points = []
    for first in range(0, len(values), step):
        part = values[first : first + step]
        if np.isfinite(part).any():
            x = (times[first] - start) / seconds * STRIP_WIDTH
            y = top + CONFIDENCE_HEIGHT * (1 - np.clip(np.nanmin(part), 0, 1))
            points.append(f"{x:.0f} {y:.0f}")
    return f"M{'L'.join(points)}H{STRIP_WIDTH}" if points else ""
