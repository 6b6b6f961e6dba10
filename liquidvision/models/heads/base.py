"""What every head gives, and the form of its state."""

from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What a head gives for (batch, steps) frames.

    Attributes:
        logits: (batch, steps, classes), with memory.
        frame_logits: (batch, steps, classes), from each frame alone.
        hidden: (batch, steps, cell's output size) outputs of the cell, which the readout sees.
        time_constants: (batch, steps, units) effective time constants in seconds.
        state: the state after the last step.
    """

    logits: Tensor
    frame_logits: Tensor
    hidden: Tensor
    time_constants: Tensor
    state: State
