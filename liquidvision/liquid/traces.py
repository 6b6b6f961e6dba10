"""Traces: banks of leaky integrators over an embedding, exact in time, which show recent changes at several scales."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell, Prepared, check_sizes


@dataclass(frozen=True, slots=True)
class Layout:
    """The part of an embedding that one node of the backbone fills: `channels` x `cells`, channel by channel.

    Attributes:
        channels: number of channels of the node.
        cells: number of cells of the grid on which the node was pooled; 1 for a global mean.
    """

    channels: int
    cells: int

    @property
    def size(self) -> int:
        """Width of this part of the embedding."""
        return self.channels * self.cells


class Traces(Cell):
    """Leaky integrators e_τ of the input z; the output is the signed deviation d_τ = z - e_τ.

    e_τ ← e_τ + (1 - exp(-Δt/τ)) d_τ. This is an LTC (arXiv 2006.04439, Eq. 1) with f = 0 that relaxes to its input,
    discretised exactly: any Δt gives the solution of the continuous equation for held input. Before its first frame, a
    stream is assumed to have shown that frame for ever (e_τ = z). Outputs are ordered by trace. The state is the
    traces, followed by 1 if a frame has been seen, otherwise 0. The effective time constants are the taus, one per
    trace.

    By default the input is held at each frame's value for the Δt before it (zero-order hold), so d_τ grows with Δt
    where z moves. With `straight` the input moves linearly from frame to frame (first-order hold):
    d_τ ← exp(-Δt/τ) d_τ + τ/Δt (1 - exp(-Δt/τ)) (z - z_before), which for a linear motion does not depend on how often
    it is sampled. The state is then the d_τ, the last z, and 1 or 0.

    Args:
        input_size: width of z.
        taus: time constants in seconds; none: no traces, and outputs of width 0.
        learn: whether the time constants are trained (as logarithms, so that they stay positive).
        straight: whether the input is interpolated linearly between frames.

    Raises:
        UsageError: a time constant that is not positive.
    """

    def __init__(self, input_size: int, taus: Sequence[float], *, learn: bool = False, straight: bool = False) -> None:
        super().__init__()
        if not all(0 < tau < math.inf for tau in taus):
            raise UsageError(f"taus is {list(taus)}; expected positive time constants in seconds")
        self.input_size, self.units = input_size, len(taus)
        self.output_size = self.units * input_size
        self.state_size = (self.units + straight) * input_size + 1
        self.learn, self.straight = learn, straight
        log_taus = torch.tensor([float(tau) for tau in taus]).log()
        self.log_taus: Tensor
        if learn:
            self.log_taus = nn.Parameter(log_taus)
        else:
            self.register_buffer("log_taus", log_taus, persistent=False)
        self.layout_table: Tensor  # the nodes that the kernel averages over; here none
        self.register_buffer("layout_table", torch.zeros(0, 4, dtype=torch.int64), persistent=False)

    @property
    def taus(self) -> Tensor:
        """Time constants (units,) in seconds."""
        return self.log_taus.exp()

    def initial(self, batch: int) -> Tensor:
        return self.log_taus.new_zeros(batch, self.state_size)

    def prepare(self, x: Tensor) -> Prepared:
        return (x,)

    def read_out(self, deviations: Tensor) -> Tensor:
        """Reduce deviations (..., units, input_size) to (..., units, n); here the deviations themselves."""
        return deviations

    def finish_outputs(self, read: Tensor) -> Tensor:
        """Turn the result of `read_out` into outputs (..., output_size)."""
        return read.flatten(-2)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (z,) = prepared
        if self.straight:
            return self._advance_straight(z, state, dt)
        old, seen = state[:, :-1].unflatten(1, (self.units, self.input_size)), state[:, -1:]
        traces = torch.where(seen[..., None] > 0, old, z[:, None])
        deviation = z[:, None] - traces
        # expm1 keeps Δt = 0 the exact identity.
        stepped = traces - torch.expm1(-dt[..., None] / self.taus[:, None]) * deviation
        passed = dt > 0
        traces = torch.where(passed[..., None], stepped, old)
        state = torch.cat([traces.flatten(1), torch.maximum(seen, passed.to(seen.dtype))], 1)
        return self.finish_outputs(self.read_out(deviation)), state, self.taus.expand(len(z), -1)

    def _advance_straight(self, z: Tensor, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        old, last, seen = self._parts(state)
        moved = z - torch.where(seen > 0, last, z)
        ratio = dt[..., None] / self.taus[:, None]
        some = torch.where(ratio > 0, ratio, 1.0)
        gain = torch.where(ratio > 0, -torch.expm1(-some) / some, 1.0)
        deviation = torch.exp(-ratio) * old + gain * moved[:, None]
        passed = dt > 0
        kept = torch.where(passed[..., None], deviation, old).flatten(1)
        state = torch.cat([kept, torch.where(passed, z, last), torch.maximum(seen, passed.to(seen.dtype))], 1)
        return self.finish_outputs(self.read_out(deviation)), state, self.taus.expand(len(z), -1)

    def _parts(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split the state of straight traces: traces (batch, units, input_size), last input, and a flag (batch, 1)."""
        size = self.units * self.input_size
        return state[:, :size].unflatten(1, (self.units, self.input_size)), state[:, size:-1], state[:, -1:]

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (z,) = prepared
        by_others = z.requires_grad or state.requires_grad or dt.requires_grad or (self.straight and self.learn)
        by_torch = (by_others and torch.is_grad_enabled()) or not dispatch.worth_compiling(dt.shape[1])
        if by_torch or not dispatch.kernels_apply(z, state, dt, self.log_taus):
            return super().run(prepared, state, dt)
        if self.straight:
            return self._run_straight(z, state, dt)
        old, seen = state[:, :-1].unflatten(1, (self.units, self.input_size)), state[:, -1]
        size = self.read_out(z[:0, 0, None]).shape[-1]
        out, traces, seen = _Leaky.apply(self.taus, size, z, dt, self.layout_table, old, seen)
        state = torch.cat([traces.flatten(1), seen[:, None]], 1)
        return self.finish_outputs(out), state, self.taus.expand(*dt.shape, -1)

    def _run_straight(self, z: Tensor, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the compiled kernel for straight traces over all frames."""
        # Copies, since the kernel updates them in place.
        traces, last, seen = (part.clone(memory_format=torch.contiguous_format) for part in self._parts(state))
        out = z.new_empty(*dt.shape, self.units, self.read_out(z[:0, 0, None]).shape[-1])
        flat = dispatch.as_arrays(self.taus, self.layout_table)
        rows = dispatch.as_arrays(z, dt, traces, last, seen[:, 0], out)

        def work(part: slice) -> None:
            z, dt, *filled = (r[part] for r in rows)
            dispatch.compiled_kernels().leaky.straight(z, dt, *flat, *filled)

        dispatch.run_in_parallel(work, len(z), z.numel() * self.units)
        state = torch.cat([traces.flatten(1), last, seen], 1)
        return self.finish_outputs(out), state, self.taus.expand(*dt.shape, -1)


class Magnitudes(Traces):
    """Traces whose outputs are the logarithms of mean magnitudes of the deviations.

    For a node that was pooled on a grid: log(0.02 + mean |d_τ|) per channel, over its cells, and per cell, over its
    channels. For a globally pooled node: the same per group of neighbouring channels.

    Args:
        layouts: the nodes of the embedding, in order.
        taus: see `Traces`.
        learn: see `Traces`.
        straight: see `Traces`.
        groups: number of groups of channels for a globally pooled node.

    Raises:
        UsageError: as in `Traces`, no layout, or a size below 1.
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        taus: Sequence[float],
        *,
        learn: bool = False,
        straight: bool = False,
        groups: int = 64,
    ) -> None:
        check_sizes(groups=groups, nodes=len(layouts), **{f"layout {n}": lo.size for n, lo in enumerate(layouts)})
        super().__init__(sum(layout.size for layout in layouts), taus, learn=learn, straight=straight)
        self.layouts = tuple(layouts)
        self.rows, start = [], 0
        for layout in self.layouts:
            self.rows.append((start, layout.channels, layout.cells, min(groups, layout.channels)))
            start += layout.size
        self.layout_table = torch.tensor(self.rows)
        self.output_size = self.units * sum(row[3] if row[2] == 1 else row[1] + row[2] for row in self.rows)

    def read_out(self, deviations: Tensor) -> Tensor:
        parts = []
        for start, channels, cells, groups in self.rows:
            part = deviations[..., start : start + channels * cells].abs()
            if cells == 1:
                means = nn.functional.adaptive_avg_pool1d(part.flatten(0, -2)[:, None], groups)  # uneven groups overlap
                parts.append(means.view(*part.shape[:-1], groups))
            else:
                grid = part.unflatten(-1, (channels, cells))
                parts += [grid.mean(-1), grid.mean(-2)]
        return torch.cat(parts, -1)

    def finish_outputs(self, read: Tensor) -> Tensor:
        return torch.log(0.02 + read).flatten(-2)


class _Leaky(torch.autograd.Function):
    """Runs the compiled kernel over all frames: outputs (batch, steps, taus, size), and the state after them.

    It has derivatives with respect to `taus` only, computed in forward mode along with the traces.
    """

    @staticmethod
    def forward(ctx: Any, taus: Tensor, size: int, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, dt, places, traces, seen = tensors
        batch, steps, width = z.shape
        out = z.new_empty(batch, steps, len(taus), size)
        wanted = ctx.needs_input_grad[0]
        slopes = out.new_empty(out.shape if wanted else (0, 0, 0, 0))
        drift = out.new_zeros(traces.shape if wanted else (0, 0, 0))
        # Copies, since the kernel updates them in place.
        traces, seen = (t.clone(memory_format=torch.contiguous_format) for t in (traces, seen))
        flat, rows = dispatch.as_arrays(taus, places), dispatch.as_arrays(z, dt, traces, seen, out, slopes, drift)

        def work(part: slice) -> None:
            z, dt, *filled = (r[part] for r in rows)
            dispatch.compiled_kernels().leaky.leaky(z, dt, *flat, *filled)

        dispatch.run_in_parallel(work, batch, batch * steps * len(taus) * width)
        ctx.save_for_backward(slopes, drift)
        ctx.mark_non_differentiable(seen)
        return out, traces, seen

    @staticmethod
    @dispatch.first_order_only
    def backward(ctx: Any, by_out: Tensor, by_traces: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        slopes, drift = ctx.saved_tensors
        by_taus = (by_out * slopes).sum((0, 1, 3)) + (by_traces * drift).sum((0, 2))
        return by_taus, None, None, None, None, None, None
