"""Recurrent layers for comparison: GRU and LSTM, which only distinguish Δt = 0 from Δt > 0, and a memoryless layer.

To add a cell to compare with, also enter it in `GRUS` or `OTHER_CELLS` of models/heads/liquid_head.py, which makes it
a value of `--head`, and in `CELL_NAMES` of evaluation/compare.py, which names its row; `COMPARED_CELLS` there lists the
rows of every comparison.
"""

import math
from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell, Prepared, check_sizes, hold_at_zero_dt

Frames = TypeVar("Frames", Tensor, PackedSequence)


class TorchCell(Cell):
    """Base of GRU and LSTM: torch's kernels over whole sequences, with a state that is held at Δt = 0.

    The layers do not use the length of Δt: any Δt > 0 is one step. The cells have no time constants: units is 0, and
    time constants have the shape (batch, steps, 0). torch's kernels compute the input projection outside the loop
    themselves, so `prepare` returns the inputs. Streams in which Δt = 0 occurs only at the end, as padding does, run
    packed. Only if Δt = 0 is followed by Δt > 0 does a Python loop step frame by frame.

    Args:
        input_size: width of an input.
        hidden_size: width of the hidden state, which is the output.
        states: number of states of this width that the cell carries.

    Raises:
        UsageError: a size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, states: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.units = input_size, 0
        self.output_size, self.state_size = hidden_size, states * hidden_size

    @abstractmethod
    def sequence(self, x: Frames, state: Tensor) -> tuple[Frames, Tensor]:
        """Run torch's kernel on x (batch, steps, input_size), also packed; return outputs alike and the last state."""

    def layer_inputs(self, x: Tensor, dt: Tensor) -> Tensor:
        """Return what the layer reads of x (..., input_size) and dt (..., 1); here x."""
        return x

    def prepare(self, x: Tensor) -> Prepared:
        return (x,)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, new = self.sequence(self.layer_inputs(prepared[0], dt)[:, None], state)
        new = hold_at_zero_dt(new, state, dt)
        return new[:, : self.output_size], new, dt.new_zeros(len(dt), 0)

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moves = dt > 0
        if bool((moves[:, 1:] & ~moves[:, :-1]).any()):
            return super().run(prepared, state, dt)
        x, taus = self.layer_inputs(prepared[0], dt[..., None]), dt.new_zeros(*dt.shape, 0)
        if bool(moves[:, -1].all()):
            outputs, state = self.sequence(x, state)
            return outputs, state, taus
        # A packed stream has at least 1 frame; results of streams without frames are replaced below.
        lengths = moves.sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        ran, new = self.sequence(packed, state)
        new = hold_at_zero_dt(new, state, dt[:, :1])
        outputs, _ = pad_packed_sequence(ran, batch_first=True, total_length=dt.shape[1])
        return torch.where(moves[..., None], outputs, new[:, None, : self.output_size]), new, taus


class GRU(TorchCell):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) in the form of torch.nn.GRU, which `layer` is.

    The state (batch, hidden_size) is the output.

    Args:
        input_size: width of an input.
        hidden_size: width of the state.
        chrono: frames; the longest memory that update gates start with, see `set_chrono_bias`. None: torch's biases.
    """

    def __init__(self, input_size: int, hidden_size: int, *, chrono: float | None = None) -> None:
        super().__init__(input_size, hidden_size, 1)
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)
        if chrono is not None:
            given, own = (self.layer.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0"))
            update = slice(hidden_size, 2 * hidden_size)
            set_chrono_bias(given[update], own[update], chrono)

    def sequence(self, x: Frames, state: Tensor) -> tuple[Frames, Tensor]:
        outputs, h = self.layer(x, state[None].contiguous())
        return outputs, h[0]


class LSTM(TorchCell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) in the form of torch.nn.LSTM, which `layer` is.

    The state (batch, 2 hidden_size) is [h, c], concatenated; h is the output.

    Args:
        input_size: width of an input.
        hidden_size: width of h and of c.
        chrono: frames; the longest memory that the forget gates start with, the input gates being their opposites; see
            `set_chrono_bias`. None: torch's biases.
    """

    def __init__(self, input_size: int, hidden_size: int, *, chrono: float | None = None) -> None:
        super().__init__(input_size, hidden_size, 2)
        self.layer = nn.LSTM(input_size, hidden_size, batch_first=True)
        if chrono is not None:
            given, own = (self.layer.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0"))
            forget = slice(hidden_size, 2 * hidden_size)
            set_chrono_bias(given[forget], own[forget], chrono)
            with torch.no_grad():
                given[:hidden_size], own[:hidden_size] = -given[forget], 0.0

    def sequence(self, x: Frames, state: Tensor) -> tuple[Frames, Tensor]:
        h, c = state[None].chunk(2, -1)
        outputs, (h, c) = self.layer(x, (h.contiguous(), c.contiguous()))
        return outputs, torch.cat([h[0], c[0]], -1)


class Memoryless(Cell):
    """A baseline without memory: the output is tanh(W I + b) of each frame alone, for any Δt.

    The state is (batch, 0), and there are no time constants: units is 0.

    Args:
        input_size: width of an input.
        output_size: width of an output.

    Raises:
        UsageError: a size below 1.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, output_size=output_size)
        self.input_size, self.units, self.output_size, self.state_size = input_size, 0, output_size, 0
        self.layer = nn.Linear(input_size, output_size)

    def prepare(self, x: Tensor) -> Prepared:
        return (torch.tanh(self.layer(x)),)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return prepared[0], state, dt.new_zeros(len(dt), 0)

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return prepared[0], state, dt.new_zeros(*dt.shape, 0)


@torch.no_grad()
def set_chrono_bias(given: Tensor, own: Tensor, longest: float) -> None:
    """Set a gate's biases (units,) by chrono initialisation, so that units keep their state for 2 to `longest` frames.

    log(m) with m uniform over 1 to longest - 1 makes a gate σ(log m) that forgets within m + 1 frames (Tallec and
    Ollivier 2018, arXiv 1804.11188).

    Args:
        given: the bias of the input's part, which is set.
        own: the bias of the state's part, which becomes 0.
        longest: frames.

    Raises:
        UsageError: `longest` is not finite and above 2.
    """
    if not 2 < longest < math.inf:
        raise UsageError(f"chrono is {longest}; expected a number of frames above 2")
    given.copy_(torch.empty_like(given).uniform_(1, longest - 1).log())
    own.zero_()
