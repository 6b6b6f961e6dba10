"""How a backbone is named on the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from liquidvision import checkpoint
from liquidvision.backbone import Backbone, choose_device, first_line
from liquidvision.errors import UsageError
from liquidvision.model import Model


SIDE = 320  # pixels: larger than ImageNet's, for small and moving things; by measurement, see docs/benchmarks.md
LEAST, MOST = 32, 2048
FIXED = ("vit_", "maxvit")  # families whose input has one size


def backbone_from(name: str, weights: Path | None, features: str | None, side: int | None, device: str) -> Backbone:
    """The backbone that the options name.

    Args:
        name: a torchvision classifier, or a liquidvision model (bundled, or a folder) to take it from.
        weights: a file of the torchvision classifier's weights; None: ImageNet's.
        features: nodes with the sides of their grids, "NODE:SIDE,..."; None: the backbone's own choice.
        side: of the input, in pixels; None: `SIDE`, or the only one that the network takes.
        device: auto, cpu, cuda or mps.

    Raises:
        UsageError: options that cannot be meant.
        WeightsError, ModelError: weights or a model that cannot be loaded.
    """
    where = choose_device(device)
    if (Path(name) / checkpoint.CONFIG).is_file() or name in checkpoint.bundled():
        if any(option is not None for option in (weights, features, side)):
            raise UsageError(
                f"{name} is a liquidvision model with weights, features and a size of its own; leave out the options"
            )
        return Model.from_pretrained(name, device=device).backbone
    nodes = None if features is None else nodes_of(features)
    if side is not None and not LEAST <= side <= MOST:
        raise UsageError(f"--imgsz is {side}; expected {LEAST} to {MOST} pixels")
    backbone = Backbone(name, nodes=nodes, weights="DEFAULT" if weights is None else weights).to(where)
    if side is None and name.startswith(FIXED):
        return backbone
    side = side or SIDE
    backbone.preprocessing = replace(backbone.preprocessing, size=(side, side), shorter=None)
    try:
        backbone.embed([np.zeros((side, side, 3), np.uint8)])
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"{name} does not take --imgsz {side}: {first_line(error)}") from error
    return backbone


def nodes_of(text: str) -> dict[str, int]:
    """Nodes and sides of `--features`."""
    nodes = {}
    for part in text.split(","):
        node, colon, side = part.strip().rpartition(":")
        if not colon or not node or not side.isdecimal() or int(side) < 1:
            raise UsageError(f"--features is {text!r}; expected NODE:SIDE,..., as features.18:1,features.13:3")
        nodes[node] = int(side)
    return nodes
