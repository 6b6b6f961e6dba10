"""Mixed memory: an LSTM combined with a liquid cell, for long-term memory."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Cell, Prepared, hold_at_zero_dt


class MixedMemory(Cell):
    """An LSTM whose hidden state evolves over Δt in a liquid cell (Lechner and Hasani 2020, arXiv 2006.04418).

    At each frame an LSTM, which does not use Δt, first updates (h, c) from the input. The liquid cell then steps h
    over Δt with the same input. Gradients through c do not vanish over time, as those through a liquid state do. With
    gates u, i, f, o = W I + b + R h:

        c ← c σ(f + 1) + tanh(u) σ(i),   h ← cell(I, tanh(c) σ(o), Δt)

    This is the LSTM of ncps 1.0.1; `inputs` and `recurrent` correspond to its input_map and recurrent_map. The state
    (batch, 2 cell.state_size) is [h, c], concatenated, and Δt = 0 holds both. Outputs and time constants are those of
    the liquid cell.

    Args:
        cell: the liquid cell.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        hidden = cell.state_size
        self.input_size, self.units = cell.input_size, cell.units
        self.output_size, self.state_size = cell.output_size, 2 * hidden
        self.cell = cell
        self.inputs = nn.Linear(cell.input_size, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
        nn.init.xavier_uniform_(self.inputs.weight)
        nn.init.uniform_(self.inputs.bias, -0.1, 0.1)
        nn.init.orthogonal_(self.recurrent.weight)

    def prepare(self, x: Tensor) -> Prepared:
        return (self.inputs(x), *self.cell.prepare(x))

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, c = state.chunk(2, -1)
        u, i, f, o = (prepared[0] + self.recurrent(h)).chunk(4, -1)
        c = c * torch.sigmoid(f + 1) + torch.tanh(u) * torch.sigmoid(i)
        h, c = hold_at_zero_dt(torch.cat([torch.tanh(c) * torch.sigmoid(o), c], -1), state, dt).chunk(2, -1)
        output, h, taus = self.cell.advance(prepared[1:], h, dt)
        return output, torch.cat([h, c], -1), taus
