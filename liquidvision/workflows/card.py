"""The model card of a trained model, in Hugging Face's form: its data, training and figures."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liquidvision.models.model import Model
from liquidvision.training.recipe import Plan
from liquidvision.training.trainer import EpochRow

HEADER = """---
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
    """Return README.md of a trained model's folder.

    Args:
        model: the trained model.
        folder: its folder, as the user named it.
        plan: what was trained.
        data: see `dataset_facts`.
        history: the rows of the training.
        evaluation: all figures.
    """
    command = f"-m {shlex.quote(str(folder))}"
    config, recipe = model.head_config, plan.recipe
    parts = {part: len(names) for part, names in data["parts"].items()}
    temperature = evaluation["training"]["temperature"]
    fitted = (
        "in cross-validation; the calibration error below is from before it"
        if plan.folds
        else "on the validation part, before the refit"
        if "refit" in evaluation["training"]
        else "on the validation part"
    )
    crop = ", of a square crop around what moves" if model.backbone.motion_crop else ""
    nodes = ", ".join(f"`{node}` ({side} x {side})" for node, side in model.backbone.nodes.items())
    return f"""{HEADER.format(cell=config.cell)}
# {model.name}

Classifies video into {len(model.labels)} classes: {", ".join(model.labels)}.

```sh
liquidvision infer clip.mp4 {command}
```
{describe_two_passes(model, command)}
## Architecture

- Backbone: torchvision's {model.backbone.name}, frozen, {model.backbone.preprocessing.size[0]} pixels{crop};
  embedding of {model.backbone.dim} numbers from {nodes}.
- Head: whitened to {config.components}, traces with τ of {", ".join(f"{tau:g}" for tau in config.taus)} s, projection
  to {config.width}, {config.units} units ({config.cell}); {evaluation["model"]["parameters"]:,} trained parameters.
{"- With `--adapt` it adapts to a new person, place or light, without labels." if model.head.adapts else ""}

## Training

{data["name"]}: {sum(parts.values())} clips{f", background class {data['background']}" if data["background"] else ""}.
{describe_split(plan, data, parts, evaluation)}
{len(history)} of at most {recipe.epochs} epochs, AdamW, learning rate {recipe.learning_rate:g}, weight decay
{recipe.weight_decay:g}, batches of {recipe.batch}, label smoothing {recipe.smoothing:g}, noise {recipe.noise:g}, up to
{recipe.most_dropped:.0%} of the frames dropped with the others at their times, {recipe.preceded:.0%} of the clips of
one label after the end of another; views: {", ".join(plan.views)}; seed
{recipe.seed}. Logits are divided by {temperature["memory"]:.3g} with memory and by {temperature["frame"]:.3g} by each
frame alone, temperatures fitted {fitted}.

## Figures

{figure_table(evaluation)}

On {evaluation["data"]["videos"]} videos, {evaluation["data"]["seconds"]:.0f} s. All figures are in evaluation.json;
`liquidvision eval DATA {command} --report report.html` makes a report of them.

## Limits

The model knows these classes, and the places, people and cameras of these recordings; anything else was not measured.
Add here whose recordings these are, and whether they may be used for this.
"""


def describe_split(plan: Plan, data: Mapping[str, Any], parts: Mapping[str, int], evaluation: Mapping[str, Any]) -> str:
    """Return how the clips were split into what was trained on and what was evaluated."""
    by = "group" if data["grouped"] else "video"
    if not plan.folds:
        counts = ", ".join(f"{count} clips {part}" for part, count in parts.items())
        seed = plan.recipe.seed
        text = f"Split by {by} with seed {seed} (split.json): {counts}. Below: the test part, unseen in training."
        return text + describe_last_training(evaluation)
    text = (
        f"Cross-validation by {by} in {plan.folds} folds: every clip is evaluated by a head that never saw it. "
        "The model in this folder was trained on all clips."
    )
    if plan.seeds > 1:
        own, metric = evaluation["compare"]["rows"][0], evaluation["compare"]["metric"].partition("_")[0]
        mean, deviation = format_share(own["mean"]), format_share(own["sd_seeds"])
        text += (
            f"\nOf {plan.seeds} seeds, {metric}s right with memory: mean {mean}, standard deviation {deviation}. "
            "Below: the first seed."
        )
    return text


def describe_two_passes(model: Model, command: str) -> str:
    """Return how to use a model's backward head; "" if it has none."""
    if model.backward_head is None:
        return ""
    return f"""
It has a backward head, trained on the same clips from their ends. Recordings can be labelled from both sides, and
streams a little later than they come:

```sh
liquidvision infer clip.mp4 {command} --two-pass
liquidvision infer rtsp://camera/live {command} --look-ahead 0.8
```
"""


def describe_last_training(evaluation: Mapping[str, Any]) -> str:
    """Return how the model was trained again after the evaluation, as a paragraph; empty if it was not."""
    refit = evaluation["training"].get("refit")
    if refit is None:
        return ""
    whole = "all" if "test" in refit["parts"] else "the parts " + " and ".join(refit["parts"])
    again = f"""

**The model in this folder was trained again after that**, on {whole}, {refit["clips"]} clips, with the same settings,
for {len(refit["epochs"])} epochs."""
    if "test" not in refit["parts"]:
        return f"{again} The figures below are its own.\n"
    return f"""{again} The figures below are those of the model before, which is kept in split.safetensors.
The model in this folder has seen these clips, so it was not measured on them.
"""


def figure_table(evaluation: Mapping[str, Any]) -> str:
    """Return the table of figures; figures that do not apply are left out."""
    sides = {"with memory": "memory", "each frame alone": "frame"}
    if "two_pass" in evaluation:
        sides["with two passes"] = "two_pass"
    rows = [
        ("clips right", "clip_accuracy", format_share),
        ("frames right", "frame_accuracy", format_share),
        ("mean class accuracy", "mean_class_accuracy", format_share),
        ("mean average precision", "map", format_share),
        ("segment edit score", "edit", format_number),
        ("flips per minute beyond the truth", "flips_per_minute", format_number),
        ("calibration error", "ece", format_share),
    ]
    lines = [f"| | {' | '.join(sides)} |", "|---" * (1 + len(sides)) + "|"]
    for text, name, show in rows:
        if evaluation["memory"].get(name) is not None:
            cells = (show(evaluation[side].get(name)) for side in sides.values())
            lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_share(value: float | None) -> str:
    """Return a share as a percentage; "" for None."""
    return "" if value is None else f"{100 * value:.1f} %"


def format_number(value: float | None) -> str:
    """Return a number with one decimal; "" for None."""
    return "" if value is None else f"{value:.1f}"
