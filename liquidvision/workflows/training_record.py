"""How a training is recorded in the model's folder, written and read."""

import csv
import io
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from liquidvision.data.dataset import Dataset
from liquidvision.data.splits import Split, read_split
from liquidvision.data.views import PLAIN_VIEW
from liquidvision.errors import SinkError
from liquidvision.evaluation.evaluation_file import EVALUATION_FORMAT, EVALUATION_VERSION
from liquidvision.files import write_atomic
from liquidvision.models.folder import encode_safetensors, read_tensors
from liquidvision.models.model import Model
from liquidvision.training.recipe import Recipe, default_plan
from liquidvision.training.trainer import EpochRow

METRICS_FILE, SPLIT_FILE, EVALUATION_FILE = "metrics.csv", "split.json", "evaluation.json"
REPORT_FILE = "report.html"
SPLIT_HEAD_FILE = "split.safetensors"  # the head that was evaluated before the refit


def dataset_facts(dataset: Dataset, parts: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return what distinguishes a dataset and its split from others: labels, clips, annotations and parts."""
    return {
        "name": dataset.root.name,
        "labels": list(dataset.labels),
        "background": dataset.background,
        "grouped": dataset.grouped,
        "clips": {clip.name: [clip.label, clip.group, *(astuple(i) for i in clip.intervals)] for clip in dataset.clips},
        "parts": {part: list(names) for part, names in parts.items()},
    }


def training_curve(history: list[EpochRow]) -> dict[str, Any]:
    """Return the losses by epoch, as the evaluation's "training" has them."""
    return {
        "epochs": [row.epoch for row in history],
        "loss": [finite_or_none(row.loss) for row in history],
        "validation": [finite_or_none(row.validation_loss) for row in history],
        "metric": "loss",
    }


def finite_or_none(value: float | None) -> float | None:
    """Return a number that JSON can express, or None."""
    return value if value is not None and math.isfinite(value) else None


def write_metrics(path: Path, history: list[EpochRow]) -> None:
    """Write metrics.csv, a line for every epoch so far."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [column.name for column in fields(EpochRow)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def read_training_record(path: Path) -> dict[str, Any]:
    """Return the "training" of an evaluation file; empty if the file is missing or is no evaluation."""
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        if (evaluation["format"], evaluation["version"]) != (EVALUATION_FORMAT, EVALUATION_VERSION):
            return {}
        return dict(evaluation["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def recipe_of_record(training: Mapping[str, Any], clips: int) -> tuple[Recipe, tuple[str, ...], int]:
    """Return the recipe, views and stride of a training; if they are incomplete, the defaults for that many clips."""
    try:
        plan = training["plan"]
        return Recipe(**plan["recipe"]), tuple(map(str, plan["views"])), int(plan["stride"])
    except (KeyError, TypeError, ValueError):
        return default_plan(clips).recipe, (PLAIN_VIEW,), 1


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """How a model was trained, as far as its folder says.

    Attributes:
        folder: the model's; None where the model was never saved.
        figures: the "training" of its evaluation; empty where unknown.
        recipe, views, stride: those of its training; where unknown, the defaults for the number of clips.
        split: the split of the data that it was trained on; None where unknown.
    """

    folder: Path | None
    figures: Mapping[str, Any]
    recipe: Recipe
    views: tuple[str, ...]
    stride: int
    split: Split | None

    @property
    def keeps_split_model(self) -> bool:
        """Whether the folder keeps the model of the split, which was evaluated before the saved one was trained."""
        return self.folder is not None and "refit" in self.figures and (self.folder / SPLIT_HEAD_FILE).is_file()

    @classmethod
    def of_model(cls, model: Model, clips: int) -> "TrainingHistory":
        """Read the history of a model; `clips` is the number of clips that the defaults are for."""
        folder = model.folder
        figures = {} if folder is None else read_training_record(folder / EVALUATION_FILE)
        recipe, views, stride = recipe_of_record(figures, clips)
        split = None
        if folder is not None and (folder / SPLIT_FILE).is_file():
            split = read_split(folder / SPLIT_FILE)
        return cls(folder, figures, recipe, views, stride, split)


def encode_heads(model: Model) -> bytes:
    """Return the content of `SPLIT_HEAD_FILE`: the weights of a model without its backbone."""
    tensors = {name: value for name, value in model.tensors().items() if not name.startswith("backbone.")}
    return encode_safetensors(tensors, {})


def load_split_model(model: Model, folder: Path) -> Model:
    """Return the model of the split: the same as `model`, from `folder`, with the heads from before the refit.

    Raises:
        ModelError: the file of the heads is damaged or belongs to another model.
    """
    path = folder / SPLIT_HEAD_FILE
    tensors, _ = read_tensors(path)
    before = Model(
        model.backbone,
        deepcopy(model.head),
        model.labels,
        name=model.name,
        first_dt=model.first_dt,
        task=model.task,
        backward_head=deepcopy(model.backward_head),
    )
    before.load_heads(path, tensors)
    before.interval_rule = model.interval_rule
    return before
