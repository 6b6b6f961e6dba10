"""How a backbone is named on the command line."""

from pathlib import Path

from liquidvision.errors import UsageError
from liquidvision.models.backbone import Backbone
from liquidvision.models.folder import CONFIG_FILE, bundled_models
from liquidvision.models.model import Model


def load_backbone(
    name: str, weights: Path | None, features: str | None, motion_crop: bool | None, device: str
) -> Backbone:
    """The backbone that the options name.

    Args:
        name: a torchvision classifier, or a liquidvision model (bundled, or a folder) to take it from.
        weights: a file of the torchvision classifier's weights; None: ImageNet's.
        features: nodes with the sides of their grids, "NODE:SIDE,..."; None: the backbone's own choice.
        motion_crop: see `Backbone`; None: as the model has it, and off for a torchvision classifier.
        device: auto, cpu, cuda, mps or openvino.

    Raises:
        UsageError: options that cannot be meant.
        WeightsError, ModelError: weights or a model that cannot be loaded.
    """
    if (Path(name) / CONFIG_FILE).is_file() or name in bundled_models():
        if weights is not None or features is not None:
            raise UsageError(
                f"{name} is a liquidvision model with weights and features of its own; leave out the options"
            )
        own = Model.from_pretrained(name, device=device).backbone_for_heads()
        own.motion_crop = own.motion_crop if motion_crop is None else motion_crop
        return own
    nodes = None if features is None else parse_nodes(features)
    wanted = "DEFAULT" if weights is None else weights
    return Backbone(name, nodes=nodes, weights=wanted, motion_crop=bool(motion_crop)).place(device)


def parse_look(text: str | None) -> bool | None:
    """Return whether `--look` asks for the motion crop; None where it was not given."""
    if text not in (None, "whole", "moving"):
        raise UsageError(f"--look is {text!r}; expected whole or moving")
    return None if text is None else text == "moving"


def parse_nodes(text: str) -> dict[str, int]:
    """Nodes and sides of `--features`."""
    nodes = {}
    for part in text.split(","):
        node, colon, side = part.strip().rpartition(":")
        if not colon or not node or not side.isdecimal() or int(side) < 1:
            raise UsageError(f"--features is {text!r}; expected NODE:SIDE,..., as features.18:1,features.13:3")
        nodes[node] = int(side)
    return nodes
