"""Liquid time-constant cells (Eq. 1 of arXiv 2006.04439) with a constant or a gated equilibrium, and their base."""

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
    """Base of all liquid cells: dx/dt = G (x∞ - x), with a rate G and an equilibrium x∞ that depend on input and state.

    Args:
        input_size: width of an input.
        units: number of neurons.
        unfolds: number L of solver steps per Δt; each step feeds the state back.
        solver: one step over h = Δt / L. "exponential": exponential Euler, x∞ + (x - x∞) exp(-hG). "fused": Eq. 3 of
            the paper, (x + h G x∞) / (1 + h G). Both hold G and x∞ constant over the step, are of first order and
            stay bounded for any h; the exponential step has the smaller error. "euler" and "rk4", explicit of orders
            1 and 4, are for study: they are unbounded where hG is large, and run in plain torch only.
        max_step: seconds; a longer h is divided further, up to 10,000 steps per Δt. None: no limit.

    Raises:
        UsageError: a size or number of unfolds below 1, an unknown solver, or a max_step that is not positive.
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
        """Return a function from states (batch, units) to G in 1/s and the drive G x∞, (batch, units), for an input."""

    def run_compiled(
        self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Run all frames in a compiled kernel.

        Returns:
            States and time constants (batch, steps, units), or None if the cell has no kernel.
        """
        return None

    def step_counts(self, dt: Tensor) -> Tensor:
        """Return the number of solver steps for each Δt, int32 of the shape of dt."""
        counts = torch.full_like(dt, self.unfolds, dtype=torch.int32)
        if self.max_step is None:
            return counts
        return torch.maximum(counts, (dt / self.max_step).ceil().clamp_max(MAX_UNFOLDS).to(torch.int32))

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rates = self.rates(prepared)
        if self.max_step is None:
            h = dt if self.unfolds == 1 else dt / self.unfolds
            for _ in range(self.unfolds):
                state, taus = self.solver_step(rates, state, h)
            return self.read_out(state), state, taus
        counts = self.step_counts(dt)
        h, taus = dt / counts, torch.zeros_like(state)
        for unfold in range(int(counts.max()) if len(counts) else self.unfolds):
            new, tau = self.solver_step(rates, state, h)
            if unfold < self.unfolds:
                state, taus = new, tau
            else:  # each stream takes its own number of steps, independent of the others in the batch
                active = unfold < counts
                state, taus = torch.where(active, new, state), torch.where(active, tau, taus)
        return self.read_out(state), state, taus

    def solver_step(self, rates: Rates, state: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state (batch, units) after h (batch, 1) seconds, and the time constants 1 / G at their start."""
        rate, drive = rates(state)
        if self.solver == "exponential":
            # x + (x∞ - x)(1 - exp(-hG)); expm1 keeps Δt = 0 the exact identity.
            new = torch.addcmul(state, drive / rate - state, torch.expm1(-h * rate), value=-1)
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
        return new, rate.reciprocal()

    def read_out(self, state: Tensor) -> Tensor:
        """Return the outputs (..., output_size) for states (..., units)."""
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
    """The form of the paper: dx/dt = -(1/τ + f) x + f A, with f = k σ(W [I, x] + b) (arXiv 2006.04439, Eq. 1).

    G = 1/τ + f and G x∞ = f A. The effective time constant 1 / G = τ / (1 + τ f) (Eq. 2) lies between τ / (1 + τ k)
    and τ. A state stays between the extremes of 0 and A. τ and the gain k are positive by construction: the parameters
    are their logarithms. Both are initialised log-uniformly, so that the units cover fast and slow time scales from the
    start.

    Args:
        tau: range of the initial τ in seconds.
        gain: range of the initial k per second.
        input_size: see `LiquidCell`.
        units: see `LiquidCell`.
        unfolds: see `LiquidCell`.
        solver: see `LiquidCell`.
        max_step: see `LiquidCell`.
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
        maps = 2 if self.gated else 1  # of the gate and, if gated, of the equilibrium
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

    The conductance form has such an equilibrium by construction: the mean of the reversal potentials, weighted by the
    conductance of each synapse. A state stays within -1..1; time constants are as in `LTC`.
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
    """Return n evenly spaced values from log(low) to log(high) in random order; for n = 1, their mean."""
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
        # by_x: gradient of the loss with respect to x.
        recurrent, leak, gain, equilibrium, dt, counts, path = ctx.saved_tensors
        batch, steps, units = by_states.shape
        width, gated = len(recurrent), not len(equilibrium)
        flat, dt_and_counts, given = (
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
                *flat, gated, *(r[part] for r in dt_and_counts), ctx.exponential, *(r[part] for r in given), *into
            )
            return neurons

        parts = dispatch.run_in_parallel(work, batch, int(counts.sum()) * units * width // 2)
        by_leak, by_gain, by_equilibrium = torch.stack(parts).sum(0)
        # Entries beyond a stream's own solver steps were never written.
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
    """Run Eq. 1 over all frames; return states and time constants (batch, steps, units).

    Args:
        prepared: contribution of the inputs to the gates, (batch, steps, maps * units).
        recurrent: weights of the states' contribution, (maps * units, units).
        neurons: 1/τ and k (units,), and A (units,), or (0,) if the equilibrium is gated.
        start, dt, counts, exponential: see `dispatch.conductance`.
    """
    recorded = torch.is_grad_enabled()  # `needs_input_grad` ignores it
    return _Gates.apply(counts, exponential, recorded, prepared, recurrent, *neurons, start, dt)
