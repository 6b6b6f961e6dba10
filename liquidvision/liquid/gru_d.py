"""GRU-D: a GRU whose state decays between frames."""

import torch
from torch import Tensor, nn

from liquidvision.liquid.ltc import log_uniform
from liquidvision.liquid.stepped_gru import SteppedGRU


class DecayGRU(SteppedGRU):
    """GRU-D (Che et al. 2018, arXiv 1606.01865): a GRU whose state decays over Δt before each step.

        h ← e^{-max(0, w Δt + b)} h, then a step of a GRU

    The decay of inputs, which is for inputs of which some are missing, is left out: all numbers of a frame are there.
    w starts as 1/τ with τ log-uniform, and b as 0.

    Args:
        tau: range of the initial τ in seconds.
        input_size: see `SteppedGRU`.
        hidden_size: see `SteppedGRU`.
        chrono: see `SteppedGRU`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        tau: tuple[float, float] = (0.5, 20.0),
        chrono: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, chrono=chrono)
        self.decay_weight = nn.Parameter(torch.exp(-log_uniform(hidden_size, *tau)))
        self.decay_bias = nn.Parameter(torch.zeros(hidden_size))

    def fade(self, state: Tensor, dt: Tensor) -> Tensor:
        return torch.exp(-torch.relu(self.decay_weight * dt + self.decay_bias)) * state
