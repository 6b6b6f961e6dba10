"""Cells that are linear in their state, which run as a scan over time instead of a loop."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell, Prepared, check_sizes


class LinearCell(Cell):
    """Base of cells that are linear in their state: x ← a x + b, with a and b of the input and Δt alone.

    Neither a nor b depends on the state, so both are computed for all frames at once; only the multiplication and the
    addition go from frame to frame. They run in a compiled kernel on CPUs, elsewhere in log2(steps) rounds of plain
    torch (Blelloch 1990, "Prefix sums and their applications").

    Args:
        input_size: width of an input.
        units: number of states, complex ones if `complex_states`. The state (batch, state_size) holds the real parts,
            then the imaginary parts.

    Raises:
        UsageError: a size below 1.
    """

    complex_states: ClassVar[bool] = False

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, units=units)
        self.input_size, self.units, self.output_size = input_size, units, units
        self.state_size = 2 * units if self.complex_states else units

    @abstractmethod
    def transition(self, prepared: Prepared, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a and b (..., states), and the effective time constants (..., units), for dt (..., 1) seconds."""

    def read_out(self, state: Tensor) -> Tensor:
        """Return the outputs (..., output_size) for states (..., state_size)."""
        return state

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, push, taus = self.transition(prepared, dt)
        state = self._unpack(decay * self._pack(state) + push)
        return self.read_out(state), state, taus

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, push, taus = self.transition(prepared, dt[..., None])
        states = self._unpack(scan_states(decay, push, self._pack(state)))
        return self.read_out(states), states[:, -1], taus

    def _pack(self, state: Tensor) -> Tensor:
        return torch.complex(*state.chunk(2, -1)) if self.complex_states else state

    def _unpack(self, states: Tensor) -> Tensor:
        return torch.cat([states.real, states.imag], -1) if self.complex_states else states


def scan_states(decay: Tensor, push: Tensor, start: Tensor) -> Tensor:
    """Return x_t = decay_t x_{t-1} + push_t, (batch, steps, n), from x before the first frame, `start` (batch, n)."""
    parts = [torch.view_as_real(part) if part.is_complex() else part for part in (decay, push, start)]
    if dispatch.worth_compiling(push.shape[1]) and dispatch.kernels_apply(*parts):
        return _Scan.apply(decay, push, start)
    push = torch.cat([push[:, :1] + decay[:, :1] * start[:, None], push[:, 1:]], 1)
    reach = 1
    while reach < push.shape[1]:  # x_t is now known from x_{t - reach}
        later = push[:, reach:] + decay[:, reach:] * push[:, :-reach]
        decay = torch.cat([decay[:, :reach], decay[:, reach:] * decay[:, :-reach]], 1)
        push = torch.cat([push[:, :reach], later], 1)
        reach *= 2
    return push


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, push: Tensor, start: Tensor) -> Tensor:
        decay, push, start = (part.resolve_conj().contiguous() for part in (decay, push, start))
        states = torch.empty_like(push)
        share_rows("scan", decay, push, start, states)
        ctx.save_for_backward(decay, start, states)
        return states

    @staticmethod
    @dispatch.first_order_only
    def backward(ctx: Any, by_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, start, states = ctx.saved_tensors
        by_decay, by_push, by_start = (torch.empty_like(part) for part in (decay, states, start))
        share_rows("scan_backward", decay, states, start, by_states.resolve_conj(), by_decay, by_push, by_start)
        return by_decay, by_push, by_start


def share_rows(name: str, *tensors: Tensor) -> None:
    """Run a kernel of `kernels.scan` on contiguous tensors, by rows on several threads where that pays."""
    rows = dispatch.as_arrays(*tensors)

    def work(part: slice) -> None:
        getattr(dispatch.compiled_kernels().scan, name)(*(row[part] for row in rows))

    dispatch.run_in_parallel(work, len(tensors[0]), tensors[0].numel())
