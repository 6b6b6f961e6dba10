"""Looking twice: at each picture and at its mirror image, with a memory for each."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from liquidvision.liquid.cell import as_streams
from liquidvision.liquid.head import Head, HeadOutput, Percept, State

LOOKS = 2


class TwiceHead(Head):
    """A head on embeddings of pictures with those of their mirror images beside them.

    Each of the two looks has a memory of its own, by the same weights; logits are the mean of both, hidden states and
    time constants those of the pictures themselves. It is taught as a `Head`, by single looks.
    """

    @classmethod
    def of(cls, head: Head) -> "TwiceHead":
        """The same weights, for two looks."""
        own = cls(head.config)
        own.load_state_dict(head.state_dict())
        return own.to(head.mean.device).train(head.training)

    @property
    def input_size(self) -> int:
        """Width of the two embeddings together."""
        return LOOKS * super().input_size

    def initial(self, batch: int) -> State:
        """The state of `batch` streams that have seen nothing: (batch, 2, ...)."""
        return {name: part.unflatten(0, (batch, LOOKS)) for name, part in super().initial(LOOKS * batch).items()}

    def perceive(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Percept:
        """As `Head.perceive`; what is perceived has a row for each look."""
        xs, dt = as_streams(xs, dts, lengths, self.input_size, "embeddings")
        rows = xs.unflatten(-1, (LOOKS, -1)).transpose(1, 2).flatten(0, 1)
        state = {name: part.flatten(0, 1) for name, part in (state or self.initial(len(xs))).items()}
        percept = super().perceive(rows, dt.repeat_interleave(LOOKS, 0), state)
        return replace(percept, state={name: by_stream(part) for name, part in percept.state.items()})

    def classify(self, percept: Percept, state: Tensor) -> HeadOutput:
        out = super().classify(percept, state.flatten(0, 1))
        return HeadOutput(
            by_stream(out.logits).mean(1),
            by_stream(out.frame_logits).mean(1),
            by_stream(out.hidden)[:, 0],
            by_stream(out.time_constants)[:, 0],
            {**percept.state, "cell": by_stream(out.state["cell"])},
        )


def by_stream(rows: Tensor) -> Tensor:
    """(streams times looks, ...) to (streams, looks, ...)."""
    return rows.unflatten(0, (-1, LOOKS))
