"""Results of a cross-validation: scores of every clip by every model, merged from folds that are saved as files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from liquidvision.errors import ModelError, SinkError
from liquidvision.metrics.classification import ClipScores
from liquidvision.models.folder import read_tensors, write_tensors

FOLD_FORMAT = "liquidvision-fold-2"
CLIP_ARRAYS = ("truth", "scores", "times")
SeedScores = list[list[ClipScores]]  # (seeds, clips)


@dataclass(slots=True)
class Results:
    """Scores of every clip of a dataset, by model and seed.

    Attributes:
        scores: the scores by model: (seeds, clips).
        stressed: the same for each stress test, by its name.
        frame_scores: the scores of each frame alone, by the readout that all heads share: (seeds, clips).
        forgetting: what `forgetting_curves` returned for each fold.
        tuned: the tuned parameters of each fold as text, by baseline.
        parameters: number of trained parameters by head, without the readout of single frames.
    """

    scores: dict[str, SeedScores] = field(default_factory=dict)
    stressed: dict[str, dict[str, SeedScores]] = field(default_factory=dict)
    frame_scores: SeedScores = field(default_factory=list)
    forgetting: list[dict[str, Any]] = field(default_factory=list)
    tuned: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)

    def merge_fold(self, fold: "Results", seed_number: int, indices: Sequence[int], clips: int) -> None:
        """Add the results of one fold.

        Args:
            fold: results of one seed on the clips of one fold.
            seed_number: 0 for the first seed.
            indices: indices of the fold's clips in the dataset.
            clips: number of clips in the dataset.
        """

        def put(whole: SeedScores, part: SeedScores) -> None:
            if len(whole) == seed_number:
                whole.append([None] * clips)  # type: ignore[list-item]
            for index, clip in zip(indices, part[0], strict=True):
                whole[seed_number][index] = clip

        put(self.frame_scores, fold.frame_scores)
        pairs = [(self.scores, fold.scores)]
        pairs += [(self.stressed.setdefault(test, {}), scores) for test, scores in fold.stressed.items()]
        for merged, part in pairs:
            for name, scores in part.items():
                put(merged.setdefault(name, []), scores)
        self.forgetting += fold.forgetting
        for name, tuned in fold.tuned.items():
            self.tuned.setdefault(name, []).extend(tuned)
        self.parameters |= fold.parameters


def save_fold(path: Path, fold: Results) -> None:
    """Write the results of one fold.

    Raises:
        SinkError: the file cannot be written.
    """
    about = {
        "tuned": fold.tuned,
        "forgetting": fold.forgetting,
        "parameters": fold.parameters,
        "tracks": list(fold.scores),
        "harder": {test: list(scores) for test, scores in fold.stressed.items()},
    }
    tensors = {}
    stressed = [scores for by_model in fold.stressed.values() for scores in by_model.values()]
    for i, (clips,) in enumerate([fold.frame_scores, *fold.scores.values(), *stressed]):
        tensors[f"{i}.lengths"] = torch.tensor([len(clip.truth) for clip in clips])
        for part in CLIP_ARRAYS:
            tensors[f"{i}.{part}"] = torch.from_numpy(np.concatenate([getattr(clip, part) for clip in clips]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, {"format": FOLD_FORMAT, "fold": json.dumps(about)})
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def read_fold(path: Path) -> Results | None:
    """Return what `save_fold` wrote; None if the file does not exist or is damaged, so that the fold is run again."""
    try:
        tensors, metadata = read_tensors(path)
    except ModelError:
        return None
    if metadata.get("format") != FOLD_FORMAT:
        return None
    about = json.loads(metadata["fold"])

    def clips(i: int) -> SeedScores:
        edges = tensors[f"{i}.lengths"].cumsum(0)[:-1].numpy()
        parts = (np.split(tensors[f"{i}.{part}"].numpy(), edges) for part in CLIP_ARRAYS)
        return [[ClipScores(*row) for row in zip(*parts, strict=True)]]

    numbers = count()
    return Results(
        frame_scores=clips(next(numbers)),
        scores={name: clips(next(numbers)) for name in about["tracks"]},
        stressed={test: {name: clips(next(numbers)) for name in names} for test, names in about["harder"].items()},
        tuned=about["tuned"],
        forgetting=about.get("forgetting", []),
        parameters=about["parameters"],
    )
