"""The networks that all connections share: the loaded model and the backbone of taught heads."""

import numpy as np
from torch import Tensor

from liquidvision.inference.session import Session
from liquidvision.liquid.traces import Layout
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.video.frame import Frame


class SharedModel:
    """The loaded model and the backbone on which heads are taught. It has no state of any stream.

    A trained head and a taught one read the same embedding. A filter reads the logits of its classifier, on which
    nothing new can be learnt: a second network then provides feature maps for taught heads.

    Args:
        model: the loaded model; its backbone is not changed.
        adapt: whether heads that can adapt to their streams do.
        look_ahead: seconds by which the model looks ahead, see `LookAhead`; None: not at all.

    Attributes:
        teachable: backbone of taught heads.
        layouts: the layouts of the embeddings of `teachable`.
    """

    def __init__(self, model: Model, *, adapt: bool = False, look_ahead: float | None = None) -> None:
        self.model, self.teachable, self._adapt = model, model.backbone_for_heads(), adapt
        self.look_ahead = look_ahead
        self.layouts: tuple[Layout, ...] = self.teachable.layouts

    def warm_up(self) -> None:
        """Embed a black picture, because networks are compiled at their first use."""
        for backbone in {self.model.backbone, self.teachable}:
            backbone.embed([np.zeros((64, 64, 3), np.uint8)])

    def new_session(self, model: Model) -> Session:
        """Return a session for the loaded model, or for a taught one."""
        return Session(model, adapt=self._adapt and model.head.adapts)

    def embed(
        self, motion_crop: MotionCrop, frame: Frame, *, taught: bool = False, teaching: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Embed the next frame of a stream: (1, d) for the head in use, and (1, d) for heads to be taught.

        Args:
            motion_crop: the stream's motion crop, for the model's backbone.
            frame: holds RGB.
            taught: whether the head in use is a taught one.
            teaching: whether anything is being taught; if not, the second embedding is None where it would cost a
                second pass.
        """
        if self.teachable is self.model.backbone:
            embedding = motion_crop.embed([frame])
            return embedding, embedding
        if taught:
            embedding = self.teachable.embed([frame.pixels])
            return embedding, embedding
        return motion_crop.embed([frame]), self.teachable.embed([frame.pixels]) if teaching else None
