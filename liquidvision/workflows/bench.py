"""run_bench(): where the time of `infer` goes, and how close it comes to what the machine could do."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from liquidvision.concurrency.cores import available_cores
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.inference.pipeline import FILE_BATCH
from liquidvision.inference.records import RecordSink
from liquidvision.inference.session import Session
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.read.open import open_video
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.video.write.open import open_video_sink
from liquidvision.workflows.infer_source import infer
from liquidvision.workflows.jobs import BenchJob

STAGES = ("decode", "resize", "backbone", "head", "records", "draw", "encode")
SETTLE_SECONDS = 0.03  # in which the threads of a decoder or encoder finish what they began


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What `run_bench` measured; medians over its rounds.

    Attributes:
        clip, model: names of what was measured.
        rounds: how often everything was measured.
        frames: frames per round.
        cores: processor cores that this process may use.
        cpu: CPU milliseconds per frame of each of `STAGES`, run alone, on all threads together.
        video: milliseconds per frame of `infer` with annotated video and records.
        records: the same with records alone.
    """

    clip: str
    model: str
    rounds: int
    frames: int
    cores: int
    cpu: dict[str, float]
    video: float
    records: float

    def bound(self, *, video: bool) -> float:
        """Return the milliseconds per frame if every core worked all the time on nothing but the stages."""
        return sum(ms for stage, ms in self.cpu.items() if video or stage not in ("draw", "encode")) / self.cores

    def to_json(self) -> str:
        """Return the figures as JSON."""
        figures = {
            "frames": self.frames,
            "cores": self.cores,
            "cpu_ms": self.cpu,
            "video_ms": self.video,
            "records_ms": self.records,
            "video_bound_ms": self.bound(video=True),
            "records_bound_ms": self.bound(video=False),
        }
        return json.dumps(figures, indent=2) + "\n"


def run_bench(job: BenchJob, on_round: Callable[[], None] | None = None) -> BenchResult:
    """Measure each stage of `infer` alone, and `infer` itself, in turns.

    A busy machine so slows all of them alike.

    Args:
        job: what to measure.
        on_round: called after each round.

    Raises:
        UsageError: frames or rounds below 1.
        ModelError, WeightsError: the model cannot be loaded.
        SourceError: the source cannot be read.
        SinkError: the figures cannot be written.
    """
    if job.frames < 1 or job.rounds < 1:
        raise UsageError(f"--frames is {job.frames} and --rounds {job.rounds}; expected 1 or more")
    model = Model.from_pretrained(job.model, device=job.device, half=job.half)
    with TemporaryDirectory() as folder:
        source = Path(job.source) if job.source is not None else make_clip(Path(folder) / "generated.mp4")
        open_source = partial(open_video, source, rate=job.rate, deinterlace=job.deinterlace)
        result = measure(open_source, model, job, Path(folder), on_round or (lambda: None))
    if job.save_json is not None:
        try:
            job.save_json.parent.mkdir(parents=True, exist_ok=True)
            job.save_json.write_text(result.to_json(), encoding="utf-8")
        except OSError as error:
            raise SinkError(f"cannot write {job.save_json}: {error.strerror}") from error
    return result


def measure(
    open_source: Callable[[], VideoReader], model: Model, job: BenchJob, folder: Path, on_round: Callable[[], None]
) -> BenchResult:
    """Run the rounds; the first run of all warms up and is not counted."""
    stages: list[dict[str, float]] = []
    video: list[float] = []
    records: list[float] = []
    count = 0
    target, record = folder / "bench.mp4", folder / "bench.jsonl"
    infer(open_source(), model, video=target, records=[RecordSink(record)], max_frames=2 * FILE_BATCH)
    for _ in range(job.rounds):
        count, cpu = measure_stages(open_source, model, job.frames, job.codec, folder)
        stages.append(cpu)
        for found, path in ((video, target), (records, None)):
            sinks = [RecordSink(record)]
            done = infer(open_source(), model, video=path, records=sinks, codec=job.codec, max_frames=job.frames)
            found.append(1000 * done.wall_seconds / done.frames)
        on_round()
    middle = {stage: median(cpu[stage] for cpu in stages) for stage in STAGES}
    with open_source() as reader:
        name = reader.info.name
    return BenchResult(name, model.name, job.rounds, count, available_cores(), middle, median(video), median(records))


def measure_stages(
    open_source: Callable[[], VideoReader], model: Model, frames: int, codec: str, folder: Path
) -> tuple[int, dict[str, float]]:
    """Run one stage at a time; return the number of frames, and the CPU milliseconds per frame of each stage."""
    clock = StageClock()
    session, overlay, count = Session(model), Overlay().stream(), 0
    with ExitStack() as stack:
        reader = stack.enter_context(open_source())
        record = stack.enter_context(RecordSink(folder / "alone.jsonl"))
        sink = open_video_sink(folder / "alone.mp4", reader, codec, "av", stack)
        stack.callback(sink.discard)
        rest, crop = islice(reader, frames), MotionCrop(model.backbone)
        while True:
            with clock.measure("decode"):
                shown = list(islice(rest, 2 * FILE_BATCH))
            if not shown:
                break
            count += len(shown)
            predictions: list[Prediction] = []
            for start in range(0, len(shown), FILE_BATCH):
                part = shown[start : start + FILE_BATCH]
                with clock.measure("resize"):
                    prepared = [crop.prepare(frame) for frame in part]
                with clock.measure("backbone"), torch.inference_mode():
                    embeddings = model.backbone(torch.cat(prepared))
                with clock.measure("head"):
                    predictions += session.push_embeddings(part, embeddings)
            with clock.measure("records"):
                for prediction in predictions:
                    record.write(prediction)
            with clock.measure("draw"):
                annotated = [overlay.annotate(*pair) for pair in zip(shown, predictions, strict=True)]
            with clock.measure("encode"):
                for frame in annotated:
                    sink.write(frame)
        if not count:
            raise SourceError(f"{reader.info.name} has no frame")
        with clock.measure("encode"):
            sink.keep()
    return count, {stage: 1000 * seconds / count for stage, seconds in clock.seconds.items()}


def make_clip(path: Path, *, seconds: float = 8.0) -> Path:
    """Write a clip of 1280 x 720 pixels at 25 frames per second: a square drifts over a textured background."""
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
    """Counts the CPU seconds of the stages, on all threads together."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count to a stage what runs in the block, and what other threads finish shortly after it."""
        started = time.process_time()
        yield
        if stage in ("decode", "encode"):
            time.sleep(SETTLE_SECONDS)  # costs no CPU
        self.seconds[stage] += time.process_time() - started
