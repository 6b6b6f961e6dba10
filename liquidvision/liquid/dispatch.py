"""Runs cells by compiled kernels on CPUs, with autograd, where the kernels apply; elsewhere plain torch is used."""

import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

LOG2E = math.log2(math.e)
log = logging.getLogger(__name__)
kernels_disabled: ContextVar[bool] = ContextVar("kernels_disabled", default=False)
MIN_LOOPS = 16  # see `worth_compiling`
MIN_OPERATIONS_PER_THREAD = 1_000_000  # fewer do not pay for a thread
VECTOR_WIDTH = 32  # numbers that the kernels' inner loops process at once; a remainder costs several times as much


def worth_compiling(loops: int) -> bool:
    """Return whether the kernels pay off for a call that would loop `loops` times in Python.

    Short calls without gradients, such as those of a stream that arrives frame by frame, are as fast in plain torch. A
    program that makes no other calls then never compiles the kernels.
    """
    return loops >= MIN_LOOPS or torch.is_grad_enabled()


@cache
def compiled_kernels() -> Any:
    """Return the package of compiled kernels, or None if numba is not installed, disabled or does not work."""
    try:
        from liquidvision.liquid import kernels as found
        from liquidvision.liquid.kernels import gates, leaky, scan, synapses  # noqa: F401
    except ImportError as error:
        log.info("no compiled kernels (%s); using plain torch", error)
        return None
    except Exception as error:  # a numba that does not match numpy, Python or the system fails in many ways
        log.warning("numba does not work on this machine (%s: %s); using plain torch", type(error).__name__, error)
        return None
    return found


@contextmanager
def plain_torch() -> Iterator[None]:
    """Run all cells in plain torch inside the block: slower, but differentiable any number of times."""
    token = kernels_disabled.set(True)
    try:
        yield
    finally:
        kernels_disabled.reset(token)


def kernels_apply(*tensors: Tensor) -> bool:
    """Return whether kernels apply to tensors: on the CPU, all float32 or all float64, and outside of any tracing."""
    kind = tensors[0].dtype
    return (
        not kernels_disabled.get()
        and kind in (torch.float32, torch.float64)
        and all(tensor.device.type == "cpu" and tensor.dtype == kind for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not getattr(torch._C, "_are_functorch_transforms_active", lambda: False)()
        and getattr(forward_ad, "_current_level", -1) < 0
        and compiled_kernels() is not None
    )


def first_order_only(backward: Callable) -> Callable:
    """Decorate a backward function that cannot be differentiated, so that an attempt raises an error."""

    def checked(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # as under create_graph=True
            raise RuntimeError(
                "the compiled kernels have no second derivatives; run the cell inside liquidvision.liquid.plain_torch()"
            )
        return backward(ctx, *gradients)

    return checked


def run_in_parallel(work: Callable[[slice], Any], rows: int, cost: int) -> list[Any]:
    """Call `work` on slices that cover `rows`; return the results in order.

    Uses as many threads as torch may use and `cost` operations in total justify. The threads live only for this call.
    """
    threads = min(torch.get_num_threads(), rows, cost // MIN_OPERATIONS_PER_THREAD)
    if threads < 2:
        return [work(slice(0, rows))]
    cuts = min(rows, 4 * threads)  # more parts than threads, in case a core is slowed down by other programs
    parts = [slice(*ends) for ends in pairwise(rows * n // cuts for n in range(cuts + 1))]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def as_arrays(*tensors: Tensor) -> list[Any]:
    """Return contiguous numpy arrays of the tensors, without copying those that are contiguous."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class SynapseParameters(NamedTuple):
    """Parameters of the synapses between two layers.

    Attributes:
        weight, slope, centre, reversal: w, a, μ and E; (sources, units) if dense, otherwise (n,), ordered by source.
        pre, post: source and unit of each synapse, (n,); empty if dense.
    """

    weight: Tensor
    slope: Tensor
    centre: Tensor
    reversal: Tensor
    pre: Tensor
    post: Tensor


def pack_synapses(synapses: SynapseParameters, *, backward: bool) -> list[Any]:
    """Return `table`, `pre`, `post` and `lanes` as `kernels.synapses` documents them."""
    weight, slope, centre, reversal, *_ = synapses
    scale = -LOG2E * slope
    last = (scale * weight, reversal) if backward else (weight, weight * reversal)
    table = torch.stack([scale, -scale * centre, *last])
    pre, post = synapses.pre, synapses.post
    if weight.ndim == 2:
        table = functional.pad(table, (0, -weight.shape[-1] % VECTOR_WIDTH))
    elif not len(pre):  # add one of weight 0; without any the kernels would treat the layer as dense
        table, pre, post = functional.pad(table, (0, 1)), pre.new_zeros(1), post.new_zeros(1)
    return [*as_arrays(table.flatten(1), pre, post), table.shape[-1]]


def synapse_gradients(sums: list[Tensor], synapses: SynapseParameters) -> tuple[Tensor | None, ...]:
    """Return the gradients with respect to w, a, μ, E, and None for pre and post, from the kernels' sums (4, n)."""
    weight, slope, centre, *_ = synapses
    total = torch.stack(sums).sum(0).view(4, *weight.shape[:-1], -1)[..., : weight.shape[-1]]
    by_weight, by_reversal, by_argument, by_slope = total
    by_argument = by_argument * weight
    by_slope = by_slope * weight - centre * by_argument
    return by_weight, by_slope, -slope * by_argument, by_reversal * weight, None, None


class _Synapses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, units: int, *given: Tensor) -> tuple[Tensor, Tensor]:
        synapses = SynapseParameters(*given)
        total, current = x.new_zeros(len(x), units), x.new_zeros(len(x), units)
        flat = pack_synapses(synapses, backward=False)
        rows = as_arrays(x, total, current)

        def work(part: slice) -> None:
            compiled_kernels().synapses.synapses_forward(*flat, *(r[part] for r in rows))

        run_in_parallel(work, len(x), len(x) * synapses.weight.numel())
        ctx.save_for_backward(x, *synapses)
        return total, current

    @staticmethod
    @first_order_only
    def backward(ctx: Any, by_total: Tensor, by_current: Tensor) -> tuple[Tensor | None, ...]:
        x, *given = ctx.saved_tensors
        synapses = SynapseParameters(*given)
        by_x = torch.zeros_like(x, memory_format=torch.contiguous_format)
        flat, rows = pack_synapses(synapses, backward=True), as_arrays(x, by_total, by_current, by_x)

        def work(part: slice) -> Tensor:
            sums = x.new_zeros(flat[0].shape)
            compiled_kernels().synapses.synapses_backward(*flat, *(r[part] for r in rows), sums.numpy())
            return sums

        sums = run_in_parallel(work, len(x), 2 * len(x) * synapses.weight.numel())
        return by_x / -LOG2E, None, *synapse_gradients(sums, synapses)


def synapses(x: Tensor, units: int, given: SynapseParameters) -> tuple[Tensor, Tensor]:
    """Return Σ w s and Σ w E s, (..., units) each, for potentials x (..., sources); see `conductance.Synapses`."""
    total, current = _Synapses.apply(x.reshape(-1, x.shape[-1]), units, *given)
    return total.view(*x.shape[:-1], units), current.view(*x.shape[:-1], units)


def allocate_path(counts: Tensor, like: Tensor, wanted: bool) -> Tensor:
    """Allocate (batch, total solver steps, 3, units) for the backward pass; empty if not `wanted`."""
    unfolds = int(counts.sum(1).max()) if wanted and len(counts) else 0
    return like.new_empty(len(counts) if wanted else 0, unfolds, 3, like.shape[-1])


class _Conductance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: Tensor, exponential: bool, recorded: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        total_in, current_in, start, dt, leak, leak_drive, capacitance, *given = tensors
        synapses = SynapseParameters(*given)
        states, taus = (torch.empty_like(total_in, memory_format=torch.contiguous_format) for _ in range(2))
        path = allocate_path(counts, total_in, recorded and any(ctx.needs_input_grad))
        flat = pack_synapses(synapses, backward=False) + as_arrays(leak, leak_drive, capacitance)
        rows, results = as_arrays(total_in, current_in, dt, counts, start), as_arrays(states, taus, path)

        def work(part: slice) -> None:
            inputs, filled = (r[part] for r in rows), (r[part] for r in results)
            compiled_kernels().synapses.conductance_forward(*flat, *inputs, exponential, *filled)

        run_in_parallel(work, len(dt), int(counts.sum()) * synapses.weight.numel())
        ctx.save_for_backward(capacitance, dt, counts, path, *synapses)
        ctx.exponential = exponential
        return states, taus

    @staticmethod
    @first_order_only
    def backward(ctx: Any, by_states: Tensor, by_taus: Tensor) -> tuple[Tensor | None, ...]:
        capacitance, dt, counts, path, *given = ctx.saved_tensors
        synapses = SynapseParameters(*given)
        batch, steps, units = by_states.shape
        flat = pack_synapses(synapses, backward=True) + as_arrays(capacitance)
        times, results = as_arrays(dt, counts), as_arrays(path, by_states, by_taus)
        by_start, by_dt = by_states.new_zeros(batch, units), by_states.new_zeros(batch, steps)
        by_total, by_current = by_states.new_zeros(2, batch, steps, units)
        start_rows, *rows = as_arrays(by_start, by_total, by_current, by_dt)

        def work(part: slice) -> tuple[Tensor, Tensor]:
            sums, neurons = by_states.new_zeros(flat[0].shape), by_states.new_zeros(3, units)
            into = start_rows[part], sums.numpy(), *neurons.numpy(), *(r[part] for r in rows)
            compiled_kernels().synapses.conductance_backward(
                *flat, *(r[part] for r in times), ctx.exponential, *(r[part] for r in results), *into
            )
            return sums, neurons

        parts = run_in_parallel(work, batch, 2 * int(counts.sum()) * synapses.weight.numel())
        by_leak, by_leak_drive, by_capacitance = torch.stack([neurons for _, neurons in parts]).sum(0)
        by_neurons = by_leak, by_leak_drive, by_capacitance
        by_weights = synapse_gradients([sums for sums, _ in parts], synapses)
        return None, None, None, by_total, by_current, by_start, by_dt, *by_neurons, *by_weights


def conductance(
    sums_in: tuple[Tensor, ...],
    start: Tensor,
    dt: Tensor,
    counts: Tensor,
    neurons: tuple[Tensor, Tensor, Tensor],
    given: SynapseParameters,
    *,
    exponential: bool,
) -> tuple[Tensor, Tensor]:
    """Run the conductance form over all frames; return states and time constants (batch, steps, units).

    Args:
        sums_in: conductance and current that the inputs' synapses add, (batch, steps, units) each.
        start: (batch, units), the states before the first frame.
        dt, counts: (batch, steps), seconds and number of solver steps (int32) of each frame.
        neurons: g, g vleak and cm, (units,) each.
        given: the synapses between the neurons.
        exponential: True for exponential Euler, False for the fused step.
    """
    recorded = torch.is_grad_enabled()  # `needs_input_grad` ignores it
    return _Conductance.apply(counts, exponential, recorded, *sums_in, start, dt, *neurons, *given)
