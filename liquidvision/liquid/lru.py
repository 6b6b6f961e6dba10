"""The linear recurrent unit: damped oscillators, exact in Δt."""

import math

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Prepared
from liquidvision.liquid.ltc import log_uniform
from liquidvision.liquid.scan import LinearCell


class LRU(LinearCell):
    """Linear recurrent unit with complex rates (Orvieto et al. 2023, arXiv 2303.06349; S5, arXiv 2208.04933).

    Complex states x with rates λ = -1/τ + iω, driven by u = B I + b, which is held during Δt (zero-order hold):

        x ← e^{λΔt} x + (1 - e^{λΔt}) u,   output tanh(C [Re x, Im x] + c)

    This is the exact solution of dx/dt = λ (x - u). A unit is a damped oscillator with the period 2π/ω: its phase shows
    the order in which inputs came. τ and ω are positive by construction and initialised log-uniformly. The state
    (batch, 2 units) holds real and imaginary parts; the time constants are τ.

    Args:
        tau: range of the initial τ in seconds.
        period: range of the initial 2π/ω in seconds.
        input_size: width of an input.
        units: number of complex states, and width of the output.
    """

    complex_states = True

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        tau: tuple[float, float] = (0.2, 10.0),
        period: tuple[float, float] = (0.5, 50.0),
    ) -> None:
        super().__init__(input_size, units)
        self.inputs = nn.Linear(input_size, 2 * units)
        self.mix = nn.Linear(2 * units, units)
        self.log_tau = nn.Parameter(log_uniform(units, *tau))
        self.log_omega = nn.Parameter(math.log(2 * math.pi) - log_uniform(units, *period))

    def prepare(self, x: Tensor) -> Prepared:
        driven = self.inputs(x)
        return driven, torch.exp(-self.log_tau).expand(*driven.shape[:-1], -1)

    def transition(self, prepared: Prepared, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        driven, rate = prepared
        exponent = torch.complex(-rate * dt, self.log_omega.exp() * dt)
        driven = torch.complex(*driven.chunk(2, -1))
        return torch.exp(exponent), -torch.expm1(exponent) * driven, 1 / rate

    def read_out(self, state: Tensor) -> Tensor:
        return torch.tanh(self.mix(state))
