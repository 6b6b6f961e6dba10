"""Where the lines, ticks and marks of a chart lie; the template draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 24, 44  # what the axes' text takes
CHARACTER = 6.4  # units that a character of a tick takes
MOST_MARKS = 30  # points that are marked one by one
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        style: the CSS class that says how it looks.
        name: what the legend calls it.
        points: (x, y) in the axes' units, in order.
        hints: what each point says in words.
    """

    style: str
    name: str
    points: Sequence[tuple[float, float]]
    hints: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line in the picture's units: a path, and its marks as (x, y, hint)."""

    style: str
    name: str
    path: str
    marks: list[tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its first and last value, which may fall, and its ticks as (value, text)."""

    title: str
    first: float
    last: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """How far along the axis a value lies, 0 to 1."""
        return (value - self.first) / (self.last - self.first) if self.last != self.first else 0.5


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over two axes.

    Attributes:
        title: its heading.
        text: the same in words, for who cannot see it.
        x, y: axes.
        lines: what is drawn.
        rows: the figures as a table: a text and one figure a line; none: no table.
    """

    title: str
    text: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    rows: Sequence[tuple[str, Sequence[str]]] = field(default_factory=list)

    @property
    def drawn(self) -> list[Drawn]:
        """The lines in the picture's units."""
        return [self._draw(line) for line in self.lines if line.points]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the x axis as (x, text): those that do not run into their neighbours, the last one always."""
        placed: list[tuple[float, str]] = []
        room = math.inf
        for value, text in reversed(self.x.ticks):
            x = self._x(value)
            half = (len(text) + 1) * CHARACTER / 2
            if x + half <= room:
                placed.append((x, text))
                room = x - half
        return placed[::-1]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Ticks of the y axis as (y, text)."""
        return [(self._y(value), text) for value, text in self.y.ticks]

    def _x(self, value: float) -> float:
        return round(LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT), 1)

    def _y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM), 1)

    def _draw(self, line: Line) -> Drawn:
        places = [(self._x(x), self._y(y)) for x, y in line.points]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
        hints = line.hints or [""] * len(places)
        few = len(places) <= MOST_MARKS
        marks = [(x, y, hint) for (x, y), hint in zip(places, hints, strict=True)] if few else []
        return Drawn(line.style, line.name, path, marks)


def axis_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values within low..high, at most `most` of them, as far apart as 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    scale = 10 ** math.floor(math.log10((high - low) / most))
    for step in (size * scale for size in (*STEPS, 20, 25, 50, 100)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def around(values: Sequence[float], *, least: float = 0.0) -> tuple[float, float]:
    """A range of round ends that holds all values and spans `least`."""
    low, high = min(values), max(values)
    short = max(least, 1e-9) - (high - low)
    if short > 0:
        low, high = low - short / 2, high + short / 2
    while True:  # a wider range may have wider steps
        marks = axis_ticks(low, high)
        step = marks[1] - marks[0] if len(marks) > 1 else high - low
        ends = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        if max(low - ends[0], ends[1] - high) < 1e-9 * step:
            return low, high
        low, high = ends


def share_axis(title: str, values: Sequence[float]) -> Axis:
    """An axis in per cent that holds all values, 0 to 1, and spans a fifth at least."""
    low, high = around(values, least=0.2)
    low, high = max(0.0, min(low, 0.8)), min(1.0, max(high, 0.2))
    return Axis(title, low, high, [(value, f"{100 * value:g} %") for value in axis_ticks(low, high)])
