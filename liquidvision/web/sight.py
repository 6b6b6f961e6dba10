"""One pass of the backbone for two readers: the loaded model's own memory, and heads that are taught."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from liquidvision.backbone import Backbone
from liquidvision.liquid.head import Head
from liquidvision.liquid.traces import Layout
from liquidvision.model import Model, layouts_of
from liquidvision.runtime import OpenVINO


class Sight:
    """What the server sees by. It remembers nothing, and serves all connections.

    A trained head and a taught one read the same embedding. A filter reads its classifier's logits, from which
    nothing new can be learnt: then the network gives those, and the maps for taught heads, in one pass.

    Args:
        model: its backbone stays as it is.

    Attributes:
        teachable: the backbone of taught heads.
        layouts: of the embeddings that they learn from.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.teachable = model, model.backbone_for_heads()
        self.layouts: tuple[Layout, ...] = layouts_of(self.teachable)
        self._network = model.backbone if isinstance(model.head, Head) else both(model, self.teachable)
        self._own = columns(self._network, model.backbone.nodes)
        self._taught = columns(self._network, self.teachable.nodes)

    def look(self, image: np.ndarray) -> tuple[Tensor, Tensor]:
        """Embeddings (1, d) of a picture (h, w, 3) uint8 RGB: for the model, and for a taught head."""
        embedding = self._network.embed([image])
        return embedding[:, self._own], embedding[:, self._taught]


def both(model: Model, teachable: Backbone) -> Backbone:
    """The network of a classifier with a filter, giving the maps for heads too."""
    own = model.backbone
    nodes = {**own.nodes, **teachable.nodes}
    network = Backbone(
        own.name, nodes=nodes, weights=None, preprocessing=own.preprocessing, classes=model.head.config.classes
    )
    network.extractor.load_state_dict(own.extractor.state_dict())
    network.runtime = None if own.runtime is None else OpenVINO()
    return network.to(own.device)


def columns(network: Backbone, nodes: Mapping[str, int]) -> slice | Tensor:
    """Where the embedding of these nodes lies in a network's."""
    if nodes == network.nodes:
        return slice(None)
    places, start = {}, 0
    for node, side in network.nodes.items():
        width = network.channels[node] * side * side
        places[node] = torch.arange(start, start + width)
        start += width
    return torch.cat([places[node] for node in nodes]).to(network.device)
