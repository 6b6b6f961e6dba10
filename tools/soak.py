"""Run liquidvision for a long time, and check whether memory, descriptors or threads grow.

python tools/soak.py --frames 1000000 --opens 1000

Four parts: pictures from memory through predict(); the same into a video that is written; a file
opened, read a little and closed, again and again; and opened for its sound too. Prints the resident
memory at each 5 % of a part, the step from its third quarter to its fourth (medians), and what is left open at its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import torch

from liquidvision import ArrayReader, Model, open_video, predict
from liquidvision.video.frame import VideoInfo
from liquidvision.video.write.av_writer import AVVideoSink
from tools.tiny import tiny_model

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"
SIDE, RATE, SAMPLES = 32, 25, 20
MOST_GROWTH = 8.0  # MiB from a part's third quarter to its fourth: the allocator's noise is some


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000, help="pictures through predict()")
    parser.add_argument("--written", type=int, default=1_000_000, help="pictures written as video")
    parser.add_argument("--opens", type=int, default=1000, help="times a file is opened")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = tiny_model()
    grown = [
        watch("predict", predicted(model, options.frames), options.frames),
        watch("write", written(options.written), options.written),
        watch("open", opened(options.opens), options.opens),
        watch("predict a file", opened_and_predicted(model, options.opens), options.opens),
    ]
    sys.exit(1 if any(grown) else 0)


def watch(name: str, steps: Iterator[None], count: int) -> bool:
    """Run the steps of a part; print what it uses and leaves open, and return whether that grew."""
    before, started, memory = open_things(), time.monotonic(), list[float]()
    every = max(1, count // SAMPLES)
    for number, _ in enumerate(steps, 1):
        if number % every == 0:
            memory.append(resident())
    seconds, after = time.monotonic() - started, open_things()
    half, last = len(memory) // 2, 3 * len(memory) // 4
    slope = float(np.median(memory[last:]) - np.median(memory[half:last]))
    print(f"{name}: {count} in {seconds:.0f} s; MiB " + " ".join(f"{size:.1f}" for size in memory))
    print(
        f"{name}: {slope:+.2f} MiB from the third quarter to the fourth; descriptors {before[0]} → {after[0]}, "
        f"threads {before[1]} → {after[1]}",
        flush=True,
    )
    return slope > MOST_GROWTH or after[0] > before[0] or after[1] > before[1]


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_things() -> tuple[int, int]:
    """Return the numbers of open descriptors and of Python's threads."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def pictures(count: int) -> Iterator[np.ndarray]:
    """Tiny pictures that move."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, 2 * SIDE, 3), np.uint8)
    for number in range(count):
        yield noise[:, number % SIDE : number % SIDE + SIDE]


def predicted(model: Model, count: int) -> Iterator[None]:
    for _ in predict(ArrayReader(pictures(count), rate=RATE), model, batch=64):
        yield


def written(count: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        info = VideoInfo("arrays", SIDE, SIDE)
        with AVVideoSink(Path(folder) / "v.mp4", info) as sink:
            for frame in ArrayReader(pictures(count), rate=RATE):
                sink.write(frame)
                yield


def opened(count: int) -> Iterator[None]:
    for _ in range(count):
        with open_video(SAMPLE) as video:
            list(islice(video, 2))
            tracks = video.side_tracks()
            assert tracks is not None
            list(tracks.packets_until(0.5))
            tracks.close()
        yield


def opened_and_predicted(model: Model, count: int) -> Iterator[None]:
    """Predict with the thread that reads ahead, and stop half-way."""
    for _ in range(count):
        frames = predict(SAMPLE, model)
        next(frames)
        frames.close()
        yield


if __name__ == "__main__":
    main()
