"""The contract of every recurrent cell: pure functions of (input, state, Δt), and Δt's checked shape."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError


class Cell(nn.Module, ABC):
    """One recurrent layer, stepped by the seconds that really passed.

    A cell remembers nothing: state in, state out. What depends on the input alone is computed by
    `prepare`, for all frames at once, and never inside the loop over time.

    Attributes:
        input_size: width of an input.
        units: width of an output.
        state_size: width of the state; a cell with several states lays them side by side.
    """

    input_size: int
    units: int
    state_size: int

    def initial(self, batch: int) -> Tensor:
        """The state of `batch` streams that have seen nothing, (batch, state_size)."""
        return next(self.parameters()).new_zeros(batch, self.state_size)

    @abstractmethod
    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        """What one step needs of its input alone: x (..., input_size) to tensors (..., n)."""

    @abstractmethod
    def advance(self, prepared: tuple[Tensor, ...], state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """One step over dt seconds.

        Args:
            prepared: what `prepare` gave for this frame, each (batch, n).
            state: (batch, state_size).
            dt: (batch, 1) seconds, finite and not negative; 0 leaves the state as it is.

        Returns:
            The new state (batch, state_size), and the effective time constants (batch, units) in
            seconds during the step (its last unfold); (batch, 0) for a cell that has none.
        """

    def output(self, state: Tensor) -> Tensor:
        """What the next layer sees of a state (batch, state_size): (batch, units)."""
        return state[..., : self.units]

    def forward(self, x: Tensor, state: Tensor, dt: Tensor) -> Tensor:
        """One step: x (batch, input_size), state (batch, state_size), dt (batch, 1) seconds to the new state."""
        return self.advance(self.prepare(x), state, dt)[0]


def as_dt(dt: Tensor | float, batch: int, steps: int, like: Tensor) -> Tensor:
    """Seconds between frames as (batch, steps), from a number, (batch,), (batch, steps) or (batch, steps, 1).

    Raises:
        UsageError: another shape, or a value that is negative, NaN or infinite.
    """
    given = torch.as_tensor(dt, dtype=like.dtype, device=like.device)
    shape = tuple(given.shape)
    if shape == (batch, steps, 1):
        given = given[..., 0]
    elif shape == (batch,):
        given = given[:, None].expand(batch, steps)
    elif shape == ():
        given = given.expand(batch, steps)
    elif shape != (batch, steps):
        raise UsageError(
            f"dt has shape {shape}; expected a number, ({batch},), ({batch}, {steps}) or ({batch}, {steps}, 1) seconds"
        )
    wrong = ~(torch.isfinite(given) & (given >= 0))
    if bool(wrong.any()):
        raise UsageError(f"dt holds {given[wrong][0].item()}; expected finite seconds, 0 or more")
    return given
