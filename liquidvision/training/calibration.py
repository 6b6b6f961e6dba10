"""Temperature scaling: makes a model's confidence match how often it is right."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.metrics.classification import MIN_PROBABILITY, ClipScores
from liquidvision.models.heads.liquid_head import LiquidHead

PRIOR_SD = 0.5  # of log T: a few clips that are all right must not make a model certain


def fit_temperature(clips: Sequence[ClipScores], *, whole_clip: bool) -> float:
    """Return the temperature T such that logits / T minimise the negative log-likelihood of the truth.

    Every clip has weight 1: its `clip_scores`, or the mean over its frames. log T has a normal prior with mean 0 and
    standard deviation `PRIOR_SD`. Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.

    Args:
        clips: scores of clips that the model was not trained on, at least one.
        whole_clip: whether one label holds for each whole clip.
    """
    pairs = [(clip.clip_scores[None], clip.truth[:1]) if whole_clip else (clip.scores, clip.truth) for clip in clips]
    logits = torch.from_numpy(
        np.log(np.maximum(np.concatenate([scores for scores, _ in pairs]), MIN_PROBABILITY, dtype=np.float64))
    )
    truth = torch.from_numpy(np.concatenate([truth for _, truth in pairs]))
    weights = torch.cat([torch.full((len(truth),), 1 / len(truth), dtype=torch.float64) for _, truth in pairs])
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = functional.cross_entropy(logits / log_t.exp(), truth, reduction="none")
        total = (weights * losses).sum() + 0.5 * (log_t / PRIOR_SD) ** 2
        total.backward()
        return total

    optimiser.step(loss)
    return float(log_t.detach().exp())


@torch.no_grad()
def divide_logits(head: LiquidHead, memory: float, frame: float) -> None:
    """Divide a head's `logits` and `frame_logits` by these temperatures, in its weights; the best label stays."""
    for readout, temperature in ((head.readout, memory), (head.frame_readout, frame)):
        for parameter in readout.parameters():
            parameter.div_(temperature)
    head.config = replace(head.config, frame_share=head.config.frame_share * frame / memory)
