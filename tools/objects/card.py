"""The card of the bundled model `objects`, in the Hugging Face form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from liquidvision import Model
from tools.bench_objects import markdown
from tools.objects.fit import Recipe

HEAD = """---
license: apache-2.0
library_name: liquidvision
pipeline_tag: video-classification
tags: [liquid-neural-network, ltc, image-classification, imagenet]
---
"""


def make_card(
    model: Model,
    recipe: Recipe,
    *,
    clips: int,
    backbone: Path,
    stills: float,
    table: Mapping[str, Mapping[str, float | str | None]],
) -> str:
    """Return README.md of the model's folder; `table` is what tools/bench_objects.py measures."""
    with safe_open(str(backbone), framework="pt") as file:
        distilled = file.metadata() or {}
    parameters = sum(p.numel() for p in model.head.parameters())
    return f"""{HEAD}
# {model.name}

{len(model.labels)} everyday objects and animals, for any video: what a frame shows most of, held through blur, darkness
and hands before the lens, and let go at a cut.

## For

Trying liquidvision on a clip of your own, offline; the memory of `-m torchvision:NAME`: this filter serves every
classifier of torchvision.

## Not for

Finding where something is, several things at once, people, or anything that is not among its labels: it names the
nearest of them all the same, and how sure it is says little there. Not for any decision about anyone.

## Made of

- Backbone: torchvision's {model.backbone.name}, {model.backbone.preprocessing.size[0]} pixels, the whole picture
  stretched, with its classifier cut to {len(model.labels)} classes. Frozen.
- Memory: a liquid filter, {parameters:,} trained parameters. What is believed of each class follows the LTC's equation
  twice, as an average of probabilities and as evidence that adds up in log space, each with one time constant for all
  classes. {model.head.config.units} liquid units set both frame by frame: short where something new holds, long where a
  frame is damaged. They see how sure the classifier is, how much the picture changed, and how well frame and belief
  agree; they see no class.

## Trained on

- The backbone: begins as torchvision's MobileNetV2 (ImageNet, BSD), and was taught to say of small and damaged pictures
  what it says of whole ones: {distilled.get("images_seen", "?")} pictures, of
  {distilled.get("pictures", "unknown")}.
  Tiny-ImageNet, Caltech-101, the ImageNet pictures and the gesture clips state no licence; the fight clips (Aktı et
  al., IPTA 2019) are MIT. None of these pictures is in this folder. Tiny-ImageNet's labels were learnt too.
- The filter: {clips} simulated clips of 6 s of half of Tiny-ImageNet's val part, with a moving camera, cuts, missing
  frames, and spells of blur, noise, darkness, glare, coloured light, lost pixels, torn
  lines, smudges and boards before the lens; {recipe.epochs} epochs, AdamW, learning rate
  {recipe.learning_rate}, calm {recipe.calm}, seed {recipe.seed}.

Made again by:

```sh
python tools/distill_backbone.py --data DATA --teacher DATA/weights/mobilenet_v2_imagenet.pth --work WORK/backbone
python tools/train_objects.py --backbone WORK/backbone/backbone.safetensors --data DATA --work WORK/objects
```

## How well it does

{100 * stills:.1f} % of Tiny-ImageNet's val part, 64 pixels a side and undamaged, are right. On simulated clips of the
other half of that part, with damage that the filter never saw (motion blur, blocks, fog, hands);
`python tools/bench_objects.py` measures it:

{markdown(table)}

EMA and the HMM were tuned on clips with the damage that the filter was trained on.

## Limits

The pictures that it learnt its labels from are 64 pixels small; it has seen no video but simulated ones. What lies
outside of its labels it cannot name.
"""
