"""Recurrent layers to compare with: GRU and LSTM, to which Δt is nothing but "moved or not", and no memory at all."""

from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from liquidvision.liquid.cell import Cell, Prepared, check_sizes, hold_at_zero_dt

Frames = TypeVar("Frames", Tensor, PackedSequence)


class TorchCell(Cell):
    """What GRU and LSTM share: torch's own kernels over whole sequences, and a state that is held at Δt = 0.

    They know no seconds: any Δt > 0 is one step. They have no time constants (units is 0, and
    (batch, steps, 0) is given). torch's kernels take the inputs' share out of the loop themselves, so
    `prepare` hands the inputs on. Rows whose time only ever stops at their end, as padding does, run
    packed; only where time stops and goes on does a loop in Python step frame by frame.

    Args:
        input_size: width of an input.
        hidden_size: width of the hidden state, which is the output.

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
        """torch's kernel: x (batch, steps, input_size), packed or not, to outputs alike, and the last state."""

    def prepare(self, x: Tensor) -> Prepared:
        return (x,)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, new = self.sequence(prepared[0][:, None], state)
        new = hold_at_zero_dt(new, state, dt)
        return new[:, : self.output_size], new, dt.new_zeros(len(dt), 0)

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moves = dt > 0
        if bool((moves[:, 1:] & ~moves[:, :-1]).any()):
            return super().run(prepared, state, dt)
        taus = dt.new_zeros(*dt.shape, 0)
        if bool(moves[:, -1].all()):
            outputs, state = self.sequence(prepared[0], state)
            return outputs, state, taus
        # A packed row has one frame or more; what rows of none compute is put back below.
        lengths = moves.sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(prepared[0], lengths, batch_first=True, enforce_sorted=False)
        ran, new = self.sequence(packed, state)
        new = hold_at_zero_dt(new, state, dt[:, :1])
        outputs, _ = pad_packed_sequence(ran, batch_first=True, total_length=dt.shape[1])
        return torch.where(moves[..., None], outputs, new[:, None, : self.output_size]), new, taus


class GRU(TorchCell):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) in the form of torch.nn.GRU, whose weights `layer` holds.

    The state (batch, hidden_size) is the output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, 1)
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)

    def sequence(self, x: Frames, state: Tensor) -> tuple[Frames, Tensor]:
        outputs, h = self.layer(x, state[None].contiguous())
        return outputs, h[0]


class LSTM(TorchCell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) in the form of torch.nn.LSTM, held by `layer`.

    The state (batch, 2 hidden_size) is [h, c] side by side; h is the output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, 2)
        self.layer = nn.LSTM(input_size, hidden_size, batch_first=True)

    def sequence(self, x: Frames, state: Tensor) -> tuple[Frames, Tensor]:
        h, c = state[None].chunk(2, -1)
        outputs, (h, c) = self.layer(x, (h.contiguous(), c.contiguous()))
        return outputs, torch.cat([h[0], c[0]], -1)


class Memoryless(Cell):
    """A control without memory: an output is tanh(W I + b) of its frame alone, whatever Δt is.

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
