"""Measure how fast videos are embedded, beside the backbone alone.

    python tools/bench_extract.py VIDEO ... [--backbone mobilenet_v2] [--weights PATH] [--threads N] [--rounds 5]
        [--save-json PATH]

In turns, video by video, on the same frames and threads: the backbone alone, on prepared input in batches as
large as extraction's; and extraction from the files into an empty cache: hashing, decoding, preparing, embedding,
writing. Prints the median rates and the median of the rounds' ratios.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Backbone, open_video
from liquidvision.data.embeddings import EmbeddingStore
from tools.benchmark_results import add_save_option, make_result, save_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--rounds", type=int, default=5)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone = Backbone(options.backbone, weights=options.weights or "DEFAULT")
    inputs = {}
    for video in options.videos:
        with open_video(video) as reader:
            inputs[video] = [backbone.prepare(frame.image) for frame in reader]
    count = sum(map(len, inputs.values()))
    rates: dict[str, list[float]] = {"alone": [], "extraction": []}
    for number in range(options.rounds + 1):  # the first warms up
        alone = extraction = 0.0
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore(backbone, folder=Path(folder))
            for video, own in inputs.items():
                begun = time.perf_counter()
                with torch.inference_mode():
                    for i in range(0, len(own), store.embedder.batch):
                        backbone(torch.cat(own[i : i + store.embedder.batch]))
                between = time.perf_counter()
                store.fill([video])
                alone, extraction = alone + between - begun, extraction + time.perf_counter() - between
        if number:
            rates["alone"].append(count / alone)
            rates["extraction"].append(count / extraction)
    ratio = median(b / a for a, b in zip(rates["alone"], rates["extraction"], strict=True))
    print(f"{len(options.videos)} videos, {count} frames, torch on {options.threads} threads")
    print(
        f"backbone alone {median(rates['alone']):.1f} frames/s, extraction {median(rates['extraction']):.1f} frames/s"
    )
    print(f"extraction runs at {ratio:.0%} of the backbone's own rate (medians of {options.rounds} rounds)")
    title = f"Speed of embedding beside the backbone's own rate, {len(options.videos)} videos, {count} frames"
    columns = [
        {"key": "alone", "title": "backbone alone, frames/s", "digits": 1},
        {"key": "extraction", "title": "extraction, frames/s", "digits": 1},
        {"key": "share", "title": "of the backbone's rate", "digits": 0, "suffix": " %"},
    ]
    row = {"name": f"{options.backbone}, {options.threads} threads", "share": 100 * ratio}
    row |= {name: median(found) for name, found in rates.items()}
    save_result(options.save_json, make_result(title, columns, [row]))


if __name__ == "__main__":
    main()
