"""What the page's server sees by: the loaded model, and the backbone of heads that are taught."""

import numpy as np
from torch import Tensor

from liquidvision.liquid.traces import Layout
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.video.frame import Frame


class SharedModel:
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
        self.layouts: tuple[Layout, ...] = self.teachable.layouts

    def warm_up(self) -> None:
        """Embed a black picture: networks are compiled at their first use."""
        for backbone in {self.model.backbone, self.teachable}:
            backbone.embed([np.zeros((64, 64, 3), np.uint8)])

    def look(
        self, gaze: MotionCrop, frame: Frame, *, taught: bool = False, teaching: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Embeddings (1, d) of a stream's next frame: for what speaks now, and for heads that are taught.

        Args:
            gaze: the stream's, for the model's backbone.
            frame: holds RGB.
            taught: whether a taught head speaks, not the model.
            teaching: whether anything is being taught; if not, the second is left out where it costs a pass of its own.
        """
        if self.teachable is self.model.backbone:
            own = gaze.embed([frame])
            return own, own
        if taught:
            teachable = self.teachable.embed([frame.pixels])
            return teachable, teachable
        return gaze.embed([frame]), self.teachable.embed([frame.pixels]) if teaching else None
