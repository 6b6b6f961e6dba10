"""Measure how precisely the backbone of `actions` finds joints, on clips of both splits.

    python tools/bench_poses.py --backbone BACKBONE.safetensors [--clips 20] [--save-json PATH]

Prints the median and root mean square error in pixels of the network's input, and the share of the squared error in
the worst tenth of the clips.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.actions.clips import SIDE, instants
from tools.actions.poses import load_taught_backbone, read_joints
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.figures import render_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help="what tools/train_poses.py exported")
    parser.add_argument("--clips", type=int, default=20)
    add_save_option(parser)
    options = parser.parse_args()
    rows = []
    backbone, to_joints = load_taught_backbone(options.backbone)
    for split in ("train", "test"):
        errors = []
        for seed in range(options.clips):
            times = instants(seed, seconds=8.0, rate=25.0, jitter=0.5)
            frames = list(render_clip(seed, split=split, times=times, size=(SIDE, SIDE)))
            found = [read_joints(backbone.embed([frame.image]), to_joints)[0] for frame in frames]
            truth = [frame.joints for frame in frames]
            errors.append(SIDE * np.linalg.norm(np.stack(found) - np.stack(truth), axis=-1))
        off = np.stack(errors)  # (clips, steps, joints)
        by_clip = np.sort((off**2).mean((1, 2)))[::-1]
        worst = by_clip[: max(1, options.clips // 10)].sum() / by_clip.sum()
        print(
            f"{split}: median {np.median(off):.2f} px, root mean square {np.sqrt((off**2).mean()):.2f} px; "
            f"{worst:.0%} of the squares in the worst tenth of the clips",
            flush=True,
        )
        figures = {"median_px": np.median(off), "rms_px": np.sqrt((off**2).mean()), "share_of_worst_tenth": 100 * worst}
        rows.append({"name": split, **{key: float(value) for key, value in figures.items()}})
    columns = [
        {"key": "median_px", "title": "median, px", "digits": 2},
        {"key": "rms_px", "title": "root mean square, px", "digits": 2},
        {"key": "share_of_worst_tenth", "title": "squared error in the worst tenth", "digits": 0, "suffix": " %"},
    ]
    title = f"Errors of joints in pixels of a {SIDE}-pixel input, {options.clips} clips of each split"
    save_result(options.save_json, make_result(title, columns, rows))


if __name__ == "__main__":
    main()
