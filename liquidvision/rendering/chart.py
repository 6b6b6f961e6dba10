"""One picture of a whole stream: frames, labels, scores, hidden state and time constants over a common time axis."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liquidvision.errors import SinkError, UsageError
from liquidvision.prediction import Prediction
from liquidvision.rendering.history import StreamHistory
from liquidvision.rendering.primitives import class_color, text_color_on
from liquidvision.video.frame import Frame
from liquidvision.video.write.sink import Sink

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
MOST_LABELS = 9  # rows of scores
COLUMNS = 1600  # instants at which the stream is looked up; more than the picture's pixels across
TAU_LIMITS = (1e-4, 1e4)  # seconds
# Inches.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 12.0, 1.3, 0.85, 0.72, 0.5
CAPTION, SPACE = 0.26, 0.13
THUMBNAIL, LANE, SCORE, NORM, HEAT, MEDIAN = 0.64, 0.26, 0.26, 0.6, 1.5, 0.9
DPI = 110
FILL: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}  # of what is an image
INK, DIM, GRID, LINE = "#16181d", "#5c6470", "#e3e6ea", "#1f4e79"


class ChartSink(Sink):
    """Draws what a model made of a stream, when the stream has ended, as PNG, SVG or PDF.

    Args:
        path: the file; its suffix is .png, .svg or .pdf.
        title: what to write above the picture, such as the names of source and model.

    Raises:
        UsageError: another ending.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, *, title: str = "") -> None:
        if Path(path).suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path} cannot be drawn; expected a name that ends in {', '.join(SUFFIXES)}")
        super().__init__(path)
        self._title, self._history = title, StreamHistory()

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Take in the next frame and its prediction; of the picture only a thumbnail is kept, and not of each."""
        self._history.add(frame, prediction)

    def _finish(self) -> None:
        if not self._history.rows:
            raise SinkError(f"cannot write {self.path}: there was no frame to draw")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a label in a script that the font lacks: boxes
            StreamChart(self._history, self._title).save(self.part)

    def _release(self) -> None:
        return


class StreamChart:
    """The picture of a `StreamHistory`, drawn from the top down."""

    def __init__(self, history: StreamHistory, title: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._history, self._gaps = history, history.gaps
        self._begin, self._end = history.times[0], history.end
        edges = np.linspace(self._begin, self._end, COLUMNS + 1)
        self._seconds = (edges[:-1] + edges[1:]) / 2
        # Each column has the last frame that began before its right edge, so that none beside a gap is lost.
        self._frames = np.searchsorted(history.times, edges[1:]) - 1
        rows = np.searchsorted([row.frame for row in history.rows], self._frames, side="right") - 1
        self._rows = [history.rows[i] for i in rows]
        self._shown = np.ones(COLUMNS, bool)
        for start, end in self._gaps:
            self._shown &= (edges[:-1] < start) | (edges[1:] > end)
        self._panels: list[Axes] = []

        labels = min(MOST_LABELS, len(history.labels))
        has_state, has_taus = history.rows[0].norm is not None, history.rows[0].time_constants is not None
        tall = TOP + THUMBNAIL + SPACE + 2 * LANE + CAPTION + labels * SCORE + BOTTOM
        tall += (CAPTION + NORM if has_state else 0) + (2 * CAPTION + HEAT + MEDIAN if has_taus else 0)
        self._figure = Figure(figsize=(WIDTH, tall), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._tall, self._at = tall, tall - TOP
        self._write_title(title)
        self._draw_thumbnails()
        self._draw_lanes()
        self._draw_scores(labels)
        if has_state:
            self._draw_norm()
        if has_taus:
            self._draw_taus()
        self._finish_axes()

    def save(self, path: Path) -> None:
        """Write the picture; its ending says in which format."""
        self._figure.savefig(path, format=path.suffix[1:].lower())

    def _columns(self, values: list[Any]) -> np.ndarray:
        """Rows' values (...) as (columns, ...) float32, NaN where no frame is shown."""
        out = np.array(values, np.float32)
        out[~self._shown] = np.nan
        return out

    def _panel(self, tall: float, caption: str = "", above: float = CAPTION) -> "Axes":
        """Axes of `tall` inches on the common time axis, `above` inches below what is there, with text between."""
        self._at -= above
        across = (WIDTH - LEFT - RIGHT) / WIDTH
        axes = self._figure.add_axes((LEFT / WIDTH, (self._at - tall) / self._tall, across, tall / self._tall))
        axes.text(0, 1 + 0.05 / tall, caption, transform=axes.transAxes, fontsize=8, color=DIM, va="bottom")
        axes.set_xlim(self._begin, self._end)
        axes.tick_params(length=2.5, labelsize=7.5, color=DIM, labelcolor=DIM, labelbottom=False)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(GRID)
        self._at -= tall
        self._panels.append(axes)
        return axes

    def _name(self, axes: "Axes", y: float, text: str, color: "np.ndarray | None" = None) -> None:
        """A row's name, cut to fit, left of the axes at the height `y` of their data; its colour between."""
        across = WIDTH - LEFT - RIGHT
        where = axes.get_yaxis_transform()
        if color is not None:
            axes.plot(-0.1 / across, y, "s", color=color, markersize=6, transform=where, clip_on=False)
        x = -0.08 if color is None else -0.2
        text = self._cut(text, 8, LEFT + x - 0.1)
        axes.text(
            x / across, y, text, transform=where, fontsize=8, color=INK, ha="right", va="center", parse_math=False
        )

    def _cut(self, text: str, size: float, room: float, weight: str = "normal") -> str:
        """`text` on one line, with an ellipsis where it would be longer than `room` inches."""
        text = " ".join(text.split())
        if self._width(text, size, weight) <= room:
            return text
        most = len(text)
        while most and self._width(text[:most].rstrip() + "…", size, weight) > room:
            most -= 1 + most // 20
        return text[:most].rstrip() + "…"

    def _width(self, text: str, size: float, weight: str = "normal") -> float:
        """Inches that `text` takes."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=size, weight=weight)
        return self._canvas.get_renderer().get_text_width_height_descent(text, font, False)[0] / DPI

    def _write_title(self, title: str) -> None:
        history = self._history
        count = len(history.times)
        facts = [
            f"{count:,} frame{'' if count == 1 else 's'} in {self._end - self._begin:,.1f} s",
            f"flips: {history.flips} with memory, {history.frame_flips} by each frame alone",
        ]
        counted = (
            (len(self._gaps), "gap (hatched)", "gaps (hatched)"),
            (len(history.repeats), "repeated frame (triangle)", "repeated frames (triangles)"),
            (history.backwards, "time ran backwards; the axis goes on", "times ran backwards; the axis goes on"),
        )
        facts += [f"{times} {one if times == 1 else many}" for times, one, many in counted if times]
        title = self._cut(title, 12, WIDTH - 0.4, "bold")
        left = 0.2 / WIDTH
        look: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "color": INK, "parse_math": False}
        self._figure.text(left, 1 - 0.32 / self._tall, title, **look)
        self._figure.text(left, 1 - 0.56 / self._tall, " · ".join(facts), fontsize=9, color=DIM)

    def _draw_thumbnails(self) -> None:
        axes = self._panel(THUMBNAIL, above=0)
        axes.set_axis_off()
        across = WIDTH - LEFT - RIGHT
        length = self._end - self._begin
        height, width = self._history.thumbnails[0][1].shape[:2]
        wide = min(THUMBNAIL * width / height, across)
        count = max(1, int((across + 0.05) / (wide + 0.05)))
        half = wide / across * length / 2
        times = np.array([time for time, _ in self._history.thumbnails])
        for i in range(count):
            middle = self._begin + (i + 0.5) * length / count
            nearest = int(np.abs(times - middle).argmin())
            if count > 1 and abs(times[nearest] - middle) > length / count / 2:
                continue  # nothing was shown there
            image = self._history.thumbnails[nearest][1]
            axes.imshow(image, extent=(middle - half, middle + half, 0, 1), aspect="auto", interpolation="antialiased")
        axes.set(xlim=(self._begin, self._end), ylim=(0, 1))

    def _draw_lanes(self) -> None:
        axes = self._panel(2 * LANE, above=SPACE)
        tops = self._history.tops[:, self._frames]
        colors = np.array([class_color(i) for i in range(len(self._history.labels))], np.uint8)
        for lane, name in ((0, "each frame alone"), (1, "with memory")):
            y = 1 - lane
            image = np.where(self._shown[:, None], colors[tops[lane]], 255).astype(np.uint8)
            extent = (self._begin, self._end, y + 0.05, y + 0.95)
            axes.imshow(image[None], extent=extent, **FILL)
            self._name(axes, y + 0.5, name)
            self._write_runs(axes, np.where(self._shown, tops[lane], -1), y + 0.5)
        repeats = np.unique(self._history.repeats)
        axes.plot(repeats, np.full(len(repeats), 2.18), "v", color="#b3261e", markersize=4, clip_on=False)
        axes.set(xlim=(self._begin, self._end), ylim=(0, 2), yticks=())

    def _write_runs(self, axes: "Axes", tops: np.ndarray, y: float) -> None:
        """The label on each run of `tops` (columns,) that has room for it; -1 where nothing is shown."""
        inch = COLUMNS / (WIDTH - LEFT - RIGHT)
        starts = np.flatnonzero(np.diff(tops, prepend=-2))
        for start, end in zip(starts, [*starts[1:], COLUMNS], strict=True):
            text = " ".join(self._history.labels[tops[start]].split())
            if tops[start] >= 0 and (end - start) / inch > self._width(text, 7.5) + 0.08:
                ink = np.array(text_color_on(class_color(int(tops[start])))) / 255
                x = self._seconds[start] + 0.04 * inch * (self._seconds[1] - self._seconds[0])
                axes.text(x, y, text, fontsize=7.5, color=ink, va="center", parse_math=False)

    def _draw_scores(self, count: int) -> None:
        axes = self._panel(count * SCORE, "score of each label, 0 to 1: filled with memory, line by each frame alone")
        scores = self._columns([row.scores for row in self._rows])
        alone = self._columns([row.frame_scores for row in self._rows])
        best = np.argsort(-np.nanmean(scores, 0), kind="stable")[:count]
        for place, label in enumerate(best):
            base = count - 1 - place
            color = np.array(class_color(int(label))) / 255
            axes.axhline(base, color=GRID, linewidth=0.6, zorder=0)
            axes.fill_between(self._seconds, base, base + 0.9 * scores[:, label], color=color, linewidth=0)
            axes.plot(self._seconds, base + 0.9 * scores[:, label], color=0.65 * color, linewidth=0.6)
            axes.plot(self._seconds, base + 0.9 * alone[:, label], color=INK, linewidth=0.6, alpha=0.7)
            self._name(axes, base + 0.4, self._history.labels[label], color)
        axes.set(ylim=(0, count), yticks=())

    def _draw_norm(self) -> None:
        axes = self._panel(NORM, "norm of the hidden state")
        norms = self._columns([row.norm for row in self._rows])
        axes.plot(self._seconds, norms, color=LINE, linewidth=1)
        axes.set_ylim(0, max(1e-6, 1.1 * float(np.nanmax(norms))))

    def _draw_taus(self) -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        taus = np.clip(np.nan_to_num([row.time_constants for row in self._rows], nan=TAU_LIMITS[0]), *TAU_LIMITS)
        taus = taus[:, np.argsort(np.median(taus, 0), kind="stable")]
        low, high = np.quantile(taus, (0.005, 0.995))
        middle = (low * high) ** 0.5
        norm = LogNorm(min(low, middle / 4), max(high, middle * 4))  # wide enough to hold a tick
        taus = self._columns(list(taus))
        seconds = FuncFormatter(lambda value, _: f"{value:g} s")
        many = f"s of the {taus.shape[1]} units of the cell: a row each, slowest at the top"
        axes = self._panel(HEAT, f"effective time constant{many if taus.shape[1] > 1 else ''}")
        extent = (self._begin, self._end, 0, taus.shape[1])
        # Yellow is fast and blue slow, as in the overlay; the colour-blind see the lightness.
        heat = axes.imshow(taus.T, "viridis_r", norm, extent=extent, origin="lower", **FILL)
        axes.set_yticks(())
        place = axes.get_position()
        colors = self._figure.add_axes((place.x1 + 0.12 / WIDTH, place.y0, 0.13 / WIDTH, place.height))
        bar = self._figure.colorbar(heat, cax=colors, format=seconds)
        bar.ax.tick_params(labelsize=7.5, length=2, color=DIM, labelcolor=DIM)
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_visible(False)

        axes = self._panel(MEDIAN, "the same, as median (line) and 10 to 90 % of the units (band)")
        tenth, median, ninetieth = np.quantile(taus, (0.1, 0.5, 0.9), axis=1)
        axes.fill_between(self._seconds, tenth, ninetieth, color=LINE, alpha=0.2, linewidth=0)
        axes.plot(self._seconds, median, color=LINE, linewidth=1.2)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(seconds)

    def _finish_axes(self) -> None:
        """What all panels share: marks for gaps, lines at the ticks; the last one has the seconds."""
        for axes in self._panels[1:]:
            for start, end in self._gaps:
                axes.axvspan(start, end, facecolor="none", edgecolor="#b5bbc4", hatch="////", linewidth=0)
            if not axes.images:
                axes.grid(axis="x", color=GRID, linewidth=0.6)
                axes.set_axisbelow(True)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("seconds", fontsize=8, color=DIM)
