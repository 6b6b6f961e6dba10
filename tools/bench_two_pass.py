"""Measure two passes on real clips that are laid end to end, with groups held out in turn.

    python tools/bench_two_pass.py SET ... --data DATA --weights WEIGHTS --work WORK [--folds 5] [--save-json PATH]

SET is a folder of DATA/video with an index.csv: a label and a group for each clip. In each fold both heads learn from
streams of six clips in random order. They are judged on streams of the groups that were held out, each clip four times.
A fold that WORK has is not computed again; `--fold N` computes one fold only.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import LiquidHead, LiquidHeadConfig
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.data.splits import make_folds
from liquidvision.inference.calm import SHORTEST_RUN, calm_labels
from liquidvision.metrics.classification import ClipScores, classification_metrics
from liquidvision.models.tasks import MULTICLASS
from liquidvision.training import probe
from liquidvision.training.backward import make_backward_head, reverse_sequence
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import default_plan
from liquidvision.training.scoring import clip_logits
from liquidvision.training.sequences import ClipSequence, SequenceDataset
from liquidvision.workflows.backbone_options import load_backbone
from tools.benchmark_results import add_save_option, make_result, save_result

CLIPS, COPIES, FIRST_DT, DEFAULT_STEP = 6, 4, 1.0, 0.04
CALM = f"runs of {SHORTEST_RUN:g} s or more"
METHODS = [name for side in ("each frame alone", "causal", "two passes") for name in (side, f"{side}, {CALM}")]
METRICS = {"frames": "frames right, %", "f1": "F1@50", "edit": "edit score", "flips": "flips/min"}


class Streams:
    """Clips laid end to end in random order, the median step apart.

    Args:
        clips: the clips.
        seed: of the order.
        copies: how often each clip occurs.
        backwards: whether the streams are seen from their ends.
    """

    def __init__(self, clips: SequenceDataset, seed: int, *, copies: int = 1, backwards: bool = False) -> None:
        self.clips, self.views, self._copies, self._backwards = clips, clips.views, copies, backwards
        self._random = np.random.default_rng(seed)
        self.shuffle()

    def shuffle(self) -> None:
        """Lay the clips in another order."""
        order = np.concatenate([self._random.permutation(len(self.clips)) for _ in range(self._copies)])
        self._parts = [order[start : start + CLIPS] for start in range(0, len(order), CLIPS)]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[ClipSequence]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> ClipSequence:
        return self.sequence(index, self.views[0])

    def sequence(self, index: int, view: str) -> ClipSequence:
        """Return one stream in one of the views of its clips."""
        parts = [self.clips.sequence(int(i), view) for i in self._parts[index]]
        times, begin = [], 0.0
        for part in parts:
            times.append(part.times - part.times[0] + begin)
            begin = float(times[-1][-1]) + (float(part.times.diff().median()) if len(part) > 1 else DEFAULT_STEP)
        embeddings, targets = torch.cat([p.embeddings for p in parts]), torch.cat([p.targets for p in parts])
        stream = ClipSequence(f"{view} {index}", embeddings, torch.cat(times), targets, whole_clip=False)
        return reverse_sequence(stream) if self._backwards else stream


def train(clips: SequenceDataset, classes: int, forward: LiquidHead | None = None) -> LiquidHead:
    """Train a head on streams of clips; with `forward`, its backward head."""
    plan = default_plan(len(clips))
    torch.manual_seed(0)
    streams: Any = Streams(clips, 1, backwards=forward is not None)
    if forward is None:
        head = LiquidHead(LiquidHeadConfig(clips.store.backbone.layouts, classes, **plan.head))
        fit_statistics([head], streams, FIRST_DT)
        part, judge = probe.inner_split(clips)
        penalty = probe.tune_penalty(part.all_views(), judge, classes)
        probe.set_frame_readout(head, probe.fit_probe(clips.all_views(), penalty))
    else:
        head = make_backward_head(forward, streams, FIRST_DT)
    loop = EpochLoop([head], streams, replace(plan.recipe, batch=16), first_dt=FIRST_DT)
    for _ in range(plan.recipe.epochs):
        streams.shuffle()
        loop.lengths = [len(stream) for stream in streams]
        loop.run_epoch()
    return head


def judge(streams: Sequence[ClipSequence], logits: Sequence[Tensor], labels: Sequence[str], *, calm: bool) -> Any:
    """Return the figures of logits (n, classes) of each stream; with `calm`, short runs are dissolved."""
    results = []
    for stream, own in zip(streams, logits, strict=True):
        times, decided = stream.times.numpy(), MULTICLASS.decide(own).numpy()
        if calm:
            decided = calm_labels(decided, times, lambda start, stop, own=own: own[start:stop].numpy())
        results.append(ClipScores(stream.targets.numpy(), MULTICLASS.scores(own).numpy(), times, decided))
    found: Any = classification_metrics(results, labels, whole_clip=False)
    return {
        "frames": 100 * found["frame_accuracy"],
        "f1": found["f1"]["50"],
        "edit": found["edit"],
        "flips": found["flips_per_minute"],
    }


def run_fold(clips: SequenceDataset, held_out: Sequence[str]) -> dict[str, Any]:
    """Return the figures of every method on streams of clips that were held out."""
    labels, names = clips.dataset.labels, [clip.name for clip in clips.dataset.clips]
    rest = clips.select([name for name in names if name not in set(held_out)])
    forward = train(rest, len(labels))
    backward = train(rest, len(labels), forward)
    streams = list(Streams(clips.select(held_out), 100, copies=COPIES))
    (ahead,) = clip_logits([forward], streams, FIRST_DT)
    (back,) = clip_logits([backward], [reverse_sequence(stream) for stream in streams], FIRST_DT)
    causal = [own.memory for own in ahead]
    mixed = [MULTICLASS.mix(one, other.memory.flip(0)) for one, other in zip(causal, back, strict=True)]
    sides = {"each frame alone": [own.frame for own in ahead], "causal": causal, "two passes": mixed}
    return {
        f"{side}, {CALM}" if calm else side: judge(streams, logits, labels, calm=calm)
        for side, logits in sides.items()
        for calm in (False, True)
    }


def open_set(name: str, options: argparse.Namespace) -> SequenceDataset:
    """Return the clips of a set, embedded."""
    dataset = read_dataset(options.data / "video" / name / "index.csv")
    backbone = load_backbone("mobilenet_v2", options.weights, None, None, "auto")
    store = EmbeddingStore(backbone, folder=options.cache)
    store.fill([clip.path for clip in dataset.clips], ("plain", "mirror"))
    return SequenceDataset(dataset, store, ("plain", "mirror"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="of torchvision's mobilenet_v2")
    parser.add_argument("--work", type=Path, required=True, help="where the figures of each fold are kept")
    parser.add_argument("--cache", type=Path, help="where embeddings are kept; default: the user's cache folder")
    parser.add_argument("--folds", type=int, default=5, help="at most; with fewer groups, one for each")
    parser.add_argument("--fold", type=int, help="compute this fold only, counted from 0")
    add_save_option(parser)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [{"name": name} for name in METHODS]
    columns, notes = [], []
    for name in options.sets:
        clips = open_set(name, options)
        groups = {clip.group for clip in clips.dataset.clips}
        folds = make_folds(clips.dataset, min(options.folds, len(groups)), seed=0)
        found = []
        for number, held_out in enumerate(folds):
            path = options.work / f"{name}-{number}.json"
            if not path.exists() and options.fold in (None, number):
                path.write_text(json.dumps(run_fold(clips, held_out)))
                print(f"{path}: {path.read_text()}", flush=True)
            found += [json.loads(path.read_text())] if path.exists() else []
        for key, title in METRICS.items():
            columns.append({"key": f"{name} {key}", "title": f"{name}, {title}", "digits": 1})
            for row in rows:
                row[f"{name} {key}"] = float(np.mean([fold[row["name"]][key] for fold in found])) if found else None
        gains = [fold[METHODS[-1]]["frames"] - fold[METHODS[-3]]["frames"] for fold in found]
        notes.append(
            f"{name}: {len(found)} of {len(folds)} folds; two passes against causal, both with {CALM}, in each fold: "
            + ", ".join(f"{gain:+.1f}" for gain in gains)
            + " points of frames."
        )
    title = "Clips laid end to end, groups held out: each frame alone, causal and two passes"
    save_result(options.save_json, make_result(title, columns, rows, notes=notes))
    print("\n".join(notes))


if __name__ == "__main__":
    main()
