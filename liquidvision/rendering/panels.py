"""The panels of the overlay that are charts: labels over time, the units' time constants and their state."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from liquidvision.inference.runs import LabelRun
from liquidvision.rendering.primitives import (
    DIM,
    INK,
    UNSURE,
    Box,
    Color,
    Scale,
    class_color,
    darken,
    draw_card,
    draw_text,
    draw_text_right,
    fill_box,
    fill_rounded,
    shorten,
    text_color_on,
    text_width,
)

# Through a pale grey between, for amber and blue mix to a muddy green.
FAST, MIDDLE, SLOW = (255, 176, 0), (214, 212, 206), (80, 165, 240)
UP, DOWN = (95, 208, 178), (236, 146, 196)
SEAM: Color = (20, 22, 26)
TAU_RANGE = (0.03, 30.0)
TAU_MARKS = (0.1, 1.0, 10.0)
STATE_RANGE = 1.15
MOST_UNITS = 64  # bars of a chart


class TimelineStrip(NamedTuple):
    """Where the timeline lies: its card, one lane per row, and whether the seconds are written below."""

    card: Box
    lanes: tuple[Box, ...]
    dated: bool

    def x(self, time: float, now: float, seconds: float) -> int:
        """The column of the instant `time`, with `now` at the right edge; left of the lane for what is too old."""
        lane = self.lanes[0]
        return lane.x1 - round(min((now - time) / seconds, 2.0) * lane.width)


def place_strip(height: int, width: int, scale: Scale, names: Sequence[tuple[str, str]]) -> TimelineStrip | None:
    """Room for a timeline of one lane, or of one per (long, short) name; None where the picture is too small."""
    lane, gap = max(14, round(scale.unit)), max(2, round(scale.unit * 0.18))
    lanes = max(len(names), 1)
    inset = round(scale.pad * 0.8)
    dates = round(scale.small * 1.35)
    for dated in (True, False):
        tall = 2 * inset + lanes * lane + (lanes - 1) * gap + (dates if dated else 0)
        if tall <= height * 0.36:
            break
    else:
        return None
    card = Box(scale.margin, height - scale.margin - tall, width - scale.margin, height - scale.margin)
    gutter = name_width(names, scale, card.width)
    left, right = card.x0 + scale.pad + gutter, card.x1 - scale.pad
    if right - left < 4 * scale.unit:
        return None
    tops = [card.y0 + inset + i * (lane + gap) for i in range(lanes)]
    return TimelineStrip(card, tuple(Box(left, top, right, top + lane) for top in tops), dated)


def name_width(names: Sequence[tuple[str, str]], scale: Scale, width: int) -> int:
    """The gutter the lanes' names need: the long names where they take up to a fifth of `width`, else the short."""
    if not names:
        return 0
    long, short = (max(text_width(pair[i], scale.small) for pair in names) + scale.pad for i in (0, 1))
    return long if long <= width * 0.2 else short


def draw_lane(
    image: np.ndarray,
    strip: TimelineStrip,
    lane: Box,
    scale: Scale,
    runs: Iterable[LabelRun],
    labels: Sequence[str],
    window: float,
) -> None:
    """Draw runs of labels on a time axis whose right edge is the end of the last run; -1 is unsure."""
    runs = list(runs)
    now = runs[-1].end
    size = max(10, min(scale.body, round(lane.height * 0.68)))
    seam = max(1, lane.height // 20)
    pad = max(3, size // 3)
    with fill_rounded(image, lane, lane.height // 5):
        darken(image, lane, 0.75, 26.0)
        for run in runs:
            x0, x1 = strip.x(run.start, now, window), strip.x(run.end, now, window)
            # A frame that stands alone has no length yet; it still shows.
            x0 = max(min(x0, x1 - (1 if run.end > run.start else seam + 1)), lane.x0)
            if x1 <= x0:
                continue
            color = class_color(run.label) if run.label >= 0 else UNSURE
            fill_box(image, lane._replace(x0=x0, x1=x1), color)
            if x1 - x0 > 5 * seam and x0 > lane.x0:
                fill_box(image, lane._replace(x0=x0, x1=x0 + seam), SEAM)
            if run.label < 0 or x1 - x0 < 3 * size:
                continue
            text = shorten(labels[run.label], x1 - x0 - 2 * pad, size, True)
            draw_text(
                image, text, x0 + pad, (lane.y0 + lane.y1) // 2 + round(size * 0.36), size, text_color_on(color), True
            )


def tick_step(seconds_per_pixel: float, spacing: float) -> int:
    """The smallest round number of seconds that is at least `spacing` pixels long."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600):
        if step >= spacing * seconds_per_pixel:
            return step
    return 3600 * math.ceil(spacing * seconds_per_pixel / 3600)


def format_clock(seconds: int) -> str:
    """1:02 or 1:01:02, as players write it."""
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"-{text}" if seconds < 0 else text


def draw_time(image: np.ndarray, strip: TimelineStrip, scale: Scale, now: float, window: float) -> None:
    """Tick marks at whole seconds of the source's clock, their times below, and the playhead at `now`."""
    first, last = strip.lanes[0], strip.lanes[-1]
    rate = window / first.width
    thick = max(1, round(scale.unit / 16))
    if strip.dated:
        minor = tick_step(rate, max(4.0, scale.unit * 0.3))
        major = tick_step(rate, 1.7 * text_width(format_clock(int(now)), scale.small))
        oldest = now - window if now < 0 else max(0.0, now - window)  # nothing was shown before the beginning
        for second in range(math.ceil(oldest / minor) * minor, math.floor(now) + 1, minor):
            x, text = strip.x(second, now, window), format_clock(second)
            long = second % major == 0
            top = last.y1 + thick
            fill_box(image, Box(x, top, x + thick, top + round(scale.small * (0.34 if long else 0.2))), DIM)
            at = x + 2 * thick + 1
            if long and x >= first.x0 and at + text_width(text, scale.small) <= first.x1:
                draw_text(image, text, at, last.y1 + round(scale.small * 1.12), scale.small, DIM)
    bold = max(2, round(scale.unit * 0.1))
    knob = max(3, round(scale.unit * 0.24))
    fill_box(image, Box(first.x1, first.y0 - bold, first.x1 + bold, last.y1 + bold), INK)
    cv2.circle(image, (first.x1 + bold // 2, first.y0 - bold), knob, INK, -1, cv2.LINE_AA)


def place_charts(count: int, width: int, floor: int, scale: Scale, cards: Sequence[Box]) -> list[Box]:
    """Room for up to `count` charts of units: at the top right, else below the cards or between them; fewer if full."""
    margin, wide, tall = scale.margin, round(11 * scale.unit), round(6.6 * scale.unit)
    least = round(8 * scale.unit)
    right = width - margin
    if len(cards) > 1:
        columns = [(card.x0, card.x1, card.y1 + margin) for card in reversed(cards)]
        columns.append((cards[0].x1 + margin, cards[1].x0 - margin, margin))
    else:
        beside = (cards[0].x1 + margin if cards else margin, right, margin)
        columns = [beside if right - beside[0] >= least or not cards else (margin, right, cards[0].y1 + margin)]
    boxes: list[Box] = []
    for x0, x1, y0 in columns:
        while x1 - x0 >= least and y0 + tall <= floor and len(boxes) < count:
            boxes.append(Box(max(x0, x1 - wide), y0, x1, y0 + tall))
            y0 += tall + margin
    return boxes


def draw_frame(
    image: np.ndarray, box: Box, scale: Scale, title: str, figure: str, marks: Sequence[tuple[str, float]]
) -> Box:
    """A chart's card with its title, a figure at the right, and named lines at heights 0..1; returns the plot's box."""
    draw_card(image, box, scale)
    base = box.y0 + scale.pad // 2 + scale.small
    room = box.width - 2 * scale.pad
    title = shorten(title, room, scale.small)
    draw_text(image, title, box.x0 + scale.pad, base, scale.small, DIM)
    if text_width(title, scale.small) + text_width(figure, scale.small) + scale.pad <= room:
        draw_text_right(image, figure, box.x1 - scale.pad, base, scale.small, INK, False)
    gutter = max(text_width(name, scale.small) for name, _ in marks) + scale.pad // 2
    plot = Box(box.x0 + scale.pad + gutter, base + scale.pad, box.x1 - scale.pad, box.y1 - scale.pad)
    thick = max(1, round(scale.unit / 24))
    for name, height in marks:
        y = plot.y1 - round(height * plot.height)
        darken(image, Box(plot.x0, y, plot.x1, y + thick), 0.8, 48.0)
        draw_text_right(image, name, plot.x0 - scale.pad // 2, y + round(scale.small * 0.36), scale.small, DIM, False)
    return plot


def columns_of(plot: Box, units: int) -> Iterator[tuple[int, int]]:
    """The left and right edge of each unit's bar."""
    edges = plot.x0 + np.rint(np.arange(units + 1) * (plot.width / units)).astype(int)
    for x0, x1 in pairwise(edges.tolist()):
        yield x0, x1 - max(1, (x1 - x0) // 4)


def draw_tau(image: np.ndarray, box: Box, scale: Scale, tau: np.ndarray) -> None:
    """Time constants of the units (n,) as bars on a log axis: fast ones amber, slow ones blue."""
    low, high = (math.log(edge) for edge in TAU_RANGE)
    tau = np.clip(np.nan_to_num(tau.astype(np.float64).ravel(), nan=TAU_RANGE[0]), *TAU_RANGE)
    marks = [(f"{mark:g} s", (math.log(mark) - low) / (high - low)) for mark in TAU_MARKS]
    plot = draw_frame(image, box, scale, "time constants", f"median {np.median(tau):.2g} s", marks)
    count = min(MOST_UNITS, plot.width // 2)
    if len(tau) > count:
        tau = np.quantile(tau, (np.arange(count) + 0.5) / count)
    part = (np.log(tau) - low) / (high - low)
    colors = np.stack([np.interp(part, (0.0, 0.5, 1.0), ends) for ends in zip(FAST, MIDDLE, SLOW, strict=True)], 1)
    least = max(1, round(scale.unit / 24))
    for (x0, x1), share, color in zip(columns_of(plot, len(tau)), part, colors, strict=True):
        image[plot.y1 - max(least, round(share * plot.height)) : plot.y1, x0:x1] = color


def draw_state(image: np.ndarray, box: Box, scale: Scale, state: np.ndarray) -> None:
    """Hidden state (n,) as bars up and down from a line at zero, cut at -1 and 1; its norm at the right."""
    state = np.nan_to_num(state.astype(np.float64).ravel())
    marks = [(f"{mark:g}", 0.5 + mark / 2 / STATE_RANGE) for mark in (1, 0, -1)]
    plot = draw_frame(image, box, scale, "hidden state", f"norm {np.linalg.norm(state):.2g}", marks)
    count = min(MOST_UNITS, plot.width // 2)
    if len(state) > count:  # the strongest of neighbours stands for them
        state = np.array([max(part, key=abs) for part in np.array_split(state, count)])
    zero = plot.y1 - round(plot.height / 2)
    reach = plot.height / 2 / STATE_RANGE
    for (x0, x1), value in zip(columns_of(plot, len(state)), np.clip(state, -1, 1), strict=True):
        y = zero - round(value * reach)
        image[min(y, zero) : max(y, zero + 1), x0:x1] = UP if value >= 0 else DOWN
