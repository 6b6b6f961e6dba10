"""Detection of cuts: frames whose embedding differs from the one before by more than it does within a scene."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import as_mask

FALSE_ALARMS_PER_MINUTE = 0.5  # within the training clips, at any frame rate
MAX_FALSE_SHARE = 0.02  # of frames, at low frame rates
STRIDES = range(1, 9)  # frames over which distances within clips are measured
MIN_DISTANCE = 0.05  # a smaller one is no cut
MIN_NORM = 1e-6  # smaller products of norms count as this


class CutDetector(nn.Module):
    """Finds the frames at which a stream shows another scene.

    A cut is where the cosine distance 1 - cos(z, z_before) of the standardised embedding z exceeds a Δt^b. `fit` sets
    a and b so that this is rare within clips, however long the time Δt between frames. Before that no cut is found. A
    frame with Δt = 0 is never a cut, and is skipped: the next one is compared with the one before.

    The state (batch, size + 1) is the last z, followed by the Δt of the stream's first frame in seconds; 0 before it.

    Args:
        size: width of an embedding.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.limit: Tensor  # a and b
        self.register_buffer("limit", torch.tensor([math.inf, 0.0]))

    def initial(self, batch: int) -> Tensor:
        """Return the state of `batch` new streams."""
        return self.limit.new_zeros(batch, self.size + 1)

    def forward(self, z: Tensor, dt: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find cuts.

        Args:
            z: (batch, steps, size) standardised embeddings.
            dt: (batch, steps) seconds, 0 in the padding.
            state: (batch, size + 1).

        Returns:
            Cuts (batch, steps) bool; Δt (batch, steps), which at a cut is that of the stream's first frame; and the new
            state.
        """
        passed, last, first_dt = dt > 0, state[:, :-1], state[:, -1:]
        dots, norm = dot(z[:, :1], last[:, None]), torch.linalg.vector_norm(last, dim=-1, keepdim=True)
        begun, latest = first_dt > 0, z[:, 0]
        if dt.shape[1] > 1:
            rows = torch.arange(len(z), device=dt.device)
            # The last frame with Δt > 0 up to each frame, counted from 1; 0 is that of the state.
            index = torch.where(passed, torch.arange(1, dt.shape[1] + 1, device=dt.device), 0).cummax(1).values
            seen = z  # the frames that their followers are compared with
            if bool((passed[:, 1:] & ~passed[:, :-1]).any()):
                seen = torch.cat([last[:, None], z], 1)[rows[:, None], index]
            dots = torch.cat([dots, dot(z[:, 1:], seen[:, :-1])], 1)
            norm = torch.cat([norm, torch.linalg.vector_norm(seen[:, :-1], dim=-1)], 1)
            begun = torch.cat([begun, begun | (index[:, :-1] > 0)], 1)
            latest = z[rows, index[:, -1] - 1]
        distance = 1 - dots / (norm * torch.linalg.vector_norm(z, dim=-1)).clamp_min(MIN_NORM)
        factor, exponent = self.limit
        cut = passed & begun & (distance > factor * dt**exponent)
        first_dt = torch.where(begun[:, :1], first_dt, (dt * ~begun).sum(1, keepdim=True))
        last = torch.where(passed.any(1, keepdim=True), latest, last)
        return cut, torch.where(cut, first_dt, dt), torch.cat([last, first_dt], 1)

    @torch.no_grad()
    def fit(
        self,
        z: Tensor,
        dt: Tensor,
        lengths: Tensor | Sequence[int],
        *,
        false_alarms: float = FALSE_ALARMS_PER_MINUTE,
    ) -> None:
        """Set a and b from clips without cuts.

        For each of `STRIDES`, the distance is found that is exceeded `false_alarms` times a minute. A line is fitted to
        the logarithms.

        Args:
            z: (clips, steps, size) standardised embeddings.
            dt: (clips, steps) seconds.
            lengths: (clips,) valid frames of each clip.
            false_alarms: cuts that are found within these clips, per minute.
        """
        clips, steps, _ = z.shape
        valid, time = as_mask(lengths, clips, steps, z) > 0, dt.double().cumsum(1)
        norm = torch.linalg.vector_norm(z, dim=-1)
        points = []
        for stride in (n for n in STRIDES if n < steps):
            elapsed = time[:, stride:] - time[:, :-stride]
            pairs = valid[:, stride:] & (elapsed > 0)
            if not bool(pairs.any()):
                continue
            seconds = float(elapsed[pairs].mean())
            cosines = dot(z[:, stride:], z[:, :-stride]) / (norm[:, stride:] * norm[:, :-stride]).clamp_min(MIN_NORM)
            share = min(MAX_FALSE_SHARE, false_alarms * seconds / 60)
            exceeded = float(torch.quantile(1 - cosines[pairs].double(), 1 - share))
            points.append((math.log(seconds), math.log(max(exceeded, MIN_DISTANCE))))
        exponent, log_factor = 0.0, math.inf
        if len(points) > 1:
            exponent, log_factor = np.polyfit([x for x, _ in points], [y for _, y in points], 1)
        elif points:
            log_factor = points[0][1]
        self.limit.copy_(torch.tensor([math.exp(log_factor), exponent]))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot products (batch, steps) of vectors (batch, steps, n), without a tensor as large as these."""
    return torch.linalg.vecdot(a, b) if a.shape[1] == 1 else torch.einsum("btd,btd->bt", a, b)
