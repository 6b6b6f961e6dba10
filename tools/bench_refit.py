"""Measure what training again on everything gains on people never seen, and how far one split's score can be trusted.

    python tools/bench_refit.py persons --data DATA --weights PATH [--seeds 3]
    python tools/bench_refit.py groups --data DATA --weights PATH [--repeats 6] [--sizes 12,24,48,96] [--epochs 16]

persons holds each person of DATA/video/gestures/index.csv out in turn, runs `liquidvision train --folds 0` on an index
of the others, and judges two models on that person's clips: the one of the split, which --no-refit would save, and the
one that was trained again on all of the others, as it also is after a cross-validation, the default with few persons.

groups draws N videos of DATA/video/fights/index.csv (every video is a group of its own), runs `train` with one
split and with up to five folds, and compares the scores that it reports with the accuracy of its model on all other
videos of that set.

Both can be interrupted and continue where they were: WORK keeps the trainings, which are resumed, and a line of
rows.jsonl for each that is done.
"""

import argparse
import csv
import json
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.metrics.bootstrap import paired_bootstrap
from liquidvision.models.model import Model
from liquidvision.training.scoring import clip_correctness, clip_logits
from liquidvision.training.sequences import SequenceDataset
from liquidvision.workflows.jobs import TrainJob
from liquidvision.workflows.train import TrainResult, run_train
from liquidvision.workflows.training_record import load_split_model
from tools.benchmark_results import Result, add_save_option, make_result, save_result

FOLDS = 5
Row = dict[str, Any]


def main() -> None:
    """Run the program."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    work = options.work / options.what
    work.mkdir(parents=True, exist_ok=True)
    rows = Rows(work / "rows.jsonl")
    if options.what == "persons":
        measure_persons(options, work, rows)
        result = collect_persons(rows.every)
    else:
        measure_groups(options, work, rows)
        result = collect_groups(rows.every)
    save_result(options.save_json, result)
    print(json.dumps(result["rows"], indent=1))


def parse_options() -> argparse.Namespace:
    """Return the program's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("persons", "groups"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of torchvision's mobilenet_v2")
    parser.add_argument("--seeds", type=int, default=3, help="of persons")
    parser.add_argument("--repeats", type=int, default=6, help="draws of each size, of groups")
    parser.add_argument("--epochs", type=int, help="of groups, as in train")
    parser.add_argument("--sizes", default="12,24,48,96", help="numbers of videos, of groups")
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    parser.add_argument("--work", type=Path, default=Path("runs/refit"))
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    return parser.parse_args()


class Rows:
    """What is measured already, a line of JSON for each training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.every: list[Row] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, **what: Any) -> bool:
        """Return whether this training is done."""
        return any(row.items() >= what.items() for row in self.every)

    def add(self, row: Row) -> None:
        """Keep a row, and print it."""
        self.every.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, file=sys.stderr, flush=True)


def measure_persons(options: argparse.Namespace, work: Path, rows: Rows) -> None:
    """Train without each person in turn, and judge on that person."""
    whole = read_dataset(options.data / "video" / "gestures" / "index.csv")
    persons = sorted({clip.group for clip in whole.clips})
    for seed in range(options.seeds):
        for person in persons:
            others = [clip for clip in whole.clips if clip.group != person]
            index = write_index(work / f"without-{person}.csv", others)
            what = {"person": person, "seed": seed}
            if rows.has(**what):
                continue
            trained, seconds = train(options, index, work / f"{person}-{seed}", seed=seed, folds=0)
            held = [clip for clip in whole.clips if clip.group == person]
            models = {"refit": trained.model, "no-refit": load_split_model(trained.model, trained.folder)}
            right = {name: judge(options, model, whole, held) for name, model in models.items()}
            score = trained.evaluation.clip_accuracy
            rows.add(what | right | {"score": score, "clips": len(others), "seconds": round(seconds)})


def measure_groups(options: argparse.Namespace, work: Path, rows: Rows) -> None:
    """Train on a number of videos with one split and with folds, and judge on all other videos."""
    whole = read_dataset(options.data / "video" / "fights" / "index.csv")
    for size in map(int, options.sizes.split(",")):
        for draw in range(options.repeats):
            own = draw_clips(whole.clips, size, draw)
            rest = [clip for clip in whole.clips if clip not in own]
            index = write_index(work / f"{size}-{draw}.csv", own)
            for folds in (0, FOLDS):
                what = {"size": size, "draw": draw, "folds": folds}
                if rows.has(**what):
                    continue
                more = {"seed": draw, "folds": folds, "epochs": options.epochs}
                trained, seconds = train(options, index, work / f"{size}-{draw}-{folds}", **more)
                score, truth = trained.evaluation.clip_accuracy, mean(judge(options, trained.model, whole, rest))
                row = what | {"score": score, "truth": truth, "seconds": round(seconds)}
                if not folds:
                    before = load_split_model(trained.model, trained.folder)
                    row["before"] = mean(judge(options, before, whole, rest))
                rows.add(row)


def draw_clips(clips: Sequence[Clip], size: int, seed: int) -> list[Clip]:
    """Return `size` of the clips at random, equally many of each label."""
    labels = sorted({clip.label or "" for clip in clips})
    draw = random.Random(seed)
    chosen = [draw.sample([clip for clip in clips if clip.label == label], size // len(labels)) for label in labels]
    return [clip for part in chosen for clip in part]


def write_index(path: Path, clips: Iterable[Clip]) -> Path:
    """Write a CSV of clips, as `train` reads it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "group"])
        writer.writerows([os.path.relpath(clip.path, path.parent), clip.label, clip.group] for clip in clips)
    return path


def train(options: argparse.Namespace, index: Path, out: Path, **more: Any) -> tuple[TrainResult, float]:
    """Run `train`, or continue it; return its result, and the seconds that this took."""
    begun = time.perf_counter()
    job = TrainJob(index, out=out, cache=options.cache, weights=options.weights, device="cpu", **more)
    resume = (out / "training.safetensors").is_file()
    result = run_train(replace(job, resume=resume, exist_ok=not resume))
    return result, time.perf_counter() - begun


def judge(options: argparse.Namespace, model: Model, whole: Dataset, clips: Sequence[Clip]) -> list[int]:
    """Return for each of the clips whether the model's label, by the mean of its frames' logits, is right: 0 or 1."""
    dataset = replace(whole, clips=tuple(clips), labels=model.labels)
    sequences = list(SequenceDataset(dataset, EmbeddingStore(model.backbone, folder=options.cache)))
    (logits,) = clip_logits([model.head], sequences, model.first_dt)  # type: ignore[list-item]
    return clip_correctness(sequences, logits).int().tolist()


def collect_persons(rows: Sequence[Row]) -> Result:
    """Return the accuracy on each person of the model of the split and of that trained again, and the difference."""
    columns = [
        {"key": "clips", "title": "clips"},
        {"key": "before", "title": "one split, 70 %", "digits": 1},
        {"key": "after", "title": "trained on all", "digits": 1},
        {"key": "gain", "title": "gain, points", "digits": 1, "signed": True},
        {"key": "seeds", "title": "seeds"},
    ]
    out, every_after, every_before = [], [], []
    for person in sorted({row["person"] for row in rows}):
        own = [row for row in rows if row["person"] == person]
        after, before = (np.mean([row[name] for row in own], axis=0) for name in ("refit", "no-refit"))
        out.append({"name": person, **person_cells(after, before), "seeds": len(own)})
        every_after.append(after)
        every_before.append(before)
    out.append({"name": "all clips", **person_cells(np.concatenate(every_after), np.concatenate(every_before))})
    title = "Gestures of a person who is in no part: percent of clips right, trained on one split and on everything"
    return make_result(title, columns, out, interval="95 % bootstrap over clips, means over seeds")


def person_cells(after: np.ndarray, before: np.ndarray) -> Row:
    """Return a row's cells from the shares of seeds in which each clip is right."""
    gain, low, high = paired_bootstrap(after, before)
    cells = {"clips": len(after), "before": 100 * float(before.mean()), "after": 100 * float(after.mean())}
    return cells | {"gain": {"value": 100 * gain, "low": 100 * low, "high": 100 * high}}


def collect_groups(rows: Sequence[Row]) -> Result:
    """Return what training again gains, and by how many points the reported scores are off, by the number of groups."""
    columns = [
        {"key": "before", "title": "trained on 70 %: right, %", "digits": 1},
        {"key": "after", "title": "trained again on all: right, %", "digits": 1},
        {"key": "split", "title": "one split: off by, points", "digits": 1},
        {"key": "folds", "title": f"{FOLDS} folds: off by, points", "digits": 1},
        {"key": "split_seconds", "title": "one split, s", "digits": 0},
        {"key": "folds_seconds", "title": f"{FOLDS} folds, s", "digits": 0},
        {"key": "draws", "title": "draws"},
    ]
    out = []
    for size in sorted({row["size"] for row in rows}):
        cells: Row = {}
        for name, folds in (("split", 0), ("folds", FOLDS)):
            own = [row for row in rows if (row["size"], row["folds"]) == (size, folds)]
            if own:
                cells[name] = mean(100 * abs(row["score"] - row["truth"]) for row in own)
                cells[f"{name}_seconds"] = mean(row["seconds"] for row in own)
                cells["draws"] = len(own)
            if own and not folds:
                cells["before"], cells["after"] = (100 * mean(row[key] for row in own) for key in ("before", "truth"))
        out.append({"name": f"{size} groups", **cells})
    title = "Fights, means over draws: accuracy on videos never seen, and how far the reported score is from it"
    return make_result(title, columns, out)


if __name__ == "__main__":
    main()
