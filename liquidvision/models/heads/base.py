"""The interface of all heads: embeddings and state in, logits and state out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

State = dict[str, Tensor]
ADAPTATION = "adaptation"  # the part of a state that is there if the head adapts to the stream


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """The outputs of a head for (batch, steps) frames.

    Attributes:
        logits: (batch, steps, classes) with memory.
        frame_logits: (batch, steps, classes) from each frame alone.
        hidden: (batch, steps, cell's output size) outputs of the cell, which the readout uses.
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
    """Base class of heads, which turn the embeddings of streams into logits per frame, with memory.

    A head is a pure function of (embeddings, state, Δt): any chunking of a stream, and any number of streams in a
    batch, give the same numbers.

    Attributes:
        config: see `HeadDescription`.
        reads_logits: whether an embedding ends with the logits of the backbone's own classifier. The head then has the
            classes of that classifier.
        shared_tensors: names of the weights that a backward head of this kind shares with the forward head.
    """

    config: HeadDescription
    reads_logits: ClassVar[bool] = False
    shared_tensors: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def input_size(self) -> int:
        """Width of an embedding."""

    @property
    def adapts(self) -> bool:
        """Whether the head can adapt to a stream."""
        return False

    @abstractmethod
    def initial(self, batch: int, *, adapt: bool = False) -> State:
        """Return the state of `batch` new streams.

        Args:
            batch: number of streams.
            adapt: whether the head adapts to the streams, for a head that `adapts`.
        """

    @abstractmethod
    def forward(
        self, xs: Tensor, dts: Tensor | float, state: State | None = None, lengths: Tensor | Sequence[int] | None = None
    ) -> HeadOutput:
        """Run embeddings through the head.

        Args:
            xs: (batch, steps, input_size).
            dts: seconds since the frame before: a number, (batch,), (batch, steps) or (batch, steps, 1).
            state: what an earlier call returned; None for new streams.
            lengths: (batch,) valid frames of each stream; the rest is padding, which does not change the state.
                None: all are valid.

        Raises:
            UsageError: a shape is wrong, or a Δt is negative, NaN or infinite.
        """

    def step(self, x: Tensor, dt: Tensor | float, state: State | None = None) -> tuple[Tensor, State]:
        """Run one frame of each stream.

        Args:
            x: (batch, input_size).
            dt: seconds, a number or (batch,).
            state: see `forward`.

        Returns:
            Logits (batch, classes) and the new state.
        """
        out = self(x[:, None], dt, state)
        return out.logits[:, 0], out.state
