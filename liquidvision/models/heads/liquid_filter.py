"""The liquid filter: a memory for any frozen classifier, independent of its classes."""

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
TRACE_TAUS = (0.1, 0.4, 1.6)  # seconds
FRAME_CUES = 5 + len(TRACE_TAUS)  # see `cues`
AGREEMENT_CUES = 5  # see `agreement`
DROPOUT = 0.2  # of cues in training, so that none is relied on alone
RECENT_TAU = 0.15  # seconds, time constant of the recent scores
MIN_BELIEF = 1e-7  # added to a belief before its logarithm
MIN_LIKELIHOOD = 1e-4  # added to a probability before its logarithm, so that no frame rules a class out
MIN_LOG_RATE, MAX_LOG_RATE = -7.0, 4.1  # of rates per second: time constants of 18 minutes to 1/60 second
MIN_LOG_WEIGHT, MAX_LOG_WEIGHT = -4.0, 2.0  # of the weight of a frame's evidence


@dataclass(frozen=True, slots=True)
class LiquidFilterConfig:
    """The configuration of a `LiquidFilter`, as written to a model's config.json.

    Attributes:
        features: number of pooled features, the first part of an embedding.
        classes: number of the classifier's logits, the second part of an embedding; one per label, 2 or more.
        units: liquid neurons that control the rates and the weight of evidence.

    Raises:
        UsageError: a size is out of range.
    """

    features: int
    classes: int
    units: int = 16

    def __post_init__(self) -> None:
        sizes = [self.features, self.classes, self.units]
        if not all(isinstance(n, int) and 1 <= n <= MAX_SIZE for n in sizes) or self.classes < 2:
            raise UsageError(
                f"the filter's sizes are {sizes}; expected whole numbers from 1 to {MAX_SIZE}, and at least 2 classes"
            )

    @property
    def cell(self) -> str:
        """The kind of memory, as `LiquidHeadConfig.cell`."""
        return FILTER_KIND

    def to_json(self) -> dict:
        """Return the configuration as JSON types."""
        return {"kind": FILTER_KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict) -> "LiquidFilterConfig":
        """Return the configuration that `to_json` returned as `values`.

        Raises:
            TypeError, UsageError: a value is missing, unknown or out of range.
        """
        return cls(**{key: value for key, value in values.items() if key != "kind"})


class LiquidFilter(Head):
    """A head that filters a classifier's probabilities over time, without training on its classes.

    It consists of two LTCs (arXiv 2006.04439, Eq. 1), each with one rate for all classes. With the state x(t) of the
    classes and the target A that a frame gives,

        dx/dt = -(1/τ + f) x + f A,   1/τ = 0

    is solved exactly for inputs held over Δt: x ← A + (x - A) exp(-f Δt). The two states have rates f of their own:

    - belief, with A = p, the frame's probabilities: a moving average that remains a probability.
    - evidence, with A = g (log p - mean of log p): in log space evidence adds up, as in Bayes' rule, so that a class
      that is likely in many frames wins over one that is certain in a single frame. g is the weight of the frame.

    The logits are a sum of log belief and evidence with two learnt weights. A small gated LTC computes rates and weight
    for each frame. Its inputs are the confidence of the classifier, the change of the picture over `TRACE_TAUS`
    seconds, and the agreement between the frame, the recent frames and the belief. So rates can be high when something
    new appears, and low when a frame is damaged. No input depends on which class it is, so a filter trained on one
    classifier also works on others.

    The time constants in the output are 1/f of belief and evidence.

    Args:
        config: the sizes.
    """

    config: LiquidFilterConfig
    reads_logits = True

    def __init__(self, config: LiquidFilterConfig) -> None:
        super().__init__()
        self.config = config
        self.traces = Traces(config.features, TRACE_TAUS)
        self.cue_mean: Tensor
        self.register_buffer("cue_mean", torch.zeros(FRAME_CUES))
        self.cue_inverse_std: Tensor
        self.register_buffer("cue_inverse_std", torch.ones(FRAME_CUES))
        self.log_sharpness = nn.Parameter(torch.zeros(()))  # scales the logits; 0 keeps the classifier's probabilities
        self.cell = GatedLTC(FRAME_CUES + AGREEMENT_CUES, config.units)
        self.dropout = nn.Dropout(DROPOUT)
        self.decide = nn.Linear(
            config.units + FRAME_CUES + AGREEMENT_CUES, 3
        )  # log rates of belief and evidence, log weight
        nn.init.zeros_(self.decide.weight)  # initially moving averages over 0.4 s
        with torch.no_grad():
            self.decide.bias.copy_(torch.tensor([-math.log(0.4), -math.log(0.4), 0.0]))
        self.shares = nn.Parameter(torch.tensor([1.0, 0.5]))  # weights of log belief and evidence in the logits

    @property
    def input_size(self) -> int:
        return self.config.features + self.config.classes

    @torch.no_grad()
    def fit_statistics(self, embeddings: Tensor, dts: Tensor, lengths: Tensor | Sequence[int] | None = None) -> None:
        """Set the standardisation of the cues from training clips (clips, steps, d); arguments as for `forward`."""
        batch, steps, _ = embeddings.shape
        valid = as_mask([steps] * batch if lengths is None else lengths, batch, steps, embeddings) > 0
        self.cue_mean.zero_()
        self.cue_inverse_std.fill_(1.0)
        features, logits = embeddings.split([self.config.features, self.config.classes], -1)
        cues, _ = self.cues(features, logits, as_dt(dts, batch, steps, embeddings), self.initial(batch)["traces"])
        self.cue_mean.copy_(cues[valid].mean(0))
        spread = column_std(cues[valid])
        self.cue_inverse_std.copy_(torch.where(spread > MIN_SPREAD, 1 / spread, 1.0))

    def initial(self, batch: int, *, adapt: bool = False) -> State:
        uniform = self.cue_mean.new_full((batch, self.config.classes), 1 / self.config.classes)
        parts = {"traces": self.traces.initial(batch), "cell": self.cell.initial(batch)}
        return {"belief": uniform, "evidence": torch.zeros_like(uniform), "recent": uniform, **parts}

    def forward(
        self,
        xs: Tensor,
        dts: Tensor | float,
        state: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> HeadOutput:
        """Filter embeddings (batch, steps, features + classes); see `Head.forward`."""
        xs, dt = as_streams(xs, dts, lengths, self.input_size, "embeddings")
        state = state or self.initial(len(xs))
        features, logits = xs.split([self.config.features, self.config.classes], -1)
        cues, traces = self.cues(features, logits, dt, state["traces"])
        scores = (logits * self.log_sharpness.exp()).softmax(-1)
        log_scores = torch.log(scores + MIN_LIKELIHOOD)
        log_scores = log_scores - log_scores.mean(-1, keepdim=True)
        beliefs, evidences, hidden, taus = [], [], [], []
        belief, evidence, recent, h = (state[name] for name in ("belief", "evidence", "recent", "cell"))
        frames = zip(cues.unbind(1), scores.unbind(1), log_scores.unbind(1), dt.split(1, 1), strict=True)
        for cue, p, log_p, seconds in frames:
            inputs = self.dropout(torch.cat([cue, self.agreement(belief, recent, p)], -1))
            u, h, _ = self.cell.advance(self.cell.prepare(inputs), h, seconds)
            rates, weight = self.decide(torch.cat([u, inputs], -1)).split([2, 1], -1)
            rates = rates.clamp(MIN_LOG_RATE, MAX_LOG_RATE).exp()
            belief_step, evidence_step = (-torch.expm1(-rates * seconds)).split(1, -1)
            belief = belief + belief_step * (p - belief)
            evidence = evidence + evidence_step * (
                weight.clamp(MIN_LOG_WEIGHT, MAX_LOG_WEIGHT).exp() * log_p - evidence
            )
            recent = recent - torch.expm1(-seconds / RECENT_TAU) * (p - recent)
            beliefs.append(belief)
            evidences.append(evidence)
            hidden.append(u)
            taus.append(1 / rates)
        log_beliefs = torch.log(torch.stack(beliefs, 1) + MIN_BELIEF)
        filtered = self.shares[0] * log_beliefs + self.shares[1] * torch.stack(evidences, 1)
        new_state = {"belief": belief, "evidence": evidence, "recent": recent, "traces": traces, "cell": h}
        return HeadOutput(filtered, logits, torch.stack(hidden, 1), torch.stack(taus, 1), new_state)

    def cues(self, features: Tensor, logits: Tensor, dt: Tensor, traces: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cues about each frame that do not depend on its class.

        Args:
            features: (batch, steps, features).
            logits: (batch, steps, classes).
            dt: (batch, steps) seconds.
            traces: state of the traces.

        Returns:
            Standardised cues (batch, steps, FRAME_CUES) and the new state of the traces. The cues are: highest score,
            lead over the second, entropy, log change of the features over each of `TRACE_TAUS`, log ratio of their norm
            to that of their slowest trace, and log Δt.
        """
        deviations, traces = self.traces(features, dt, traces)
        past = features[..., None, :] - deviations.unflatten(-1, (len(TRACE_TAUS), -1))
        change = 1 - torch.cosine_similarity(features[..., None, :], past, -1, eps=1e-6)
        norm = features.norm(dim=-1, keepdim=True) + MIN_SPREAD
        fading = torch.log(norm / (past[..., -1, :].norm(dim=-1, keepdim=True) + MIN_SPREAD))
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
        """Return the confidence of belief and recent scores, and the agreement of these with the frame: (batch, 5)."""
        products = [(a * b).sum(-1, True) for a, b in ((belief, scores), (belief, recent), (recent, scores))]
        return torch.cat([belief.amax(-1, True), recent.amax(-1, True), *products], -1)
