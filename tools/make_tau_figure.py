"""Draw one unit's effective time constant while the bundled sample plays: the figure of docs/guides/liquid.md.

python tools/make_tau_figure.py [--unit N]

Needs no data: the sample and the model are bundled.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from liquidvision import Model, predict
from liquidvision.rendering.primitives import class_color

ROOT = Path(__file__).parents[1]
SAMPLE, TARGET = ROOT / "samples" / "actions.mp4", ROOT / "docs" / "time_constant.webp"
THUMBNAILS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", type=int, help="the unit to show; default: the one that moves most")
    options = parser.parse_args()
    model = Model.from_pretrained("actions", device="cpu")
    times, taus, labels, pictures = [], [], [], []
    for frame, prediction in predict(SAMPLE, model):
        times.append(prediction.time)
        taus.append(prediction.time_constants)
        labels.append(prediction.label)
        pictures.append(frame.image[::4, ::4])
    seconds = np.array(taus)
    resting = np.exp(model.head.cell.log_tau.detach().numpy())
    spread = np.diff(np.quantile(np.log(seconds[25:]), (0.05, 0.95), axis=0), axis=0)[0]
    unit = int(spread.argmax()) if options.unit is None else options.unit

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    top, plot = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3.2))
    shown = np.linspace(0, len(times) - 1, THUMBNAILS + 1).astype(int)
    for i, (first, last) in enumerate(pairwise(shown)):
        top.imshow(pictures[(first + last) // 2], extent=(times[first], times[last], 0, 1), aspect="auto", zorder=i)
    top.set_axis_off()
    plot.semilogy(times, seconds[:, unit], color="#1f4e79", linewidth=1.4)
    plot.axhline(resting[unit], color="#777777", linewidth=0.9, linestyle="--")
    plot.text(times[0], resting[unit], f" τ = {resting[unit]:.2g} s", ha="left", va="bottom", color="#555555")
    low = seconds[:, unit].min() * 0.62
    for first, last in runs(labels):
        color = tuple(part / 255 for part in class_color(model.labels.index(labels[first])))
        end = times[last + 1] if last + 1 < len(times) else times[-1]
        plot.fill_between((times[first], end), low, low * 1.3, color=color, linewidth=0)
        if end - times[first] > 0.7:
            middle = (times[first] + end) / 2
            plot.text(middle, low * 1.14, labels[first], ha="center", va="center", fontsize=8)
    plot.set_ylim(low, resting[unit] * 2.2)
    plot.set_xlim(times[0], times[-1])
    plot.set_xlabel("seconds of samples/actions.mp4, and what the model says")
    plot.set_ylabel("τ_sys = τ / (1 + τ f), seconds")
    title = f"Unit {unit} of the bundled model: its time constant goes from {seconds[25:, unit].min():.2f} s "
    plot.set_title(f"{title}to {seconds[25:, unit].max():.0f} s and back, as the input asks", fontsize=11)
    FigureCanvasAgg(figure).print_figure(TARGET, dpi=110)
    print(f"{TARGET}: unit {unit}, {seconds[25:, unit].min():.3f} to {seconds[25:, unit].max():.3f} s")


def runs(labels: list[str]) -> list[tuple[int, int]]:
    """First and last index of each stretch of one label."""
    starts = [0, *(i for i in range(1, len(labels)) if labels[i] != labels[i - 1])]
    return list(zip(starts, [*(s - 1 for s in starts[1:]), len(labels) - 1], strict=True))


if __name__ == "__main__":
    main()
