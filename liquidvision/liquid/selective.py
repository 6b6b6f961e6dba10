"""The selective state space: the gated LTC without recurrent weights."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Prepared
from liquidvision.liquid.ltc import log_uniform
from liquidvision.liquid.scan import LinearCell


class SelectiveSSM(LinearCell):
    """Gated LTC whose rate and equilibrium depend on the input alone, so that it is linear in its state.

    dx/dt = -(1/τ + f) x + f A, with f = k σ(W I + b) and A = tanh(W' I + b'), for an input that is held during Δt:

        x ← e^{-G Δt} x + (1 - e^{-G Δt}) f A / G,   G = 1/τ + f

    This is the exact solution, so two steps are one of twice the length. The input decides when the state is kept
    and when it is replaced, as in Mamba (Gu and Dao 2023, arXiv 2312.00752); "liquid" state spaces are due to Hasani et
    al. 2022 (arXiv 2209.12951). A state stays within -1..1; the time constants 1 / G lie between τ / (1 + τ k) and τ.

    Args:
        tau: range of the initial τ in seconds.
        gain: range of the initial k per second.
        input_size: width of an input.
        units: number of neurons.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        tau: tuple[float, float] = (0.5, 20.0),
        gain: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        super().__init__(input_size, units)
        self.inputs = nn.Linear(input_size, 2 * units)
        self.log_tau = nn.Parameter(log_uniform(units, *tau))
        self.log_gain = nn.Parameter(log_uniform(units, *gain))

    def prepare(self, x: Tensor) -> Prepared:
        gate, equilibrium = self.inputs(x).chunk(2, -1)
        f = self.log_gain.exp() * torch.sigmoid(gate)
        rate = torch.exp(-self.log_tau) + f
        return rate, f / rate * torch.tanh(equilibrium)

    def transition(self, prepared: Prepared, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate, equilibrium = prepared
        lost = -torch.expm1(-rate * dt)
        return 1 - lost, lost * equilibrium, 1 / rate
