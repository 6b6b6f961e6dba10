"""The liquid filter: a memory for any frozen classifier, which knows nothing of its classes."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import as_dt, as_mask, as_streams
from liquidvision.liquid.ltc import GatedLTC
from liquidvision.liquid.traces import Traces
from liquidvision.models.heads.base import Head, HeadOutput, State
from liquidvision.models.heads.liquid_head import MAX_SIZE
from liquidvision.models.heads.whitening import MIN_SPREAD, column_std

FILTER_KIND = "filter"  # in a config.json
TAUS = (0.1, 0.4, 1.6)  # seconds
FRAME_CUES = 5 + len(TAUS)
BELIEF_CUES = 5
DROPOUT = 0.2  # of cues, in training: no one of them is to be relied on alone
RECENT = 0.15  # seconds that are "the last moments"
LEAST = 1e-7  # of a probability, before its logarithm
FLOOR = 1e-4  # added to a probability that is evidence: no frame rules a class out
SLOWEST, QUICKEST = -7.0, 4.1  # logarithms of rates per second: a quarter of an hour to a sixtieth of a second
LIGHTEST, HEAVIEST = -4.0, 2.0  # logarithms of the weight of a frame's evidence


@dataclass(frozen=True, slots=True)
class LiquidFilterConfig:
    """What a filter is made of, as written to a model's config.json.

    Attributes:
        features: width of the pooled features, which an embedding begins with.
        classes: width of the classifier's logits, which follow them; each is a label.
        units: liquid neurons that decide how quickly evidence comes and goes.
    """

    features: int
    classes: int
    units: int = 16

    def __post_init__(self) -> None:
        sizes = [self.features, self.classes, self.units]
        if not all(isinstance(n, int) and 1 <= n <= MAX_SIZE for n in sizes) or self.classes < 2:
            raise UsageError(
                f"the filter's sizes are {sizes}; expected whole numbers to {MAX_SIZE}, and 2 classes or more"
            )

    @property
    def cell(self) -> str:
        """What kind of memory it is, as `LiquidHeadConfig.cell`."""
        return FILTER_KIND

    def to_json(self) -> dict:
        return {"kind": FILTER_KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict) -> "LiquidFilterConfig":
        """Raises TypeError or UsageError where `values` are not those of `to_json`."""
        return cls(**{key: value for key, value in values.items() if key != "kind"})


class LiquidFilter(Head):
    """Two LTCs (arXiv 2006.04439, Eq. 1) over a classifier's probabilities, each of one time constant for all classes.

    Of what is carried of the classes, x(t), and what a frame says of them, A,

        dx/dt = -(1/τ + f) x + f A,   1/τ = 0

    stepped exactly for inputs held over Δt: x ← A + (x - A) exp(-f Δt). Two such x, by rates of their own:

    - belief, A = p, the frame's probabilities: it stays a probability, and no single frame overthrows it.
    - evidence, A = g (log p - mean of log p): in log space evidence adds up, as in Bayes' rule, so that what many
      frames hold likely wins over what one is sure of. The weight g is how much a frame counts.

    The logits are a sum of log belief and evidence, by two learnt shares. Rates and weight are decided frame by
    frame, by a small gated LTC that sees how sure the classifier is, how much the picture has changed over `TAUS`
    seconds, and how well the frame, the last moments and what is believed agree: rates are high where something new
    holds, low where a frame is damaged. It sees no class, so that one that was trained on one classifier serves others.

    A pure function of (embeddings, state, Δt) as `Head` is, with the same arguments, outputs and errors. The time
    constants that it gives out are 1/f of belief and evidence.
    """

    config: LiquidFilterConfig
    reads_logits = True

    def __init__(self, config: LiquidFilterConfig) -> None:
        super().__init__()
        self.config = config
        self.traces = Traces(config.features, TAUS)
        self.cue_mean: Tensor
        self.register_buffer("cue_mean", torch.zeros(FRAME_CUES))
        self.cue_inverse_std: Tensor
        self.register_buffer("cue_inverse_std", torch.ones(FRAME_CUES))
        self.log_sharpness = nn.Parameter(torch.zeros(()))  # of the probabilities; 1 is the classifier's own
        self.cell = GatedLTC(FRAME_CUES + BELIEF_CUES, config.units)
        self.dropout = nn.Dropout(DROPOUT)
        self.decide = nn.Linear(config.units + FRAME_CUES + BELIEF_CUES, 3)  # logarithms of both rates and the weight
        nn.init.zeros_(self.decide.weight)  # at first moving averages of .4 s
        with torch.no_grad():
            self.decide.bias.copy_(torch.tensor([-math.log(0.4), -math.log(0.4), 0.0]))
        self.shares = nn.Parameter(torch.tensor([1.0, 0.5]))  # of belief and evidence in the logits

    @property
    def input_size(self) -> int:
        return self.config.features + self.config.classes

    @torch.no_grad()
    def fit_statistics(self, embeddings: Tensor, dts: Tensor, lengths: Tensor | Sequence[int] | None = None) -> None:
        """Set the standardisation of the cues from clips (clips, steps, d); arguments as those of `forward`."""
        batch, steps, _ = embeddings.shape
        counted = as_mask([steps] * batch if lengths is None else lengths, batch, steps, embeddings) > 0
        self.cue_mean.zero_()
        self.cue_inverse_std.fill_(1.0)
        features, logits = embeddings.split([self.config.features, self.config.classes], -1)
        cues, _ = self.cues(features, logits, as_dt(dts, batch, steps, embeddings), self.initial(batch)["traces"])
        self.cue_mean.copy_(cues[counted].mean(0))
        spread = column_std(cues[counted])
        self.cue_inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))

    def initial(self, batch: int) -> State:
        """The state of `batch` streams that have seen nothing."""
        nothing = self.cue_mean.new_full((batch, self.config.classes), 1 / self.config.classes)
        parts = {"traces": self.traces.initial(batch), "cell": self.cell.initial(batch)}
        return {"belief": nothing, "evidence": torch.zeros_like(nothing), "recent": nothing, **parts}

    def forward(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> HeadOutput:
        """Run embeddings (batch, steps, d), features and logits side by side, through it; see `Head.forward`."""
        xs, dt = as_streams(xs, dts, lengths, self.input_size, "embeddings")
        state = state or self.initial(len(xs))
        features, logits = xs.split([self.config.features, self.config.classes], -1)
        cues, traces = self.cues(features, logits, dt, state["traces"])
        told = (logits * self.log_sharpness.exp()).softmax(-1)
        says = torch.log(told + FLOOR)
        says = says - says.mean(-1, keepdim=True)
        believed, added, hidden, taus = [], [], [], []
        belief, evidence, recent, h = (state[name] for name in ("belief", "evidence", "recent", "cell"))
        frames = zip(cues.unbind(1), told.unbind(1), says.unbind(1), dt.split(1, 1), strict=True)
        for cue, scores, logs, seconds in frames:
            seen = self.dropout(torch.cat([cue, self.agreement(belief, recent, scores)], -1))
            u, h, _ = self.cell.advance(self.cell.prepare(seen), h, seconds)
            rates, weight = self.decide(torch.cat([u, seen], -1)).split([2, 1], -1)
            rates = rates.clamp(SLOWEST, QUICKEST).exp()
            of_belief, of_evidence = (-torch.expm1(-rates * seconds)).split(1, -1)
            belief = belief + of_belief * (scores - belief)
            evidence = evidence + of_evidence * (weight.clamp(LIGHTEST, HEAVIEST).exp() * logs - evidence)
            recent = recent - torch.expm1(-seconds / RECENT) * (scores - recent)
            believed.append(belief)
            added.append(evidence)
            hidden.append(u)
            taus.append(1 / rates)
        out = self.shares[0] * torch.log(torch.stack(believed, 1) + LEAST) + self.shares[1] * torch.stack(added, 1)
        new_state = {"belief": belief, "evidence": evidence, "recent": recent, "traces": traces, "cell": h}
        return HeadOutput(out, logits, torch.stack(hidden, 1), torch.stack(taus, 1), new_state)

    def cues(self, features: Tensor, logits: Tensor, dt: Tensor, traces: Tensor) -> tuple[Tensor, Tensor]:
        """What the frames say of themselves, (batch, steps, FRAME_CUES) standardised; and the traces' state."""
        deviations, traces = self.traces(features, dt, traces)
        past = features[..., None, :] - deviations.unflatten(-1, (len(TAUS), -1))
        change = 1 - torch.cosine_similarity(features[..., None, :], past, -1, eps=1e-6)
        strength = features.norm(dim=-1, keepdim=True) + MIN_SPREAD
        fading = torch.log(strength / (past[..., -1, :].norm(dim=-1, keepdim=True) + MIN_SPREAD))
        scores = logits.softmax(-1)
        first, second = scores.topk(2, -1).values.split(1, -1)
        entropy = -(scores * torch.log(scores + 1e-9)).sum(-1, keepdim=True)
        cues = [
            first,
            first - second,
            entropy,
            torch.log(MIN_SPREAD + change),
            fading,
            torch.log(dt[..., None] + MIN_SPREAD),
        ]
        return (torch.cat(cues, -1) - self.cue_mean) * self.cue_inverse_std, traces

    @staticmethod
    def agreement(belief: Tensor, recent: Tensor, scores: Tensor) -> Tensor:
        """How sure the belief and the last moments are, and how alike they and the frame: (batch, BELIEF_CUES)."""
        alike = [(a * b).sum(-1, True) for a, b in ((belief, scores), (belief, recent), (recent, scores))]
        return torch.cat([belief.amax(-1, True), recent.amax(-1, True), *alike], -1)
