"""Base of GRUs that torch has no kernel for: a loop over frames with hooks for Δt."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Cell, Prepared, check_sizes, hold_at_zero_dt
from liquidvision.liquid.torch_cells import set_chrono_bias


class SteppedGRU(Cell):
    """Gated recurrent unit, h ← n + z (h - n), as torch.nn.GRU has it, in plain torch.

    There are no time constants: time constants have the shape (batch, steps, 0). Δt = 0 holds the state. Weights are
    initialised as in torch.nn.GRU.

    Args:
        input_size: width of an input.
        hidden_size: width of the state, which is the output.
        chrono: frames; the longest memory that the gates z start with, see `set_chrono_bias`. None: torch's biases.

    Raises:
        UsageError: a size below 1, or a chrono that is not above 2.
    """

    reset: ClassVar[bool] = True  # whether a gate r multiplies what the candidate n sees of the state

    def __init__(self, input_size: int, hidden_size: int, *, chrono: float | None = None) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.units, self.output_size, self.state_size = input_size, 0, hidden_size, hidden_size
        maps = 3 if self.reset else 2  # of z and n, then of r
        self.inputs = nn.Linear(input_size, maps * hidden_size)
        self.recurrent = nn.Linear(hidden_size, maps * hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)
        if chrono is not None:
            set_chrono_bias(self.inputs.bias[:hidden_size], self.recurrent.bias[:hidden_size], chrono)

    def keep(self, gate: Tensor, dt: Tensor) -> Tensor:
        """Return z (batch, hidden_size), the share of the state that stays, from its argument before the sigmoid."""
        return torch.sigmoid(gate)

    def fade(self, state: Tensor, dt: Tensor) -> Tensor:
        """Return the state (batch, hidden_size) as the step of dt (batch, 1) seconds finds it."""
        return state

    def prepare(self, x: Tensor) -> Prepared:
        return (self.inputs(x),)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        before = self.fade(state, dt)
        given, own = (part.split(self.state_size, -1) for part in (prepared[0], self.recurrent(before)))
        seen = torch.sigmoid(given[2] + own[2]) * own[1] if self.reset else own[1]
        candidate = torch.tanh(given[1] + seen)
        new = candidate + self.keep(given[0] + own[0], dt) * (before - candidate)
        new = hold_at_zero_dt(new, state, dt)
        return new, new, dt.new_zeros(len(dt), 0)
