"""The contract of every recurrent layer: pure functions of (input, state, Δt); the checked shapes of its arguments."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError

Prepared = tuple[Tensor, ...]


class Cell(nn.Module, ABC):
    """One recurrent layer, stepped by the seconds that really passed.

    A cell remembers nothing: state in, state out. What depends on the input alone is computed by
    `prepare`, for all frames at once, and never inside the loop over time. A step of Δt = 0 leaves
    the state as it is, in every cell, so that padding and repeated frames step nothing.

    Attributes:
        input_size: width of an input.
        units: neurons, each with a time constant; 0 for a cell without time constants.
        output_size: width of an output.
        state_size: width of the state; a cell with several states lays them side by side.
    """

    input_size: int
    units: int
    output_size: int
    state_size: int

    def initial(self, batch: int) -> Tensor:
        """The state of `batch` streams that have seen nothing, (batch, state_size)."""
        return next(self.parameters()).new_zeros(batch, self.state_size)

    @abstractmethod
    def prepare(self, x: Tensor) -> Prepared:
        """What the steps need of the inputs alone: x (..., input_size) to tensors (..., n)."""

    @abstractmethod
    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step over dt seconds.

        Args:
            prepared: what `prepare` gave for this frame, each (batch, n).
            state: (batch, state_size).
            dt: (batch, 1) seconds, finite and not negative; 0 leaves the state as it is.

        Returns:
            The output (batch, output_size), the new state (batch, state_size), and the effective time
            constants (batch, units) in seconds during the step (its last unfold).
        """

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`advance` over all frames: prepared (batch, steps, n), dt (batch, steps), one step or more.

        Returns:
            Outputs (batch, steps, output_size), the last state, time constants (batch, steps, units).
        """
        outputs, taus = [], []
        # Unbound at once: the backward of each p[:, t] would fill a tensor as large as p.
        for *frame, seconds in zip(*(p.unbind(1) for p in prepared), dt.split(1, 1), strict=True):
            output, state, tau = self.advance(tuple(frame), state, seconds)
            outputs.append(output)
            taus.append(tau)
        return torch.stack(outputs, 1), state, torch.stack(taus, 1)

    def forward(
        self,
        x: Tensor,
        dt: Tensor | float,
        state: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        return_time_constants: bool = False,
    ) -> tuple[Tensor, ...]:
        """Run (batch, steps, input_size) inputs through the cell.

        Args:
            x: (batch, steps, input_size), one step or more.
            dt: seconds since the frame before: a number, (batch,), (batch, steps) or (batch, steps, 1).
            state: (batch, state_size), what an earlier call gave; None for streams that have seen nothing.
            lengths: (batch,) frames of each stream that count; the rest is padding, which steps nothing.
            return_time_constants: give the effective time constants too.

        Returns:
            Outputs (batch, steps, output_size) and the last state (batch, state_size); with
            `return_time_constants` also (batch, steps, units) seconds. Outputs in the padding mean nothing.

        Raises:
            UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
        """
        x, seconds = as_streams(x, dt, lengths, self.input_size, "inputs")
        batch = len(x)
        if state is None:
            state = self.initial(batch)
        elif state.shape != (batch, self.state_size):
            raise UsageError(f"state has shape {tuple(state.shape)}; expected ({batch}, {self.state_size})")
        outputs, state, taus = self.run(self.prepare(x), state, seconds)
        return (outputs, state, taus) if return_time_constants else (outputs, state)

    def step(self, x: Tensor, dt: Tensor | float, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One frame of each stream: x (batch, input_size), dt a number or (batch,). Output and state."""
        outputs, state = self(x[:, None], dt, state)
        return outputs[:, 0], state


def as_streams(
    x: Tensor, dt: Tensor | float, lengths: Tensor | Sequence[int] | None, width: int, what: str
) -> tuple[Tensor, Tensor]:
    """Streams x (batch, steps, width), `what` they are, and their Δt (batch, steps); both are 0 in the padding.

    Raises:
        UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
    """
    if x.ndim != 3 or x.shape[-1] != width or x.shape[1] < 1:
        raise UsageError(f"{what} have shape {tuple(x.shape)}; expected (batch, steps, {width})")
    batch, steps, _ = x.shape
    seconds = as_dt(dt, batch, steps, x)
    if lengths is None:
        return x, seconds
    counted = as_mask(lengths, batch, steps, x)
    return x.masked_fill(counted[..., None] == 0, 0.0), seconds * counted  # 0 times a NaN would step


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
    if not given.is_meta and bool(wrong.any()):
        raise UsageError(f"dt holds {given[wrong][0].item()}; expected finite seconds, 0 or more")
    return given


def as_mask(lengths: Tensor | Sequence[int], batch: int, steps: int, like: Tensor) -> Tensor:
    """1 for frames that count and 0 for padding, (batch, steps), from the streams' lengths (batch,).

    Raises:
        UsageError: another shape, or a length outside 0..steps.
    """
    given = torch.as_tensor(lengths, device=like.device)
    wrong = (given < 0) | (given > steps)
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if given.shape != (batch,) or given.dtype not in kinds or (not given.is_meta and bool(wrong.any())):
        shown = given.tolist() if given.numel() <= 16 else f"of shape {tuple(given.shape)}"
        raise UsageError(f"lengths is {shown}; expected {batch} whole numbers from 0 to {steps}")
    return (torch.arange(steps, device=like.device)[None] < given[:, None]).to(like.dtype)


def hold_at_zero_dt(new: Tensor, old: Tensor, dt: Tensor) -> Tensor:
    """`new` (batch, n) where time passed, `old` where Δt (batch, 1) is 0: for cells that Δt = 0 alone would move."""
    return torch.where(dt > 0, new, old)


def check_sizes(**sizes: object) -> None:
    """Raise UsageError for the first that is no whole number of 1 or more."""
    for name, value in sizes.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
            hint = "; only ConductanceLTC takes a wiring" if type(value).__name__ == "Wiring" else ""
            raise UsageError(f"{name} is {value if not hint else 'a Wiring'}; expected a whole number, 1 or more{hint}")
