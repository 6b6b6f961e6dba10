"""Liquid cells of the paper's Eq. 1, with a constant or a gated equilibrium, and what every liquid cell shares."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid import fused
from liquidvision.liquid.cell import Cell, Prepared

Rates = Callable[[Tensor], tuple[Tensor, Tensor]]
SOLVERS = ("exponential", "fused", "euler", "rk4")
MOST_UNFOLDS = 10_000


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
        for name, value in (("input_size", input_size), ("units", units), ("unfolds", unfolds)):
            if value < 1:
                raise UsageError(f"{name} is {value}; expected 1 or more")
        if solver not in SOLVERS:
            raise UsageError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        if max_step is not None and not max_step > 0:
            raise UsageError(f"max_step is {max_step}; expected seconds above 0, or None")
        self.input_size, self.units, self.output_size, self.state_size = input_size, units, units, units
        self.unfolds, self.solver, self.max_step = unfolds, solver, max_step

    @abstractmethod
    def rates(self, prepared: Prepared) -> Rates:
        """At this input, the function from states (batch, units) to G in 1/s and the drive G x∞, (batch, units)."""

    @abstractmethod
    def run_fused(self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """All frames in one kernel: states and time constants (batch, steps, units). Of `fused`, on CPUs."""

    def counts(self, dt: Tensor) -> Tensor:
        """How many solver steps each Δt takes: dt of any shape, int32 of the same."""
        counts = torch.full_like(dt, self.unfolds, dtype=torch.int32)
        if self.max_step is None:
            return counts
        return torch.maximum(counts, (dt / self.max_step).ceil().clamp_max(MOST_UNFOLDS).to(torch.int32))

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        counts = self.counts(dt)
        h = dt / counts
        most = self.unfolds if self.max_step is None or not len(counts) else int(counts.max())
        rates, taus = self.rates(prepared), torch.zeros_like(state)
        for unfold in range(most):
            new, tau = self.solve(rates, state, h)
            if unfold < self.unfolds:
                state, taus = new, tau
            else:  # each stream takes its own number of steps, whatever the others in the batch take
                going = unfold < counts
                state, taus = torch.where(going, new, state), torch.where(going, tau, taus)
        return self.read(state), state, taus

    def solve(self, rates: Rates, state: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
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

    def read(self, state: Tensor) -> Tensor:
        """What is given out of states (..., units): (..., output_size)."""
        return state

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quick = self.solver in ("exponential", "fused") and fused.worth(dt.shape[1] * self.unfolds)
        if not quick or not fused.fits(*prepared, state, dt, *self.parameters()):
            return super().run(prepared, state, dt)
        states, taus = self.run_fused(prepared, state, dt, self.counts(dt))
        return self.read(states), states[:, -1], taus


class LTC(LiquidCell):
    """The paper's form: dx/dt = -(1/τ + f) x + f A, with f = k σ(W [I, x] + b) (arXiv 2006.04439, Eq. 1).

    G = 1/τ + f and G x∞ = f A. The effective time constant 1 / G = τ / (1 + τ f) (Eq. 2) lies between
    τ / (1 + τ k) and τ; a state stays between the extremes of 0 and A. τ and the gain k are positive by
    construction (kept as logarithms) and start log-uniform over `tau` seconds and over `gain` per
    second, so that the units together span quick and slow from the first step.

    Args:
        tau: the range of τ at the start, in seconds.
        gain: the range of k at the start, per second.
        input_size, units, unfolds, solver, max_step: see `LiquidCell`.
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

    def run_fused(self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        equilibrium = self.log_tau.new_zeros(0) if self.gated else self.equilibrium
        neurons = torch.exp(-self.log_tau), self.log_gain.exp(), equilibrium
        exponential = self.solver == "exponential"
        return fused.gates(prepared[0], self.recurrent.weight, neurons, state, dt, counts, exponential=exponential)


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
    """`n` logarithms spread evenly between those of `low` and `high`, in random order."""
    if not 0 < low <= high < math.inf:
        raise UsageError(f"the range is {low} to {high}; expected two positive numbers, the smaller first")
    spread = torch.linspace(math.log(low), math.log(high), n)
    return spread[torch.randperm(n)]
