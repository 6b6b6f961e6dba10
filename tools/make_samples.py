"""Make the bundled sample clips and their ground truth: python tools/make_samples.py [-o samples]."""

from __future__ import annotations

import argparse
import csv
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.figures import ACTIONS, render_clip
from tools.figures.sounds import RATE, soundtrack

SIZE = (640, 360)
TICK = Fraction(1, 90000)
LARGEST = 700_000  # bytes; the samples travel inside the package's repository

# The seeds were picked by eye for a clear picture; both are of the held-out split.
SHOWCASE_SEED = 31
SHOWCASE = (
    ("holds still", 0.6),
    ("walks right", 1.9),
    ("holds still", 0.4),
    ("raises an arm", 0.7),
    ("holds still", 0.5),
    ("waves", 1.8),
    ("lowers an arm", 0.7),
    ("sits down", 1.0),
    ("holds still", 0.9),
    ("stands up", 1.0),
    ("walks left", 2.0),
    ("falls", 0.8),
    ("holds still", 0.7),
    ("stands up", 1.3),
    ("holds still", 0.7),
)
VARIABLE_SEED = 3
VARIABLE = (
    ("sits down", 1.0),
    ("holds still", 0.8),
    ("stands up", 1.0),
    ("walks left", 1.7),
    ("raises an arm", 0.7),
    ("waves", 1.6),
    ("lowers an arm", 0.7),
    ("falls", 0.8),
    ("holds still", 0.6),
    ("stands up", 1.1),
)

Plan = tuple[tuple[str, float], ...]


def even_times(seconds: float, rate: int = 25) -> list[float]:
    return [i / rate for i in range(round(seconds * rate))]


def uneven_times(seconds: float, seed: int) -> list[float]:
    """Instants that step by 1/30, 1/12 or 1/60 s in runs, with gaps of up to 0.3 s; whole ticks all."""
    rng = np.random.default_rng(seed)
    ticks, end = [0], round(seconds / TICK)
    while True:
        step = float(rng.choice([1 / 30, 1 / 12, 1 / 60], p=[0.5, 0.3, 0.2]))
        for _ in range(int(rng.integers(2, 12))):
            ticks.append(ticks[-1] + round(step / TICK))
        if rng.uniform() < 0.4:
            ticks.append(ticks[-1] + round(float(rng.uniform(0.12, 0.3)) / TICK))
        if ticks[-1] >= end:
            return [float(tick * TICK) for tick in ticks if tick < end]


def truth(plan: Plan) -> list[tuple[float, float, str]]:
    rows, clock = [], 0.0
    for action, seconds in plan:
        rows.append((clock, clock + seconds, action))
        clock += seconds
    return rows


def write_truth(path: Path, rows: list[tuple[float, float, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["start", "end", "label"])
        writer.writerows([f"{start:.3f}", f"{end:.3f}", label] for start, end, label in rows)


def encode(path: Path, pictures: list[np.ndarray], times: list[float], crf: int, sound: np.ndarray | None) -> None:
    """Writes H.264 with each picture at its own instant, and AAC where there is sound."""
    with av.open(str(path), "w", options={"video_track_timescale": "90000", "movflags": "+faststart"}) as file:
        # One thread, so that the same pictures give the same bytes.
        options = {"crf": str(crf), "preset": "veryslow", "threads": "1", "bf": "2"}
        video = file.add_stream("libx264", rate=Fraction(90000), options=options)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = TICK
        video.codec_context.framerate = Fraction(25)
        video.codec_context.color_primaries = video.codec_context.color_trc = video.codec_context.colorspace = 1
        video.codec_context.color_range = 1
        audio = file.add_stream("aac", rate=RATE, layout="stereo") if sound is not None else None
        if audio is not None:
            audio.bit_rate = 64_000

        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = round(time / TICK), TICK
            file.mux(video.encode(frame))
        file.mux(video.encode(None))

        if audio is not None:
            for start in range(0, sound.shape[1], 1024):
                block = np.ascontiguousarray(sound[:, start : start + 1024], np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                file.mux(audio.encode(frame))
            file.mux(audio.encode(None))


def make(path: Path, seed: int, plan: Plan, times: list[float], *, sound: bool) -> None:
    frames = list(render_clip(seed, split="test", times=times, size=SIZE, plan=plan))
    rows = truth(plan)
    for frame in frames:
        shown, meant = ACTIONS[frame.label], next(label for _, end, label in rows if frame.time < end)
        if shown != meant:
            raise RuntimeError(f"{path.name}: the picture at {frame.time:.3f} s shows {shown!r}, not {meant!r}")
    track = soundtrack(rows, seed) if sound else None
    pictures = [frame.image for frame in frames]
    for crf in range(24, 40, 2):
        encode(path, pictures, times, crf, track)
        if path.stat().st_size < LARGEST:
            break
    write_truth(path.with_suffix(".csv"), rows)
    print(f"{path}: {len(frames)} pictures, {rows[-1][1]:.1f} s, {path.stat().st_size} bytes, crf {crf}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("samples"), help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    total = sum(seconds for _, seconds in SHOWCASE)
    make(out / "actions.mp4", SHOWCASE_SEED, SHOWCASE, even_times(total), sound=True)
    total = sum(seconds for _, seconds in VARIABLE)
    make(out / "actions_vfr.mp4", VARIABLE_SEED, VARIABLE, uneven_times(total, VARIABLE_SEED), sound=False)


if __name__ == "__main__":
    main()
