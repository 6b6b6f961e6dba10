"""A tiny model whose labels alternate on the pictures of tests, so that there are intervals and events."""

import numpy as np
import torch
from conftest import build_model, picture_frames

from liquidvision import Model, predict


def alternating_model() -> Model:
    """Return a model with random weights, whose readout is shifted and scaled so that its labels alternate."""
    model = build_model(seed=3)
    readout = model.head.readout
    with torch.no_grad():
        readout.weight /= 20
        logits = np.log([prediction.scores for _, prediction in predict(picture_frames(100, step=1.0), model)])
        readout.bias -= torch.from_numpy(logits.mean(0))
        readout.weight *= 12 / logits.std()
        readout.bias *= 12 / logits.std()
    return model
