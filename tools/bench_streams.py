"""Measure whether many live streams keep up: clips played at their own pace, each with its own Session, on one model.

    python tools/bench_streams.py CLIP... [--streams 8] [--rate 25] [--seconds 60] [--backbone mobilenet_v3_small]
        [--save-json PATH]

Each stream plays one of the clips over and over, at `--rate` frames a second, and drops nothing. Prints how late
predictions were: the time from the instant at which a frame is due to its prediction.
"""

import argparse
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Backbone, LiquidHead, LiquidHeadConfig, LiveOptions, Model, infer, open_video
from liquidvision.inference.batching import batched_model
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader
from tools.benchmark_results import add_save_option, make_result, save_result


class Paced(VideoReader):
    """A clip that repeats, each frame decoded when it is due."""

    live_options = LiveOptions(policy="wait")

    def __init__(self, clip: Path, rate: float, seconds: float, started: float) -> None:
        super().__init__(ReadWindow())
        self._clip, self._rate, self._count, self.started = clip, rate, round(seconds * rate), started
        with open_video(clip) as reader:
            self.info = replace(reader.info, live=True)

    def pictures(self) -> Iterator[DecodedPicture]:
        number = 0
        for _ in itertools.count():
            with open_video(self._clip) as reader:
                for picture in reader.pictures():
                    time.sleep(max(0.0, self.started + number / self._rate - time.monotonic()))
                    yield DecodedPicture(number, Fraction(1 / self._rate).limit_denominator(1000), None, picture.pixels)
                    number += 1
                    if number == self._count:
                        return

    def close(self) -> None:
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--backbone", default="mobilenet_v3_small")
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    network = Backbone(options.backbone, weights=None).place("auto")
    model = Model(network, LiquidHead(LiquidHeadConfig(network.layouts, 10)), [str(i) for i in range(10)])
    model.embed([np.zeros((360, 640, 3), np.uint8)])  # compiled before the clock runs
    late: list[list[float]] = [[] for _ in range(options.streams)]
    started = time.monotonic() + 1

    def run(number: int, shared: Model) -> None:
        # A little apart, as cameras are.
        begin = started + number / options.rate / options.streams
        reader = Paced(options.clips[number % len(options.clips)], options.rate, options.seconds, begin)
        infer(reader, shared, on_frame=lambda p: late[number].append(time.monotonic() - begin - p.index / options.rate))

    cpu = time.process_time()
    with batched_model(model) as shared:
        threads = [threading.Thread(target=run, args=(number, shared)) for number in range(options.streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    cpu = time.process_time() - cpu
    every = np.concatenate([np.array(part) for part in late])
    p50, p99, latest = (float(1000 * found) for found in (np.median(every), np.quantile(every, 0.99), every.max()))
    columns = [{"key": f"{name}_ms", "title": name, "digits": 0, "suffix": " ms"} for name in ("p50", "p99", "latest")]
    columns.append({"key": "cpu_ms", "title": "CPU ms per frame", "digits": 2})
    row = {"name": f"{options.streams}, for {options.seconds:g} s", "p50_ms": p50, "p99_ms": p99, "latest_ms": latest}
    title = f"How late predictions are: {options.rate:g} frames a second and stream, {options.backbone}, records only"
    result = make_result(title, columns, [row | {"cpu_ms": 1000 * cpu / len(every)}], row_title="streams")
    save_result(options.save_json, result)
    print(
        f"{options.streams} streams, {len(every)} frames: late by p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms, at most {latest:.0f} ms; "
        f"{1000 * cpu / len(every):.2f} CPU ms a frame"
    )


if __name__ == "__main__":
    main()
