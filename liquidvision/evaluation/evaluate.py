"""Evaluates a model on annotated clips, with memory and by each frame alone: figures for JSON and the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import SourceError, UsageError
from liquidvision.evaluation.evaluation_file import EVALUATION_FORMAT, EVALUATION_VERSION
from liquidvision.evaluation.robustness import (
    DegradationLevel,
    degradation_curves,
    evenly_spaced,
    select_embeddings,
    select_frames,
)
from liquidvision.inference.calm import calm_labels
from liquidvision.inference.clock import monotonic_times
from liquidvision.inference.recording import predict_embeddings
from liquidvision.inference.session import Session
from liquidvision.metrics.classification import (
    MIN_PROBABILITY,
    ClipScores,
    classification_metrics,
    clip_accuracy,
    frame_accuracy,
)
from liquidvision.metrics.segments import last_frame_end
from liquidvision.models.model import Model
from liquidvision.models.tasks import MULTICLASS
from liquidvision.video.read.file_options import FileOptions
from liquidvision.video.write.images import encode_data_uri

MAX_TIMELINE_POINTS = 400  # frames in the timeline of one video
MAX_STILLS = 6  # misclassified videos that get a still
WARM_UP_FRAMES = 10  # not timed
SIDES, TWO_PASS, ADAPTED = ("memory", "frame"), "two_pass", "adapted"


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """A model's scores of one clip: with memory, by each frame alone, and where asked for in two further ways.

    Attributes:
        clip: gives the truth.
        memory, frame: with memory, and by each frame alone.
        two_pass: with two passes.
        adapted: with a memory that has adapted to this clip and those before it of the same group.
    """

    clip: Clip
    memory: ClipScores
    frame: ClipScores
    two_pass: ClipScores | None = None
    adapted: ClipScores | None = None


def run_clip(
    model: Model,
    dataset: Dataset,
    clip: Clip,
    embeddings: ClipEmbeddings,
    *,
    model_times: ClipEmbeddings | None = None,
    two_pass: bool = False,
    adapting: Session | None = None,
) -> ClipResult:
    """Run the embeddings of a clip through a new `Session`, as `predict` does with its frames.

    Args:
        model: the model to run.
        dataset: gives the labels.
        clip: gives the truth.
        embeddings: the embeddings of the clip's frames; their times decide the truth of each frame.
        model_times: the same frames with the times that the model gets, if these differ.
        two_pass: whether a second pass is made too, with its short runs dissolved.
        adapting: a session that adapts, to run the clip through too. Its memory starts from scratch; what it has
            adapted to stays.
    """
    shown = model_times or embeddings
    session, second, adapted = Session(model), None, None
    if two_pass:
        predictions = list(predict_embeddings(session, shown.frames(), shown.embeddings.to(model.device)))
    else:
        predictions = session.push_embeddings(shown.frames(), shown.embeddings.to(model.device))
    times = embeddings.times
    truth = clip.targets(times, dataset.labels, dataset.background)
    clock = monotonic_times(times)
    memory, frame = (
        np.stack(part)
        for part in zip(
            *((p.scores if p.causal_scores is None else p.causal_scores, p.frame_scores) for p in predictions),
            strict=True,
        )
    )
    if two_pass:
        decided = np.array([p.label_index for p in predictions])
        second = ClipScores(truth, np.stack([p.scores for p in predictions]), clock, decided)
    if adapting is not None:
        adapting.reset(keep_adaptation=True)
        after = adapting.push_embeddings(shown.frames(), shown.embeddings.to(model.device))
        adapted = ClipScores(truth, np.stack([p.scores for p in after]), clock)
    return ClipResult(clip, ClipScores(truth, memory, clock), ClipScores(truth, frame, clock), second, adapted)


def mix_clip_scores(forward: ClipScores, backward: ClipScores) -> ClipScores:
    """Return the scores of two passes, from those of heads that saw a clip from both sides; short runs are dissolved.

    Args:
        forward, backward: of the same frames, in their order.
    """
    logs = [
        torch.from_numpy(np.log(np.maximum(side.scores, MIN_PROBABILITY, dtype=np.float64)))
        for side in (forward, backward)
    ]
    mixed = MULTICLASS.mix(*logs)
    decided = calm_labels(
        MULTICLASS.decide(mixed).numpy(), forward.times, lambda start, stop: mixed[start:stop].numpy()
    )
    return ClipScores(forward.truth, MULTICLASS.scores(mixed).numpy(), forward.times, decided)


def evaluate_model(
    model: Model,
    dataset: Dataset,
    store: EmbeddingStore,
    *,
    degrade: bool = False,
    two_pass: bool = False,
    adapt: bool = False,
    on_clip: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a model on a dataset; return every figure as the evaluation's JSON.

    Args:
        model: its labels include those of the dataset, in any order.
        dataset: readable clips.
        store: embeddings by the model's own backbone.
        degrade: also evaluate noise, blur and darkness, which embeds every clip again for each level; and with a
            motion crop, dropped frames and blackouts, which then embed every clip again too.
        two_pass: also evaluate the clips with two passes, see `predict`.
        adapt: also evaluate a memory that adapts to the clips of each group, one after the other, see `Session`.
        on_clip: called with the name of a clip, `count_passes` times for each.

    Raises:
        UsageError: the dataset has labels that the model does not have; or two passes, and it has no backward head; or
            it cannot adapt, and should.
        SourceError: a clip cannot be read.
    """
    dataset = with_model_labels(dataset, model.labels)
    evaluator = _Evaluator(model, dataset, store, on_clip)
    sessions = {clip.group: Session(model, adapt=True) for clip in dataset.clips} if adapt else {}
    results = [
        evaluator.run(clip, store.get(clip.path), two_pass=two_pass, adapting=sessions.get(clip.group))
        for clip in dataset.clips
    ]
    curves = degradation_curves(motion_crop=model.backbone.motion_crop, degrade=degrade)
    return {
        **summarize_results(results, dataset, store.files),
        "model": describe_model(model),
        "robustness_metric": evaluator.accuracy.__name__,
        "robustness": {
            name: [evaluator.run_level(level, results) for level in levels] for name, levels in curves.items()
        },
    }


@dataclass(slots=True)
class _Evaluator:
    """Runs a model over the clips of a dataset, unchanged and degraded."""

    model: Model
    dataset: Dataset
    store: EmbeddingStore
    on_clip: Callable[[str], None]
    accuracy: Callable[[Sequence[ClipScores]], float] = field(init=False)
    _black: Tensor = field(init=False)  # embedding of a black frame

    def __post_init__(self) -> None:
        whole_clip = all(clip.label is not None for clip in self.dataset.clips)
        self.accuracy = clip_accuracy if whole_clip else frame_accuracy
        self._black = self.model.embed([np.zeros((8, 8, 3), np.uint8)])[0].cpu()

    def run(
        self,
        clip: Clip,
        embeddings: ClipEmbeddings,
        model_times: ClipEmbeddings | None = None,
        *,
        two_pass: bool = False,
        adapting: Session | None = None,
    ) -> ClipResult:
        """Run one clip, and report it."""
        self.on_clip(clip.name)
        return run_clip(
            self.model,
            self.dataset,
            clip,
            embeddings,
            model_times=model_times,
            two_pass=two_pass,
            adapting=adapting,
        )

    def run_level(self, level: DegradationLevel, unchanged: Sequence[ClipResult]) -> dict[str, Any]:
        """Return one point of a robustness curve; `unchanged` are the results of the clips as they are."""
        results, without_dt = list(unchanged) if level.unchanged else [], []
        for number, clip in enumerate(self.dataset.clips if level.without_dt or not level.unchanged else ()):
            whole = self.store.get(clip.path, level.view)
            embeddings = self._degrade(level, clip, number, whole)
            if not level.unchanged:
                results.append(self.run(clip, embeddings))
            if level.without_dt:
                without_dt.append(self.run(clip, embeddings, evenly_spaced(embeddings, whole)))
        row: dict[str, Any] = {"level": level.level, "text": level.text}
        row |= {side: self.accuracy([getattr(result, side) for result in results]) for side in SIDES}
        if level.without_dt:
            row["memory_without_dt"] = self.accuracy([result.memory for result in without_dt])
        return row

    def _degrade(self, level: DegradationLevel, clip: Clip, number: int, whole: ClipEmbeddings) -> ClipEmbeddings:
        if level.select is None:
            return whole
        kept = level.select(whole.times, np.random.default_rng(number))
        if not self.model.backbone.motion_crop:
            return select_embeddings(whole, kept, self._black)
        return self.store.embed_changed(clip.path, partial(select_frames, kept=kept))


def count_passes(model: Model, *, degrade: bool) -> int:
    """Return how many times `evaluate_model` runs every clip."""
    curves = degradation_curves(motion_crop=model.backbone.motion_crop, degrade=degrade)
    return 1 + sum((not level.unchanged) + level.without_dt for levels in curves.values() for level in levels)


def summarize_results(results: Sequence[ClipResult], dataset: Dataset, files: FileOptions) -> dict[str, Any]:
    """Return the part of the evaluation that follows from the scores of the clips: metrics and timelines.

    Args:
        results: of all clips.
        dataset: the clips.
        files: how their files are read.
    """
    whole_clip = all(result.clip.label is not None for result in results)
    metrics = {
        side: classification_metrics(
            [getattr(result, side) for result in results],
            dataset.labels,
            background=dataset.background,
            whole_clip=whole_clip,
        )
        for side in sides_of(results)
    }
    seconds = sum(last_frame_end(result.memory.times) - result.memory.times[0] for result in results)
    return {
        "format": EVALUATION_FORMAT,
        "version": EVALUATION_VERSION,
        "data": {
            "name": dataset.root.name,
            "videos": len(results),
            "frames": sum(len(result.memory.truth) for result in results),
            "seconds": float(seconds),
            "background": dataset.background,
            "notes": list(dataset.notes),
        },
        "clip_accuracy": metrics["memory"]["clip_accuracy"],
        **metrics,
        "videos": video_rows(results, files),
    }


def sides_of(results: Sequence[ClipResult]) -> tuple[str, ...]:
    """Return the names of the scores that all results have: those of `SIDES`, and others where they were asked for."""
    more = [side for side in (TWO_PASS, ADAPTED) if all(getattr(result, side) is not None for result in results)]
    return (*SIDES, *more)


def describe_model(model: Model) -> dict[str, Any]:
    """Return the "model" part of the evaluation."""
    return {
        "name": model.name,
        "cell": model.head.config.cell,
        "backbone": model.backbone.name,
        "parameters": sum(p.numel() for p in model.head.parameters()),
        "labels": list(model.labels),
    }


def with_model_labels(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """Return the dataset with the labels of a model, in the model's order.

    Raises:
        UsageError: the dataset has labels that the model does not have.
    """
    missing = [label for label in dataset.labels if label not in labels]
    if missing:
        raise UsageError(
            f"the data has labels that the model does not know: {', '.join(missing)}; it knows {', '.join(labels)}"
        )
    return replace(dataset, labels=tuple(labels))


def video_rows(results: Sequence[ClipResult], files: FileOptions) -> list[dict[str, Any]]:
    """Return the "videos" part of the evaluation, worst first; the worst misclassified videos have a still."""
    ordered = sorted(results, key=mean_true_probability)
    rows = [video_timeline(result) for result in ordered]
    wrong = [i for i, row in enumerate(rows) if not row["right"]]
    for i in wrong[:MAX_STILLS]:
        rows[i] |= worst_frame(ordered[i], files)
    return rows


def worst_frame(result: ClipResult, files: FileOptions) -> dict[str, Any]:
    """Return the frame where a wrong label scored highest, with time, label and score; {} if it cannot be read."""
    clip = result.memory
    wrong = clip.scores.copy()
    wrong[np.arange(len(wrong)), clip.truth] = -1.0
    index, label = np.unravel_index(wrong.argmax(), wrong.shape)
    time = max(0.0, float(clip.times[index]))
    try:
        with files.open(result.clip.path, start=time) as reader:
            picture = encode_data_uri(next(iter(reader)).image)
    except (SourceError, StopIteration):
        return {}
    return {
        "still": picture,
        "still_time": round(time, 4),
        "still_prediction": int(label),
        "still_score": round(float(wrong[index, label]), 4),
    }


def mean_true_probability(result: ClipResult) -> float:
    """Return the mean probability of the true class, which orders clips from worst to best."""
    clip = result.memory
    return float(clip.scores[np.arange(len(clip.truth)), clip.truth].mean())


def video_timeline(result: ClipResult) -> dict[str, Any]:
    """Return a clip's row of the evaluation, thinned to `MAX_TIMELINE_POINTS` frames."""
    clip, memory, frame = result.clip, result.memory, result.frame
    points = np.unique(np.linspace(0, len(memory.truth) - 1, MAX_TIMELINE_POINTS).round().astype(int))
    whole_clip = clip.label is not None
    memory_class, frame_class = (side.clip_predicted if whole_clip else None for side in (memory, frame))
    right = memory_class == memory.truth[0] if whole_clip else bool((memory.predicted == memory.truth).mean() >= 0.5)
    more: dict[str, Any] = {}
    for name, side in ((TWO_PASS, result.two_pass), (ADAPTED, result.adapted)):
        if side is not None:
            more[name] = side.predicted[points].tolist()
            more[f"{name}_clip_prediction"] = side.clip_predicted if whole_clip else None
    return {
        "name": clip.name,
        "label": clip.label,
        "group": clip.group,
        "times": [round(float(t), 4) for t in memory.times[points]],
        "truth": memory.truth[points].tolist(),
        "memory": memory.predicted[points].tolist(),
        "frame": frame.predicted[points].tolist(),
        **more,
        "score": [round(float(s), 4) for s in memory.scores.max(1)[points]],
        "right": bool(right),
        "clip_prediction": memory_class,
        "frame_clip_prediction": frame_class,
    }


def measure_latency(model: Model, path: Path, files: FileOptions, *, frames: int = 120) -> dict[str, Any]:
    """Measure the milliseconds from a decoded frame to its prediction, one frame at a time, as in a live stream."""
    session, durations = Session(model), []
    with files.open(path) as reader:
        for frame in islice(reader, frames + WARM_UP_FRAMES):
            start = time.perf_counter()
            session.push(frame)
            durations.append((time.perf_counter() - start) * 1000)
    timed = durations[WARM_UP_FRAMES:] or durations
    p50, p95 = np.percentile(timed, (50, 95))
    return {
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "frames": len(timed),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
    }
