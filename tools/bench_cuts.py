"""Measure how many cuts heads find, and how often they find one where there is none.

    python tools/bench_cuts.py SET ... --data DATA [--weights PATH] [--seeds 3] [--cache DIR] [--save-json PATH]

SET, DATA and PATH are those of tools/bench_context.py. In each fold of the cross-validation the limit is fitted to the
training clips. Each clip of the rest is appended to another one, with 0, 50, 75 and 90 % of the frames of both left
out. Only the frame at which the second begins is a cut; all later ones are false alarms, even where a clip of the set
contains a real one.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import LiquidHead, LiquidHeadConfig
from liquidvision.data.splits import make_folds
from liquidvision.evaluation.stress import after_other_clips
from liquidvision.training.optimise import fit_statistics
from liquidvision.training.recipe import default_plan
from liquidvision.training.sequences import ClipSequence, SequenceDataset, collate_sequences
from tools.bench_context import SETS, load_sequences
from tools.benchmark_results import Result, add_save_option, make_result, render_table, save_result

SHARES = (0.0, 0.5, 0.75, 0.9)  # of the frames that are left out


@dataclass(slots=True)
class Counts:
    """What was found in clips after others.

    Attributes:
        clips: number of clips.
        found: clips at whose first frame a cut was found.
        false: cuts found at later frames.
        with_false: clips with one of these or more.
        seconds: from the first to the last frame of all clips.
    """

    clips: int = 0
    found: int = 0
    false: int = 0
    with_false: int = 0
    seconds: float = 0.0

    def add(self, cuts: torch.Tensor, clip: ClipSequence) -> None:
        """Add a clip after another: `cuts` (n,) bool of all frames."""
        first = int((clip.targets >= 0).nonzero()[0])
        false = int(cuts[first + 1 :].sum())
        self.clips += 1
        self.found += int(cuts[first])
        self.false += false
        self.with_false += false > 0
        self.seconds += float(clip.times[-1] - clip.times[first])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=SETS, metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: the bundled backbone of objects")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, help="where embeddings are kept")
    parser.add_argument("--threads", type=int, default=1)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    counts: dict[tuple[str, float], Counts] = {}
    for name in options.sets:
        sequences, _ = load_sequences(name, options.data, options.weights, cache=options.cache)
        for seed in range(options.seeds):
            for test in make_folds(sequences.dataset, SETS[name][1], seed=seed):
                count_fold(
                    sequences, test, seed, {share: counts.setdefault((name, share), Counts()) for share in SHARES}
                )
    result = collect(counts, options.seeds)
    save_result(options.save_json, result)
    print(render_table(result))


@torch.inference_mode()
def count_fold(sequences: SequenceDataset, test: list[str], seed: int, counts: dict[float, Counts]) -> None:
    """Fit the limit to the clips that are not in `test`, and add what is found in those that are."""
    names = [clip.name for clip in sequences.dataset.clips]
    train = sequences.select([name for name in names if name not in set(test)])
    plan = default_plan(len(names))
    fields = {**plan.head, "restart_at_cuts": True}
    head = LiquidHead(LiquidHeadConfig(sequences.store.backbone.layouts, len(sequences.dataset.labels), **fields))
    fit_statistics([head], train, plan.first_dt)
    assert head.cuts is not None
    judged = list(sequences.select(test))
    for share, own in counts.items():
        torch.manual_seed(seed)
        for clip in after_other_clips(judged, share):
            batch = collate_sequences([clip], plan.first_dt)
            z = (batch.embeddings - head.mean) * head.inverse_std
            cuts, _, _ = head.cuts(z, batch.dts, head.cuts.initial(1))
            own.add(cuts[0], clip)


def collect(counts: dict[tuple[str, float], Counts], seeds: int) -> Result:
    """Return a table with a row for each set and share of frames left out."""
    columns = [
        {"key": "found", "title": "cuts found, %", "digits": 1},
        {"key": "false", "title": "false alarms a minute", "digits": 2},
        {"key": "with_false", "title": "clips with a false alarm, %", "digits": 1},
    ]
    rows = [
        {
            "name": name if not share else f"{name}, {share:.0%} of frames dropped",
            "found": 100 * own.found / own.clips,
            "false": 60 * own.false / own.seconds,
            "with_false": 100 * own.with_false / own.clips,
        }
        for (name, share), own in counts.items()
    ]
    return make_result(f"Hard cuts between clips, {seeds} seeds", columns, rows)


if __name__ == "__main__":
    main()
