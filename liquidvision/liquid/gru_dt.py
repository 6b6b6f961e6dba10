"""A GRU that sees Δt as one more input."""

import torch
from torch import Tensor

from liquidvision.liquid.torch_cells import GRU


class TimedGRU(GRU):
    """GRU whose input is [I, log Δt], the usual way to hand elapsed time to a recurrent network.

    Δt = 0 holds the state. The step itself is that of a GRU: Δt acts through gates and candidate only.

    Args:
        input_size: width of an input, without Δt.
        hidden_size: width of the state, which is the output.
        chrono: see `GRU`.
    """

    def __init__(self, input_size: int, hidden_size: int, *, chrono: float | None = None) -> None:
        super().__init__(input_size + 1, hidden_size, chrono=chrono)
        self.input_size = input_size

    def layer_inputs(self, x: Tensor, dt: Tensor) -> Tensor:
        return torch.cat([x, torch.where(dt > 0, dt, 1.0).log()], -1)
