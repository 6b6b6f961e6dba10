"""Measure how much a single frame shows: larger classifiers of the whole embedding, without memory, as a control.

    python tools/bench_frames.py --backbone BACKBONE.safetensors --work WORK [--save-json PATH]

Trains a linear probe and a two-layer network on the same embedded clips as tools/train_actions.py
(and needs its WORK) and prints the share of frames right on clips of the `test` split.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.actions.clips import ClipSet, embed_set, render_set
from tools.actions.poses import load_taught_backbone
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.figures import ACTIONS


def take_every_nth_frame(clips: ClipSet, every: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every Nth frame of each clip: embeddings (n, dim) float32 and labels (n,)."""
    values = torch.from_numpy(clips.values[:, ::every]).float().flatten(0, 1)
    return values, torch.from_numpy(clips.labels[:, ::every]).long().flatten()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1000)
    add_save_option(parser)
    options = parser.parse_args()
    rows = []
    torch.manual_seed(0)
    backbone, _ = load_taught_backbone(options.backbone)
    key = hashlib.sha256(options.backbone.read_bytes()).hexdigest()[:16]
    train = render_set(options.work / "train", "train", range(options.clips))
    test = render_set(options.work / "test", "test", range(60), seconds=10.0, jitter=0.0)
    xs, ys = take_every_nth_frame(embed_set(train, backbone, options.work / "train", key), 5)
    test_xs, test_ys = take_every_nth_frame(embed_set(test, backbone, options.work / "test", key), 1)
    mean, std = xs.mean(0), xs.std(0).clamp_min(1e-3)
    xs, test_xs = (xs - mean) / std, (test_xs - mean) / std
    wide = nn.Sequential(
        nn.Dropout(0.3), nn.Linear(xs.shape[1], 256), nn.GELU(), nn.Dropout(0.3), nn.Linear(256, len(ACTIONS))
    )
    for name, net in (("linear", nn.Linear(xs.shape[1], len(ACTIONS))), ("two layers", wide)):
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
        for _ in range(6):
            for rows in torch.randperm(len(xs)).split(256):
                loss = nn.functional.cross_entropy(net(xs[rows]), ys[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        net.eval()
        with torch.inference_mode():
            right = (net(test_xs).argmax(-1) == test_ys).float().mean().item()
        print(f"{name}: {100 * right:.1f} % of single frames right", flush=True)
        rows.append({"name": name, "accuracy": 100 * right})
    title = "Classifiers of single frames on the embeddings of actions: percent of frames right"
    columns = [{"key": "accuracy", "title": "accuracy, %", "digits": 1}]
    save_result(options.save_json, make_result(title, columns, rows))


if __name__ == "__main__":
    main()
