"""A GRU whose gate is raised to the power of the elapsed time."""

from torch import Tensor
from torch.nn import functional

from liquidvision.liquid.stepped_gru import SteppedGRU


class PowerGRU(SteppedGRU):
    """GRU whose update gate is raised to the power Δt/Δ0: h ← n + z^{Δt/Δ0} (h - n).

    A gate z that a frame of Δ0 seconds keeps is a rate -log(z)/Δ0 of forgetting, so that this GRU forgets in seconds.
    It is a liquid cell in all but its reset gate: an LTC (arXiv 2006.04439) whose rate G = softplus(-a)/Δ0, with
    z = σ(a), has no leak and no largest value. The idea is that of time-aware gates (Mozer et al. 2017, arXiv
    1710.04110).

    Args:
        step: Δ0, seconds.
        input_size: see `SteppedGRU`.
        hidden_size: see `SteppedGRU`.
        chrono: see `SteppedGRU`.
    """

    def __init__(self, input_size: int, hidden_size: int, *, step: float = 0.04, chrono: float | None = None) -> None:
        super().__init__(input_size, hidden_size, chrono=chrono)
        self.step_seconds = step

    def keep(self, gate: Tensor, dt: Tensor) -> Tensor:
        return (functional.logsigmoid(gate) * (dt / self.step_seconds)).exp()
