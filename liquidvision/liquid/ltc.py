"""Liquid time-constant cells: the paper's Eq. 1, with a constant or a gated equilibrium, and the conductance form."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell

SOLVERS = ("exponential", "fused")


class LiquidCell(Cell):
    """What both forms share: dx/dt = -G x + G x∞ with G and x∞ held still over a short step.

    Args:
        input_size: width of an input.
        units: number of neurons.
        unfolds: steps L that one Δt is divided into; the state is fed back at each.
        solver: "exponential" (exponential Euler: x∞ + (x - x∞) exp(-hG)) or "fused" (the paper's
            Eq. 3: (x + h G x∞) / (1 + h G)), with h = Δt / L. Both stay bounded for any h; the
            exponential one errs less.

    Raises:
        UsageError: a size or number of unfolds below 1, or an unknown solver.
    """

    def __init__(self, input_size: int, units: int, *, unfolds: int, solver: str) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("units", units), ("unfolds", unfolds)):
            if value < 1:
                raise UsageError(f"{name} is {value}; expected 1 or more")
        if solver not in SOLVERS:
            raise UsageError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        self.input_size, self.units, self.state_size = input_size, units, units
        self.unfolds, self.solver = unfolds, solver

    @abstractmethod
    def rates(self, prepared: tuple[Tensor, ...], state: Tensor) -> tuple[Tensor, Tensor]:
        """G in 1/s and the drive G x∞, each (batch, units), at this input and state."""

    def advance(self, prepared: tuple[Tensor, ...], state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        h = dt / self.unfolds
        for _ in range(self.unfolds):
            rate, drive = self.rates(prepared, state)
            if self.solver == "exponential":
                # x + (x∞ - x)(1 - exp(-hG)); expm1 keeps Δt = 0 the exact identity.
                state = state - (drive / rate - state) * torch.expm1(-h * rate)
            else:
                state = (state + h * drive) / (1 + h * rate)
        return state, 1 / rate


class LTC(LiquidCell):
    """The paper's form: dx/dt = -(1/τ + f) x + f A, with f = k σ(W [I, x] + b) (arXiv 2006.04439, Eq. 1).

    The effective time constant is τ / (1 + τ f) (Eq. 2), between τ / (1 + τ k) and τ; a state stays
    between the extremes of 0 and A. τ and the gain k start log-uniform over `tau` seconds and over
    `gain` per second, so that the units together span quick and slow from the first step.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        tau: tuple[float, float] = (0.5, 20.0),
        gain: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        super().__init__(input_size, units, unfolds=unfolds, solver=solver)
        self.inputs = nn.Linear(input_size, units)
        self.recurrent = nn.Linear(units, units, bias=False)
        self.log_tau = nn.Parameter(log_uniform(units, *tau))
        self.log_gain = nn.Parameter(log_uniform(units, *gain))
        self.equilibrium = nn.Parameter(torch.empty(units).uniform_(-1, 1))  # A
        nn.init.orthogonal_(self.recurrent.weight)

    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.inputs(x),)

    def rates(self, prepared: tuple[Tensor, ...], state: Tensor) -> tuple[Tensor, Tensor]:
        f = self.log_gain.exp() * torch.sigmoid(prepared[0] + self.recurrent(state))
        return torch.exp(-self.log_tau) + f, f * self.equilibrium


class GatedLTC(LiquidCell):
    """Eq. 1 with an equilibrium that depends on input and state: A = tanh(W' [I, x] + b').

    The conductance form has such an equilibrium already: the mean of the reversal potentials, weighted
    by how far each synapse is open. A state stays within -1..1; time constants as in `LTC`.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        tau: tuple[float, float] = (0.5, 20.0),
        gain: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        super().__init__(input_size, units, unfolds=unfolds, solver=solver)
        self.inputs = nn.Linear(input_size, 2 * units)  # of the gate, then of the equilibrium
        self.recurrent = nn.Linear(units, 2 * units, bias=False)
        self.log_tau = nn.Parameter(log_uniform(units, *tau))
        self.log_gain = nn.Parameter(log_uniform(units, *gain))
        for part in self.recurrent.weight.data.chunk(2):
            nn.init.orthogonal_(part)

    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.inputs(x),)

    def rates(self, prepared: tuple[Tensor, ...], state: Tensor) -> tuple[Tensor, Tensor]:
        gate, equilibrium = (prepared[0] + self.recurrent(state)).chunk(2, -1)
        f = self.log_gain.exp() * torch.sigmoid(gate)
        return torch.exp(-self.log_tau) + f, f * torch.tanh(equilibrium)


class ConductanceLTC(LiquidCell):
    """The form that the authors' code runs: membranes and synapses with conductances (NCP, Nature MI 2020, Eqs. 1-3).

    cm dv/dt = g (vleak - v) + Σ w σ(a (v_pre - μ)) (E - v) + the same sum over the inputs, so that
    G = (g + Σ w s) / cm. The effective time constant 1 / G lies below cm / g; v stays between the
    extremes of 0, vleak and E. g, w and cm are positive by construction (softplus of a free
    parameter that starts at the inverse of its initial value). Synaptic weights are divided by
    their fan-in, or the conductance of a wide input would leave no memory.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        tau: tuple[float, float] = (0.05, 5.0),
    ) -> None:
        super().__init__(input_size, units, unfolds=unfolds, solver=solver)
        leak = torch.ones(units)
        self.raw_leak = nn.Parameter(inverse_softplus(leak))
        self.raw_capacitance = nn.Parameter(inverse_softplus(leak * log_uniform(units, *tau).exp()))
        self.leak_potential = nn.Parameter(torch.empty(units).uniform_(-0.2, 0.2))
        for name, sources in (("sensory", input_size), ("recurrent", units)):
            weight = torch.empty(sources, units).uniform_(0.01, 1.0) * 8 / sources
            self.register_parameter(f"{name}_raw_weight", nn.Parameter(inverse_softplus(weight)))
            self.register_parameter(f"{name}_slope", nn.Parameter(torch.empty(sources, units).uniform_(3, 8)))
            centre = (-1.0, 1.0) if name == "sensory" else (-0.5, 0.5)
            self.register_parameter(f"{name}_centre", nn.Parameter(torch.empty(sources, units).uniform_(*centre)))
            sign = torch.randint(0, 2, (sources, units)) * 2.0 - 1.0
            self.register_parameter(f"{name}_reversal", nn.Parameter(sign))  # E

    def synapses(self, name: str, source: Tensor) -> tuple[Tensor, Tensor]:
        """Σ w s and Σ w s E over the sources (..., n): each (..., units)."""
        weight = functional.softplus(getattr(self, f"{name}_raw_weight"))
        slope, centre = getattr(self, f"{name}_slope"), getattr(self, f"{name}_centre")
        current = weight * torch.sigmoid(slope * (source[..., None] - centre))
        return current.sum(-2), (current * getattr(self, f"{name}_reversal")).sum(-2)

    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.synapses("sensory", x)

    def rates(self, prepared: tuple[Tensor, ...], state: Tensor) -> tuple[Tensor, Tensor]:
        leak, capacitance = functional.softplus(self.raw_leak), functional.softplus(self.raw_capacitance)
        conductance, current = self.synapses("recurrent", state)
        conductance = leak + conductance + prepared[0]
        return conductance / capacitance, (leak * self.leak_potential + current + prepared[1]) / capacitance


def log_uniform(n: int, low: float, high: float) -> Tensor:
    """`n` logarithms spread evenly between those of `low` and `high`, in random order."""
    spread = torch.linspace(math.log(low), math.log(high), n)
    return spread[torch.randperm(n)]


def inverse_softplus(y: Tensor) -> Tensor:
    """The x with softplus(x) = y, for y > 0, without overflow for large y."""
    return y + torch.log(-torch.expm1(-y))
