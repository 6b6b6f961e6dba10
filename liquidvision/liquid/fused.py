"""The quick path on CPUs: compiled kernels behind autograd, chosen where they fit; plain torch does the rest."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOG2E = math.log2(math.e)
GRAIN = 1_000_000  # operations that are worth a thread of their own


@cache
def kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba is not installed or does not work on this machine."""
    try:
        from liquidvision.liquid import kernels as found
        from liquidvision.liquid.kernels import gates, leaky, synapses  # noqa: F401
    except ImportError:
        return None
    return found


def fits(*tensors: Tensor) -> bool:
    """Whether the kernels can take these: all on the CPU, all float32 or all float64, outside of any tracing."""
    kind = tensors[0].dtype
    return (
        kind in (torch.float32, torch.float64)
        and all(tensor.device.type == "cpu" and tensor.dtype == kind for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and kernels() is not None
    )


def share(work: Callable[[slice], Any], rows: int, cost: int) -> list[Any]:
    """`work` on slices of `rows`, on as many threads as torch may use and `cost` operations are worth.

    The threads live as long as this call.
    """
    threads = min(torch.get_num_threads(), rows, cost // GRAIN)
    if threads < 2:
        return [work(slice(0, rows))]
    cuts = [rows * n // threads for n in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]))


def arrays(*tensors: Tensor) -> list[Any]:
    """The tensors' memory, contiguous, as numpy arrays."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def whole(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient.contiguous()


class _Synapses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, slope: Tensor, centre: Tensor, reversal: Tensor, pre: Tensor, post: Tensor, units: int) -> tuple[Tensor, Tensor]:  # fmt: skip
        scale, shift = -LOG2E * slope, LOG2E * slope * centre
        total, current = x.new_zeros(len(x), units), x.new_zeros(len(x), units)
        flat = arrays(scale.flatten(), shift.flatten(), weight.flatten(), (weight * reversal).flatten(), pre, post)
        rows, sums = arrays(x)[0], arrays(total, current)

        def work(part: slice) -> None:
            kernels().synapses.synapses_forward(*flat, rows[part], *(s[part] for s in sums))

        share(work, len(x), len(x) * weight.numel())
        ctx.save_for_backward(x, weight, slope, centre, reversal, pre, post, scale, shift)
        return total, current

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_total: Tensor, by_current: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, slope, centre, reversal, pre, post, scale, shift = ctx.saved_tensors
        flat = arrays(scale.flatten(), shift.flatten(), weight.flatten(), reversal.flatten(), pre, post)
        by_x = torch.zeros_like(x, memory_format=torch.contiguous_format)
        rows = arrays(x, by_total, by_current, by_x)

        def work(part: slice) -> Tensor:
            sums = x.new_zeros(4, weight.numel())
            kernels().synapses.synapses_backward(*flat, *(r[part] for r in rows), sums.numpy())
            return sums

        sums = torch.stack(share(work, len(x), 2 * len(x) * weight.numel())).sum(0)
        return by_x / -LOG2E, *by_synapses(sums, weight, slope, centre), None, None, None


def by_synapses(sums: Tensor, weight: Tensor, slope: Tensor, centre: Tensor) -> tuple[Tensor, ...]:
    """Gradients by w, a, μ and E from the kernels' sums (4, n)."""
    by_weight, by_reversal, by_argument, by_slope = (row.view_as(weight) for row in sums)
    by_argument = by_argument * weight
    return by_weight, by_slope * weight - centre * by_argument, -slope * by_argument, by_reversal * weight


def synapses(
    x: Tensor, weight: Tensor, slope: Tensor, centre: Tensor, reversal: Tensor, pre: Tensor, post: Tensor, units: int
) -> tuple[Tensor, Tensor]:
    """Σ w s and Σ w E s of potentials x (..., sources), each (..., units); see `conductance.Synapses`."""
    sums = _Synapses.apply(x.reshape(-1, x.shape[-1]), weight, slope, centre, reversal, pre, post, units)
    return tuple(s.view(*x.shape[:-1], units) for s in sums)  # type: ignore[return-value]


def path_of(counts: Tensor, like: Tensor, wanted: bool) -> Tensor:
    """Room for three rows of every solver step, (batch, unfolds in all, 3, units), if it is wanted."""
    unfolds = int(counts.sum(1).max()) if wanted else 0
    return like.new_empty(len(counts) if wanted else 0, unfolds, 3, like.shape[-1])


class _Conductance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total_in: Tensor, current_in: Tensor, start: Tensor, dt: Tensor, leak: Tensor, leak_drive: Tensor, capacitance: Tensor, weight: Tensor, slope: Tensor, centre: Tensor, reversal: Tensor, pre: Tensor, post: Tensor, counts: Tensor, exponential: bool) -> tuple[Tensor, Tensor]:  # fmt: skip
        scale, shift = -LOG2E * slope, LOG2E * slope * centre
        states, taus = torch.empty_like(total_in), torch.empty_like(total_in)
        path = path_of(counts, total_in, any(ctx.needs_input_grad))
        flat = arrays(scale.flatten(), shift.flatten(), weight.flatten(), (weight * reversal).flatten(), pre, post)
        flat += arrays(leak, leak_drive, capacitance)
        rows, results = arrays(total_in, current_in, dt, counts, start), arrays(states, taus, path)

        def work(part: slice) -> None:
            inputs, filled = (r[part] for r in rows), (r[part] for r in results)
            kernels().synapses.conductance_forward(*flat, *inputs, exponential, *filled)

        share(work, len(dt), int(counts.sum()) * weight.numel())
        ctx.save_for_backward(
            weight, slope, centre, reversal, pre, post, scale, shift, capacitance, dt, counts, path
        )
        ctx.exponential = exponential
        return states, taus

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_states: Tensor, by_taus: Tensor) -> tuple[Tensor | None, ...]:
        weight, slope, centre, reversal, pre, post, scale, shift, capacitance, dt, counts, path = ctx.saved_tensors
        batch, _, units = by_states.shape
        flat = arrays(scale.flatten(), shift.flatten(), weight.flatten(), reversal.flatten(), pre, post, capacitance)
        times, given = arrays(dt, counts), arrays(path, by_states, by_taus)
        by_start = by_states.new_zeros(batch, units)
        by_total, by_current = torch.zeros_like(by_states), torch.zeros_like(by_states)
        by_dt = torch.zeros_like(dt, memory_format=torch.contiguous_format)
        by_start_rows, *by_rows = arrays(by_start, by_total, by_current, by_dt)

        def work(part: slice) -> tuple[Tensor, Tensor]:
            sums, neurons = by_states.new_zeros(4, weight.numel()), by_states.new_zeros(3, units)
            kernels().synapses.conductance_backward(
                *flat, *(r[part] for r in times), ctx.exponential, *(r[part] for r in given),
                by_start_rows[part], sums.numpy(), *neurons.numpy(), *(r[part] for r in by_rows),
            )  # fmt: skip
            return sums, neurons

        parts = share(work, batch, 2 * int(counts.sum()) * weight.numel())
        sums, neurons = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
        by_leak, by_leak_drive, by_capacitance = neurons
        by_weights = by_synapses(sums, weight, slope, centre)
        return (
            by_total, by_current, by_start, by_dt, by_leak, by_leak_drive, by_capacitance, *by_weights,
            None, None, None, None,
        )  # fmt: skip


def conductance(total_in: Tensor, current_in: Tensor, start: Tensor, dt: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """The conductance form over all frames: states and time constants (batch, steps, units); see `ConductanceLTC`."""
    return _Conductance.apply(total_in, current_in, start, dt, *others)


class _Gates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, prepared: Tensor, recurrent: Tensor, leak: Tensor, gain: Tensor, equilibrium: Tensor | None, start: Tensor, dt: Tensor, counts: Tensor, exponential: bool) -> tuple[Tensor, Tensor]:  # fmt: skip
        batch, steps, width = prepared.shape
        units = len(leak)
        states, taus = prepared.new_empty(batch, steps, units), prepared.new_empty(batch, steps, units)
        path = path_of(counts, start, any(ctx.needs_input_grad))
        flat = arrays(recurrent.T, leak, gain, leak.new_zeros(0) if equilibrium is None else equilibrium)
        rows, results = arrays(prepared, dt, counts, start), arrays(states, taus, path)

        def work(part: slice) -> None:
            inputs, *times = (r[part] for r in rows)
            kernels().gates.gates_forward(inputs, *flat, *times, exponential, *(r[part] for r in results))

        share(work, batch, int(counts.sum()) * units * width // 4)
        ctx.save_for_backward(recurrent, leak, gain, dt, counts, path)
        ctx.exponential, ctx.gated = exponential, equilibrium is None
        return states, taus

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_states: Tensor, by_taus: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, leak, gain, dt, counts, path = ctx.saved_tensors
        batch, steps, units = by_states.shape
        width = len(recurrent)
        flat, times, given = arrays(recurrent.T, leak, gain), arrays(dt, counts), arrays(path, by_states, by_taus)
        by_start, by_prepared = by_states.new_zeros(batch, units), by_states.new_zeros(batch, steps, width)
        by_z = by_states.new_zeros(batch, path.shape[1], width)
        by_dt = torch.zeros_like(dt, memory_format=torch.contiguous_format)
        by_start_rows, by_z_rows, *by_rows = arrays(by_start, by_z, by_prepared, by_dt)

        def work(part: slice) -> Tensor:
            neurons = by_states.new_zeros(3, units)
            kernels().gates.gates_backward(
                *flat, ctx.gated, *(r[part] for r in times), ctx.exponential, *(r[part] for r in given),
                by_start_rows[part], by_z_rows[part], *neurons.numpy(), *(r[part] for r in by_rows),
            )  # fmt: skip
            return neurons

        by_leak, by_gain, by_equilibrium = torch.stack(share(work, batch, int(counts.sum()) * units * width // 2)).sum(0)
        # Rows of `path` beyond a stream's own unfolds were never written.
        own = torch.arange(path.shape[1])[None] < counts.sum(1, keepdim=True)
        before = path[:, :, 0].masked_fill(~own[..., None], 0.0)
        by_recurrent = by_z.flatten(0, 1).T @ before.flatten(0, 1)
        equilibrium = None if ctx.gated else by_equilibrium
        return by_prepared, by_recurrent, by_leak, by_gain, equilibrium, by_start, by_dt, None, None


def gates(prepared: Tensor, recurrent: Tensor, leak: Tensor, gain: Tensor, equilibrium: Tensor | None, *others: Any) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Eq. 1 over all frames: states and time constants (batch, steps, units); see `LTC` and `GatedLTC`."""
    return _Gates.apply(prepared, recurrent, leak, gain, equilibrium, *others)


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, dt: Tensor, taus: Tensor, layouts: Tensor, traces: Tensor, seen: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        batch, steps, width = z.shape
        out = z.new_empty(batch, steps, len(taus), size)
        slopes = out.new_empty(out.shape if ctx.needs_input_grad[2] else (0, 0, 0, 0))
        traces, seen = traces.clone(), seen.clone()  # stepped in place
        times, places = arrays(taus, layouts)
        rows = arrays(z, dt)
        filled = arrays(traces, seen, out, slopes)

        def work(part: slice) -> None:
            kernels().leaky.leaky(*(r[part] for r in rows), times, places, *(r[part] for r in filled))

        share(work, batch, batch * steps * len(taus) * width)
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(traces, seen)
        return out, traces, seen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, None, (by_out * slopes).sum((0, 1, 3)), None, None, None, None


def leaky(z: Tensor, dt: Tensor, taus: Tensor, layouts: Tensor, traces: Tensor, seen: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """A bank of leaky integrators over all frames: what it gives (batch, steps, taus, size), and its state.

    Differentiable by `taus` alone, and not through the state: see `Traces`.
    """
    return _Leaky.apply(z, dt, taus, layouts, traces, seen, size)
