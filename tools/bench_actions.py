"""Measure a model on rendered clips that it has not seen, through the same Session that users run.

    python tools/bench_actions.py [-m actions] [--clips 60] [--two-pass [--cache FOLDER]] [--save-json PATH]

Every clip is of the `test` split: bodies, clothes, backgrounds and camera behaviour of its own. The
table has, for several ways of sampling the same motion, the share of frames that are right with memory and
by each frame alone, over all frames and from 0.5 s after each onset on, and the flips beyond the true transitions.

`--two-pass` compares causal predictions with calm timelines, two passes and bounded look-ahead instead, by frames,
segments, flips and onsets. It keeps the embeddings of the clips in half precision.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Frame, Model, Prediction, Session
from liquidvision.inference.calm import SHORTEST_RUN
from liquidvision.inference.look_ahead import LookAhead
from liquidvision.inference.recording import Recording, predict_embeddings
from liquidvision.metrics.classification import ClipScores, classification_metrics
from tools.actions.clips import embed_clips, read_clip
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.figures import ACTIONS, render_clip

SECONDS, RATE, SETTLED = 10.0, 25.0, 0.5
LOOK_AHEADS = (0.2, 0.4, 0.8, 1.6)  # seconds
TWO_PASS_SAMPLINGS = {"25 frames a second": "test25", "75 % of frames dropped": "test75"}  # and names of their files
TWO_PASS_COLUMNS = [
    {"key": "frames", "title": "frames right", "digits": 1, "suffix": " %"},
    {"key": "f1", "title": "F1@50", "digits": 1},
    {"key": "edit", "title": "edit score", "digits": 1},
    {"key": "flips", "title": "flips/min", "digits": 1},
    {"key": "onset", "title": "onset delay, median", "digits": 2, "suffix": " s"},
    {"key": "onset90", "title": "90 %", "digits": 2, "suffix": " s"},
]
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


def frames_without_pictures(times: np.ndarray) -> list[Frame]:
    """Return frames at these times, (t,) seconds, for embeddings that are computed already."""
    tick, nothing = Fraction(1, 90_000), np.zeros((0, 0, 3), np.uint8)
    return [Frame(nothing, i, round(time / tick), tick) for i, time in enumerate(times.tolist())]


def compare_looks(model: Model, times: np.ndarray, xs: torch.Tensor) -> Iterator[tuple[str, list[Prediction]]]:
    """Yield the predictions of one clip by name of the method; xs (t, dim) are its embeddings."""
    frames = frames_without_pictures(times)
    yield "causal", Session(model).push_embeddings(frames, xs)
    causal = Recording(model, keep_embeddings=False)
    with causal:
        causal.append(frames, xs, *Session(model).run(frames, xs))
        causal.dissolve_runs(SHORTEST_RUN, 5.0)
        yield f"causal, runs of {SHORTEST_RUN:g} s or more", list(causal.predictions())
    for seconds in LOOK_AHEADS:
        waiting = LookAhead(Session(model), seconds)
        pairs = [*waiting.push(frames, xs), *waiting.finish()]
        yield f"look-ahead of {seconds:g} s", [prediction for _, prediction in pairs]
    yield "two passes", list(predict_embeddings(Session(model), frames, xs, shortest=0))
    yield f"two passes, runs of {SHORTEST_RUN:g} s or more", list(predict_embeddings(Session(model), frames, xs))


def measure_looks(model: Model, clips: int, sampling: str, cache: Path) -> list[dict[str, Any]]:
    """Return a row for each way to look at the test clips of seeds 0 to `clips`."""
    draw = SAMPLINGS[sampling]
    paths = embed_clips(
        model.backbone,
        cache,
        TWO_PASS_SAMPLINGS[sampling],
        "test",
        range(clips),
        lambda seed: draw(np.random.default_rng(seed)),
    )
    found: dict[str, list[ClipScores]] = {}
    for path in paths:
        times, labels, embeddings = read_clip(path)
        for name, predictions in compare_looks(model, times, torch.from_numpy(embeddings).float()):
            scores = np.stack([prediction.scores for prediction in predictions])
            decided = np.array([prediction.label_index for prediction in predictions])
            found.setdefault(name, []).append(ClipScores(labels.astype(np.int64), scores, times, decided))
    rows = []
    for name, results in found.items():
        metrics: dict[str, Any] = classification_metrics(results, ACTIONS, whole_clip=False)
        rows.append(
            {
                "name": f"{sampling}: {name}",
                "frames": 100 * metrics["frame_accuracy"],
                "f1": metrics["f1"]["50"],
                "edit": metrics["edit"],
                "flips": metrics["flips_per_minute"],
                "onset": metrics["onset_delay"]["median"],
                "onset90": metrics["onset_delay"]["p90"],
            }
        )
        print(
            {key: value if isinstance(value, str) else round(value, 2) for key, value in rows[-1].items()}, flush=True
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="actions")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--two-pass", action="store_true", help="compare ways to look ahead")
    parser.add_argument("--cache", type=Path, help="where the embeddings of --two-pass are kept; default: nowhere")
    add_save_option(parser)
    options = parser.parse_args()
    model = Model.from_pretrained(options.model, device="auto")
    if model.labels != ACTIONS:
        parser.error(f"the labels of {options.model} are not the rendered actions")
    if options.two_pass:
        with tempfile.TemporaryDirectory() as temporary:
            cache = options.cache or Path(temporary)
            rows = [row for name in TWO_PASS_SAMPLINGS for row in measure_looks(model, options.clips, name, cache)]
        title = f"Looking ahead with {options.model} on {options.clips} rendered clips of {SECONDS:.0f} s"
        save_result(options.save_json, make_result(title, TWO_PASS_COLUMNS, rows))
        return
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
