"""Temperature scaling: a model's confidence brought in line with how often it is right."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.metrics.classification import MIN_PROBABILITY, ClipScores
from liquidvision.models.heads.liquid_head import LiquidHead

SPREAD = 0.5  # of log T beforehand: a few clips that are all right do not make a model certain


def fit_temperature(tracks: Sequence[ClipScores], *, whole_clip: bool) -> float:
    """The T by which logits are best divided: it minimises the negative log-likelihood of the truth.

    Every clip counts once, by its `clip_scores` or by the mean over its frames. log T is normal beforehand, with mean
    0 and standard deviation `SPREAD`. Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.

    Args:
        tracks: of clips that the model was not trained on, one at least.
        whole_clip: whether one label holds for each whole clip.
    """
    clips = [
        (track.clip_scores[None], track.truth[:1]) if whole_clip else (track.scores, track.truth) for track in tracks
    ]
    logits = torch.from_numpy(
        np.log(np.maximum(np.concatenate([scores for scores, _ in clips]), MIN_PROBABILITY, dtype=np.float64))
    )
    truth = torch.from_numpy(np.concatenate([truth for _, truth in clips]))
    weights = torch.cat([torch.full((len(truth),), 1 / len(truth), dtype=torch.float64) for _, truth in clips])
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = functional.cross_entropy(logits / log_t.exp(), truth, reduction="none")
        total = (weights * losses).sum() + 0.5 * (log_t / SPREAD) ** 2
        total.backward()
        return total

    optimiser.step(loss)
    return float(log_t.detach().exp())


@torch.no_grad()
def divide_logits(head: LiquidHead, memory: float, frame: float) -> None:
    """Have a head give `logits` and `frame_logits` divided by temperatures; which label is best does not change."""
    for readout, temperature in ((head.readout, memory), (head.frame_readout, frame)):
        for parameter in readout.parameters():
            parameter.div_(temperature)
    head.config = replace(head.config, frame_share=head.config.frame_share * frame / memory)
