"""The contract of every head: embeddings of streams in, logits out; state in, state out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """The outputs of a head for (batch, steps) frames.

    Attributes:
        logits: (batch, steps, classes), with memory.
        frame_logits: (batch, steps, classes), from each frame alone.
        hidden: (batch, steps, cell's output size) outputs of the cell, which the readout sees.
        time_constants: (batch, steps, units) effective time constants in seconds.
        state: the state after the last step.
    """

    logits: Tensor
    frame_logits: Tensor
    hidden: Tensor
    time_constants: Tensor
    state: State


class HeadDescription(Protocol):
    """The configuration of a head, as written to a model's config.json."""

    @property
    def classes(self) -> int:
        """Number of labels."""
        ...

    @property
    def cell(self) -> str:
        """The kind of memory."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON types."""
        ...


class Head(nn.Module, ABC):
    """Embeddings of streams to logits per frame, with memory: a pure function of (embeddings, state, Δt).

    Any chunking of a stream, and any number of streams side by side, give the same numbers.

    Attributes:
        config: see `HeadDescription`.
        reads_logits: whether an embedding ends with the logits of its backbone's classifier, whose classes the head
            keeps; such a head has nothing to learn about classes.
    """

    config: HeadDescription
    reads_logits: ClassVar[bool] = False

    @property
    @abstractmethod
    def input_size(self) -> int:
        """Width of an embedding."""

    @abstractmethod
    def initial(self, batch: int) -> State:
        """Return the state of `batch` streams that have seen nothing."""

    @abstractmethod
    def forward(
        self, xs: Tensor, dts: Tensor | float, state: State | None = None, lengths: Tensor | Sequence[int] | None = None
    ) -> HeadOutput:
        """Run embeddings through the head.

        Args:
            xs: (batch, steps, input_size).
            dts: seconds since the frame before: a number, (batch,), (batch, steps) or (batch, steps, 1).
            state: what an earlier call returned; None for streams that have seen nothing.
            lengths: (batch,) frames of each stream that count; the rest is padding and steps nothing. None: all.

        Raises:
            UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
        """

    def step(self, x: Tensor, dt: Tensor | float, state: State | None = None) -> tuple[Tensor, State]:
        """Run one frame of each stream.

        Args:
            x: (batch, input_size).
            dt: seconds, a number or (batch,).
            state: as in `forward`.

        Returns:
            Logits (batch, classes) and the new state.
        """
        out = self(x[:, None], dt, state)
        return out.logits[:, 0], out.state
