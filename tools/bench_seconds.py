"""Measure whether a memory that forgets in seconds is worth more than one that forgets in frames.

    python tools/bench_seconds.py run SET --data DATA --weights PATH --work WORK
        [--inputs traces|restarted|bare] [--heads gated,gru,...] [--learn-every 1] [--folds 2]
        [--seeds 0-4] [--minutes 14]
    python tools/bench_seconds.py table SET --work WORK [--inputs ...] [--learn-every 1] [--folds 2] [--save-json PATH]
    python tools/bench_seconds.py forgetting SET --work WORK [--inputs ...] [--save-json PATH]

SET is one of those of tools/bench_context.py, or `streams`: rendered streams in which the actions of a figure
change, embedded by the backbone of `actions`.
Heads have the same inputs (traces; traces that begin again at cuts; or bare embeddings without traces) and as many
parameters in their cells as 64 gated units. `NAME-chrono` is a GRU or LSTM with chrono initialisation, `NAME-fine` a
liquid cell whose solver steps are no longer than a frame at full rate. All heads of a fold are trained side by side and
judged whole, with frames dropped, and after another clip or at other rates. The readout of single frames, which all
heads share, takes no part. Two folds judge most clips for the time that training takes.

`run` appends a line of JSON for each head of each fold of each seed to WORK/SET.jsonl, leaves out what is there, and
begins no fold after --minutes. The other two make tables of what is there.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from liquidvision import Backbone, LiquidHead, LiquidHeadConfig, Model
from liquidvision.annotation.interval import Interval
from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.splits import make_folds
from liquidvision.evaluation.compare import CELL_NAMES, clip_accuracies, match_parameters
from liquidvision.evaluation.crossval import labelled_frames, scores_from_logits
from liquidvision.evaluation.forgetting import SECONDS, STRIDES, average_curves, forgetting_curves
from liquidvision.evaluation.stress import STRESS_TITLES, stress_tests
from liquidvision.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Plan, Recipe, default_plan
from liquidvision.training.scoring import clip_logits
from liquidvision.training.sequences import ClipSequence, EveryNthFrame, SequenceDataset
from tools.actions.clips import embed_clips, read_clip
from tools.bench_context import SETS, load_sequences
from tools.benchmark_results import Result, add_save_option, make_result, render_table, save_result
from tools.figures import ACTIONS

HEADS = (
    *("gated", "ltc", "selective", "resonant", "lru", "cfc"),
    *("gru", "gru-dt", "gru-d", "gru-power", "gru-no-reset", "lstm", "none"),
)
INPUTS = ("traces", "restarted", "bare")
RIVAL = "gru"  # that the others are compared with
FINE = "-fine"
ORDINALS = {2: "2nd", 4: "4th", 8: "8th"}
SHOWN_SECONDS = (1.0, 2.0)
CHRONO, CHRONO_SECONDS = "-chrono", 4.0  # longest memory with which chrono heads begin
BARE_EPOCHS = 60  # without traces heads learn slowly
STREAMS, STREAM_SECONDS, STREAM_RATE = 60, 10.0, 25.0  # as tools/bench_actions.py renders them


class Streams(SequenceDataset):
    """Rendered streams in which actions change, as a dataset with labels by frame."""

    def __init__(self, made: Sequence[ClipSequence], backbone: Backbone) -> None:
        self.made = {sequence.name: sequence for sequence in made}
        clips = []
        for sequence in made:
            changes = np.flatnonzero(np.diff(sequence.targets.numpy(), prepend=-1, append=-1))
            ends = [float(t) for t in sequence.times] + [float("inf")]
            intervals = tuple(
                Interval(ends[a], ends[b], ACTIONS[int(sequence.targets[a])]) for a, b in pairwise(changes.tolist())
            )
            clips.append(Clip(Path(sequence.name), sequence.name, sequence.name, None, intervals))
        dataset = Dataset(Path(), tuple(clips), ACTIONS, ACTIONS[-1], False)
        super().__init__(dataset, _NoStore(backbone))  # type: ignore[arg-type]

    def sequence(self, index: int, view: str) -> ClipSequence:
        return self.made[self.dataset.clips[index].name]


class _NoStore:
    """Stands where other datasets keep their embeddings."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone


def read_streams(paths: Sequence[Path]) -> list[ClipSequence]:
    """Return rendered and embedded streams, see `embed_clips`."""
    made = []
    for path in paths:
        times, labels, embeddings = read_clip(path)
        parts = torch.from_numpy(embeddings).float(), torch.from_numpy(times), torch.from_numpy(labels).long()
        made.append(ClipSequence(path.stem, *parts, whole_clip=False))
    return made


def load_set(options: argparse.Namespace) -> tuple[SequenceDataset, Backbone]:
    """Return the clips of a set and the backbone."""
    if options.set in SETS:
        return load_sequences(options.set, options.data, options.weights, cache=options.cache)
    backbone = Model.from_pretrained("actions", device="auto").backbone
    times = np.arange(0, STREAM_SECONDS, 1 / STREAM_RATE)
    paths = embed_clips(backbone, options.work / "streams", "test25", "test", range(STREAMS), lambda _: times)
    return Streams(read_streams(paths), backbone), backbone


def make_config(name: str, plan: Plan, backbone: Backbone, classes: int, inputs: str, rate: float) -> LiquidHeadConfig:
    """Return the configuration of a head, with as many parameters in its cell as 64 gated units.

    Args:
        name: one of `HEADS`, or with `CHRONO` or `FINE` behind.
        plan, backbone, classes: the recipe's head, the backbone and the number of labels.
        inputs: one of `INPUTS`.
        rate: frames a second in training.
    """
    fields = {**plan.head, "frame_share": 0.0, "restart_at_cuts": inputs == "restarted"}
    if inputs == "bare":
        fields |= {"taus": (), "appearance": 1.0}
    reference = LiquidHeadConfig(backbone.layouts, classes, **fields)
    config = match_parameters(reference, name.removesuffix(CHRONO).removesuffix(FINE))
    if name.endswith(FINE):
        return replace(config, max_step=1.01 / rate)
    return replace(config, chrono=CHRONO_SECONDS * rate) if name.endswith(CHRONO) else config


def train_heads(
    configs: Mapping[str, LiquidHeadConfig], train: SequenceDataset, recipe: Recipe, first_dt: float, seed: int
) -> dict[str, LiquidHead]:
    """Train heads side by side."""
    torch.manual_seed(seed)
    heads = {name: LiquidHead(config) for name, config in configs.items()}
    fit_statistics(list(heads.values()), train, first_dt)
    torch.manual_seed(seed)
    loop = EpochLoop(list(heads.values()), train, recipe, first_dt=first_dt)
    for _ in range(recipe.epochs):
        loop.run_epoch()
    return heads


def judge_heads(
    heads: Mapping[str, LiquidHead], test: SequenceDataset, first_dt: float, seed: int, kinds: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the accuracy of each clip by head and stress test, 0 to 1; "whole" is the clip as it is.

    Args:
        heads, test, first_dt, seed: what is judged, and with which draws.
        kinds: first words of the names of the stress tests that are done.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in heads}
    whole_clip = test.dataset.whole_clip
    tests = {name: make for name, make in stress_tests().items() if name.partition("_")[0] in kinds}
    for name, make in {"whole": list, **tests}.items():
        torch.manual_seed(seed)
        clips = make(list(test))
        for head, logits in zip(heads, clip_logits(list(heads.values()), clips, first_dt), strict=True):
            # -1, a frame that is not judged, is no class; `labelled_frames` removes these frames again.
            seen = [replace(clip, targets=clip.targets.clamp_min(0)) for clip in clips]
            scores = scores_from_logits(seen, [own.memory for own in logits])
            judged = [labelled_frames(*pair) for pair in zip(scores, clips, strict=True)]
            found[head][name] = clip_accuracies([judged], whole_clip)[0].tolist()
    return found


def run(options: argparse.Namespace) -> None:
    """Train and judge what is missing, until the time is up."""
    begun, lines = time.perf_counter(), options.work / f"{options.set}.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    done = {key_of(record) for record in read_records(lines)}
    sequences, backbone = load_set(options)
    clips, folds = sequences.dataset.clips, options.folds
    plan = default_plan(len(clips) * (folds - 1) // folds, motion_crop=backbone.motion_crop, grids=backbone.grids)
    first, _, last = options.seeds.partition("-")
    kinds = ["dropped"]
    if sequences.dataset.whole_clip and options.inputs != "bare":
        kinds.append("after")
    if not sequences.dataset.whole_clip or options.inputs == "bare":
        kinds += ["every", "irregular"]
    recipe = plan.recipe
    if options.inputs == "bare":
        recipe = replace(recipe, epochs=BARE_EPOCHS, preceded=0.0)
    rate = 1 / (float(sequences[0].times.diff().median()) * options.learn_every)
    for seed in range(int(first), int(last or first) + 1):
        for fold, test in enumerate(make_folds(sequences.dataset, folds, seed=seed)):
            setting = {"inputs": options.inputs, "learn_every": options.learn_every, "seed": seed}
            setting |= {"folds": folds, "fold": fold}
            missing = [name for name in options.heads.split(",") if key_of({**setting, "head": name}) not in done]
            if not missing or time.perf_counter() - begun > 60 * options.minutes:
                continue
            held_out = set(test)
            train = sequences.select([clip.name for clip in clips if clip.name not in held_out])
            if options.learn_every > 1:
                train = EveryNthFrame(train, options.learn_every)
            judged = sequences.select(test)
            classes = len(sequences.dataset.labels)
            configs = {name: make_config(name, plan, backbone, classes, options.inputs, rate) for name in missing}
            heads = train_heads(configs, train, recipe, plan.first_dt, seed)
            right = judge_heads(heads, judged, plan.first_dt, seed, kinds)
            curves = {} if fold else forgetting_curves(heads, list(judged), plan.first_dt)
            with lines.open("a") as file:
                for name, head in heads.items():
                    record = {
                        **setting,
                        "head": name,
                        "units": configs[name].units,
                        "parameters": sum(p.numel() for p in head.cell.parameters()),
                        "clips": [clip.name for clip in judged.dataset.clips],
                        "groups": [clip.group for clip in judged.dataset.clips],
                        "right": right[name],
                        "forgetting": curves.get(name),
                    }
                    file.write(json.dumps(record) + "\n")
            means = ", ".join(f"{name} {100 * np.mean(own['whole']):.1f}" for name, own in right.items())
            print(f"{setting}: {time.perf_counter() - begun:.0f} s, {means}", flush=True)


def key_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies a record of a set."""
    return tuple(record[name] for name in ("inputs", "learn_every", "seed", "folds", "fold", "head"))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, of each head, fold and seed the last; a line that is cut off is left out."""
    records = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records[key_of(record)] = record
    return list(records.values())


def gather(records: Sequence[Mapping[str, Any]], test: str) -> dict[str, dict[tuple[int, str], float]]:
    """Return the accuracy by head, and by seed and clip."""
    found: dict[str, dict[tuple[int, str], float]] = {}
    for record in records:
        own = found.setdefault(record["head"], {})
        for clip, right in zip(record["clips"], record["right"][test], strict=True):
            own[record["seed"], clip] = right
    return found


def mean_by_clip(own: Mapping[tuple[int, str], float], keys: Sequence[tuple[int, str]]) -> dict[str, float]:
    """Return the mean over seeds of each clip."""
    by_clip: dict[str, list[float]] = {}
    for key in keys:
        by_clip.setdefault(key[1], []).append(own[key])
    return {clip: float(np.mean(values)) for clip, values in by_clip.items()}


def percent(interval: Sequence[float]) -> dict[str, float]:
    """Return (mean, low, high) as a cell of a table, in percent."""
    return dict(zip(("value", "low", "high"), (100 * value for value in interval), strict=True))


def chosen(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the records that the options select."""
    records = read_records(options.work / f"{options.set}.jsonl")
    fields = ("inputs", "learn_every", "folds")
    wanted = [r for r in records if all(r[field] == getattr(options, field) for field in fields)]
    heads = None if options.heads is None else options.heads.split(",")
    return [r for r in wanted if heads is None or r["head"] in heads]


def name_head(name: str) -> str:
    """Return what tables call a head."""
    cell = name.removesuffix(CHRONO).removesuffix(FINE)
    what = {CHRONO: ", chrono", FINE: ", short solver steps"}
    return CELL_NAMES.get(cell, cell) + "".join(text for end, text in what.items() if name.endswith(end))


def make_table(options: argparse.Namespace) -> Result:
    """Return accuracies by head, and differences from the rival paired by clip, for some stress tests."""
    records = chosen(options)
    tests = [test for test in options.tests.split(",") if records and test in records[0]["right"]]
    groups = {clip: group for r in records for clip, group in zip(r["clips"], r["groups"], strict=True)}
    titles = {"whole": "whole", **STRESS_TITLES}
    columns, rows = [], {}
    for test in tests:
        columns.append({"key": test, "title": titles[test], "digits": 1})
        columns.append(
            {"key": f"{test}_difference", "title": f"less {name_head(options.rival)}", "digits": 1, "signed": True}
        )
        found = gather(records, test)
        rival = found.get(options.rival, {})
        for name in [*(head for head in HEADS if head in found), *(head for head in found if head not in HEADS)]:
            own, row = found[name], rows.setdefault(name, {"name": name_head(name)})
            means = mean_by_clip(own, list(own))
            row[test] = percent(bootstrap_interval(np.array([*means.values()]), groups=[groups[c] for c in means]))
            both = sorted(set(own) & set(rival))
            if name != options.rival and both:
                a, b = mean_by_clip(own, both), mean_by_clip(rival, both)
                clips = sorted(a)
                interval = paired_bootstrap(
                    np.array([a[c] for c in clips]), np.array([b[c] for c in clips]), groups=[groups[c] for c in clips]
                )
                row[f"{test}_difference"] = percent(interval)
    seeds = {name: len([r for r in records if r["head"] == name]) / options.folds for name in rows}
    if len({*seeds.values()}) > 1:
        columns.append({"key": "seeds", "title": "seeds", "digits": 1})
        rows = {name: {**row, "seeds": seeds[name]} for name, row in rows.items()}
    what = {"traces": "traces", "restarted": "traces that restart at cuts", "bare": "bare embeddings"}[options.inputs]
    learnt = "" if options.learn_every == 1 else f", learnt from every {options.learn_every}th frame"
    unit = "frames" if options.set == "streams" else "clips"
    title = f"{options.set}, {what}{learnt}: percent of {unit} right, {options.folds} folds"
    title += "" if len({*seeds.values()}) != 1 else f", seeds: {min(seeds.values()):g}"
    return make_result(title, columns, list(rows.values()), interval="95 % bootstrap over videos, all seeds")


def make_forgetting(options: argparse.Namespace) -> Result:
    """Return how much of a disturbance is left after some seconds, by head and stride."""
    by_head: dict[str, list[Any]] = {}
    for record in chosen(options):
        if record["forgetting"]:
            by_head.setdefault(record["head"], []).append({"left": record["forgetting"]})
    columns = [
        {
            "key": f"{stride}_{after:g}",
            "title": f"{after:g} s, every {'frame' if stride == 1 else ORDINALS[stride]}",
            "digits": 0,
        }
        for after in SHOWN_SECONDS
        for stride in STRIDES
    ]
    rows = []
    for name in [*(head for head in HEADS if head in by_head), *(head for head in by_head if head not in HEADS)]:
        left = average_curves(by_head[name])["left"]
        cells = {
            f"{stride}_{after:g}": None if (value := left[i][j]) is None else 100 * value
            for i, stride in enumerate(STRIDES)
            for j, after in enumerate(SECONDS)
            if after in SHOWN_SECONDS
        }
        rows.append({"name": name_head(name), **cells})
    return make_result(
        f"{options.set}, {options.inputs}: percent of a disturbance of the state that is left", columns, rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table", "forgetting"))
    parser.add_argument("set", choices=(*SETS, "streams"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--inputs", choices=INPUTS, default="traces")
    parser.add_argument("--learn-every", type=int, default=1)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--heads", help="default: all")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--minutes", type=float, default=14.0)
    parser.add_argument("--tests", default="whole,dropped,after,after_50,after_75,after_90")
    parser.add_argument("--rival", default=RIVAL)
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "run":
        options.heads = options.heads or ",".join(HEADS)
        run(options)
        return
    result = make_table(options) if options.what == "table" else make_forgetting(options)
    save_result(options.save_json, result)
    print(result["title"])
    print(render_table(result))


if __name__ == "__main__":
    main()
