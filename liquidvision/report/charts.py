"""Geometry of line charts: positions of lines, ticks and marks. The template draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 24, 44  # margins for the text of the axes
CHARACTER_WIDTH = 6.4  # of a tick label, in the chart's units
MAX_MARKS = 30  # lines with more points are drawn without marks
TICK_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        style: CSS class of the line.
        name: its name in the legend.
        points: (x, y) in the units of the axes, in order.
        hints: tooltip of each point.
    """

    style: str
    name: str
    points: Sequence[tuple[float, float]]
    hints: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line in the chart's units: a path, and its marks as (x, y, hint)."""

    style: str
    name: str
    path: str
    marks: list[tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its first and last value, increasing or decreasing, and its ticks as (value, text)."""

    title: str
    first: float
    last: float
    ticks: Sequence[tuple[float, str]]

    def position(self, value: float) -> float:
        """Return where on the axis a value lies, 0 to 1."""
        return (value - self.first) / (self.last - self.first) if self.last != self.first else 0.5


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over two axes.

    Attributes:
        title: heading of the chart.
        text: description for screen readers.
        x: horizontal axis.
        y: vertical axis.
        lines: what is drawn.
        rows: the figures as a table: a text and one figure per line; empty: no table.
    """

    title: str
    text: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    rows: Sequence[tuple[str, Sequence[str]]] = field(default_factory=list)

    @property
    def drawn(self) -> list[DrawnLine]:
        """The lines in the chart's units."""
        return [self._draw(line) for line in self.lines if line.points]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the x axis as (x, text), without those that would overlap the next one; the last one always."""
        placed: list[tuple[float, str]] = []
        limit = math.inf
        for value, text in reversed(self.x.ticks):
            x = self._x(value)
            half = (len(text) + 1) * CHARACTER_WIDTH / 2
            if x + half <= limit:
                placed.append((x, text))
                limit = x - half
        return placed[::-1]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the y axis as (y, text)."""
        return [(self._y(value), text) for value, text in self.y.ticks]

    def _x(self, value: float) -> float:
        return round(LEFT + self.x.position(value) * (WIDTH - LEFT - RIGHT), 1)

    def _y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - self.y.position(value) * (HEIGHT - TOP - BOTTOM), 1)

    def _draw(self, line: Line) -> DrawnLine:
        points = [(self._x(x), self._y(y)) for x, y in line.points]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        hints = line.hints or [""] * len(points)
        marked = len(points) <= MAX_MARKS
        marks = [(x, y, hint) for (x, y), hint in zip(points, hints, strict=True)] if marked else []
        return DrawnLine(line.style, line.name, path, marks)


def axis_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round values in low..high, spaced 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    scale = 10 ** math.floor(math.log10((high - low) / most))
    for step in (size * scale for size in (*TICK_STEPS, 20, 25, 50, 100)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def round_range(values: Sequence[float], *, min_span: float = 0.0) -> tuple[float, float]:
    """Return a range with round ends that contains all values and spans at least `min_span`."""
    low, high = min(values), max(values)
    missing = max(min_span, 1e-9) - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    while True:  # a wider range may have wider steps
        ticks = axis_ticks(low, high)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
        ends = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        if max(low - ends[0], ends[1] - high) < 1e-9 * step:
            return low, high
        low, high = ends


def percent_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis in percent that contains all values, 0 to 1, and spans at least 20 %."""
    low, high = round_range(values, min_span=0.2)
    low, high = max(0.0, min(low, 0.8)), min(1.0, max(high, 0.2))
    return Axis(title, low, high, [(value, f"{100 * value:g} %") for value in axis_ticks(low, high)])
