"""Measure what adapting without labels gains and costs, on embeddings of real video that are kept in a cache.

    python tools/bench_adapt.py --data DATA --weights PATH [--cache CACHE] [--work WORK]
        [--save-json PATH]

DATA/video/gestures (4 people) and DATA/video/fights are used as `bench_context.py` does; PATH are the ImageNet weights
of torchvision's mobilenet_v2. Heads are trained as `liquidvision train --views mirror` does (two seeds) and kept in
WORK: one for each person without that person, and one for a third of the clips of each set without these. Then streams
are put together from clips that a head was not trained on; the memory starts again at each clip, what the head has
adapted to stays:

    unseen       a person whom the head was not trained on: in random order, and sorted by class
    damaged      people whom it was trained on: clean, mildly damaged, severely damaged, mildly damaged again, about a
                 minute each; darkness, blur and noise. Each clip is once in each phase
    clean        people whom it was trained on, in random order, and sorted by class, with each class's clips three
                 times in a row: the trap, since one class that lasts looks like a shift

and judged without adapting, adapting always, adapting where the r.m.s. of the whole shift exceeds .59, and adapting
where the shift that the classes do not explain exceeds a gate; once more the features of the traces only. The gate is
chosen for each person and each kind of damage on the others, so that clean streams of the first third lose at most half
a point; clean streams are reported on the second third. Intervals are 95 % bootstrap over clips, paired.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from liquidvision import LiquidHeadConfig
from liquidvision.data.dataset import Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.data.splits import make_folds
from liquidvision.models.heads.adaptation import GATE
from liquidvision.models.heads.base import ADAPTATION
from liquidvision.models.heads.liquid_head import LiquidHead, Percept
from liquidvision.training import probe
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import default_plan
from liquidvision.training.sequences import SequenceDataset, collate_sequences
from liquidvision.workflows.backbone_options import load_backbone
from tools.benchmark_results import Result, add_save_option, make_result, save_result

SEEDS, FOLDS = 2, 3
PERSONS = ("person1", "person2", "person4")  # person5 has one clip, which is over before anything is adapted to
GATES = (0.25, 0.3, 0.35, 0.4, 0.5)
WHOLE_SHIFT_GATE = 0.59  # the largest class mean of training, at another time
DAMAGE = {"dark": ("dark:0.5", "dark:0.1"), "blur": ("blur:1.0", "blur:4.0"), "noise": ("noise:0.05", "noise:0.2")}
PHASES = ("clean before", "mild", "severe", "mild again")
MOST_LOST = 0.5  # points on clean streams
ALWAYS, WHOLE = "always", f"whole shift > {WHOLE_SHIFT_GATE:g}"
FEATURES = f"features only, gate {GATE:g}"
METHODS = (ALWAYS, WHOLE, *(f"gate {gate:g}" for gate in GATES), FEATURES)
FRAME_TEMPERATURE = 2.0  # about what calibration finds for the readout of single frames
Item = tuple[int, str, int]  # clip, view, phase


@dataclass(eq=False)
class Split:
    """Heads, and the clips that they were not trained on."""

    heads: list[LiquidHead]
    sequences: dict[str, SequenceDataset]  # by view
    test: list[int]
    _percepts: dict[tuple[int, str], Percept] = field(default_factory=dict)

    def percept(self, clip: int, view: str) -> Percept:
        """Return what precedes the cell for one clip, without adapting."""
        if (clip, view) not in self._percepts:
            batch = collate_sequences([self.sequences[view][clip]], 1.0)
            self._percepts[clip, view] = self.heads[0].perceive(batch.embeddings, batch.dts)
        return self._percepts[clip, view]

    def label(self, clip: int) -> int:
        dataset = self.sequences["plain"].dataset
        return dataset.labels.index(str(dataset.clips[clip].label))

    @torch.inference_mode()
    def judge(self, items: Sequence[Item], method: str | None) -> np.ndarray:
        """Return the share of heads that are right on each clip of a stream, (clips, 2): with memory, and by frame."""
        head = self.heads[0]
        state, percepts = head.initial(1, adapt=True), []
        means = head.adaptation.class_means.clone()
        head.adaptation.gate = 1e-6 if method == ALWAYS else float((method or str(GATE)).split()[-1])
        if method == WHOLE:
            head.adaptation.class_means.zero_()
        for clip, view, _ in items:
            percept = self.percept(clip, view)
            if method is not None:
                z, features, adapted = head.adapt(percept.embedding, percept.features, percept.dt, state, percept.cuts)
                state = state | {ADAPTATION: adapted}
                if method == FEATURES:
                    white = head.config.components
                    features = torch.cat([percept.features[..., :white], features[..., white:]], -1)
                    z = percept.embedding
                percept = replace(percept, embedding=z, features=features)
            percepts.append(percept)
        head.adaptation.class_means.copy_(means)
        truth = np.array([self.label(clip) for clip, _, _ in items])
        sides = np.zeros((len(self.heads), len(items), 2), bool)
        for h, each in enumerate(self.heads):
            sides[h] = self._classify(each, percepts) == truth[:, None]
        return sides.mean(0)

    def _classify(self, head: LiquidHead, percepts: Sequence[Percept]) -> np.ndarray:
        """Return the most probable classes of clips by the means of their frames' logits, (clips, 2)."""

        def pad(name: str) -> Tensor:
            rows = [getattr(percept, name)[0] for percept in percepts]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

        joined = Percept(pad("features"), pad("embedding"), pad("dt"), None, {})
        out = head.classify(joined, head.cell.initial(len(percepts)))
        found = np.zeros((len(percepts), 2), int)
        for row, percept in enumerate(percepts):
            steps = percept.dt.shape[1]
            for side, logits in enumerate((out.logits, out.frame_logits)):
                found[row, side] = int(logits[row, :steps].mean(0).argmax())
        return found


def load_split(path: Path, dataset: Dataset, store: EmbeddingStore, held_out: Sequence[str]) -> Split:
    """Train heads on all clips but those that are held out, or load them."""
    train = SequenceDataset(dataset, store, ("plain", "mirror"))
    train = train.select([clip.name for clip in dataset.clips if clip.name not in set(held_out)])
    plan = default_plan(len(train))
    plan = replace(plan, head={**plan.head, "restart_at_cuts": False})  # clips begin with a new memory anyway
    heads = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        heads.append(LiquidHead(LiquidHeadConfig(store.backbone.layouts, len(dataset.labels), **plan.head)))
    files = [path.with_name(f"{path.name}_{seed}.safetensors") for seed in range(SEEDS)]
    if all(file.is_file() for file in files):
        for head, file in zip(heads, files, strict=True):
            head.load_state_dict(load_file(file))
    else:
        started = time.perf_counter()
        fit_statistics(heads, train, plan.first_dt)
        inner, judge = probe.inner_split(train)
        penalty = probe.tune_penalty(inner.all_views(), judge, len(dataset.labels))
        frame_probe = probe.fit_probe(train.all_views(), penalty)
        for head in heads:
            probe.set_frame_readout(head, frame_probe)
        torch.manual_seed(0)
        loop = EpochLoop(heads, train, plan.recipe, first_dt=plan.first_dt)
        for _ in range(plan.recipe.epochs):
            loop.run_epoch()
        for head, file in zip(heads, files, strict=True):
            save_file(head.state_dict(), file)
        print(f"{path.name}: trained in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    for head in heads:
        head.eval()
        with torch.no_grad():
            for parameter in head.frame_readout.parameters():
                parameter.div_(FRAME_TEMPERATURE)
        head.config = replace(head.config, frame_share=head.config.frame_share * FRAME_TEMPERATURE)
    views = ("plain", *(view for views in DAMAGE.values() for view in views))
    sequences = {view: SequenceDataset(dataset, store, (view,)) for view in views}
    numbers = {clip.name: number for number, clip in enumerate(dataset.clips)}
    return Split(heads, sequences, [numbers[name] for name in held_out])


def clean_streams(split: Split, repeats: int) -> dict[str, list[Item]]:
    """Return streams of clean clips: in random order, and sorted by class with each class's clips `repeats` times."""
    order = [int(clip) for clip in np.random.default_rng(0).permutation(split.test)]
    labels = sorted({split.label(clip) for clip in order})
    in_order = [clip for label in labels for _ in range(repeats) for clip in order if split.label(clip) == label]
    return {
        "in random order": [(clip, "plain", 0) for clip in order],
        "sorted by class": [(clip, "plain", 0) for clip in in_order],
    }


def damaged_streams(split: Split, kind: str, clips: Sequence[int]) -> Iterator[list[Item]]:
    """Yield streams in which damage comes and goes; over all of them, each clip is once in each phase."""
    order = [int(clip) for clip in np.random.default_rng(0).permutation(clips)]
    parts = [order[start :: len(PHASES)] for start in range(len(PHASES))]
    mild, severe = DAMAGE[kind]
    for turn in range(len(PHASES)):
        views = ("plain", mild, severe, mild)
        yield [(clip, view, phase) for phase, view in enumerate(views) for clip in parts[(phase + turn) % len(PHASES)]]


@dataclass
class Figures:
    """What was measured for one group of streams: by clip, the gain of each method in percent, with memory."""

    base: dict[int, list[float]] = field(default_factory=dict)
    gains: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    frame_gains: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def add(self, items: Sequence[Item], plain: np.ndarray, by_method: dict[str, np.ndarray], phase: int) -> None:
        for place, (clip, _, own) in enumerate(items):
            if own != phase:
                continue
            self.base.setdefault(clip, []).append(100 * plain[place, 0])
            for method, found in by_method.items():
                gain = 100 * (found[place] - plain[place])
                self.gains.setdefault(method, {}).setdefault(clip, []).append(gain[0])
                self.frame_gains.setdefault(method, {}).setdefault(clip, []).append(gain[1])

    def mean(self, method: str) -> float:
        return float(np.mean([np.mean(values) for values in self.gains[method].values()]))


def measure(split: Split, streams: Sequence[Sequence[Item]], phases: int = 1) -> list[Figures]:
    """Judge streams by every method; one result for each phase."""
    figures = [Figures() for _ in range(phases)]
    for items in streams:
        plain = split.judge(items, None)
        by_method = {method: split.judge(items, method) for method in METHODS}
        for phase, own in enumerate(figures):
            own.add(items, plain, by_method, phase)
    return figures


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return the mean with its bootstrap interval."""
    array = np.asarray(values)
    draws = np.random.default_rng(0).integers(len(array), size=(2000, len(array)))
    low, high = np.percentile(array[draws].mean(1), (2.5, 97.5))
    return {"value": float(array.mean()), "low": float(low), "high": float(high)}


def pooled(parts: Sequence[tuple[Figures, str | None]], *, frame: bool = False) -> dict[str, float]:
    """Return the mean over the clips of several results, each by its own method; None: without adapting."""
    values: list[float] = []
    for figures, method in parts:
        by_clip = figures.base if method is None else (figures.frame_gains if frame else figures.gains)[method]
        values += [float(np.mean(own)) for own in by_clip.values()]
    return interval(values)


def choose(others: Sequence[Figures], clean: Sequence[Figures]) -> str:
    """Return the gate with the largest mean gain on other streams, of those that lose little on clean ones."""
    gates = [method for method in METHODS if method.startswith("gate")]
    safe = [gate for gate in gates if all(figures.mean(gate) >= -MOST_LOST for figures in clean)]
    return max(safe or gates[-1:], key=lambda gate: float(np.mean([figures.mean(gate) for figures in others])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    parser.add_argument("--work", type=Path, default=Path("runs/adapt"), help="where trained heads are kept")
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone("mobilenet_v2", options.weights, None, None, "auto")
    store = EmbeddingStore(backbone, folder=options.cache)
    sets = {name: read_dataset(options.data / "video" / name / "index.csv") for name in ("gestures", "fights")}
    gestures = sets["gestures"]
    by_clip = replace(gestures, clips=tuple(replace(clip, group=clip.name) for clip in gestures.clips), grouped=False)
    folds = {"gestures": make_folds(by_clip, FOLDS, seed=0), "fights": make_folds(sets["fights"], FOLDS, seed=0)}

    def load(name: str, held_out: Sequence[str]) -> Split:
        return load_split(options.work / name, sets[name.partition("_")[0]], store, held_out)

    clean: dict[tuple[str, int, str], Figures] = {}
    damaged: dict[tuple[str, str], list[Figures]] = {}
    for name, parts in folds.items():
        for number in (0, 1):
            split = load(f"{name}_fold{number}", parts[number])
            for order, items in clean_streams(split, 3).items():
                (clean[name, number, order],) = measure(split, [items])
            if number == 0:
                clips = sorted(split.test) if name == "gestures" else embedded_clips(split, store)
                for kind in DAMAGE:
                    damaged[name, kind] = measure(split, list(damaged_streams(split, kind, clips)), len(PHASES))
            print(f"{name}, part {number + 1}: judged", file=sys.stderr)
    unseen: dict[tuple[str, str], Figures] = {}
    for person in PERSONS:
        split = load(f"gestures_{person}", [clip.name for clip in gestures.clips if clip.group == person])
        for order, items in clean_streams(split, 1).items():
            (unseen[person, order],) = measure(split, [items])
        print(f"{person}: judged", file=sys.stderr)
    result = collect(clean, damaged, unseen)
    save_result(options.save_json, result)
    for row in result["rows"]:
        print(row["name"], {key: value for key, value in row.items() if key != "name"})


def embedded_clips(split: Split, store: EmbeddingStore) -> list[int]:
    """Return every second held-out clip, by name: damaged fights are embedded for these only."""
    clips = split.sequences["plain"].dataset.clips
    return sorted(split.test, key=lambda clip: clips[clip].name)[::2]


def collect(
    clean: dict[tuple[str, int, str], Figures],
    damaged: dict[tuple[str, str], list[Figures]],
    unseen: dict[tuple[str, str], Figures],
) -> Result:
    """Return the table: a row for each kind of stream, a column for each method, and one for gates chosen elsewhere."""
    first = [figures for (_, number, _), figures in clean.items() if number == 0]
    rows = []

    def add(name: str, parts: Sequence[tuple[Figures, str | None]]) -> None:
        own = [figures for figures, _ in parts]
        row: dict[str, object] = {"name": name, "base": pooled([(figures, None) for figures in own])["value"]}
        for method in METHODS:
            found = pooled([(figures, method) for figures in own])
            row[method] = found if method == f"gate {GATE:g}" else found["value"]
        row["chosen"] = pooled(parts) if parts[0][1] is not None else None
        row["frame"] = pooled([(figures, f"gate {GATE:g}") for figures in own], frame=True)
        rows.append(row)

    chosen = {
        person: choose([figures for (other, _), figures in unseen.items() if other != person], first)
        for person in PERSONS
    }
    for order in ("in random order", "sorted by class"):
        add(f"unseen person, {order}", [(unseen[person, order], chosen[person]) for person in PERSONS])
    kinds = {
        kind: choose(
            [phases[2] for (name, other), phases in damaged.items() if other != kind and name == "gestures"], first
        )
        for kind in DAMAGE
    }
    for name in ("gestures", "fights"):
        for phase, words in enumerate(PHASES):
            add(f"{name}, {words}", [(damaged[name, kind][phase], kinds[kind]) for kind in DAMAGE])
    everything = choose([*unseen.values(), *(phases[2] for phases in damaged.values())], first)
    for (name, number, order), figures in clean.items():
        if number == 1:
            add(f"{name}, clean, {order}", [(figures, everything)])
    columns = [{"key": "base", "title": "clips right, %", "digits": 1}]
    columns += [{"key": method, "title": method, "digits": 1, "signed": True} for method in METHODS]
    columns += [
        {"key": "chosen", "title": "gate chosen elsewhere", "digits": 1, "signed": True},
        {"key": "frame", "title": f"each frame alone, gate {GATE:g}", "digits": 1, "signed": True},
    ]
    notes = [f"gates chosen elsewhere: {chosen}, {kinds}; for clean streams {everything}"]
    return make_result(
        "adapting without labels: points gained", columns, rows, interval="95 % bootstrap over clips", notes=notes
    )


if __name__ == "__main__":
    main()
