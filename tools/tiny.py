"""A small model with random weights, for programs that test how liquidvision runs, not its predictions."""

from fractions import Fraction

import numpy as np
import torch

from liquidvision import Backbone, Frame, LiquidHead, LiquidHeadConfig, Model, Preprocessing, Session


def tiny_model() -> Model:
    """Three labels, pictures of 64 x 64; see `warm_up`."""
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=(64, 64), shorter=None)
    backbone = Backbone("mobilenet_v3_small", weights=None, nodes={"features.1": 2}, preprocessing=preprocessing)
    head = LiquidHead(
        LiquidHeadConfig(backbone.layouts, 3, components=8, taus=(0.1, 0.5), width=8, units=6, cell="ltc")
    )
    torch.nn.init.normal_(head.whitening, std=0.2)
    model = Model(backbone, head, ("red", "green", "blue"), name="tiny")
    warm_up(model)
    return model


def warm_up(model: Model) -> None:
    """Compile the kernels that are compiled at first use, so that forked children need not."""
    session = Session(model)
    for number in range(3):
        session.push(Frame(np.full((48, 64, 3), 80 * number, np.uint8), number, number, Fraction(1)))
