"""The liquid filter: a memory for any frozen classifier, which knows nothing of its classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import as_dt, as_mask
from liquidvision.liquid.head import LARGEST, STILL, HeadOutput, State, spread_of
from liquidvision.liquid.ltc import GatedLTC
from liquidvision.liquid.traces import Traces

KIND = "filter"  # in a config.json
TAUS = (0.1, 0.4, 1.6)  # seconds
FRAME_CUES = 5 + len(TAUS)
BELIEF_CUES = 3
SLOWEST, QUICKEST = -7.0, 4.1  # logarithms of rates per second: a quarter of an hour to a sixtieth of a second


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """What a filter is made of, as written to a model's config.json.

    Attributes:
        features: width of the pooled features, which an embedding begins with.
        outputs: width of the classifier's logits, which follow them.
        classes: number of labels: all outputs, or as many as `keep` names.
        keep: the outputs that are labels, in their order; empty: all.
        units: liquid neurons that decide how quickly evidence comes and goes.
    """

    features: int
    outputs: int
    classes: int
    keep: tuple[int, ...] = ()
    units: int = 16

    def __post_init__(self) -> None:
        sizes = [self.features, self.outputs, self.classes, self.units]
        if not all(isinstance(n, int) and 1 <= n <= LARGEST for n in sizes) or self.classes < 2:
            raise UsageError(
                f"the filter's sizes are {sizes}; expected whole numbers to {LARGEST}, and 2 classes or more"
            )
        if self.classes != (len(self.keep) or self.outputs) or any(not 0 <= k < self.outputs for k in self.keep):
            raise UsageError(f"{self.classes} classes do not fit {self.outputs} outputs and the {len(self.keep)} kept")

    @property
    def cell(self) -> str:
        """What kind of memory it is, as `HeadConfig.cell`."""
        return KIND

    def to_json(self) -> dict:
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict) -> "FilterConfig":
        """Raises TypeError, KeyError or UsageError where `values` are not those of `to_json`."""
        own = {key: value for key, value in values.items() if key != "kind"}
        return cls(**{**own, "keep": tuple(own["keep"])})


class LiquidFilter(nn.Module):
    """An LTC (arXiv 2006.04439, Eq. 1) over a classifier's logits, one time constant for all classes.

    Of its classes' evidence x(t) and a frame's centred logits l,

        dx/dt = -(1/τ + f) x + f A,   1/τ + f = λ,   f A = w l

    stepped exactly for inputs held over Δt: x ← x exp(-λ Δt) + (w/λ) (1 - exp(-λ Δt)) l. How fast evidence is
    forgotten (λ) and how much a frame counts (w) is decided frame by frame, by a small gated LTC that sees how sure
    the classifier is, how much the picture has changed over `TAUS` seconds, and how well the frame agrees with what
    is believed. It sees no class, so that one that was trained on one classifier serves others.

    A pure function of (embeddings, state, Δt) as `Head` is, with the same arguments, outputs and errors. The
    time constant that it gives out is 1/λ, one for each frame.
    """

    def __init__(self, config: FilterConfig) -> None:
        super().__init__()
        self.config = config
        self.traces = Traces(config.features, TAUS)
        self.cue_mean: Tensor
        self.register_buffer("cue_mean", torch.zeros(FRAME_CUES))
        self.cue_inverse_std: Tensor
        self.register_buffer("cue_inverse_std", torch.ones(FRAME_CUES))
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        self.log_doubt = nn.Parameter(torch.tensor(-4.0))
        self.cell = GatedLTC(FRAME_CUES + BELIEF_CUES, config.units)
        self.rates = nn.Linear(config.units + FRAME_CUES + BELIEF_CUES, 2)
        nn.init.zeros_(self.rates.weight)  # at first evidence of half a second, all frames alike
        nn.init.constant_(self.rates.bias, 0.7)

    @property
    def input_size(self) -> int:
        return self.config.features + self.config.outputs

    @torch.no_grad()
    def fit_statistics(self, embeddings: Tensor, dts: Tensor, lengths: Tensor | Sequence[int] | None = None) -> None:
        """Set the standardisation of the cues from clips (clips, steps, d); arguments as those of `forward`."""
        batch, steps, _ = embeddings.shape
        counted = as_mask([steps] * batch if lengths is None else lengths, batch, steps, embeddings) > 0
        self.cue_mean.zero_()
        self.cue_inverse_std.fill_(1.0)
        features, logits = self.parts(embeddings)
        cues, _ = self.cues(features, logits, as_dt(dts, batch, steps, embeddings), self.initial(batch)["traces"])
        self.cue_mean.copy_(cues[counted].mean(0))
        spread = spread_of(cues[counted])
        self.cue_inverse_std.copy_(torch.where(spread > STILL, 1 / spread, 1.0))

    def initial(self, batch: int) -> State:
        """The state of `batch` streams that have seen nothing."""
        nothing = self.cue_mean.new_zeros(batch, self.config.classes)
        return {"evidence": nothing, "traces": self.traces.initial(batch), "cell": self.cell.initial(batch)}

    def step(self, x: Tensor, dt: Tensor | float, state: State | None = None) -> tuple[Tensor, State]:
        """One frame of each stream: x (batch, d), dt seconds, a number or (batch,). Logits (batch, classes), state."""
        out = self(x[:, None], dt, state)
        return out.logits[:, 0], out.state

    def forward(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> HeadOutput:
        """Run embeddings (batch, steps, d), features and logits side by side, through it; see `Head.forward`."""
        if xs.ndim != 3 or xs.shape[-1] != self.input_size or xs.shape[1] < 1:
            shape = f"(batch, steps, {self.input_size})"
            raise UsageError(f"embeddings have shape {tuple(xs.shape)}; expected {shape}")
        batch, steps, _ = xs.shape
        dt = as_dt(dts, batch, steps, xs)
        if lengths is not None:
            mask = as_mask(lengths, batch, steps, xs)
            dt, xs = dt * mask, xs.masked_fill(mask[..., None] == 0, 0.0)
        state = state or self.initial(batch)
        features, logits = self.parts(xs)
        cues, traces = self.cues(features, logits, dt, state["traces"])
        evidence = self.evidence(logits)
        believed, hidden, leaks = [], [], []
        x, h = state["evidence"], state["cell"]
        frames = zip(*(part.unbind(1) for part in (cues, evidence, logits.softmax(-1))), dt.split(1, 1), strict=True)
        for cue, new, scores, seconds in frames:
            seen = torch.cat([cue, self.agreement(x, scores)], -1)
            u, h, _ = self.cell.advance(self.cell.prepare(seen), h, seconds)
            leak, inflow = self.rates(torch.cat([u, seen], -1)).clamp(SLOWEST, QUICKEST).exp().split(1, -1)
            x = x * torch.exp(-leak * seconds) - inflow / leak * torch.expm1(-leak * seconds) * new
            believed.append(x)
            hidden.append(u)
            leaks.append(leak)
        logits_out, taus = torch.stack(believed, 1), 1 / torch.stack(leaks, 1)
        new_state = {"evidence": x, "traces": traces, "cell": h}
        return HeadOutput(logits_out, logits, torch.stack(hidden, 1), taus, new_state)

    def parts(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Features and the logits that are kept, of embeddings."""
        features, logits = xs.split([self.config.features, self.config.outputs], -1)
        return features, logits[..., list(self.config.keep)] if self.config.keep else logits

    def evidence(self, logits: Tensor) -> Tensor:
        """What a frame says for each class, centred: log(p + ε), so that no frame can rule a class out for ever."""
        told = torch.log((logits * self.log_sharpness.exp()).softmax(-1) + self.log_doubt.exp() / logits.shape[-1])
        return told - told.mean(-1, keepdim=True)

    def cues(self, features: Tensor, logits: Tensor, dt: Tensor, traces: Tensor) -> tuple[Tensor, Tensor]:
        """What the frames say of themselves, (batch, steps, FRAME_CUES) standardised; and the traces' state."""
        deviations, traces = self.traces(features, dt, traces)
        past = features[..., None, :] - deviations.unflatten(-1, (len(TAUS), -1))
        change = 1 - torch.cosine_similarity(features[..., None, :], past, -1, eps=1e-6)
        strength = features.norm(dim=-1, keepdim=True) + STILL
        fading = torch.log(strength / (past[..., -1, :].norm(dim=-1, keepdim=True) + STILL))
        scores = logits.softmax(-1)
        first, second = scores.topk(2, -1).values.split(1, -1)
        entropy = -(scores * torch.log(scores + 1e-9)).sum(-1, keepdim=True)
        cues = [first, first - second, entropy, torch.log(STILL + change), fading, torch.log(dt[..., None] + STILL)]
        return (torch.cat(cues, -1) - self.cue_mean) * self.cue_inverse_std, traces

    @staticmethod
    def agreement(evidence: Tensor, scores: Tensor) -> Tensor:
        """How sure the belief is, and how alike it and the frame are, in one class and in all: (batch, BELIEF_CUES)."""
        belief = evidence.softmax(-1)
        both = belief * scores
        return torch.cat([belief.amax(-1, True), both.amax(-1, True), both.sum(-1, True)], -1)
