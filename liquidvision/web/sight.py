"""What the page's server sees by: the loaded model, and the backbone of heads that are taught."""

import numpy as np
from torch import Tensor

from liquidvision.liquid.traces import Layout
from liquidvision.model import Model, layouts_of


class Sight:
    """The networks that see for all connections. They remember nothing.

    A trained head and a taught one read the same embedding. A filter reads its classifier's logits, from which
    nothing new can be learnt: beside it there is a network that gives maps.

    Args:
        model: its backbone stays as it is.

    Attributes:
        teachable: the backbone of taught heads.
        layouts: of the embeddings that they learn from.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.teachable = model, model.backbone_for_heads()
        self.layouts: tuple[Layout, ...] = layouts_of(self.teachable)

    def look(self, image: np.ndarray, *, taught: bool = False, teaching: bool = True) -> tuple[Tensor, Tensor | None]:
        """Embeddings (1, d) of a picture (h, w, 3) uint8 RGB: for what speaks now, and for heads that are taught.

        Args:
            image: the picture.
            taught: whether a taught head speaks, not the model.
            teaching: whether anything is being taught; if not, the second is left out where it costs a pass of its own.
        """
        if taught or self.teachable is self.model.backbone:
            teachable = self.teachable.embed([image])
            return teachable, teachable
        own = self.model.backbone.embed([image])
        return own, self.teachable.embed([image]) if teaching else None
