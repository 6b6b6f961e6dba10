"""The charts of the overlay: labels over time, time constants, and hidden state."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from liquidvision.inference.runs import LabelRun
from liquidvision.rendering.primitives import (
    DIM_TEXT_COLOR,
    TEXT_COLOR,
    UNSURE_COLOR,
    Box,
    Color,
    Scale,
    Surface,
    class_color,
    darken,
    draw_card,
    draw_disc,
    draw_text,
    draw_text_right,
    fill_box,
    rounded_corners,
    shorten,
    text_color_on,
    text_width,
)

# Interpolated through a pale grey, since amber and blue would mix to green.
FAST_COLOR, MIDDLE_COLOR, SLOW_COLOR = (255, 176, 0), (214, 212, 206), (80, 165, 240)
POSITIVE_COLOR, NEGATIVE_COLOR = (95, 208, 178), (236, 146, 196)
SEAM_COLOR: Color = (20, 22, 26)
TAU_RANGE = (0.03, 30.0)  # seconds, the ends of the axis
TAU_MARKS = (0.1, 1.0, 10.0)  # seconds, labelled on the axis
STATE_RANGE = 1.15  # the axis reaches from minus this to this
MAX_BARS = 64  # in a chart


class TimelineStrip(NamedTuple):
    """Where the timeline is drawn.

    Attributes:
        card: the card around it.
        lanes: the boxes of its rows, one or two.
        dated: whether times are written below.
    """

    card: Box
    lanes: tuple[Box, ...]
    dated: bool

    def x(self, time: float, now: float, seconds: float) -> int:
        """Return the column of `time`, with `now` at the right edge; left of the lane if it is too long ago."""
        lane = self.lanes[0]
        return lane.x1 - round(min((now - time) / seconds, 2.0) * lane.width)


def place_strip(height: int, width: int, scale: Scale, names: Sequence[tuple[str, str]]) -> TimelineStrip | None:
    """Place a timeline of one lane, or one lane per (long, short) name; None if the picture is too small."""
    lane, gap = max(14, round(scale.unit)), max(2, round(scale.unit * 0.18))
    lanes = max(len(names), 1)
    inset = round(scale.pad * 0.8)
    date_height = round(scale.small * 1.35)
    for dated in (True, False):
        card_height = 2 * inset + lanes * lane + (lanes - 1) * gap + (date_height if dated else 0)
        if card_height <= height * 0.36:
            break
    else:
        return None
    card = Box(scale.margin, height - scale.margin - card_height, width - scale.margin, height - scale.margin)
    gutter = name_width(names, scale, card.width)
    left, right = card.x0 + scale.pad + gutter, card.x1 - scale.pad
    if right - left < 4 * scale.unit:
        return None
    tops = [card.y0 + inset + i * (lane + gap) for i in range(lanes)]
    return TimelineStrip(card, tuple(Box(left, top, right, top + lane) for top in tops), dated)


def name_width(names: Sequence[tuple[str, str]], scale: Scale, width: int) -> int:
    """Return the width of the lanes' long names if they take up to a fifth of `width`, else of the short ones."""
    if not names:
        return 0
    long, short = (max(text_width(pair[i], scale.small) for pair in names) + scale.pad for i in (0, 1))
    return long if long <= width * 0.2 else short


def draw_lane(
    image: Surface,
    strip: TimelineStrip,
    lane: Box,
    scale: Scale,
    runs: Iterable[LabelRun],
    labels: Sequence[str],
    window: float,
) -> None:
    """Draw runs of labels on a time axis of `window` seconds that ends with the last run. Label -1 is unsure."""
    runs = list(runs)
    now = runs[-1].end
    size = max(10, min(scale.body, round(lane.height * 0.68)))
    seam = max(1, lane.height // 20)
    pad = max(3, size // 3)
    with rounded_corners(image, lane, lane.height // 5):
        darken(image, lane, 0.75, 26.0)
        for run in runs:
            x0, x1 = strip.x(run.start, now, window), strip.x(run.end, now, window)
            # A run of one frame has no length yet, but must be visible.
            x0 = max(min(x0, x1 - (1 if run.end > run.start else seam + 1)), lane.x0)
            if x1 <= x0:
                continue
            color = class_color(run.label) if run.label >= 0 else UNSURE_COLOR
            fill_box(image, lane._replace(x0=x0, x1=x1), color)
            if x1 - x0 > 5 * seam and x0 > lane.x0:
                fill_box(image, lane._replace(x0=x0, x1=x0 + seam), SEAM_COLOR)
            if run.label < 0 or x1 - x0 < 3 * size:
                continue
            text = shorten(labels[run.label], x1 - x0 - 2 * pad, size, True)
            draw_text(
                image, text, x0 + pad, (lane.y0 + lane.y1) // 2 + round(size * 0.36), size, text_color_on(color), True
            )


def tick_step(seconds_per_pixel: float, spacing: float) -> int:
    """Return the smallest round number of seconds that spans at least `spacing` pixels."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600):
        if step >= spacing * seconds_per_pixel:
            return step
    return 3600 * math.ceil(spacing * seconds_per_pixel / 3600)


def format_clock(seconds: int) -> str:
    """Return seconds as 1:02 or 1:01:02, as video players show them."""
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"-{text}" if seconds < 0 else text


def draw_time(image: Surface, strip: TimelineStrip, scale: Scale, now: float, window: float) -> None:
    """Draw tick marks at whole seconds of the source's clock, their times, and the playhead at `now`."""
    first, last = strip.lanes[0], strip.lanes[-1]
    rate = window / first.width
    thick = max(1, round(scale.unit / 16))
    if strip.dated:
        minor = tick_step(rate, max(4.0, scale.unit * 0.3))
        major = tick_step(rate, 1.7 * text_width(format_clock(int(now)), scale.small))
        oldest = now - window if now < 0 else max(0.0, now - window)  # no ticks before the start of the source
        for second in range(math.ceil(oldest / minor) * minor, math.floor(now) + 1, minor):
            x, text = strip.x(second, now, window), format_clock(second)
            long = second % major == 0
            top = last.y1 + thick
            fill_box(image, Box(x, top, x + thick, top + round(scale.small * (0.34 if long else 0.2))), DIM_TEXT_COLOR)
            text_x = x + 2 * thick + 1
            if long and x >= first.x0 and text_x + text_width(text, scale.small) <= first.x1:
                draw_text(image, text, text_x, last.y1 + round(scale.small * 1.12), scale.small, DIM_TEXT_COLOR)
    bold = max(2, round(scale.unit * 0.1))
    knob = max(3, round(scale.unit * 0.24))
    fill_box(image, Box(first.x1, first.y0 - bold, first.x1 + bold, last.y1 + bold), TEXT_COLOR)
    draw_disc(image, first.x1 + bold // 2, first.y0 - bold, knob, TEXT_COLOR)


def place_charts(count: int, width: int, floor: int, scale: Scale, cards: Sequence[Box]) -> list[Box]:
    """Place up to `count` charts at the top right, below the cards or between them; fewer if there is no room."""
    margin, max_width, chart_height = scale.margin, round(11 * scale.unit), round(6.6 * scale.unit)
    min_width = round(8 * scale.unit)
    right = width - margin
    if len(cards) > 1:
        columns = [(card.x0, card.x1, card.y1 + margin) for card in reversed(cards)]
        columns.append((cards[0].x1 + margin, cards[1].x0 - margin, margin))
    else:
        beside = (cards[0].x1 + margin if cards else margin, right, margin)
        columns = [beside if right - beside[0] >= min_width or not cards else (margin, right, cards[0].y1 + margin)]
    boxes: list[Box] = []
    for x0, x1, y0 in columns:
        while x1 - x0 >= min_width and y0 + chart_height <= floor and len(boxes) < count:
            boxes.append(Box(max(x0, x1 - max_width), y0, x1, y0 + chart_height))
            y0 += chart_height + margin
    return boxes


def draw_chart_frame(
    image: Surface, box: Box, scale: Scale, title: str, number: str, marks: Sequence[tuple[str, float]]
) -> Box:
    """Draw a chart's card: title, number at the right, named lines at heights 0 to 1. Return the plot's box."""
    draw_card(image, box, scale)
    base = box.y0 + scale.pad // 2 + scale.small
    room = box.width - 2 * scale.pad
    title = shorten(title, room, scale.small)
    draw_text(image, title, box.x0 + scale.pad, base, scale.small, DIM_TEXT_COLOR)
    if text_width(title, scale.small) + text_width(number, scale.small) + scale.pad <= room:
        draw_text_right(image, number, box.x1 - scale.pad, base, scale.small, TEXT_COLOR, False)
    gutter = max(text_width(name, scale.small) for name, _ in marks) + scale.pad // 2
    plot = Box(box.x0 + scale.pad + gutter, base + scale.pad, box.x1 - scale.pad, box.y1 - scale.pad)
    thick = max(1, round(scale.unit / 24))
    for name, height in marks:
        y = plot.y1 - round(height * plot.height)
        darken(image, Box(plot.x0, y, plot.x1, y + thick), 0.8, 48.0)
        draw_text_right(
            image, name, plot.x0 - scale.pad // 2, y + round(scale.small * 0.36), scale.small, DIM_TEXT_COLOR, False
        )
    return plot


def bar_columns(plot: Box, count: int) -> Iterator[tuple[int, int]]:
    """Yield the left and right edge of each bar, for `count` bars."""
    edges = plot.x0 + np.rint(np.arange(count + 1) * (plot.width / count)).astype(int)
    for x0, x1 in pairwise(edges.tolist()):
        yield x0, x1 - max(1, (x1 - x0) // 4)


def draw_tau(image: Surface, box: Box, scale: Scale, tau: np.ndarray) -> None:
    """Draw time constants (units,) in seconds as bars on a log axis: fast ones amber, slow ones blue."""
    low, high = (math.log(edge) for edge in TAU_RANGE)
    tau = np.clip(np.nan_to_num(tau.astype(np.float64).ravel(), nan=TAU_RANGE[0]), *TAU_RANGE)
    marks = [(f"{mark:g} s", (math.log(mark) - low) / (high - low)) for mark in TAU_MARKS]
    plot = draw_chart_frame(image, box, scale, "time constants", f"median {np.median(tau):.2g} s", marks)
    count = min(MAX_BARS, plot.width // 2)
    if len(tau) > count:
        tau = np.quantile(tau, (np.arange(count) + 0.5) / count)
    part = (np.log(tau) - low) / (high - low)
    colors = np.stack(
        [np.interp(part, (0.0, 0.5, 1.0), ends) for ends in zip(FAST_COLOR, MIDDLE_COLOR, SLOW_COLOR, strict=True)], 1
    )
    min_height = max(1, round(scale.unit / 24))
    for (x0, x1), share, color in zip(bar_columns(plot, len(tau)), part, colors, strict=True):
        top = plot.y1 - max(min_height, round(share * plot.height))
        red, green, blue = (int(value) for value in color)
        fill_box(image, Box(x0, top, x1, plot.y1), (red, green, blue))


def draw_state(image: Surface, box: Box, scale: Scale, state: np.ndarray) -> None:
    """Draw the hidden state (units,) as bars up and down from zero, clipped at -1 and 1, and its norm as a number."""
    state = np.nan_to_num(state.astype(np.float64).ravel())
    marks = [(f"{mark:g}", 0.5 + mark / 2 / STATE_RANGE) for mark in (1, 0, -1)]
    plot = draw_chart_frame(image, box, scale, "hidden state", f"norm {np.linalg.norm(state):.2g}", marks)
    count = min(MAX_BARS, plot.width // 2)
    if len(state) > count:  # show the value of largest magnitude among neighbours
        state = np.array([max(part, key=abs) for part in np.array_split(state, count)])
    zero = plot.y1 - round(plot.height / 2)
    reach = plot.height / 2 / STATE_RANGE
    for (x0, x1), value in zip(bar_columns(plot, len(state)), np.clip(state, -1, 1), strict=True):
        y = zero - round(value * reach)
        fill_box(image, Box(x0, min(y, zero), x1, max(y, zero + 1)), POSITIVE_COLOR if value >= 0 else NEGATIVE_COLOR)
