"""How a model was trained, as far as its folder tells."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liquidvision.data.views import PLAIN_VIEW
from liquidvision.evaluation.evaluation_file import EVALUATION_FORMAT, EVALUATION_VERSION
from liquidvision.training.recipe import Recipe, default_plan


def read_training_record(path: Path) -> dict[str, Any]:
    """The "training" of the evaluation in a file; empty where there is none, or it cannot be read as one."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if (told["format"], told["version"]) != (EVALUATION_FORMAT, EVALUATION_VERSION):
            return {}
        return dict(told["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def recipe_of_record(training: Mapping[str, Any], clips: int) -> tuple[Recipe, tuple[str, ...], int]:
    """The recipe, views and stride of a training; where it does not tell, what suits so many clips."""
    try:
        plan = training["plan"]
        return Recipe(**plan["recipe"]), tuple(map(str, plan["views"])), int(plan["stride"])
    except (KeyError, TypeError, ValueError):
        return default_plan(clips).recipe, (PLAIN_VIEW,), 1
