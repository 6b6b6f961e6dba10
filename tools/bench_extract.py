"""Measures how quickly videos are embedded, beside the backbone alone.

    python tools/bench_extract.py VIDEO ... [--backbone mobilenet_v2] [--weights PATH] [--rounds 5]

Both in turns, on the same frames: the backbone alone on prepared input in batches as large as extraction's, and
extraction from the files: decoding, preparing, embedding. Prints medians and their ratio.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Backbone, open_video
from liquidvision.learn.features import BATCH, embed
from liquidvision.learn.views import View


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    backbone = Backbone(options.backbone, weights=options.weights)
    inputs = []
    for video in options.videos:
        with open_video(video) as reader:
            inputs += [backbone.prepare(frame.image) for frame in reader]
    batches = [torch.cat(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    alone, whole = [], []
    with torch.inference_mode():
        for _ in range(options.rounds + 1):
            begun = time.perf_counter()
            for batch in batches:
                backbone(batch)
            alone.append(len(inputs) / (time.perf_counter() - begun))
            begun = time.perf_counter()
            for video in options.videos:
                embed(backbone, video, View("plain"), 1)
            whole.append(len(inputs) / (time.perf_counter() - begun))
    rates = [statistics.median(values[1:]) for values in (alone, whole)]
    print(f"{len(inputs)} frames, torch on {torch.get_num_threads()} threads, medians of {options.rounds} rounds")
    print(f"backbone alone {rates[0]:.1f} frames/s, extraction {rates[1]:.1f} frames/s: {rates[1] / rates[0]:.0%}")


if __name__ == "__main__":
    main()
