"""The card of the bundled model `actions`, in the Hugging Face form."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from liquidvision import Model
from tools.actions.fit import Recipe

HEAD = """---
license: apache-2.0
library_name: liquidvision
pipeline_tag: video-classification
tags: [liquid-neural-network, ltc, action-recognition, synthetic]
---
"""


LIMITS = "## Limits"  # the heading before which a section on the backward head goes


def add_backward_section(card: str, *, clips: int, parameters: int, recipe: Recipe) -> str:
    """Return the card of a model with a section on its backward head, in place of an earlier one."""
    before, _, limits = card.partition(LIMITS)
    before = before.partition("## Backward head")[0]
    section = f"""## Backward head

For `--two-pass` and `--look-ahead`: a second head of the same configuration, {parameters:,} numbers of its own,
trained on {clips} rendered clips of the `train` split from their ends; {recipe.epochs} epochs, calm {recipe.calm},
seed {recipe.seed}, each clip in six variants of noise and dropped frames. `python tools/train_backward.py --work
WORK/backward --clips {clips}` makes it again, and `python tools/bench_actions.py --two-pass` measures it.

"""
    return before + section + LIMITS + limits


def make_card(
    model: Model,
    recipe: Recipe,
    *,
    clips: int,
    test_clips: int,
    backbone: Path,
    seed: int,
    measured: Mapping[str, Mapping[str, float]],
) -> str:
    """Return README.md of the model's folder; `measured` is what tools/bench_actions.py counts."""
    with safe_open(str(backbone), framework="pt") as file:
        taught = file.metadata() or {}
    config, head = model.head.config, model.head
    parameters = sum(p.numel() for p in head.parameters())
    backbone_size = sum(p.numel() for p in model.backbone.parameters()) / 1e6
    table = "\n".join(
        f"| {name} | " + " | ".join(f"{v:.1f}" for v in row.values()) + " |" for name, row in measured.items()
    )
    usual = next(iter(measured.values()))
    last = taught.get("images_after_start")
    further = (
        f"; the last {last} of them in further runs, each started from the weights of the one before" if last else ""
    )
    return f"""{HEAD}
# {model.name}

Nine things that a drawn figure does and that one frame cannot distinguish:
{", ".join(model.labels)}.

It shows what a memory is worth, and lets liquidvision run out of the box: on held-out clips {usual["memory"]:.1f} % of
the frames are right with memory, {usual["alone"]:.1f} % by each frame alone.

## For

Trying liquidvision offline; tests; a starting point for reading how a model folder is made.

## Not for

People. The figure is drawn; real persons, cameras and rooms were never labelled for this model, and what it says about
them means nothing. Not for any decision about anyone. Nor is its backbone for classes of your own: it knows one drawn
figure's joints, and nothing else; teach those on `objects`.

## Made of

- Backbone: torchvision's {model.backbone.name} without its classifier, {model.backbone.preprocessing.size[0]} pixels,
  the whole picture stretched; embedding of {model.backbone.dim} numbers from
  {", ".join(f"`{node}` ({side} x {side})" for node, side in model.backbone.nodes.items())}. {backbone_size:.1f} million
  parameters, frozen.
- Head: standardised and whitened to {config.components}; traces with τ of {", ".join(str(t) for t in config.taus)} s;
  projection to {config.width}; {config.units} liquid units ({config.cell}, {config.solver} solver,
  {config.unfolds} step a frame); {parameters:,} trained parameters. Beside it a linear readout of single frames.

## Trained on

- The backbone: taught from nothing where the figure's 14 joints are, as a linear readout of its embedding; the head's
  {config.components} components are that readout, whitened. {taught.get("stills", "?")} rendered pictures of the
  `train` split; {taught.get("images_seen", "?")} views of them, moved, turned, bent, recoloured, blurred and with
  noise{further}. No photograph, and no one's data.
- The head: {clips} rendered clips of 8 s of the renderer's `train` split, at irregular frame times, with up to
  {recipe.most_dropped:.0%} of the frames dropped and their Δt handed over; {recipe.epochs} epochs, AdamW,
  learning rate {recipe.learning_rate}, weight decay {recipe.weight_decay}, noise {recipe.noise}, calm
  {recipe.calm}, seed {seed}.

Made again by:

```sh
python tools/train_poses.py --work WORK/poses
python tools/train_actions.py --backbone WORK/poses/backbone.safetensors --work WORK/actions
python tools/fit_actions_cuts.py --work WORK/actions
```

## How well it does

{test_clips} clips of 10 s of the renderer's `test` split: bodies, clothes, backgrounds and camera behaviour that
training has not seen. Percent of frames right; "settled" leaves out the half second after each onset; flips a minute
are those beyond the true transitions. One training seed. `python tools/bench_actions.py` measures it:

| sampling | with memory | each frame alone | with memory, settled | alone, settled | flips/min | alone |
|---|---|---|---|---|---|---|
{table}

## Limits

Figures much smaller than half the picture's height, several figures at once, cuts that are missed because most frames
are, and anything but the renderer's own drawing.
"""
