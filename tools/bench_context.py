"""Measure whether memory helps on real video: cross-validate a liquid head beside other heads, probes and filters.

    python tools/bench_context.py SET --data DATA [--weights PATH] [--features NODE:SIDE,...] [--motion-crop]
        [--seeds 5] [--cell gated] [--most-dropped 0.6] [--preceded 0.5] [--learn-every 1] [--but-first]
        [--work WORK] [--save-json PATH]

SET is one of

    fights      DATA/video/fights/index.csv, five folds by source clip
    gestures    DATA/video/gestures/index.csv, five folds by clip: every person is in training too
    persons     the same, three folds by person: the person is not in training
    directions  the same clips forwards and backwards, as two classes that no single frame distinguishes; five folds

and PATH the ImageNet weights of torchvision's mobilenet_v2; without them the backbone is the bundled one of `objects`.
The recipe is what `liquidvision train --views mirror` takes for that many clips. Prints the table of `liquidvision eval
--compare` and writes it, as evaluations have it, as JSON into WORK.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Backbone, LiquidHeadConfig
from liquidvision.cli.command import Messages
from liquidvision.cli.training_output import TrainingOutput
from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.evaluation.compare import compare_heads
from liquidvision.training.recipe import default_plan
from liquidvision.training.sequences import ClipSequence, SequenceDataset
from liquidvision.workflows.backbone_options import load_backbone
from tools.benchmark_results import Result, add_save_option, make_result, save_result

SETS = {"fights": ("fights", 5), "gestures": ("gestures", 5), "persons": ("gestures", 3), "directions": ("gestures", 5)}
WAYS = ("forwards", "backwards")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: the bundled backbone of objects")
    parser.add_argument("--features", help="which maps of PATH's network are kept, on which grids, as in training")
    parser.add_argument("--motion-crop", action="store_true", default=None, help="as in training")
    parser.add_argument("--cell", default="gated", help="of the head that the others are compared with")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--most-dropped", type=float, help="share of frames left out in training; default: the recipe's"
    )
    parser.add_argument("--preceded", type=float, help="share of clips after the end of another; default: the recipe's")
    parser.add_argument(
        "--restart-at-cuts", action=argparse.BooleanOptionalAction, help="of all heads; default: as training does"
    )
    parser.add_argument("--learn-every", type=int, default=1, help="learn from every nth frame only")
    parser.add_argument("--but-first", action="store_true", help="where frames are dropped, a clip keeps its first")
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    parser.add_argument("--work", type=Path, default=Path("runs/context"))
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    options = parser.parse_args()
    if options.weights is None and options.features is not None:
        parser.error("--features chooses maps of the network of --weights; give both")
    torch.set_num_threads(options.threads)
    folds = SETS[options.set][1]
    sequences, backbone = load_sequences(
        options.set, options.data, options.weights, options.features, options.motion_crop, options.cache
    )
    plan = default_plan(
        len(sequences.dataset.clips), cell=options.cell, motion_crop=backbone.motion_crop, grids=backbone.grids
    )
    asked = {"most_dropped": options.most_dropped, "preceded": options.preceded}
    recipe = replace(plan.recipe, **{name: value for name, value in asked.items() if value is not None})
    asked_of_heads = {} if options.restart_at_cuts is None else {"restart_at_cuts": options.restart_at_cuts}
    config = LiquidHeadConfig(backbone.layouts, len(sequences.dataset.labels), **{**plan.head, **asked_of_heads})
    begun = time.perf_counter()

    def on_fold(done: int) -> None:
        print(f"fold {done} of {folds * options.seeds}, {time.perf_counter() - begun:.0f} s", file=sys.stderr)

    result = compare_heads(
        sequences,
        config,
        recipe,
        first_dt=plan.first_dt,
        k=folds,
        seeds=options.seeds,
        keep_first=options.but_first,
        learn_every=options.learn_every,
        on_fold=on_fold,
    )
    options.work.mkdir(parents=True, exist_ok=True)
    kept = "_objects" if options.weights is None else ""
    kept += "_moving" if options.motion_crop else ""
    kept += "" if options.features is None else f"_{options.features.replace(':', '-')}"
    kept += "" if options.most_dropped is None else f"_{options.most_dropped:g}"
    kept += "" if options.preceded is None else f"_preceded_{options.preceded:g}"
    kept += {None: "", True: "_restarts", False: "_no_restarts"}[options.restart_at_cuts]
    kept += "" if options.learn_every == 1 else f"_every_{options.learn_every}"
    kept += "_but_first" if options.but_first else ""
    (options.work / f"{options.set}_{options.cell}{kept}.json").write_text(json.dumps(result, indent=1))
    save_result(options.save_json, collect(options.set, result))
    print(f"{options.set}, {len(sequences)} clips, {recipe}")
    TrainingOutput(Messages()).print_comparison({"compare": result})


def load_sequences(
    name: str,
    data: Path,
    weights: Path | None,
    features: str | None = None,
    motion_crop: bool | None = None,
    cache: Path | None = None,
) -> tuple[SequenceDataset, Backbone]:
    """Return the embedded clips of one of `SETS`, plain and mirrored, and the backbone; see the program's options."""
    dataset = read_dataset(data / "video" / SETS[name][0] / "index.csv")
    if name in ("gestures", "directions"):
        clips = tuple(replace(clip, group=clip.name) for clip in dataset.clips)
        dataset = replace(dataset, clips=clips, grouped=False)
    backbone = load_backbone("objects" if weights is None else "mobilenet_v2", weights, features, motion_crop, "auto")
    store = EmbeddingStore(backbone, folder=cache)
    views = ("plain", "mirror")
    store.fill([clip.path for clip in dataset.clips], views)
    return (BothWays if name == "directions" else SequenceDataset)(dataset, store, views), backbone


def collect(name: str, comparison: dict[str, Any]) -> Result:
    """Return the comparison in the form of benchmarks: percent, points and flips a minute, a row for each method."""
    columns = [
        {"key": "accuracy", "title": "clips right, %", "digits": 1},
        {"key": "difference", "title": "less the first", "digits": 1, "signed": True},
    ]
    for test, title in comparison["stress_tests"].items():
        columns.append({"key": test, "title": title, "digits": 1})
        columns.append({"key": f"{test}_difference", "title": "less the first", "digits": 1, "signed": True})
    columns.append({"key": "flips_per_minute", "title": "flips/min", "digits": 0})

    def interval(found: dict[str, float]) -> dict[str, float]:
        return {"value": 100 * found["mean"], "low": 100 * found["low"], "high": 100 * found["high"]}

    rows: list[dict[str, Any]] = []
    for found in comparison["rows"]:
        row: dict[str, Any] = {"name": found["text"], "flips_per_minute": found["flips_per_minute"]}
        parts = {"": found, **{f"{test}_": own for test, own in found["stressed"].items()}}
        for test, own in parts.items():
            difference = own["minus_reference"]
            row[test.removesuffix("_") or "accuracy"] = interval(own)
            row[f"{test}difference"] = None if difference is None else interval(difference)
        rows.append(row)
    title = f"{name}: {comparison['folds']} folds, {comparison['seeds']} seeds"
    return make_result(title, columns, rows, interval="95 % bootstrap over videos, all seeds")


class BothWays(SequenceDataset):
    """Every clip twice, as it is and backwards; the label is the direction, and both stay in one fold."""

    def __init__(self, dataset: Dataset, store: EmbeddingStore, views: tuple[str, ...]) -> None:
        clips = tuple(Clip(clip.path, f"{clip.name} {way}", clip.name, way) for clip in dataset.clips for way in WAYS)
        super().__init__(replace(dataset, clips=clips, labels=WAYS, grouped=True), store, views)

    def sequence(self, index: int, view: str) -> ClipSequence:
        sequence = super().sequence(index, view)
        if self.dataset.clips[index].label == WAYS[0]:
            return sequence
        times = sequence.times[0] + sequence.times[-1] - sequence.times
        return replace(sequence, embeddings=sequence.embeddings.flip(0), times=times.flip(0))


if __name__ == "__main__":
    main()
