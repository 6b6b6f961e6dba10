"""Measure a model on rendered clips that it has not seen, through the same Session that users run.

    python tools/bench_actions.py [-m actions] [--clips 60] [--save-json PATH]

Every clip is of the `test` split: bodies, clothes, backgrounds and camera behaviour of its own. The
table has, for several ways of sampling the same motion, the share of frames that are right with memory and
by each frame alone, over all frames and from 0.5 s after each onset on, and the flips beyond the true transitions.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Frame, Model, Session
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.figures import ACTIONS, render_clip

SECONDS, RATE, SETTLED = 10.0, 25.0, 0.5
COLUMNS = [
    {"key": "memory", "title": "with memory", "digits": 1},
    {"key": "alone", "title": "each frame alone", "digits": 1},
    {"key": "memory_settled", "title": "with memory, settled", "digits": 1},
    {"key": "alone_settled", "title": "alone, settled", "digits": 1},
    {"key": "flips_per_minute", "title": "flips/min", "digits": 1},
    {"key": "alone_flips_per_minute", "title": "alone, flips/min", "digits": 1},
]


def regular(rate: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda _: np.arange(0, SECONDS, 1 / rate)


def dropped(share: float) -> Callable[[np.random.Generator], np.ndarray]:
    def times(draw: np.random.Generator) -> np.ndarray:
        whole = np.arange(0, SECONDS, 1 / RATE)
        return whole[draw.random(len(whole)) >= share]

    return times


def irregular(draw: np.random.Generator) -> np.ndarray:
    times = np.cumsum(draw.choice([1 / 60, 1 / 30, 1 / 12, 0.25], 600, p=[0.2, 0.5, 0.27, 0.03]))
    return times[times < SECONDS]


SAMPLINGS = {
    "25 frames a second": regular(RATE),
    "12.5 frames a second": regular(RATE / 2),
    "50 frames a second": regular(RATE * 2),
    "50 % of frames dropped": dropped(0.5),
    "75 % of frames dropped": dropped(0.75),
    "variable rate": irregular,
}


@dataclass(slots=True)
class Score:
    """Counts over all clips of one sampling."""

    frames: int = 0
    settled: int = 0
    right: int = 0
    right_settled: int = 0
    alone: int = 0
    alone_settled: int = 0
    flips: int = 0
    alone_flips: int = 0
    transitions: int = 0

    def add(self, times: np.ndarray, truth: np.ndarray, context: np.ndarray, alone: np.ndarray) -> None:
        """Add one clip: times (t,) in seconds, and labels (t,)."""
        onsets = np.concatenate([[0], np.flatnonzero(np.diff(truth)) + 1])
        since = times - times[onsets[np.searchsorted(onsets, np.arange(len(times)), side="right") - 1]]
        settled = since >= SETTLED
        self.frames += len(times)
        self.settled += int(settled.sum())
        self.right += int((context == truth).sum())
        self.right_settled += int((context == truth)[settled].sum())
        self.alone += int((alone == truth).sum())
        self.alone_settled += int((alone == truth)[settled].sum())
        self.flips += int((np.diff(context) != 0).sum())
        self.alone_flips += int((np.diff(alone) != 0).sum())
        self.transitions += len(onsets) - 1

    def row(self, clips: int) -> dict[str, float]:
        """Return percentages, and flips a minute beyond the true transitions."""
        minutes = clips * SECONDS / 60
        return {
            "memory": 100 * self.right / self.frames,
            "alone": 100 * self.alone / self.frames,
            "memory_settled": 100 * self.right_settled / self.settled,
            "alone_settled": 100 * self.alone_settled / self.settled,
            "flips_per_minute": (self.flips - self.transitions) / minutes,
            "alone_flips_per_minute": (self.alone_flips - self.transitions) / minutes,
        }


def measure(model: Model, clips: int, sampling: Callable[[np.random.Generator], np.ndarray]) -> dict[str, float]:
    """Run the model over the test clips of seeds 0 to `clips`, sampled at given instants."""
    score, size, tick = Score(), model.backbone.preprocessing.size, Fraction(1, 90_000)
    for seed in range(clips):
        times = sampling(np.random.default_rng(seed))
        rendered = list(render_clip(seed, split="test", times=times, size=(size[1], size[0])))
        frames = [Frame(r.image, i, round(r.time / tick), tick) for i, r in enumerate(rendered)]
        session, predictions = Session(model), []
        for start in range(0, len(frames), 50):
            predictions += session.push_many(frames[start : start + 50])
        score.add(
            times,
            np.array([r.label for r in rendered]),
            np.array([p.scores.argmax() for p in predictions]),
            np.array([p.frame_scores.argmax() for p in predictions]),
        )
    return score.row(clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="actions")
    parser.add_argument("--clips", type=int, default=60)
    add_save_option(parser)
    options = parser.parse_args()
    model = Model.from_pretrained(options.model, device="auto")
    if model.labels != ACTIONS:
        parser.error(f"the labels of {options.model} are not the rendered actions")
    rows = []
    print("| sampling | with memory | each frame alone | with memory, settled | alone, settled | flips/min | alone |")
    print("|---|---|---|---|---|---|---|")
    for name, sampling in SAMPLINGS.items():
        row = measure(model, options.clips, sampling)
        rows.append({"name": name, **row})
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row.values()) + " |", flush=True)
    title = f"The model {options.model} on {options.clips} rendered clips of {SECONDS:.0f} s: percent of frames right"
    save_result(options.save_json, make_result(title, COLUMNS, rows))


if __name__ == "__main__":
    main()
