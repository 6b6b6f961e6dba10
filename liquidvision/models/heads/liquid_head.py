"""The head: embeddings of one stream to logits per frame, with memory; state in, state out."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell, as_mask, as_streams
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC
from liquidvision.liquid.ltc import LTC, GatedLTC
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless
from liquidvision.liquid.traces import Layout, Magnitudes, Traces
from liquidvision.models.heads.base import Head, HeadOutput, State
from liquidvision.models.heads.whitening import MIN_SPREAD, column_std, whitening

LIQUID_CELLS: dict[str, type[LTC] | type[ConductanceLTC]] = {
    "ltc": LTC,
    "gated": GatedLTC,
    "conductance": ConductanceLTC,
}
OTHER_CELLS: dict[str, type[Cell]] = {"gru": GRU, "lstm": LSTM, "none": Memoryless}

MAX_SIZE = 1_000_000  # of any size in a configuration; more is a damaged file


@dataclass(frozen=True, slots=True)
class LiquidHeadConfig:
    """What a head is made of, as written to a model's config.json.

    Attributes:
        layouts: the nodes of the embedding, in order.
        classes: number of labels.
        components: dimensions that the embedding is whitened to.
        taus: time constants of the traces, in seconds.
        learn_taus: whether training moves them.
        straight: whether the traces' input goes straight from frame to frame, see `Traces`.
        width: dimensions of the projection before the cell.
        units: neurons of the cell.
        cell: "ltc" (the paper's Eq. 1), "gated", "conductance" or "cfc"; to compare with, "gru", "lstm" or
            "none", which has no memory beside the traces.
        mixed_memory: an LSTM carries the state of a liquid cell on, see `MixedMemory`.
        unfolds: solver steps that one Δt is divided into, in a liquid cell.
        solver: of a liquid cell, see `LiquidCell`.
        max_step: seconds; a liquid cell divides a longer step further. None: never.
        dropout: share of the cell's inputs and outputs dropped in training.
        appearance: weight of the whitened embedding beside the standardised traces.
        frame_share: weight of `frame_logits` in `logits`, in eval mode: what lies still in a clip the whitening
            leaves out, and a linear readout of the whole embedding knows it. In training the cell learns without.

    Raises:
        UsageError: a size below 1, a share outside 0..1, or a number that is none.
    """

    layouts: tuple[Layout, ...]
    classes: int
    components: int = 64
    taus: tuple[float, ...] = (0.1, 0.4, 1.5)
    learn_taus: bool = False
    straight: bool = False
    width: int = 32
    units: int = 64
    cell: str = "ltc"
    mixed_memory: bool = False
    unfolds: int = 1
    solver: str = "exponential"
    max_step: float | None = None
    dropout: float = 0.0
    appearance: float = 0.3
    frame_share: float = 0.0

    def __post_init__(self) -> None:
        sizes = [self.classes, self.components, self.width, self.units, self.unfolds]
        sizes += [n for layout in self.layouts for n in (layout.channels, layout.cells)]
        if not self.layouts or not all(isinstance(n, int) and 1 <= n <= MAX_SIZE for n in sizes):
            raise UsageError(f"the head's sizes are {sizes}; expected whole numbers from 1 to {MAX_SIZE}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; expected a share from 0 to 1")
        for name, weight in (("appearance", self.appearance), ("frame_share", self.frame_share)):
            if not math.isfinite(weight):
                raise UsageError(f"{name} is {weight}; expected a number")

    def to_json(self) -> dict:
        # What is not straight goes without saying: it was so before there was anything else.
        return {name: value for name, value in asdict(self).items() if name != "straight" or value}

    @classmethod
    def from_json(cls, values: dict) -> "LiquidHeadConfig":
        """Raises TypeError, KeyError or UsageError where `values` are not those of `to_json`."""
        layouts = tuple(Layout(**layout) for layout in values["layouts"])
        return cls(**{**values, "layouts": layouts, "taus": tuple(values["taus"])})


@dataclass(frozen=True, slots=True, eq=False)
class Percept:
    """What a head makes of embeddings before its cell: the same for all heads with the same statistics.

    Attributes:
        features: (batch, steps, n) inputs of the projection.
        embedding: (batch, steps, d) standardised embedding.
        dt: (batch, steps) seconds, 0 in the padding.
        state: the state of the traces after the last step.
    """

    features: Tensor
    embedding: Tensor
    dt: Tensor
    state: State


class LiquidHead(Head):
    """Standardised embedding → whitening and traces → projection and LayerNorm → liquid cell → readout.

    A pure function of (embeddings, state, Δt): any chunking of a stream, and any number of streams
    side by side, give the same numbers. Beside it a linear readout of the whole standardised embedding
    says what one frame alone would. The statistics start neutral, the whitening as a random
    projection; `fit_statistics` sets them from training data, which is worth doing before training.

    Raises:
        UsageError: an unknown cell, or sizes that cannot be.
    """

    config: LiquidHeadConfig

    def __init__(self, config: LiquidHeadConfig) -> None:
        super().__init__()
        self.config = config
        kind = {"learn": config.learn_taus, "straight": config.straight}
        self.traces = Magnitudes(config.layouts, config.taus, **kind)
        self.signed = Traces(config.components, config.taus, **kind)
        embedding = self.traces.input_size
        features = config.components + self.traces.output_size + self.signed.output_size
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(embedding))
        self.inverse_std: Tensor
        self.register_buffer("inverse_std", torch.ones(embedding))
        self.whitening: Tensor  # standardised embedding to whitened components of unit variance
        self.register_buffer("whitening", nn.init.orthogonal_(torch.empty(embedding, config.components)))
        self.feature_mean: Tensor  # of magnitudes and signed traces
        self.register_buffer("feature_mean", torch.zeros(features - config.components))
        self.feature_inverse_std: Tensor
        self.register_buffer("feature_inverse_std", torch.ones(features - config.components))
        self.project = nn.Linear(features, config.width)
        self.normalise = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.cell = make_cell(config)
        self.readout = nn.Linear(self.cell.output_size + config.width, config.classes)
        self.frame_readout = nn.Linear(embedding, config.classes)

    @property
    def input_size(self) -> int:
        """Width of an embedding."""
        return self.traces.input_size

    @torch.no_grad()
    def fit_statistics(
        self,
        embeddings: Tensor,
        dts: Tensor | float,
        lengths: Tensor | Sequence[int] | None = None,
        readout: Tensor | None = None,
    ) -> None:
        """Set standardisation, whitening and the traces' statistics from training clips, and from these alone.

        The embedding is standardised over all clips. The whitening (PCA) keeps what varies within a clip: over all
        clips, places and clothes would take the first components, and they tell nothing of what happens.

        Args:
            embeddings: (clips, steps, d).
            dts: seconds between frames, in any shape that `forward` takes.
            lengths: (clips,) frames of each clip that count; None: all.
            readout: (n, d) linear readouts of the embedding known to matter, joints, say: they are whitened
                instead of the whole embedding.
        """
        clips, steps, _ = embeddings.shape
        if lengths is None:
            lengths = [steps] * clips
        counted = as_mask(lengths, clips, steps, embeddings)
        real = counted > 0
        embeddings = embeddings.masked_fill(~real[..., None], 0.0)
        self.mean.copy_(embeddings[real].mean(0))
        middles = embeddings.sum(1, keepdim=True) / counted.sum(1).clamp_min(1)[:, None, None]
        within, around = (embeddings - middles)[real], (embeddings - self.mean)[real]
        spread = column_std(around)
        self.inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))
        # Where nothing moves within clips, what differs between them is all there is.
        moves = float(within.square().mean()) > MIN_SPREAD**2 * float(around.square().mean())
        varied = within if moves else around
        axes = whitening(varied if readout is None else varied @ readout.T, self.config.components)
        self.whitening.copy_((axes if readout is None else readout.T @ axes) / self.inverse_std[:, None])
        self.feature_mean.zero_()
        self.feature_inverse_std.fill_(1.0)
        percept = self.perceive(embeddings, dts, lengths=lengths)
        change = percept.features[..., self.config.components :][real]
        self.feature_mean.copy_(change.mean(0))
        spread = column_std(change)
        self.feature_inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))

    def initial(self, batch: int) -> State:
        """The state of `batch` streams that have seen nothing."""
        parts = {"traces": self.traces, "signed": self.signed, "cell": self.cell}
        return {name: part.initial(batch) for name, part in parts.items()}

    def forward(
        self, xs: Tensor, dts: Tensor | float, state: State | None = None, lengths: Tensor | Sequence[int] | None = None
    ) -> HeadOutput:
        """Run (batch, steps, d) embeddings through the head.

        Args:
            xs: (batch, steps, d).
            dts: seconds since the frame before: a number, (batch,), (batch, steps) or (batch, steps, 1).
            state: what an earlier call gave; None for streams that have seen nothing.
            lengths: (batch,) frames of each stream that count; the rest is padding, which steps nothing.

        Raises:
            UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
        """
        state = state or self.initial(len(xs))
        return self.classify(self.perceive(xs, dts, state, lengths), state["cell"])

    def perceive(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Percept:
        """The first half of `forward`, up to the projection; arguments and errors are the same."""
        xs, dt = as_streams(xs, dts, lengths, self.input_size, "embeddings")
        state = state or self.initial(len(xs))
        z = (xs - self.mean) * self.inverse_std
        features, moved = self.features(z, dt, state)
        return Percept(features, z, dt, moved)

    def classify(self, percept: Percept, state: Tensor) -> HeadOutput:
        """The second half of `forward`: `state` is the cell's, (batch, state_size)."""
        inputs = self.dropout(self.normalise(self.project(percept.features)))
        hidden, state, taus = self.cell(inputs, percept.dt, state, return_time_constants=True)
        logits = self.readout(torch.cat([self.dropout(hidden), inputs], -1))
        frame_logits = self.frame_readout(percept.embedding)
        if self.config.frame_share and not self.training:
            logits = logits + self.config.frame_share * frame_logits
        return HeadOutput(logits, frame_logits, hidden, taus, {**percept.state, "cell": state})

    def features(self, z: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """The cell's features (batch, steps, n) of standardised embeddings, and the state of the traces."""
        white = z @ self.whitening
        magnitudes, traces = self.traces(z, dt, state["traces"])
        # A trace of the whitened embedding is the whitened trace: the same numbers for less work.
        directions, signed = self.signed(white, dt, state["signed"])
        change = (torch.cat([magnitudes, directions], -1) - self.feature_mean) * self.feature_inverse_std
        features = torch.cat([self.config.appearance * white, change], -1)
        return features, {"traces": traces, "signed": signed}


def make_cell(config: LiquidHeadConfig) -> Cell:
    """The cell that a configuration asks for.

    Raises:
        UsageError: an unknown cell, or a size or option that it does not take.
    """
    if config.cell in LIQUID_CELLS:
        options: dict[str, Any] = {"unfolds": config.unfolds, "solver": config.solver, "max_step": config.max_step}
        cell: Cell = LIQUID_CELLS[config.cell](config.width, config.units, **options)
    elif config.cell == "cfc":  # its backbone as wide as its state, so that units mean about what they do elsewhere
        cell = CfC(config.width, config.units, backbone_units=config.units)
    elif config.cell in OTHER_CELLS:
        cell = OTHER_CELLS[config.cell](config.width, config.units)
    else:
        raise UsageError(f"cell is {config.cell!r}; expected one of {', '.join([*LIQUID_CELLS, 'cfc', *OTHER_CELLS])}")
    return MixedMemory(cell) if config.mixed_memory else cell
