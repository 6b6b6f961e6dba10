"""A memory beside a liquid cell: an LSTM keeps what the liquid state lets go."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Cell, Prepared, hold_at_zero_dt


class MixedMemory(Cell):
    """An LSTM whose hidden state a liquid cell evolves over Δt (Lechner and Hasani 2020, arXiv 2006.04418).

    At each frame an LSTM, which knows no seconds, first takes (h, c) on by the input; the liquid cell
    then steps h over Δt with the same input. The error that c carries back does not fade with time, as
    that of a liquid state does. With gates u, i, f, o = W I + b + R h:

        c ← c σ(f + 1) + tanh(u) σ(i),   h ← cell(I, tanh(c) σ(o), Δt)

    the LSTM of ncps 1.0.1, to whose input_map and recurrent_map `inputs` and `recurrent` are equal.
    The state (batch, 2 cell.state_size) is [h, c] side by side, and Δt = 0 holds both. Outputs and time
    constants are the liquid cell's.

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
