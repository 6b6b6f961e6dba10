"""Measure whether the liquid filter helps a classifier on damaged video, beside what a user might use instead.

    python tools/bench_objects.py --data DATA --work WORK [-m objects | -m torchvision:NAME] [--clips 100]
        [--save-json PATH]

The clips are of pictures that the model never saw (Tiny ImageNet's val part) and of damage that the filter never saw
(motion blur, blocks, fog, hands); EMA and the sticky HMM's forward filter are tuned on clips of the damage that it was
trained on. Prints accuracy, flips a minute beyond true changes, and the delay after a cut.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Model
from liquidvision.evaluation.smoothing import HOLD_TIMES, TEMPERATURES, TIME_SCALES, smooth_scores
from liquidvision.metrics.classification import classification_metrics, frame_accuracy
from liquidvision.training.sequences import ClipSequence
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.distill.pictures import imagenet_classes
from tools.objects.clips import halves, names, pictures, simulated
from tools.objects.fit import tracks

CLIPS, TUNING_CLIPS = 100, 50
TRAINING_SEEDS = 100_000  # tuning clips begin here, beyond those of any training
COLUMNS = [
    {"key": "accuracy", "title": "frames right, %", "digits": 1},
    {"key": "flips_per_minute", "title": "flips/min", "digits": 1},
    {"key": "onset_seconds", "title": "median onset delay, s", "digits": 2},
    {"key": "missed", "title": "cuts missed, %", "digits": 0},
    {"key": "tuned", "title": "tuned"},
]
FILTERS = {"ema": "EMA", "hmm_forward": "sticky HMM, forward filter"}
GRIDS: dict[str, list[dict[str, object]]] = {
    "ema": [{"tau": tau} for tau in TIME_SCALES],
    # Uniform prior: the classes of a few clips say nothing about those of others.
    "hmm_forward": [{"hold": hold, "temperature": heat} for hold, heat in product(HOLD_TIMES, TEMPERATURES)],
}


def compare_filters(
    model: Model, tuning: list[ClipSequence], clips: list[ClipSequence]
) -> dict[str, dict[str, float | str | None]]:
    """Return, by method, the figures of `COLUMNS`."""
    head = model.head
    labels = list(model.labels)
    (ours, alone), (_, alone_tuning) = tracks(head, clips), tracks(head, tuning)
    rows = {"each frame alone": (alone, None), "liquid filter": (ours, None)}
    for name, text in FILTERS.items():
        best = max(GRIDS[name], key=lambda parameters: frame_accuracy(smooth_scores(name, alone_tuning, parameters)))
        rows[text] = (smooth_scores(name, alone, best), ", ".join(f"{key} {value:g}" for key, value in best.items()))
    table = {}
    for name, (said, tuned) in rows.items():
        got = classification_metrics(said, labels, whole_clip=False)
        table[name] = {
            "accuracy": 100 * got["frame_accuracy"],
            "flips_per_minute": got["flips_per_minute"],
            "onset_seconds": got["onset_delay"]["median"],
            "missed": 100 * got["onset_delay"]["missed"],
            "tuned": tuned,
        }
    return table


def markdown(table: Mapping[str, Mapping[str, float | str | None]]) -> str:
    lines = ["| | frames right, % | flips/min | onset delay, s | cuts missed, % | tuned |", "|---|---|---|---|---|---|"]
    for name, row in table.items():
        onset = "-" if row["onset_seconds"] is None else f"{row['onset_seconds']:.2f}"
        lines.append(
            f"| {name} | {row['accuracy']:.1f} | {row['flips_per_minute']:.1f} | {onset} | {row['missed']:.0f} "
            f"| {row['tuned'] or ''} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="objects")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/")
    parser.add_argument("--work", type=Path, required=True, help="where embedded clips are kept")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = Model.from_pretrained(options.model)
    images = options.data / "images"
    wnids = list(names(images))
    numbers = imagenet_classes(images)
    shown, labels = pictures(images, "val", wnids)
    if len(model.labels) == len(numbers):  # all of ImageNet's classes
        labels = torch.tensor([numbers[wnid] for wnid in wnids]).numpy()[labels]
    cache = options.work / "bench" / hashlib.sha256((options.model + model.fingerprint()).encode()).hexdigest()[:12]
    learn, judge = halves((shown, labels))
    tuning = simulated(model.backbone, learn, range(TRAINING_SEEDS, TRAINING_SEEDS + TUNING_CLIPS), "train", cache)
    clips = simulated(model.backbone, judge, range(options.clips), "test", cache)
    table = compare_filters(model, tuning, clips)
    print(markdown(table))
    title = f"The model {options.model} on {options.clips} simulated clips with unseen pictures and unseen damage"
    rows = [{"name": name, **row} for name, row in table.items()]
    save_result(options.save_json, make_result(title, COLUMNS, rows))


if __name__ == "__main__":
    main()
