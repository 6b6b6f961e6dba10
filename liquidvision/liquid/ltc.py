"""Liquid cells of the paper's Eq. 1, with a constant or a gated equilibrium, and what every liquid cell shares."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell, Prepared, check_sizes

Rates = Callable[[Tensor], tuple[Tensor, Tensor]]
SOLVERS = ("exponential", "fused", "euler", "rk4")
MAX_UNFOLDS = 10_000


class LiquidCell(Cell):
    """What all forms share: dx/dt = G (x∞ - x), with a rate G and an equilibrium x∞ that depend on input and state.

    Args:
        input_size: width of an input.
        units: number of neurons.
        unfolds: steps L that one Δt is divided into; the state is fed back at each.
        solver: one step over h = Δt / L. "exponential": exponential Euler, x∞ + (x - x∞) exp(-hG).
            "fused": the paper's Eq. 3, (x + h G x∞) / (1 + h G). Both hold G and x∞ still over the
            step, are of first order and stay bounded for any h; the exponential one errs less.
            "euler" and "rk4", explicit of orders 1 and 4, are for study: they leave all bounds where
            hG is large, and run on the plain path alone.
        max_step: seconds; a longer h is divided further, up to 10,000 steps for one Δt. None: never.

    Raises:
        UsageError: a size or number of unfolds below 1, an unknown solver, or a step that is not positive.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        max_step: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, units=units, unfolds=unfolds)
        if solver not in SOLVERS:
            raise UsageError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        if max_step is not None and not max_step > 0:
            raise UsageError(f"max_step is {max_step}; expected seconds above 0, or None")
        self.input_size, self.units, self.output_size, self.state_size = input_size, units, units, units
        self.unfolds, self.solver, self.max_step = unfolds, solver, max_step

    @abstractmethod
    def rates(self, prepared: Prepared) -> Rates:
        """At this input, the function from states (batch, units) to G in 1/s and the drive G x∞, (batch, units)."""

    def run_compiled(
        self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """All frames in one kernel of `dispatch`: states and time constants (batch, steps, units); None without one."""
        return None

    def step_counts(self, dt: Tensor) -> Tensor:
        """How many solver steps each Δt takes: dt of any shape, int32 of the same."""
        counts = torch.full_like(dt, self.unfolds, dtype=torch.int32)
        if self.max_step is None:
            return counts
        return torch.maximum(counts, (dt / self.max_step).ceil().clamp_max(MAX_UNFOLDS).to(torch.int32))

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        counts = self.step_counts(dt)
        h = dt / counts
        most = self.unfolds if self.max_step is None or not len(counts) else int(counts.max())
        rates, taus = self.rates(prepared), torch.zeros_like(state)
        for unfold in range(most):
            new, tau = self.solver_step(rates, state, h)
            if unfold < self.unfolds:
                state, taus = new, tau
            else:  # each stream takes its own number of steps, whatever the others in the batch take
                going = unfold < counts
                state, taus = torch.where(going, new, state), torch.where(going, tau, taus)
        return self.read_out(state), state, taus

    def solver_step(self, rates: Rates, state: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The state (batch, units) after h (batch, 1) seconds, and the time constants 1 / G at their beginning."""
        rate, drive = rates(state)
        if self.solver == "exponential":
            # x + (x∞ - x)(1 - exp(-hG)); expm1 keeps Δt = 0 the exact identity.
            new = state - (drive / rate - state) * torch.expm1(-h * rate)
        elif self.solver == "fused":
            new = (state + h * drive) / (1 + h * rate)
        elif self.solver == "euler":
            new = state + h * (drive - rate * state)
        else:
            slopes = [drive - rate * state]
            for part in (0.5, 0.5, 1.0):
                at = state + part * h * slopes[-1]
                rate_there, drive_there = rates(at)
                slopes.append(drive_there - rate_there * at)
            new = state + h / 6 * (slopes[0] + 2 * slopes[1] + 2 * slopes[2] + slopes[3])
        return new, 1 / rate

    def read_out(self, state: Tensor) -> Tensor:
        """What is given out of states (..., units): (..., output_size)."""
        return state

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        known = self.solver in ("exponential", "fused") and dispatch.worth_compiling(dt.shape[1] * self.unfolds)
        if not known or not dispatch.kernels_apply(*prepared, state, dt, *self.parameters()):
            return super().run(prepared, state, dt)
        done = self.run_compiled(prepared, state, dt, self.step_counts(dt))
        if done is None:
            return super().run(prepared, state, dt)
        states, taus = done
        return self.read_out(states), states[:, -1], taus


class LTC(LiquidCell):
    """The paper's form: dx/dt = -(1/τ + f) x + f A, with f = k σ(W [I, x] + b) (arXiv 2006.04439, Eq. 1).

    G = 1/τ + f and G x∞ = f A. The effective time constant 1 / G = τ / (1 + τ f) (Eq. 2) lies between
    τ / (1 + τ k) and τ; a state stays between the extremes of 0 and A. τ and the gain k are positive by
    construction (kept as logarithms) and start log-uniform over `tau` seconds and over `gain` per
    second, so that the units together span quick and slow from the first step.

    Args:
        input_size: width of the input.
        units: number of neurons.
        unfolds: see `LiquidCell`.
        solver: see `LiquidCell`.
        max_step: see `LiquidCell`.
        tau: the range of τ at the start, in seconds.
        gain: the range of k at the start, per second.
    """

    gated: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        max_step: float | None = None,
        tau: tuple[float, float] = (0.5, 20.0),
        gain: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        super().__init__(input_size, units, unfolds=unfolds, solver=solver, max_step=max_step)
        maps = 2 if self.gated else 1  # the gate's and, where it is gated, the equilibrium's
        self.inputs = nn.Linear(input_size, maps * units)
        self.recurrent = nn.Linear(units, maps * units, bias=False)
        self.log_tau = nn.Parameter(log_uniform(units, *tau))
        self.log_gain = nn.Parameter(log_uniform(units, *gain))
        if not self.gated:
            self.equilibrium = nn.Parameter(torch.empty(units).uniform_(-1, 1))  # A
        for part in self.recurrent.weight.data.split(units):
            nn.init.orthogonal_(part)

    def prepare(self, x: Tensor) -> Prepared:
        return (self.inputs(x),)

    def rates(self, prepared: Prepared) -> Rates:
        leak, gain = torch.exp(-self.log_tau), self.log_gain.exp()

        def at(state: Tensor) -> tuple[Tensor, Tensor]:
            f = gain * torch.sigmoid(prepared[0] + self.recurrent(state))
            return leak + f, f * self.equilibrium

        return at

    def run_compiled(self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        equilibrium = self.log_tau.new_zeros(0) if self.gated else self.equilibrium
        neurons = torch.exp(-self.log_tau), self.log_gain.exp(), equilibrium
        exponential = self.solver == "exponential"
        return run_gates(prepared[0], self.recurrent.weight, neurons, state, dt, counts, exponential=exponential)


class GatedLTC(LTC):
    """Eq. 1 with an equilibrium that depends on input and state: A = tanh(W' [I, x] + b').

    The conductance form has such an equilibrium already: the mean of the reversal potentials, weighted
    by how far each synapse is open. A state stays within -1..1; time constants as in `LTC`.
    """

    gated = True

    def rates(self, prepared: Prepared) -> Rates:
        leak, gain = torch.exp(-self.log_tau), self.log_gain.exp()

        def at(state: Tensor) -> tuple[Tensor, Tensor]:
            gate, equilibrium = (prepared[0] + self.recurrent(state)).chunk(2, -1)
            f = gain * torch.sigmoid(gate)
            return leak + f, f * torch.tanh(equilibrium)

        return at


def log_uniform(n: int, low: float, high: float) -> Tensor:
    """`n` logarithms spread evenly between those of `low` and `high`, in random order; one lies in the middle."""
    if not 0 < low <= high < math.inf:
        raise UsageError(f"the range is {low} to {high}; expected two positive numbers, the smaller first")
    ends = math.log(low), math.log(high)
    spread = torch.linspace(*ends, n) if n > 1 else torch.tensor([sum(ends) / 2])
    return spread[torch.randperm(n)]


class _Gates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: Tensor, exponential: bool, recorded: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        prepared, recurrent, leak, gain, equilibrium, start, dt = tensors
        batch, steps, width = prepared.shape
        states, taus = prepared.new_empty(2, batch, steps, len(leak))
        path = dispatch.allocate_path(counts, start, recorded and any(ctx.needs_input_grad))
        flat = dispatch.as_arrays(recurrent.T, leak, gain, equilibrium)
        rows, results = dispatch.as_arrays(prepared, dt, counts, start), dispatch.as_arrays(states, taus, path)

        def work(part: slice) -> None:
            inputs, *times = (r[part] for r in rows)
            dispatch.compiled_kernels().gates.gates_forward(
                inputs, *flat, *times, exponential, *(r[part] for r in results)
            )

        dispatch.run_in_parallel(work, batch, int(counts.sum()) * len(leak) * width // 4)
        ctx.save_for_backward(recurrent, leak, gain, equilibrium, dt, counts, path)
        ctx.exponential = exponential
        return states, taus

    @staticmethod
    @dispatch.first_order_only
    def backward(ctx: Any, by_states: Tensor, by_taus: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, leak, gain, equilibrium, dt, counts, path = ctx.saved_tensors
        batch, steps, units = by_states.shape
        width, gated = len(recurrent), not len(equilibrium)
        flat, times, given = (
            dispatch.as_arrays(recurrent.T, leak, gain),
            dispatch.as_arrays(dt, counts),
            dispatch.as_arrays(path, by_states, by_taus),
        )
        by_start, by_dt = by_states.new_zeros(batch, units), by_states.new_zeros(batch, steps)
        by_z, by_prepared = by_states.new_zeros(batch, path.shape[1], width), by_states.new_zeros(batch, steps, width)
        start_rows, z_rows, *rows = dispatch.as_arrays(by_start, by_z, by_prepared, by_dt)

        def work(part: slice) -> Tensor:
            neurons = by_states.new_zeros(3, units)
            into = start_rows[part], z_rows[part], *neurons.numpy(), *(r[part] for r in rows)
            dispatch.compiled_kernels().gates.gates_backward(
                *flat, gated, *(r[part] for r in times), ctx.exponential, *(r[part] for r in given), *into
            )
            return neurons

        parts = dispatch.run_in_parallel(work, batch, int(counts.sum()) * units * width // 2)
        by_leak, by_gain, by_equilibrium = torch.stack(parts).sum(0)
        # Places beyond a stream's own unfolds were never written.
        own = torch.arange(path.shape[1])[None] < counts.sum(1, keepdim=True)
        before = path[:, :, 0].masked_fill(~own[..., None], 0.0)
        by_recurrent = by_z.flatten(0, 1).T @ before.flatten(0, 1)
        by_equilibrium = by_equilibrium[: len(equilibrium)]
        return None, None, None, by_prepared, by_recurrent, by_leak, by_gain, by_equilibrium, by_start, by_dt


def run_gates(
    prepared: Tensor,
    recurrent: Tensor,
    neurons: tuple[Tensor, Tensor, Tensor],
    start: Tensor,
    dt: Tensor,
    counts: Tensor,
    *,
    exponential: bool,
) -> tuple[Tensor, Tensor]:
    """Eq. 1 over all frames: states and time constants (batch, steps, units).

    Args:
        prepared: the inputs' share of the gates, (batch, steps, maps * units).
        recurrent: the states' share, (maps * units, units).
        neurons: 1/τ and k (units,), and A (units,), or (0,) where the equilibrium is gated.
        start, dt, counts, exponential: see `dispatch.conductance`.
    """
    recorded = torch.is_grad_enabled()  # which `needs_input_grad` does not know of
    return _Gates.apply(counts, exponential, recorded, prepared, recurrent, *neurons, start, dt)
