"""A GRU without a reset gate."""

from typing import ClassVar

from liquidvision.liquid.stepped_gru import SteppedGRU


class NoResetGRU(SteppedGRU):
    """GRU without a reset gate (Ravanelli et al. 2018, arXiv 1803.10225): n = tanh(W I + U h + b), h ← n + z (h - n).

    It is the gated LTC with frames in the place of seconds: z stands where exp(-G Δt) does.

    Args:
        input_size: see `SteppedGRU`.
        hidden_size: see `SteppedGRU`.
        chrono: see `SteppedGRU`.
    """

    reset: ClassVar[bool] = False
