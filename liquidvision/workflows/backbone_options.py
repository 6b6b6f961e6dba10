"""Parses the options of backbones and heads, and loads the backbone that they name."""

import math
from collections.abc import Mapping
from pathlib import Path

from liquidvision.errors import UsageError
from liquidvision.models.backbone import Backbone
from liquidvision.models.folder import CONFIG_FILE, bundled_models
from liquidvision.models.model import Model


def load_backbone(
    name: str, weights: Path | None, features: str | None, motion_crop: bool | None, device: str
) -> Backbone:
    """Load the backbone that the options name.

    Args:
        name: a torchvision classifier, or a liquidvision model (bundled, or a folder) to take it from.
        weights: a file with the torchvision classifier's weights; None: ImageNet's.
        features: nodes with the sides of their grids, "NODE:SIDE,..."; None: the backbone's own choice.
        motion_crop: see `Backbone`; None: as the liquidvision model does, and for a torchvision classifier no.
        device: auto, cpu, cuda, mps or openvino.

    Raises:
        UsageError: options that exclude each other or are out of range.
        WeightsError, ModelError: weights or a model that cannot be loaded.
    """
    if (Path(name) / CONFIG_FILE).is_file() or name in bundled_models():
        if weights is not None or features is not None:
            raise UsageError(
                f"{name} is a liquidvision model with weights and features of its own; leave out --weights and "
                "--features"
            )
        own = Model.from_pretrained(name, device=device).backbone_for_heads()
        own.motion_crop = own.motion_crop if motion_crop is None else motion_crop
        return own
    nodes = None if features is None else parse_nodes(features)
    wanted = "DEFAULT" if weights is None else weights
    return Backbone(name, nodes=nodes, weights=wanted, motion_crop=bool(motion_crop)).place(device)


def parse_nodes(text: str) -> dict[str, int]:
    """Return the nodes and sides of --features.

    Raises:
        UsageError: the text is not NODE:SIDE,...
    """
    nodes = {}
    for part in text.split(","):
        node, colon, side = part.strip().rpartition(":")
        if not colon or not node or not side.isdecimal() or int(side) < 1:
            raise UsageError(f"--features is {text!r}; expected NODE:SIDE,..., as features.18:1,features.13:3")
        nodes[node] = int(side)
    return nodes


def format_nodes(nodes: Mapping[str, int]) -> str:
    """Return nodes and sides as the text of --features."""
    return ",".join(f"{node}:{side}" for node, side in nodes.items())


def parse_taus(text: str) -> tuple[float, ...]:
    """Return the time constants of --traces, in seconds.

    Raises:
        UsageError: the text is not numbers above 0 between commas.
    """
    try:
        seconds = tuple(float(part) for part in text.split(","))
    except ValueError:
        seconds = ()
    if not seconds or not all(0 < value < math.inf for value in seconds):
        raise UsageError(f"--traces is {text!r}; expected seconds above 0 between commas, as .1,.4,1.5")
    return seconds
