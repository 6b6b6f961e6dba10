"""One picture of a whole stream: frames, labels, scores, hidden state and time constants on one time axis."""

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
MAX_LABELS = 9  # rows of scores
COLUMNS = 1600  # instants at which the stream is sampled; more than the picture's width in pixels
TAU_LIMITS = (1e-4, 1e4)  # seconds
# Lengths of the page, in inches.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 12.0, 1.3, 0.85, 0.72, 0.5
CAPTION, SPACE = 0.26, 0.13
THUMBNAIL, LANE, SCORE, NORM, HEAT, MEDIAN = 0.64, 0.26, 0.26, 0.6, 1.5, 0.9
DPI = 110
IMAGE_OPTIONS: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}
TEXT_COLOR, DIM_COLOR, GRID_COLOR, LINE_COLOR = "#16181d", "#5c6470", "#e3e6ea", "#1f4e79"


class ChartSink(Sink):
    """Draw a chart of a whole stream when the stream has ended, as PNG, SVG or PDF.

    Args:
        path: the file; its suffix is .png, .svg or .pdf.
        title: text above the chart, such as the names of source and model.

    Raises:
        UsageError: the suffix is another one.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, *, title: str = "") -> None:
        if Path(path).suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path} cannot be drawn; expected a name that ends in {', '.join(SUFFIXES)}")
        super().__init__(path)
        self._title, self._history = title, StreamHistory()

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Add the next frame and its prediction. Only thumbnails of some frames are kept."""
        self._history.add(frame, prediction)

    def _finish(self) -> None:
        if not self._history.rows:
            raise SinkError(f"cannot write {self.path}: there was no frame to draw")
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Glyph"
            )  # a label in a script that the font lacks is drawn as boxes
            StreamChart(self._history, self._title).save(self.part)

    def _release(self) -> None:
        return


class StreamChart:
    """The chart of a `StreamHistory`, drawn from top to bottom."""

    def __init__(self, history: StreamHistory, title: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._history, self._gaps = history, history.gaps
        self._begin, self._end = history.times[0], history.end
        edges = np.linspace(self._begin, self._end, COLUMNS + 1)
        self._seconds = (edges[:-1] + edges[1:]) / 2
        # Each column shows the last frame that began before its right edge, so that no frame beside a gap is lost.
        self._frames = np.searchsorted(history.times, edges[1:]) - 1
        rows = np.searchsorted([row.frame for row in history.rows], self._frames, side="right") - 1
        self._rows = [history.rows[i] for i in rows]
        self._visible = np.ones(COLUMNS, bool)
        for start, end in self._gaps:
            self._visible &= (edges[:-1] < start) | (edges[1:] > end)
        self._panels: list[Axes] = []

        labels = min(MAX_LABELS, len(history.labels))
        has_state, has_taus = history.rows[0].norm is not None, history.rows[0].time_constants is not None
        height = TOP + THUMBNAIL + SPACE + len(history.lane_names) * LANE + CAPTION + labels * SCORE + BOTTOM
        height += (CAPTION + NORM if has_state else 0) + (2 * CAPTION + HEAT + MEDIAN if has_taus else 0)
        self._figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._height, self._y = height, height - TOP
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
        """Write the chart in the format of the suffix."""
        self._figure.savefig(path, format=path.suffix[1:].lower())

    def _mask_gaps(self, values: list[Any]) -> np.ndarray:
        """Return the values of the columns' rows as (columns, ...) float32, NaN in gaps."""
        out = np.array(values, np.float32)
        out[~self._visible] = np.nan
        return out

    def _add_panel(self, height: float, caption: str = "", above: float = CAPTION) -> "Axes":
        """Add axes of `height` inches, `above` inches below the last ones, with a caption in between."""
        self._y -= above
        width = (WIDTH - LEFT - RIGHT) / WIDTH
        axes = self._figure.add_axes((LEFT / WIDTH, (self._y - height) / self._height, width, height / self._height))
        axes.text(0, 1 + 0.05 / height, caption, transform=axes.transAxes, fontsize=8, color=DIM_COLOR, va="bottom")
        axes.set_xlim(self._begin, self._end)
        axes.tick_params(length=2.5, labelsize=7.5, color=DIM_COLOR, labelcolor=DIM_COLOR, labelbottom=False)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(GRID_COLOR)
        self._y -= height
        self._panels.append(axes)
        return axes

    def _write_row_name(self, axes: "Axes", y: float, text: str, color: "np.ndarray | None" = None) -> None:
        """Write a row's name left of the axes at data height `y`, cut to fit, with a square of its colour."""
        plot_inches = WIDTH - LEFT - RIGHT
        where = axes.get_yaxis_transform()
        if color is not None:
            axes.plot(-0.1 / plot_inches, y, "s", color=color, markersize=6, transform=where, clip_on=False)
        x = -0.08 if color is None else -0.2
        text = self._shorten(text, 8, LEFT + x - 0.1)
        axes.text(
            x / plot_inches,
            y,
            text,
            transform=where,
            fontsize=8,
            color=TEXT_COLOR,
            ha="right",
            va="center",
            parse_math=False,
        )

    def _shorten(self, text: str, size: float, room: float, weight: str = "normal") -> str:
        """Return `text` on one line of at most `room` inches, cut with an ellipsis."""
        text = " ".join(text.split())
        if self._text_width(text, size, weight) <= room:
            return text
        count = len(text)
        while count and self._text_width(text[:count].rstrip() + "…", size, weight) > room:
            count -= 1 + count // 20
        return text[:count].rstrip() + "…"

    def _text_width(self, text: str, size: float, weight: str = "normal") -> float:
        """Return the width of `text` in inches."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=size, weight=weight)
        return self._canvas.get_renderer().get_text_width_height_descent(text, font, False)[0] / DPI

    def _write_title(self, title: str) -> None:
        history = self._history
        count = len(history.times)
        facts = [
            f"{count:,} frame{'' if count == 1 else 's'} in {self._end - self._begin:,.1f} s",
            f"flips: {history.flips} {history.lane_names[-1]}, {history.frame_flips} from each frame alone",
        ]
        counted = (
            (len(self._gaps), "gap (hatched)", "gaps (hatched)"),
            (len(history.repeats), "repeated frame (triangle)", "repeated frames (triangles)"),
            (
                history.backwards,
                "step back of the clock (the axis continues)",
                "steps back of the clock (the axis continues)",
            ),
        )
        facts += [f"{times} {one if times == 1 else many}" for times, one, many in counted if times]
        title = self._shorten(title, 12, WIDTH - 0.4, "bold")
        left = 0.2 / WIDTH
        style: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "color": TEXT_COLOR, "parse_math": False}
        self._figure.text(left, 1 - 0.32 / self._height, title, **style)
        self._figure.text(left, 1 - 0.56 / self._height, " · ".join(facts), fontsize=9, color=DIM_COLOR)

    def _draw_thumbnails(self) -> None:
        axes = self._add_panel(THUMBNAIL, above=0)
        axes.set_axis_off()
        plot_inches = WIDTH - LEFT - RIGHT
        length = self._end - self._begin
        height, width = self._history.thumbnails[0][1].shape[:2]
        thumbnail_inches = min(THUMBNAIL * width / height, plot_inches)
        count = max(1, int((plot_inches + 0.05) / (thumbnail_inches + 0.05)))
        half = thumbnail_inches / plot_inches * length / 2
        times = np.array([time for time, _ in self._history.thumbnails])
        for i in range(count):
            middle = self._begin + (i + 0.5) * length / count
            nearest = int(np.abs(times - middle).argmin())
            if count > 1 and abs(times[nearest] - middle) > length / count / 2:
                continue  # a gap
            image = self._history.thumbnails[nearest][1]
            axes.imshow(image, extent=(middle - half, middle + half, 0, 1), aspect="auto", interpolation="antialiased")
        axes.set(xlim=(self._begin, self._end), ylim=(0, 1))

    def _draw_lanes(self) -> None:
        names = self._history.lane_names
        axes = self._add_panel(len(names) * LANE, above=SPACE)
        labels = self._history.label_indices[:, self._frames]
        colors = np.array([class_color(i) for i in range(len(self._history.labels))], np.uint8)
        for lane, name in enumerate(names):
            y = len(names) - 1 - lane
            image = np.where(self._visible[:, None], colors[labels[lane]], 255).astype(np.uint8)
            extent = (self._begin, self._end, y + 0.05, y + 0.95)
            axes.imshow(image[None], extent=extent, **IMAGE_OPTIONS)
            self._write_row_name(axes, y + 0.5, name)
            self._write_runs(axes, np.where(self._visible, labels[lane], -1), y + 0.5)
        repeats = np.unique(self._history.repeats)
        axes.plot(repeats, np.full(len(repeats), len(names) + 0.18), "v", color="#b3261e", markersize=4, clip_on=False)
        axes.set(xlim=(self._begin, self._end), ylim=(0, len(names)), yticks=())

    def _write_runs(self, axes: "Axes", labels: np.ndarray, y: float) -> None:
        """Write the label on each run that has room for it; `labels` is (columns,) class numbers, -1 in gaps."""
        inch = COLUMNS / (WIDTH - LEFT - RIGHT)
        starts = np.flatnonzero(np.diff(labels, prepend=-2))
        for start, end in zip(starts, [*starts[1:], COLUMNS], strict=True):
            text = " ".join(self._history.labels[labels[start]].split())
            if labels[start] >= 0 and (end - start) / inch > self._text_width(text, 7.5) + 0.08:
                text_color = np.array(text_color_on(class_color(int(labels[start])))) / 255
                x = self._seconds[start] + 0.04 * inch * (self._seconds[1] - self._seconds[0])
                axes.text(x, y, text, fontsize=7.5, color=text_color, va="center", parse_math=False)

    def _draw_scores(self, count: int) -> None:
        axes = self._add_panel(
            count * SCORE,
            f"score of each label, 0 to 1: area {self._history.lane_names[-1]}, line from each frame alone",
        )
        scores = self._mask_gaps([row.scores for row in self._rows])
        alone = self._mask_gaps([row.frame_scores for row in self._rows])
        best = np.argsort(-np.nanmean(scores, 0), kind="stable")[:count]
        for place, label in enumerate(best):
            base = count - 1 - place
            color = np.array(class_color(int(label))) / 255
            axes.axhline(base, color=GRID_COLOR, linewidth=0.6, zorder=0)
            axes.fill_between(self._seconds, base, base + 0.9 * scores[:, label], color=color, linewidth=0)
            axes.plot(self._seconds, base + 0.9 * scores[:, label], color=0.65 * color, linewidth=0.6)
            axes.plot(self._seconds, base + 0.9 * alone[:, label], color=TEXT_COLOR, linewidth=0.6, alpha=0.7)
            self._write_row_name(axes, base + 0.4, self._history.labels[label], color)
        axes.set(ylim=(0, count), yticks=())

    def _draw_norm(self) -> None:
        axes = self._add_panel(NORM, "norm of the hidden state")
        norms = self._mask_gaps([row.norm for row in self._rows])
        axes.plot(self._seconds, norms, color=LINE_COLOR, linewidth=1)
        axes.set_ylim(0, max(1e-6, 1.1 * float(np.nanmax(norms))))

    def _draw_taus(self) -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        taus = np.clip(np.nan_to_num([row.time_constants for row in self._rows], nan=TAU_LIMITS[0]), *TAU_LIMITS)
        taus = taus[:, np.argsort(np.median(taus, 0), kind="stable")]
        low, high = np.quantile(taus, (0.005, 0.995))
        middle = (low * high) ** 0.5
        norm = LogNorm(min(low, middle / 4), max(high, middle * 4))  # thumbnail_inches enough for a tick
        taus = self._mask_gaps(list(taus))
        seconds = FuncFormatter(lambda value, _: f"{value:g} s")
        units = f"s of the {taus.shape[1]} units of the cell: one row each, slowest at the top"
        axes = self._add_panel(HEAT, f"effective time constant{units if taus.shape[1] > 1 else ''}")
        extent = (self._begin, self._end, 0, taus.shape[1])
        # Yellow is fast and blue slow, as in the overlay. Lightness changes too, for colour-blind people.
        heat = axes.imshow(taus.T, "viridis_r", norm, extent=extent, origin="lower", **IMAGE_OPTIONS)
        axes.set_yticks(())
        place = axes.get_position()
        colors = self._figure.add_axes((place.x1 + 0.12 / WIDTH, place.y0, 0.13 / WIDTH, place.height))
        bar = self._figure.colorbar(heat, cax=colors, format=seconds)
        bar.ax.tick_params(labelsize=7.5, length=2, color=DIM_COLOR, labelcolor=DIM_COLOR)
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_visible(False)

        axes = self._add_panel(MEDIAN, "median (line) and 10 to 90 % (band) of the time constants")
        tenth, median, ninetieth = np.quantile(taus, (0.1, 0.5, 0.9), axis=1)
        axes.fill_between(self._seconds, tenth, ninetieth, color=LINE_COLOR, alpha=0.2, linewidth=0)
        axes.plot(self._seconds, median, color=LINE_COLOR, linewidth=1.2)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(seconds)

    def _finish_axes(self) -> None:
        """Add what all panels share: marks for gaps and lines at the ticks; write the seconds under the last one."""
        for axes in self._panels[1:]:
            for start, end in self._gaps:
                axes.axvspan(start, end, facecolor="none", edgecolor="#b5bbc4", hatch="////", linewidth=0)
            if not axes.images:
                axes.grid(axis="x", color=GRID_COLOR, linewidth=0.6)
                axes.set_axisbelow(True)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("seconds", fontsize=8, color=DIM_COLOR)
