"""Where the time of `infer` goes, and how near it comes to what the machine could do."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from liquidvision.concurrency.cores import available_cores
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.pipeline import FILE_BATCH
from liquidvision.inference.records import RecordSink
from liquidvision.inference.session import Session
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.read.open import open_video
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.video.write.open import open_video_sink
from liquidvision.workflows.infer_source import infer

STAGES = ("decode", "resize", "backbone", "head", "records", "draw", "encode")
SETTLE = 0.03  # seconds in which the threads of a decoder or encoder finish what they began


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What `run_bench` found; medians over its rounds.

    Attributes:
        frames: frames of a round.
        cores: processor cores that this process may use.
        cpu: CPU milliseconds a frame of each of `STAGES`, run alone, on all threads together.
        video, records: milliseconds a frame of `infer` as it is used, with the annotated video and records,
            and with records alone.
    """

    frames: int
    cores: int
    cpu: dict[str, float]
    video: float
    records: float

    def bound(self, *, video: bool) -> float:
        """Milliseconds a frame where every core worked all the time at nothing but the stages."""
        return sum(ms for stage, ms in self.cpu.items() if video or stage not in ("draw", "encode")) / self.cores


def run_bench(
    source: str | Path,
    model: Model,
    *,
    frames: int = 300,
    rounds: int = 3,
    codec: str = "h264",
    on_round: Callable[[], None] | None = None,
) -> BenchResult:
    """Run the stages alone and the whole in turns, so that a busy machine slows all of them alike.

    Args:
        source: a file; of it the first `frames` frames.
        model: what to run.
        rounds: how often everything is measured; the first run of all is not counted.
        codec: see `infer`.
        on_round: called after each round.

    Raises:
        UsageError: frames or rounds below 1.
        SourceError: the source cannot be read.
    """
    if frames < 1 or rounds < 1:
        raise UsageError(f"frames is {frames} and rounds {rounds}; expected 1 or more")
    stages: list[dict[str, float]] = []
    video: list[float] = []
    records: list[float] = []
    count = 0
    with TemporaryDirectory() as folder:
        target, record = Path(folder) / "bench.mp4", Path(folder) / "bench.jsonl"
        infer(source, model, video=target, records=[RecordSink(record)], max_frames=2 * FILE_BATCH)  # warm
        for _ in range(rounds):
            count, cpu = time_stage(source, model, frames, codec, Path(folder))
            stages.append(cpu)
            for found, path in ((video, target), (records, None)):
                done = infer(source, model, video=path, records=[RecordSink(record)], codec=codec, max_frames=frames)
                found.append(1000 * done.wall_seconds / done.frames)
            if on_round is not None:
                on_round()
    middle = {stage: median(cpu[stage] for cpu in stages) for stage in STAGES}
    return BenchResult(count, available_cores(), middle, median(video), median(records))


def time_stage(source: str | Path, model: Model, frames: int, codec: str, folder: Path) -> tuple[int, dict[str, float]]:
    """How many frames there were, and the CPU milliseconds a frame of each stage, one stage at a time."""
    clock = StageClock()
    session, overlay, count = Session(model), Overlay(), 0
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(source))
        record = stack.enter_context(RecordSink(folder / "alone.jsonl"))
        sink = open_video_sink(folder / "alone.mp4", reader, codec, "av", stack)
        stack.callback(sink.discard)
        rest, gaze = islice(reader, frames), MotionCrop(model.backbone)
        while True:
            with clock.times("decode"):
                shown = list(islice(rest, 2 * FILE_BATCH))
            if not shown:
                break
            count += len(shown)
            predictions: list[Prediction] = []
            for start in range(0, len(shown), FILE_BATCH):
                part = shown[start : start + FILE_BATCH]
                with clock.times("resize"):
                    prepared = [gaze.prepare(frame) for frame in part]
                with clock.times("backbone"), torch.inference_mode():
                    embeddings = model.backbone(torch.cat(prepared))
                with clock.times("head"):
                    predictions += session.push_embeddings(part, embeddings)
            with clock.times("records"):
                for prediction in predictions:
                    record.write(prediction)
            with clock.times("draw"):
                annotated = [overlay.annotate(*pair) for pair in zip(shown, predictions, strict=True)]
            with clock.times("encode"):
                for frame in annotated:
                    sink.write(frame)
        if not count:
            raise SourceError(f"{reader.info.name} has no frame")
        with clock.times("encode"):
            sink.keep()
    return count, {stage: 1000 * seconds / count for stage, seconds in clock.seconds.items()}


def make_clip(path: Path, *, seconds: float = 8.0) -> Path:
    """A clip of 1280 x 720 pixels at 25 frames a second: something drifts over a textured ground."""
    rng = np.random.default_rng(0)
    ground = rng.integers(40, 200, (90, 160, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    thing = rng.integers(0, 255, (30, 30, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    tick = Fraction(1, 25)
    with AVVideoSink(path, VideoInfo(path.name, 1280, 720, rate=1 / tick)) as sink:
        for i in range(round(seconds / tick)):
            picture = np.roll(ground, 2 * i, 1)[:720, :1280].copy()
            top, left = round(240 + 200 * math.sin(i / 20)), round(520 + 500 * math.cos(i / 31))
            picture[top : top + 240, left : left + 240] = thing
            sink.write(Frame(picture, i, i, tick, 1))
    return path


class StageClock:
    """CPU seconds of the stages, on all threads together."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def times(self, stage: str) -> Iterator[None]:
        """Count what runs in the block, and what other threads then finish of it, to a stage."""
        started = time.process_time()
        yield
        if stage in ("decode", "encode"):
            time.sleep(SETTLE)  # costs no CPU
        self.seconds[stage] += time.process_time() - started
