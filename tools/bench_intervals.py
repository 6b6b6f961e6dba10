"""Compare rules that make intervals of a model's scores, on rendered clips at several frame rates.

    python tools/bench_intervals.py [--clips 60] [--cache FOLDER] [--save-json PATH]

The settings of every rule are chosen on the first half of the clips at 25 frames a second; the table is of the other
half, with the same settings at every rate. "holds still" counts as background. The other rules count frames: labels as
they are; a new label after 3 frames in a row (as Frigate's states); the majority of the last N frames; an exponential
moving average with a fixed share per frame. All get the scores with memory.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Model, Session
from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.metrics.classification import ClipScores
from liquidvision.metrics.segments import count_excess_flips, edit_score, match_segments, onset_delays
from liquidvision.training.interval_tuning import interval_classes, tune_intervals
from tools.actions.clips import embed_clips, read_clip
from tools.bench_actions import SAMPLINGS, SECONDS, TWO_PASS_SAMPLINGS, frames_without_pictures
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.figures import ACTIONS

BACKGROUND = "holds still"
OVERLAPS = (0.1, 0.25, 0.5)
MAJORITIES, SHARES = (3, 5, 9, 13, 17, 25), (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
COLUMNS = [
    {"key": "f10", "title": "F1@10", "digits": 1},
    {"key": "f25", "title": "F1@25", "digits": 1},
    {"key": "f50", "title": "F1@50", "digits": 1},
    {"key": "edit", "title": "edit score", "digits": 1},
    {"key": "flips", "title": "flips/min", "digits": 1},
    {"key": "false", "title": "false intervals/min", "digits": 2},
    {"key": "missed", "title": "missed", "digits": 1, "suffix": " %"},
    {"key": "onset", "title": "onset delay, median", "digits": 2, "suffix": " s"},
]
Rule = Callable[[ClipScores], np.ndarray]


def raw(clip: ClipScores) -> np.ndarray:
    return clip.scores.argmax(1)


def in_a_row(clip: ClipScores, count: int = 3) -> np.ndarray:
    """Take a new label when it comes `count` times in a row."""
    labels = clip.scores.argmax(1)
    held, out = labels[0], np.empty_like(labels)
    for i, label in enumerate(labels):
        if i + 1 >= count and (labels[i + 1 - count : i + 1] == label).all():
            held = label
        out[i] = held
    return out


def majority(count: int) -> Rule:
    def decide(clip: ClipScores) -> np.ndarray:
        votes = np.eye(clip.scores.shape[1])[clip.scores.argmax(1)].cumsum(0)
        votes[count:] -= votes[:-count].copy()
        return votes.argmax(1)

    return decide


def moving_average(share: float) -> Rule:
    def decide(clip: ClipScores) -> np.ndarray:
        rows = [clip.scores[0]]
        for row in clip.scores[1:]:
            rows.append(rows[-1] + share * (row - rows[-1]))
        return np.stack(rows).argmax(1)

    return decide


def hysteresis(rule: IntervalRule) -> Rule:
    return lambda clip: interval_classes(clip, rule, ACTIONS)


def measure(rule: Rule, clips: Iterable[ClipScores]) -> dict[str, float]:
    """Return the figures of a rule."""
    background = ACTIONS.index(BACKGROUND)
    matched, found, true, flips, minutes = np.zeros(3), 0, 0, 0, 0.0
    edits, delays = [], []
    for clip in clips:
        classes = rule(clip)
        own, predicted, wanted = match_segments(clip.truth, classes, clip.times, OVERLAPS, background)
        matched, found, true = matched + own, found + predicted, true + wanted
        flips += count_excess_flips(clip.truth, classes)
        minutes += (clip.times[-1] - clip.times[0]) / 60
        edits.append(edit_score(clip.truth, classes, background))
        delays.append(onset_delays(clip.truth, classes, clip.times, background))
    f1 = 200 * matched / (found + true)
    return {
        **{f"f{round(100 * overlap)}": float(value) for overlap, value in zip(OVERLAPS, f1, strict=True)},
        "edit": float(np.mean(edits)),
        "flips": float(flips) / float(minutes),
        "false": float(found - matched[0]) / float(minutes),
        "missed": 100 * float(true - matched[0]) / true,
        "onset": float(np.nanmedian(np.concatenate(delays))),
    }


def best_of(rules: dict[str, Rule], clips: list[ClipScores]) -> tuple[str, Rule]:
    """Return the rule with the best mean F1."""

    def mean_f1(rule: Rule) -> float:
        row = measure(rule, clips)
        return row["f10"] + row["f25"] + row["f50"]

    return max(rules.items(), key=lambda item: mean_f1(item[1]))


def score_clips(model: Model, paths: Iterable[Path], stride: int) -> list[ClipScores]:
    """Run the model's memory over every Nth frame of embedded clips."""
    clips = []
    for path in paths:
        times, labels, xs = read_clip(path)
        times, labels, xs = times[::stride], labels[::stride], torch.from_numpy(xs[::stride]).float()
        predictions = Session(model).push_embeddings(frames_without_pictures(times), xs)
        scores = np.stack([prediction.scores for prediction in predictions])
        clips.append(ClipScores(labels.astype(np.int64), scores, times))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--cache", type=Path, help="where embeddings are kept; default: nowhere")
    add_save_option(parser)
    options = parser.parse_args()
    model = Model.from_pretrained("actions", device="auto")
    paths: dict[str, list[Path]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, files in TWO_PASS_SAMPLINGS.items():
            draw = SAMPLINGS[name]
            paths[name] = embed_clips(
                model.backbone,
                options.cache or Path(temporary),
                files,
                "test",
                range(options.clips),
                lambda seed, draw=draw: draw(np.random.default_rng(seed)),  # type: ignore[misc]
            )
        regular, dropped = paths.values()
        rates = {
            "25 frames a second": (regular, 1),
            "12.5 frames a second": (regular, 2),
            "6.25 frames a second": (regular, 4),
            "75 % of frames dropped": (dropped, 1),
        }
        half = options.clips // 2
        tuning = score_clips(model, regular[:half], 1)
        votes, voting = best_of({f"majority of {n} frames": majority(n) for n in MAJORITIES}, tuning)
        average, averaging = best_of({f"moving average, {a:g} per frame": moving_average(a) for a in SHARES}, tuning)
        chosen = tune_intervals(tuning, 1.0, ACTIONS, BACKGROUND)
        default = IntervalRule(background=BACKGROUND)
        print(chosen.to_json())
        rules: dict[str, Rule] = {"labels as they are": raw, "3 frames in a row": in_a_row, votes: voting}
        rules |= {average: averaging, "intervals, default": hysteresis(default)}
        rules["intervals, chosen by train"] = hysteresis(chosen)
        rows: list[dict[str, Any]] = []
        for rate, (files_at, stride) in rates.items():
            clips = score_clips(model, files_at[half:], stride)
            for name, rule in rules.items():
                rows.append({"name": f"{rate}: {name}", **measure(rule, clips)})
                print(rate, name, {key: round(v, 2) for key, v in rows[-1].items() if key != "name"}, flush=True)
    title = f"Rules for intervals on {options.clips - half} rendered clips of {SECONDS:.0f} s, chosen on {half} others"
    save_result(options.save_json, make_result(title, COLUMNS, rows))


if __name__ == "__main__":
    main()
