"""Resonant LTC: damped oscillators whose damping depends on the input."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Prepared
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import log_uniform


class ResonantLTC(LRU):
    """Linear recurrent unit with a liquid damping: λ = -(1/τ + k σ(W I + b)) + iω.

    As in `LRU`, x ← e^{λΔt} x + (1 - e^{λΔt}) u is the exact solution for a held input. The gate is that of the LTC
    (arXiv 2006.04439, Eq. 1): while it is open, a unit forgets within 1/k seconds and follows its input, whatever the
    frame rate. The effective time constants 1 / (1/τ + f) lie between τ / (1 + τ k) and τ.

    Args:
        gain: range of the initial k per second.
        tau: see `LRU`.
        period: see `LRU`.
        input_size: see `LRU`.
        units: see `LRU`.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        gain: tuple[float, float] = (1.0, 60.0),
        tau: tuple[float, float] = (0.2, 10.0),
        period: tuple[float, float] = (0.5, 50.0),
    ) -> None:
        super().__init__(input_size, units, tau=tau, period=period)
        self.gate = nn.Linear(input_size, units)
        self.log_gain = nn.Parameter(log_uniform(units, *gain))

    def prepare(self, x: Tensor) -> Prepared:
        f = self.log_gain.exp() * torch.sigmoid(self.gate(x))
        return self.inputs(x), torch.exp(-self.log_tau) + f
