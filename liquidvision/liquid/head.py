"""The head: embeddings of one stream to logits per frame, with memory; state in, state out."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell, as_dt
from liquidvision.liquid.ltc import LTC, ConductanceLTC, GatedLTC
from liquidvision.liquid.traces import Layout, Traces

CELLS: dict[str, type[LTC] | type[GatedLTC] | type[ConductanceLTC]] = {
    "ltc": LTC,
    "gated": GatedLTC,
    "conductance": ConductanceLTC,
}

State = dict[str, Tensor]
LARGEST = 1_000_000  # of any size in a configuration; more is a damaged file


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What a head is made of, as written to a model's config.json.

    Attributes:
        layouts: the nodes of the embedding, in order.
        classes: number of labels.
        components: dimensions that the embedding is whitened to.
        taus: time constants of the traces, in seconds.
        width: dimensions of the projection before the cell.
        units: neurons of the cell.
        cell: "ltc" (the paper's Eq. 1), "gated" or "conductance".
        unfolds: solver steps that one Δt is divided into.
        solver: "exponential" or "fused".
        dropout: share of the cell's inputs and outputs dropped in training.
        appearance: weight of the whitened embedding beside the standardised traces.

    Raises:
        UsageError: a size below 1, a share outside 0..1, or a number that is none.
    """

    layouts: tuple[Layout, ...]
    classes: int
    components: int = 64
    taus: tuple[float, ...] = (0.1, 0.4, 1.5)
    width: int = 32
    units: int = 64
    cell: str = "ltc"
    unfolds: int = 1
    solver: str = "exponential"
    dropout: float = 0.0
    appearance: float = 0.3

    def __post_init__(self) -> None:
        sizes = [self.classes, self.components, self.width, self.units, self.unfolds]
        sizes += [n for layout in self.layouts for n in (layout.channels, layout.cells)]
        if not self.layouts or not all(isinstance(n, int) and 1 <= n <= LARGEST for n in sizes):
            raise UsageError(f"the head's sizes are {sizes}; expected whole numbers from 1 to {LARGEST}")
        if not 0 <= self.dropout < 1 or not math.isfinite(self.appearance):
            raise UsageError(f"dropout is {self.dropout} and appearance {self.appearance}; expected 0..1, and a number")

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> "HeadConfig":
        """Raises TypeError, KeyError or UsageError where `values` are not those of `to_json`."""
        layouts = tuple(Layout(**layout) for layout in values["layouts"])
        return cls(**{**values, "layouts": layouts, "taus": tuple(values["taus"])})


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """What a head gives for (batch, steps) frames.

    Attributes:
        logits: (batch, steps, classes), with memory.
        frame_logits: (batch, steps, classes), from each frame alone.
        time_constants: (batch, steps, units) effective time constants in seconds.
        state: the state after the last step.
    """

    logits: Tensor
    frame_logits: Tensor
    time_constants: Tensor
    state: State


class Head(nn.Module):
    """Standardised embedding → whitening and traces → projection and LayerNorm → liquid cell → readout.

    A pure function of (embeddings, state, Δt): any chunking of a stream, and any number of streams
    side by side, give the same numbers. Beside it a linear readout of the same whitened embedding
    says what one frame alone would. The statistics start neutral, the whitening as a random
    projection; `fit_statistics` sets them from training data, which is worth doing before training.

    Raises:
        UsageError: an unknown cell, or sizes that cannot be.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        if config.cell not in CELLS:
            raise UsageError(f"cell is {config.cell!r}; expected one of {', '.join(CELLS)}")
        self.config = config
        self.traces = Traces(config.layouts, config.taus)
        embedding, signed = self.traces.width, len(config.taus) * config.components
        features = config.components + self.traces.magnitude_size + signed
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
        self.cell: Cell = CELLS[config.cell](config.width, config.units, unfolds=config.unfolds, solver=config.solver)
        self.readout = nn.Linear(config.units + config.width, config.classes)
        self.frame_readout = nn.Linear(config.components, config.classes)

    @torch.no_grad()
    def fit_statistics(self, embeddings: Tensor, dts: Tensor | float) -> None:
        """Set standardisation, whitening and the traces' statistics from training clips, and from these alone.

        The whitening (PCA) keeps what varies within a clip: over all clips, places and clothes would
        take the first components, and they tell nothing of what happens.

        Args:
            embeddings: (clips, steps, d).
            dts: seconds between frames, in any shape that `forward` takes.
        """
        clips, steps, _ = embeddings.shape
        self.mean.copy_(embeddings.mean((0, 1)))
        within = (embeddings - embeddings.mean(1, keepdim=True)).flatten(0, 1)
        self.inverse_std.copy_(1 / within.std(0).clamp_min(1e-3))
        scaled = within * self.inverse_std
        _, singular, axes = torch.pca_lowrank(scaled, q=self.config.components, center=False, niter=4)
        self.whitening.copy_(axes / (singular / len(scaled) ** 0.5).clamp_min(1e-6))
        self.feature_mean.zero_()
        self.feature_inverse_std.fill_(1.0)
        dt = as_dt(dts, clips, steps, embeddings)
        z = (embeddings - self.mean) * self.inverse_std
        features, _ = self.features(z, dt, torch.ones_like(dt), self.initial(clips))
        change = features[..., self.config.components :].flatten(0, 1)
        self.feature_mean.copy_(change.mean(0))
        self.feature_inverse_std.copy_(1 / change.std(0).clamp_min(1e-3))

    def initial(self, batch: int) -> State:
        """The state of `batch` streams that have seen nothing."""
        zeros = self.mean.new_zeros
        return {
            "traces": zeros(batch, self.traces.state_size),
            "seen": zeros(batch, 1),
            "cell": self.cell.initial(batch),
        }

    def step(self, x: Tensor, state: State, dt: Tensor | float) -> tuple[Tensor, State]:
        """One frame of each stream: x (batch, d), dt seconds, a number or (batch,). Logits (batch, classes), state."""
        out = self(x[:, None], dt, state)
        return out.logits[:, 0], out.state

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
        if xs.ndim != 3 or xs.shape[-1] != self.traces.width:
            raise UsageError(f"embeddings have shape {tuple(xs.shape)}; expected (batch, steps, {self.traces.width})")
        batch, steps, _ = xs.shape
        dt = as_dt(dts, batch, steps, xs)
        real = torch.ones_like(dt)
        if lengths is not None:
            lengths = torch.as_tensor(lengths, device=xs.device)
            real = (torch.arange(steps, device=xs.device)[None] < lengths[:, None]).to(xs.dtype)
            dt = dt * real
        state = state or self.initial(batch)
        z = (xs - self.mean) * self.inverse_std
        features, trace_state = self.features(z, dt, real, state)
        inputs = self.dropout(self.normalise(self.project(features)))
        hidden, taus, cell_state = self.run_cell(inputs, dt, state["cell"])
        logits = self.readout(torch.cat([self.dropout(hidden), inputs], -1))
        frame_logits = self.frame_readout(z @ self.whitening)
        return HeadOutput(logits, frame_logits, taus, {**trace_state, "cell": cell_state})

    def features(self, z: Tensor, dt: Tensor, real: Tensor, state: State) -> tuple[Tensor, State]:
        """Whitened appearance, magnitudes and signed traces (batch, steps, features), and the traces' state."""
        traces, seen = state["traces"], state["seen"]
        changes = []
        for t in range(z.shape[1]):
            deviation, traces = self.traces.deviations(z[:, t], traces, seen, dt[:, t : t + 1])
            # A padded first frame must not count as seen.
            seen = torch.maximum(seen, real[:, t : t + 1])
            signed = (deviation @ self.whitening).flatten(1)
            changes.append(torch.cat([self.traces.magnitudes(deviation), signed], -1))
        change = (torch.stack(changes, 1) - self.feature_mean) * self.feature_inverse_std
        return torch.cat([self.config.appearance * (z @ self.whitening), change], -1), {"traces": traces, "seen": seen}

    def run_cell(self, inputs: Tensor, dt: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The cell over (batch, steps, width): outputs and time constants (batch, steps, units), and its state."""
        prepared = self.cell.prepare(inputs)
        outputs, taus = [], []
        for t in range(inputs.shape[1]):
            state, tau = self.cell.advance(tuple(p[:, t] for p in prepared), state, dt[:, t : t + 1])
            outputs.append(self.cell.output(state))
            taus.append(tau)
        return torch.stack(outputs, 1), torch.stack(taus, 1), state
