"""torchvision's classification models: building them, their weights, labels and feature nodes."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from liquidvision.errors import DependencyError, UsageError, WeightsError
from liquidvision.models.folder import read_weights
from liquidvision.models.preprocessing import Preprocessing

try:
    from torchvision import models as torchvision_models
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
except (ImportError, RuntimeError) as error:
    raise DependencyError(
        f"torchvision does not fit the installed torch ({error}); install both together: "
        "pip install --force-reinstall torch torchvision"
    ) from error

IMAGENET_CLASSES = 1000

# The node whose feature map is kept on a grid: the last block at a sixteenth of the input's size, where motion is still
# visible (its traces carry most of the information about an action). The first match by prefix of the name counts.
GRID_NODES = {
    "mobilenet_v2": "features.13",
    "mobilenet_v3_small": "features.8",
    "mobilenet_v3_large": "features.12",
    "efficientnet": "features.5",
    "resne": "layer3",
    "wide_resnet": "layer3",
    "regnet": "trunk_output.block3",
    "densenet": "features.denseblock3",
    "convnext": "features.5",
    "shufflenet": "stage3",
    "mnasnet": "layers.11",
    "googlenet": "inception4e",
    "inception_v3": "Mixed_6e",
    "maxvit": "blocks.2",
}

# The classifier of every torchvision model is one of these submodules.
CLASSIFIER_MODULES = ("classifier", "fc", "heads", "head", "AuxLogits", "aux1", "aux2")


def build_classifier(
    name: str, weights: str | Path | None, classes: int = IMAGENET_CLASSES
) -> tuple[nn.Module, Preprocessing]:
    """Build a torchvision classifier.

    Args:
        name: a classification model of `torchvision.models.list_models()`.
        weights: see `Backbone`.
        classes: the number of classes without weights.

    Returns:
        The whole model and the preprocessing of its weights.

    Raises:
        UsageError: an unknown name.
        WeightsError: weights that cannot be found, downloaded or loaded.
    """
    if name not in torchvision_models.list_models(module=torchvision_models):
        raise UsageError(f"no torchvision classification model is named {name!r}; see torchvision.models.list_models()")
    preset = Preprocessing()
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if weights == "DEFAULT":
        preset = weights_preprocessing(torchvision_models.get_model_weights(name)["DEFAULT"].transforms())
        try:
            return torchvision_models.get_model(name, weights="DEFAULT"), preset
        except (URLError, OSError, RuntimeError) as error:
            raise WeightsError(
                f"the ImageNet weights of {name} are not on this machine and could not be downloaded ({error}); "
                "connect to the internet once, or give a file with them (weights=PATH, --weights PATH); train and "
                "extract also take a bundled backbone (--backbone objects)"
            ) from error
    if weights is None:
        return torchvision_models.get_model(name, weights=None, num_classes=classes, **extra), preset
    state = read_weights(Path(weights))
    model = torchvision_models.get_model(name, weights=None, **extra)
    last = [key for key, value in model.state_dict().items() if key.endswith("weight") and value.ndim >= 2][-1]
    if last in state and state[last].shape[0] != IMAGENET_CLASSES:  # a classifier with classes of its own
        model = torchvision_models.get_model(name, weights=None, num_classes=state[last].shape[0], **extra)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{weights} does not hold the weights of {name}: {detail}") from error
    return model, preset


def weights_preprocessing(transform: Any) -> Preprocessing:
    """Return the preprocessing that the transform of torchvision weights describes."""
    (crop,), (shorter,) = transform.crop_size, transform.resize_size
    return Preprocessing((crop, crop), shorter, tuple(transform.mean), tuple(transform.std))


def classifier_nodes(name: str) -> dict[str, int]:
    """Return the nodes that a `LiquidFilter` reads: the last feature map, pooled globally, and the logits."""
    model, _ = build_classifier(name, None)
    return {next(iter(default_nodes(name, model))): 1, get_graph_node_names(model)[1][-1]: 1}


def imagenet_labels(name: str) -> list[str]:
    """Return the class names of a torchvision classifier; a name that occurs twice gets its class number added."""
    names = torchvision_models.get_model_weights(name)["DEFAULT"].meta["categories"]
    return [f"{label} ({i})" if names.count(label) > 1 else label for i, label in enumerate(names)]


def default_nodes(name: str, model: nn.Module) -> dict[str, int]:
    """Return the last feature map, pooled globally, and the family's node of `GRID_NODES` on a 3 x 3 grid.

    The last feature map is found by its shape, which works for every family. Where the classifier reads a token (ViT),
    the token is used instead.
    """
    names = get_graph_node_names(model)[1]
    end = next((i for i, node in enumerate(names) if node.split(".")[0] in CLASSIFIER_MODULES), len(names))
    shapes = node_shapes(create_feature_extractor(model.eval(), names[1:end]), (224, 224))
    order = [node for node in names[1:end] if node in shapes]
    maps = [i for i, node in enumerate(order) if len(shapes[node]) == 4 and shapes[node][2] == shapes[node][3] > 1]
    if not maps or any(len(shapes[node]) == 3 for node in order[maps[-1] :]):
        return {next(node for node in reversed(order) if len(shapes[node]) == 2): 1}
    stage = next((node for family, node in GRID_NODES.items() if name.startswith(family)), None)
    return {order[maps[-1]]: 1, **({stage: 3} if stage else {})}


def node_shapes(extractor: nn.Module, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an extractor's outputs for one image; outputs that are not tensors are left out."""
    with torch.inference_mode():
        maps = extractor(torch.zeros(1, 3, *size))
    return {node: tuple(value.shape) for node, value in maps.items() if isinstance(value, Tensor)}
