"""The card of a trained model, in the Hugging Face form, filled in with its data, its training and its scores."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liquidvision.models.model import Model
from liquidvision.training.recipe import Plan
from liquidvision.training.trainer import EpochRow

HEAD = """---
library_name: liquidvision
pipeline_tag: video-classification
tags: [liquid-neural-network, {cell}]
---
"""


def model_card_text(
    model: Model,
    folder: Path,
    plan: Plan,
    data: Mapping[str, Any],
    history: Sequence[EpochRow],
    evaluation: Mapping[str, Any],
) -> str:
    """README.md of a trained model's folder."""
    command = f"-m {shlex.quote(str(folder))}"
    config, recipe, scores = model.head_config, plan.recipe, evaluation
    parts = {part: len(names) for part, names in data["parts"].items()}
    by = "group" if data["grouped"] else "video"
    if plan.folds:
        how = (
            f"Cross-validation by {by} in {plan.folds} folds: every clip is judged by a head that never saw it. "
            "The model in this folder was trained on all clips."
        )
        if plan.seeds > 1:
            own = scores["compare"]["rows"][0]
            how += (
                f"\nOf {plan.seeds} seeds, {scores['compare']['metric'].partition('_')[0]}s right with memory: mean "
                f"{format_share(own['mean'])}, standard deviation {format_share(own['sd_seeds'])}. Below: seed 1."
            )
    else:
        how = (
            f"Split by {by} with seed {recipe.seed} (split.json): "
            + ", ".join(f"{count} clips {part}" for part, count in parts.items())
            + ". Below: the test part, which training never saw."
        )
    rows = [
        ("clips right", "clip_accuracy", format_share),
        ("frames right", "frame_accuracy", format_share),
        ("mean class accuracy", "mean_class_accuracy", format_share),
        ("mean average precision", "map", format_share),
        ("segment edit score", "edit", format_number),
        ("flips a minute beyond the truth", "flips_per_minute", format_number),
        ("calibration error", "ece", format_share),
    ]
    table = "\n".join(
        f"| {text} | {show(scores['memory'].get(name))} | {show(scores['frame'].get(name))} |"
        for text, name, show in rows
        if scores["memory"].get(name) is not None
    )
    temperature = scores["training"]["temperature"]
    fitted = (
        "in cross-validation; the calibration error below is from before it" if plan.folds else "on the validation part"
    )
    look = ", of a square around what moves" if model.backbone.motion_crop else ""
    nodes = ", ".join(f"`{node}` ({side} x {side})" for node, side in model.backbone.nodes.items())
    return f"""{HEAD.format(cell=config.cell)}
# {model.name}

Tells {len(model.labels)} classes in video: {", ".join(model.labels)}.

```sh
liquidvision infer clip.mp4 {command}
```

## Made of

- Backbone: torchvision's {model.backbone.name}, frozen, {model.backbone.preprocessing.size[0]} pixels{look};
  embedding of {model.backbone.dim} numbers from {nodes}.
- Head: whitened to {config.components}, traces with τ of {", ".join(f"{tau:g}" for tau in config.taus)} s, projection
  to {config.width}, {config.units} units ({config.cell}); {scores["model"]["parameters"]:,} trained parameters.

## Trained on

{data["name"]}: {sum(parts.values())} clips{f", background class {data['background']}" if data["background"] else ""}.
{how}
{len(history)} of at most {recipe.epochs} epochs, AdamW, learning rate {recipe.learning_rate:g}, weight decay
{recipe.weight_decay:g}, batches of {recipe.batch}, label smoothing {recipe.smoothing:g}, noise {recipe.noise:g}, up to
{recipe.most_dropped:.0%} of the frames left out with their Δt handed over, {recipe.preceded:.0%} of the clips of one
label after the end of another; views: {", ".join(plan.views)}; seed
{recipe.seed}. Logits are divided by {temperature["memory"]:.3g} with memory and by {temperature["frame"]:.3g} by each
frame alone, temperatures fitted {fitted}.

## How well it does

| | with memory | each frame alone |
|---|---|---|
{table}

Of {scores["data"]["videos"]} videos, {scores["data"]["seconds"]:.0f} s. More in evaluation.json;
`liquidvision eval DATA {command} --report report.html` makes a page of it.

## Limits

It knows these classes and these recordings' places, people and cameras; what lies beyond was not measured. Whose
pictures these are, and whether they may be used for it, is for whoever trained it to say here.
"""


def format_share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
