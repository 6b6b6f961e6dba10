"""Measure the memory and the disk that two passes over a long recording take.

    python tools/bench_recording.py [--hours 2] [--width 1280] [--classes 10] [--save-json PATH]

Embeddings are random numbers and the heads have random weights: neither changes what is measured.
"""

import argparse
import resource
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Frame, LiquidHead, LiquidHeadConfig, Model, Preprocessing, Session
from liquidvision.inference.calm import SHORTEST_RUN
from liquidvision.inference.recording import Recording
from liquidvision.liquid.traces import Layout
from liquidvision.models.model import share_tensors
from tools.benchmark_results import add_save_option, make_result, save_result

RATE, CHUNK = 25, 250  # frames a second; frames that are made at once
COLUMNS = [
    {"key": "frames", "title": "frames"},
    {"key": "before", "title": "memory before, MB", "digits": 0},
    {"key": "peak", "title": "peak, MB", "digits": 0},
    {"key": "per_frame", "title": "growth a frame, bytes", "digits": 0},
    {"key": "disk", "title": "on disk, GB", "digits": 2},
]


def peak_memory() -> int:
    """Return the peak resident memory of this process, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def make_model(width: int, classes: int) -> Model:
    """Return a model of two heads with random weights, for embeddings that exist already."""
    torch.manual_seed(0)
    config = LiquidHeadConfig((Layout(width, 1),), classes, components=48)
    head, backward = LiquidHead(config), LiquidHead(config)
    share_tensors(head, backward)
    nothing = Preprocessing(size=(1, 1), shorter=None)
    backbone = SimpleNamespace(dim=width, device=torch.device("cpu"), motion_crop=False, preprocessing=nothing)
    return Model(backbone, head, [f"class {i}" for i in range(classes)], backward_head=backward)  # type: ignore[arg-type]


def measure(model: Model, frames: int, folder: str) -> dict[str, float]:
    """Record a number of frames, look at them again, and read every prediction."""
    base, pixels, done = Fraction(1, RATE), np.zeros((0, 0, 3), np.uint8), 0
    random, session = torch.Generator().manual_seed(0), Session(model)
    began = time.monotonic()
    with Recording(model, keep_embeddings=True, folder=Path(folder)) as recording:
        for start in range(0, frames, CHUNK):
            count = min(CHUNK, frames - start)
            xs = torch.randn(count, model.backbone.dim, generator=random)
            chunk = [Frame(pixels, i, i, base) for i in range(start, start + count)]
            recording.append(chunk, xs, *session.run(chunk, xs))
            if start == 4 * CHUNK:
                before, counted = peak_memory(), len(recording)
        disk = recording.disk_bytes
        print(f"first pass: {time.monotonic() - began:.0f} s", flush=True)
        recording.add_second_pass()
        print(f"second pass: {time.monotonic() - began:.0f} s", flush=True)
        recording.dissolve_runs(SHORTEST_RUN, session.clock.max_gap)
        done = sum(1 for _ in recording.predictions())
    assert done == frames
    return {
        "frames": frames,
        "before": before / 1e6,
        "peak": peak_memory() / 1e6,
        "per_frame": (peak_memory() - before) / (frames - counted),
        "disk": disk / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--width", type=int, default=1280, help="of an embedding")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the first pass is kept")
    add_save_option(parser)
    options = parser.parse_args()
    row = measure(make_model(options.width, options.classes), round(options.hours * 3600 * RATE), options.folder)
    print(row)
    title = "Two passes over a long recording: memory and disk"
    name = f"{options.hours:g} hours at {RATE} frames a second, embeddings of {options.width}"
    save_result(options.save_json, make_result(title, COLUMNS, [{"name": name, **row}]))


if __name__ == "__main__":
    main()
