"""How a model was trained, as recorded in its folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liquidvision.data.views import PLAIN_VIEW
from liquidvision.evaluation.evaluation_file import EVALUATION_FORMAT, EVALUATION_VERSION
from liquidvision.training.recipe import Recipe, default_plan


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
