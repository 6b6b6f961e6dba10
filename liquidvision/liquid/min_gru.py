"""The minimal GRU, whose gates do not see the state."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Prepared
from liquidvision.liquid.scan import LinearCell


class MinGRU(LinearCell):
    """Minimal gated recurrent unit (Feng et al. 2024, arXiv 2410.01201), a GRU that trains in parallel over time.

        h ← (1 - z) h + z (W' I + b'),   z = σ(W I + b)

    Any Δt > 0 is one step. There are no time constants: time constants have the shape (batch, steps, 0).

    Args:
        input_size: width of an input.
        hidden_size: width of the state, which is the output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.units = 0
        self.inputs = nn.Linear(input_size, 2 * hidden_size)

    def prepare(self, x: Tensor) -> Prepared:
        gate, candidate = self.inputs(x).chunk(2, -1)
        return torch.sigmoid(gate), candidate

    def transition(self, prepared: Prepared, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gate, candidate = prepared
        gate = torch.where(dt > 0, gate, 0.0)
        return 1 - gate, gate * candidate, dt.new_zeros(*dt.shape[:-1], 0)
