"""How well a model does on annotated clips, and whether its memory helped: figures for JSON and the report."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import SourceError, UsageError
from liquidvision.evaluation.robustness import (
    DegradationLevel,
    degradation_curves,
    evenly_spaced,
    keep_frames,
    keep_pictures,
)
from liquidvision.inference.session import Session
from liquidvision.metrics.classification import ClipScores, classification_metrics, clip_accuracy, frame_accuracy
from liquidvision.metrics.segments import last_frame_end
from liquidvision.models.model import Model
from liquidvision.video.read.open import open_video
from liquidvision.video.write.images import encode_data_uri

POINTS = 400  # of a video's timeline
STILLS = 6  # worst clips that are shown by a picture
WARM_UP = 10  # frames that are not timed
SIDES = ("memory", "frame")


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What a model says of one clip: tracks with memory and by each frame alone."""

    clip: Clip
    memory: ClipScores
    frame: ClipScores


def run_clip(
    model: Model, dataset: Dataset, clip: Clip, features: ClipEmbeddings, *, told: ClipEmbeddings | None = None
) -> ClipResult:
    """Run a clip's embeddings through a `Session` of its own, as `predict` does with its frames.

    Args:
        model, dataset, clip: who is judged, on what.
        features: the clip's frames; their times say what is true of each.
        told: the same frames with the times that the model is told, where those are others.
    """
    told = told or features
    said = Session(model).push_embeddings(told.frames(), told.embeddings.to(model.device))
    times = features.times
    truth = clip.targets(times, dataset.labels, dataset.background)
    clock = np.maximum.accumulate(times)
    memory, frame = (np.stack(scores) for scores in zip(*((p.scores, p.frame_scores) for p in said), strict=True))
    return ClipResult(clip, ClipScores(truth, memory, clock), ClipScores(truth, frame, clock))


def evaluate_model(
    model: Model,
    dataset: Dataset,
    store: EmbeddingStore,
    *,
    degrade: bool = False,
    on_clip: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Every figure of a model on a dataset, as the evaluation's JSON.

    Args:
        model: its labels are those of the dataset, in any order.
        dataset: clips that can be read.
        store: embeddings by the model's own backbone.
        degrade: also noise, blur and darkness, for each level of which every clip is embedded again; and, where the
            backbone looks at what moves, frames left out and blackouts, which are then embedded again too.
        on_clip: called with a clip's name, `count_passes` times for each.

    Raises:
        UsageError: a dataset with labels that the model does not have.
        SourceError: a clip that cannot be read.
    """
    dataset = with_model_labels(dataset, model.labels)
    whole = all(clip.label is not None for clip in dataset.clips)
    judge = clip_accuracy if whole else frame_accuracy

    def see(clip: Clip, features: ClipEmbeddings, told: ClipEmbeddings | None = None) -> ClipResult:
        on_clip(clip.name)
        return run_clip(model, dataset, clip, features, told=told)

    def seen_at(level: DegradationLevel, clip: Clip, number: int, whole: ClipEmbeddings) -> ClipEmbeddings:
        if level.change is None:
            return whole
        left = level.change(whole.times, np.random.default_rng(number))
        if model.backbone.look == "whole":
            return keep_frames(whole, left, black)
        return store.again(clip.path, partial(keep_pictures, left=left))

    def point(level: DegradationLevel) -> dict[str, Any]:
        watched, blind = list(plain) if level.untouched else [], []
        for number, clip in enumerate(dataset.clips if level.blind or not level.untouched else ()):
            whole = store.get(clip.path, level.view)
            features = seen_at(level, clip, number, whole)
            if not level.untouched:
                watched.append(see(clip, features))
            if level.blind:
                blind.append(see(clip, features, evenly_spaced(features, whole)))
        row: dict[str, Any] = {"level": level.level, "text": level.text}
        row |= {side: judge([getattr(w, side) for w in watched]) for side in SIDES}
        if level.blind:
            row["memory_without_dt"] = judge([w.memory for w in blind])
        return row

    plain = [see(clip, store.get(clip.path)) for clip in dataset.clips]
    black = model.embed([np.zeros((8, 8, 3), np.uint8)])[0].cpu()
    asked = degradation_curves(look=model.backbone.look, degrade=degrade).items()
    return {
        **evaluation_figures(plain, dataset),
        "model": describe_model(model),
        "robustness_metric": judge.__name__,
        "robustness": {name: [point(level) for level in levels] for name, levels in asked},
    }


def count_passes(model: Model, *, degrade: bool) -> int:
    """How many times `evaluate_model` goes over every clip."""
    levels = [
        level for curve in degradation_curves(look=model.backbone.look, degrade=degrade).values() for level in curve
    ]
    return 1 + sum((not level.untouched) + level.blind for level in levels)


def encode_evaluation(evaluation: Mapping[str, Any]) -> bytes:
    """An evaluation as JSON; a name that is no text, of a file for instance, is escaped."""
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def evaluation_figures(watched: Sequence[ClipResult], dataset: Dataset) -> dict[str, Any]:
    """The part of the evaluation that hangs on what was said of the clips alone."""
    whole = all(w.clip.label is not None for w in watched)
    measured = {
        side: classification_metrics(
            [getattr(w, side) for w in watched], dataset.labels, background=dataset.background, whole_clip=whole
        )
        for side in SIDES
    }
    return {
        "format": "liquidvision-evaluation",
        "version": 1,
        "data": {
            "name": dataset.root.name,
            "videos": len(watched),
            "frames": sum(len(w.memory.truth) for w in watched),
            "seconds": float(sum(last_frame_end(w.memory.times) - w.memory.times[0] for w in watched)),
            "background": dataset.background,
            "notes": list(dataset.notes),
        },
        "clip_accuracy": measured["memory"]["clip_accuracy"],
        **measured,
        "videos": video_rows(watched),
    }


def describe_model(model: Model) -> dict[str, Any]:
    """The evaluation's "model"."""
    return {
        "name": model.name,
        "cell": model.head.config.cell,
        "backbone": model.backbone.name,
        "parameters": sum(p.numel() for p in model.head.parameters()),
        "labels": list(model.labels),
    }


def with_model_labels(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """The dataset with a model's labels in the model's order, or UsageError where the model lacks one of its own."""
    missing = [label for label in dataset.labels if label not in labels]
    if missing:
        raise UsageError(
            f"the data has labels that the model does not know: {', '.join(missing)}; it knows {', '.join(labels)}"
        )
    return replace(dataset, labels=tuple(labels))


def video_rows(watched: Sequence[ClipResult]) -> list[dict[str, Any]]:
    """The evaluation's "videos", worst first; the worst of those that went wrong with a still."""
    ordered = sorted(watched, key=mean_true_probability)
    made = [video_timeline(w) for w in ordered]
    wrong = [i for i, row in enumerate(made) if not row["right"]]
    for i in wrong[:STILLS]:
        made[i] |= worst_frame(ordered[i])
    return made


def worst_frame(watched: ClipResult) -> dict[str, Any]:
    """The frame at which a wrong label was surest, with when, which and how sure; nothing where it cannot be read."""
    track = watched.memory
    wrong = track.scores.copy()
    wrong[np.arange(len(wrong)), track.truth] = -1.0
    place, label = np.unravel_index(wrong.argmax(), wrong.shape)
    time = max(0.0, float(track.times[place]))
    try:
        with open_video(watched.clip.path, start=time) as reader:
            picture = encode_data_uri(next(iter(reader)).image)
    except (SourceError, StopIteration):
        return {}
    return {
        "still": picture,
        "still_time": round(time, 4),
        "still_prediction": int(label),
        "still_score": round(float(wrong[place, label]), 4),
    }


def mean_true_probability(watched: ClipResult) -> float:
    """How well a clip was done, to order them, worst first: the mean probability of the truth."""
    track = watched.memory
    return float(track.scores[np.arange(len(track.truth)), track.truth].mean())


def video_timeline(watched: ClipResult) -> dict[str, Any]:
    """A clip's row in the evaluation, thinned to `POINTS` frames."""
    clip, memory, frame = watched.clip, watched.memory, watched.frame
    places = np.unique(np.linspace(0, len(memory.truth) - 1, POINTS).round().astype(int))
    whole = clip.label is not None
    decided, alone = (int(side.clip_scores.argmax()) if whole else None for side in (memory, frame))
    right = decided == memory.truth[0] if whole else bool((memory.predicted == memory.truth).mean() >= 0.5)
    return {
        "name": clip.name,
        "label": clip.label,
        "group": clip.group,
        "times": [round(float(t), 4) for t in memory.times[places]],
        "truth": memory.truth[places].tolist(),
        "memory": memory.predicted[places].tolist(),
        "frame": frame.predicted[places].tolist(),
        "score": [round(float(s), 4) for s in memory.scores.max(1)[places]],
        "right": bool(right),
        "clip_prediction": decided,
        "frame_clip_prediction": alone,
    }


def measure_latency(model: Model, path: Path, *, frames: int = 120) -> dict[str, Any]:
    """Milliseconds from a decoded frame to its prediction, frame by frame, as a live source has it: p50 and p95."""
    session, spent = Session(model), []
    with open_video(path) as reader:
        for frame in islice(reader, frames + WARM_UP):
            begun = time.perf_counter()
            session.push(frame)
            spent.append((time.perf_counter() - begun) * 1000)
    p50, p95 = np.percentile(spent[WARM_UP:] or spent, (50, 95))
    return {
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "frames": len(spent[WARM_UP:] or spent),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
    }
