"""The liquid head: a trained memory that turns embeddings into logits per frame."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell, as_dt, as_mask, as_streams
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC
from liquidvision.liquid.gru_d import DecayGRU
from liquidvision.liquid.gru_dt import TimedGRU
from liquidvision.liquid.gru_no_reset import NoResetGRU
from liquidvision.liquid.gru_power import PowerGRU
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import LTC, GatedLTC
from liquidvision.liquid.min_gru import MinGRU
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.resonant import ResonantLTC
from liquidvision.liquid.selective import SelectiveSSM
from liquidvision.liquid.stepped_gru import SteppedGRU
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless
from liquidvision.liquid.traces import Layout, Magnitudes, Traces
from liquidvision.models.heads.adaptation import Adaptation
from liquidvision.models.heads.base import ADAPTATION, Head, HeadOutput, State
from liquidvision.models.heads.cuts import CutDetector
from liquidvision.models.heads.whitening import MIN_SPREAD, column_std, whitening

LIQUID_CELLS: dict[str, type[LTC] | type[ConductanceLTC]] = {
    "ltc": LTC,
    "gated": GatedLTC,
    "conductance": ConductanceLTC,
}
GRUS: dict[str, type[GRU] | type[LSTM] | type[SteppedGRU]] = {
    "gru": GRU,
    "gru-dt": TimedGRU,
    "gru-d": DecayGRU,
    "gru-power": PowerGRU,
    "gru-no-reset": NoResetGRU,
    "lstm": LSTM,
}
OTHER_CELLS: dict[str, type[Cell]] = {
    "selective": SelectiveSSM,
    "resonant": ResonantLTC,
    "lru": LRU,
    "min-gru": MinGRU,
    "none": Memoryless,
}

LATER_FIELDS = ("straight", "chrono", "restart_at_cuts", "class_means")  # of `LiquidHeadConfig`, off in older models
MAX_SIZE = 1_000_000  # of any size in a configuration; a larger one means a damaged file


@dataclass(frozen=True, slots=True)
class LiquidHeadConfig:
    """The configuration of a `LiquidHead`, as written to a model's config.json.

    Attributes:
        layouts: the parts of the embedding, in order; see `Backbone.layouts`.
        classes: number of labels.
        components: dimensions of the whitened embedding.
        taus: time constants of the traces, in seconds; none: the cell sees the whitened embedding alone.
        learn_taus: whether training changes `taus`.
        straight: whether the traces interpolate their input linearly between frames, see `Traces`.
        restart_at_cuts: whether traces and cell start again where the stream cuts to another scene, see `CutDetector`.
        class_means: whether the head keeps what it needs to adapt to a stream, see `Adaptation`.
        width: dimensions of the projection before the cell.
        units: neurons of the cell.
        cell: a liquid cell: "ltc" (Eq. 1 of arXiv 2006.04439), "gated", "conductance", "cfc", "selective", "resonant"
            or "lru". For comparison also "gru", "gru-dt", "gru-d", "gru-power", "gru-no-reset", "min-gru", "lstm", or
            "none", which has no memory beside the traces.
        mixed_memory: whether an LSTM carries the state of the cell, see `MixedMemory`.
        unfolds: solver steps per Δt of a liquid cell.
        solver: the solver of a liquid cell, see `LiquidCell`.
        max_step: seconds; a liquid cell divides longer solver steps. None: never.
        chrono: frames; the longest memory that the gates of a GRU or an LSTM start with, see `GRU`. None: their usual
            biases.
        dropout: fraction of the cell's inputs and outputs that is dropped in training, at least 0 and below 1.
        appearance: weight of the whitened embedding, relative to the standardised traces.
        frame_share: weight of `frame_logits` in `logits`. Whitening removes what is constant within a clip;
            `frame_logits`, read from the whole embedding, add it back. Not used in training.

    Raises:
        UsageError: a size is not a whole number of 1 or more, `dropout` is out of range, or a weight is not finite.
    """

    layouts: tuple[Layout, ...]
    classes: int
    components: int = 64
    taus: tuple[float, ...] = (0.1, 0.4, 1.5)
    learn_taus: bool = False
    straight: bool = False
    restart_at_cuts: bool = False
    class_means: bool = False
    width: int = 32
    units: int = 64
    cell: str = "ltc"
    mixed_memory: bool = False
    unfolds: int = 1
    solver: str = "exponential"
    max_step: float | None = None
    chrono: float | None = None
    dropout: float = 0.0
    appearance: float = 0.3
    frame_share: float = 0.0

    def __post_init__(self) -> None:
        sizes = [self.classes, self.components, self.width, self.units, self.unfolds]
        sizes += [n for layout in self.layouts for n in (layout.channels, layout.cells)]
        if not self.layouts or not all(isinstance(n, int) and 1 <= n <= MAX_SIZE for n in sizes):
            raise UsageError(f"the head's sizes are {sizes}; expected whole numbers from 1 to {MAX_SIZE}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; expected 0 or more, and less than 1")
        for name, weight in (("appearance", self.appearance), ("frame_share", self.frame_share)):
            if not math.isfinite(weight):
                raise UsageError(f"{name} is {weight}; expected a finite number")

    def to_json(self) -> dict:
        """Return the configuration as JSON types."""
        # Later fields are written only if set, so that older files, and fingerprints made from them, stay the same.
        return {name: value for name, value in asdict(self).items() if name not in LATER_FIELDS or value}

    @classmethod
    def from_json(cls, values: dict) -> "LiquidHeadConfig":
        """Return the configuration that `to_json` returned as `values`.

        Raises:
            TypeError, KeyError, UsageError: a value is missing, unknown or out of range.
        """
        layouts = tuple(Layout(**layout) for layout in values["layouts"])
        return cls(**{**values, "layouts": layouts, "taus": tuple(values["taus"])})


@dataclass(frozen=True, slots=True, eq=False)
class Percept:
    """The features of embeddings before the projection and the cell; equal for all heads with the same statistics.

    Attributes:
        features: (batch, steps, n) inputs of the projection.
        embedding: (batch, steps, d) standardised embedding.
        dt: (batch, steps) seconds, 0 in the padding.
        cuts: (batch, steps) bool, frames before which the memory starts again; None if there are none.
        state: the state of what precedes the cell after the last step.
    """

    features: Tensor
    embedding: Tensor
    dt: Tensor
    cuts: Tensor | None
    state: State


class LiquidHead(Head):
    """A head with a liquid cell, trained on embeddings.

    Standardised embedding → whitening and traces → projection and LayerNorm → liquid cell → readout. A second, linear
    readout of the whole standardised embedding gives the logits from each frame alone. With `initial(adapt=True)` the
    standardisation follows each stream, see `Adaptation`.

    The head is a pure function of (embeddings, state, Δt): any chunking of a stream, and any number of streams in a
    batch, give the same numbers.

    Before training, call `fit_statistics`: until then the standardisation is the identity, and the whitening a random
    projection.

    Example:
        >>> head = LiquidHead(LiquidHeadConfig(backbone.layouts, classes=3))
        >>> head.fit_statistics(embeddings, 0.04)  # (clips, steps, backbone.dim) at 25 frames per second
        >>> head(embeddings, 0.04).logits.shape
        torch.Size([8, 50, 3])

    Args:
        config: sizes and options.

    Raises:
        UsageError: the cell is unknown, or does not take a size or option.
    """

    config: LiquidHeadConfig
    shared_tensors = (
        "mean",
        "inverse_std",
        "whitening",
        "cuts.limit",
        "adaptation.class_means",
        "frame_readout.weight",
        "frame_readout.bias",
    )

    def __init__(self, config: LiquidHeadConfig) -> None:
        super().__init__()
        self.config = config
        options = {"learn": config.learn_taus, "straight": config.straight}
        self.traces = Magnitudes(config.layouts, config.taus, **options)
        self.signed = Traces(config.components, config.taus, **options)
        self.cuts = CutDetector(self.traces.input_size) if config.restart_at_cuts else None
        embedding = self.traces.input_size
        features = config.components + self.traces.output_size + self.signed.output_size
        sizes = embedding, features - config.components, config.classes
        self.adaptation = Adaptation(*sizes) if config.class_means else None
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

    @property
    def adapts(self) -> bool:
        return self.adaptation is not None

    @torch.no_grad()
    def fit_statistics(
        self,
        embeddings: Tensor,
        dts: Tensor | float,
        lengths: Tensor | Sequence[int] | None = None,
        readout: Tensor | None = None,
    ) -> None:
        """Set standardisation, whitening and the traces' statistics from training clips.

        The embedding is standardised over all clips. The whitening (PCA) keeps what varies within clips. Over all
        clips, places and clothes would take the first components, which do not show what happens.

        Args:
            embeddings: (clips, steps, d).
            dts: seconds between frames, in any shape that `forward` takes.
            lengths: (clips,) valid frames of each clip; None: all.
            readout: (n, d) linear readouts of the embedding that are known to be useful, such as body joints. They are
                whitened instead of the whole embedding.
        """
        clips, steps, _ = embeddings.shape
        if lengths is None:
            lengths = [steps] * clips
        weights = as_mask(lengths, clips, steps, embeddings)
        valid = weights > 0
        embeddings = embeddings.masked_fill(~valid[..., None], 0.0)
        self.mean.copy_(embeddings[valid].mean(0))
        clip_means = embeddings.sum(1, keepdim=True) / weights.sum(1).clamp_min(1)[:, None, None]
        within_clips, around_mean = (embeddings - clip_means)[valid], (embeddings - self.mean)[valid]
        spread = column_std(around_mean)
        self.inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))
        # If nothing changes within clips, whiten the differences between clips.
        changes = float(within_clips.square().mean()) > MIN_SPREAD**2 * float(around_mean.square().mean())
        centred = within_clips if changes else around_mean
        axes = whitening(centred if readout is None else centred @ readout.T, self.config.components)
        self.whitening.copy_((axes if readout is None else readout.T @ axes) / self.inverse_std[:, None])
        if self.cuts is not None:
            self.cuts.fit((embeddings - self.mean) * self.inverse_std, as_dt(dts, clips, steps, embeddings), lengths)
        self.fit_feature_statistics(embeddings, dts, lengths)

    @torch.no_grad()
    def fit_feature_statistics(
        self, embeddings: Tensor, dts: Tensor | float, lengths: Tensor | Sequence[int] | None = None
    ) -> None:
        """Set the statistics of the traces from training clips; arguments as in `fit_statistics`.

        Standardisation and whitening stay as they are.
        """
        clips, steps, _ = embeddings.shape
        valid = as_mask([steps] * clips if lengths is None else lengths, clips, steps, embeddings) > 0
        self.feature_mean.zero_()
        self.feature_inverse_std.fill_(1.0)
        percept = self.perceive(embeddings.masked_fill(~valid[..., None], 0.0), dts, lengths=lengths)
        change = percept.features[..., self.config.components :][valid]
        self.feature_mean.copy_(change.mean(0))
        spread = column_std(change)
        self.feature_inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))

    @torch.no_grad()
    def fit_class_means(self, embeddings: Tensor, targets: Tensor) -> None:
        """Set the class means from training frames (n, d) and their classes (n,), -1: none; after `fit_statistics`.

        Does nothing for a head that keeps none.
        """
        if self.adaptation is not None:
            self.adaptation.fit((embeddings - self.mean) * self.inverse_std, targets)

    def initial(self, batch: int, *, adapt: bool = False) -> State:
        parts = {"traces": self.traces, "signed": self.signed, "cell": self.cell, "cuts": self.cuts}
        state = {name: part.initial(batch) for name, part in parts.items() if part is not None}
        if adapt:
            assert self.adaptation is not None
            state[ADAPTATION] = self.adaptation.initial(batch)
        return state

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
        state = state or self.initial(len(xs))
        return self.classify(self.perceive(xs, dts, state, lengths), state["cell"])

    def perceive(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Percept:
        """Compute the first half of `forward`, up to the projection; arguments and errors are the same."""
        xs, dt = as_streams(xs, dts, lengths, self.input_size, "embeddings")
        state = state or self.initial(len(xs))
        z = (xs - self.mean) * self.inverse_std
        cuts, new_state, elapsed = None, {}, dt
        if self.cuts is not None:
            cuts, dt, new_state["cuts"] = self.cuts(z, dt, state["cuts"])
            cuts = cuts if bool(cuts.any()) else None
        features, traces = self.features(z, dt, state, cuts)
        if ADAPTATION in state:
            z, features, new_state[ADAPTATION] = self.adapt(z, features, elapsed, state, cuts)
        return Percept(features, z, dt, cuts, {**new_state, **traces})

    def adapt(
        self, z: Tensor, features: Tensor, dt: Tensor, state: State, cuts: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised embeddings and features corrected for what is lastingly different in each stream.

        Args:
            z: (batch, steps, d).
            features: (batch, steps, n), as `features` returns them.
            dt: (batch, steps) seconds since the frame before.
            state: the state before these frames.
            cuts: see `Percept`.

        Returns:
            Corrected embeddings and features, and the new state of the adaptation.
        """
        assert self.adaptation is not None
        begun = state["traces"][:, -1:] > 0  # the traces of a first frame show no change yet
        counted = torch.cat([begun, begun | (dt > 0).cummax(1).values[:, :-1]], 1)
        if cuts is not None:
            counted &= ~cuts
        change = features[..., self.config.components :]
        alone = self.frame_readout(z).softmax(-1)
        z, change, adapted = self.adaptation(z, change, alone, dt, counted, state[ADAPTATION])
        return z, torch.cat([self.config.appearance * (z @ self.whitening), change], -1), adapted

    def classify(self, percept: Percept, state: Tensor) -> HeadOutput:
        """Compute the second half of `forward`; `state` is the cell's, (batch, state_size)."""
        inputs = self.dropout(self.normalise(self.project(percept.features)))
        hidden, state, taus = self.cell(inputs, percept.dt, state, restart=percept.cuts, return_time_constants=True)
        logits = self.readout(torch.cat([self.dropout(hidden), inputs], -1))
        frame_logits = self.frame_readout(percept.embedding)
        if self.config.frame_share and not self.training:
            logits = logits + self.config.frame_share * frame_logits
        return HeadOutput(logits, frame_logits, hidden, taus, {**percept.state, "cell": state})

    def features(self, z: Tensor, dt: Tensor, state: State, cuts: Tensor | None) -> tuple[Tensor, State]:
        """Return the features (batch, steps, n) of standardised embeddings, and the new state of the traces."""
        white = z @ self.whitening
        magnitudes, traces = self.traces(z, dt, state["traces"], restart=cuts)
        # Tracing the whitened embedding gives the same numbers as whitening the traces, with less work.
        directions, signed = self.signed(white, dt, state["signed"], restart=cuts)
        change = (torch.cat([magnitudes, directions], -1) - self.feature_mean) * self.feature_inverse_std
        features = torch.cat([self.config.appearance * white, change], -1)
        return features, {"traces": traces, "signed": signed}


def make_cell(config: LiquidHeadConfig) -> Cell:
    """Return the cell of a configuration.

    Raises:
        UsageError: the cell is unknown, or does not take a size or option.
    """
    if config.cell in LIQUID_CELLS:
        options: dict[str, Any] = {"unfolds": config.unfolds, "solver": config.solver, "max_step": config.max_step}
        cell: Cell = LIQUID_CELLS[config.cell](config.width, config.units, **options)
    elif config.cell == "cfc":  # the backbone is as wide as the state, so that `units` compares with other cells
        cell = CfC(config.width, config.units, backbone_units=config.units)
    elif config.cell in GRUS:
        cell = GRUS[config.cell](config.width, config.units, chrono=config.chrono)
    elif config.cell in OTHER_CELLS:
        cell = OTHER_CELLS[config.cell](config.width, config.units)
    else:
        known = ", ".join([*LIQUID_CELLS, "cfc", *OTHER_CELLS, *GRUS])
        raise UsageError(f"cell is {config.cell!r}; expected one of {known}")
    return MixedMemory(cell) if config.mixed_memory else cell
