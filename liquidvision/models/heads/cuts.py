"""Detection of cuts: frames whose embedding has changed by more than it does within a scene in the same time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FALSE_ALARMS_PER_MINUTE = 1.0  # within the training clips, at any frame rate
MAX_FALSE_SHARE = 0.02  # of frames, at low frame rates
STRIDES = range(1, 9)  # frames over which changes within clips are measured
MIN_CHANGE = 0.1  # in standard deviations of the embedding; a smaller change is no cut
NEVER = 1e9  # log of a change that does not occur


class CutDetector(nn.Module):
    """Finds the frames at which a stream shows another scene.

    A cut is where the mean |Δz| of the standardised embedding z, from one frame to the next, exceeds exp(a + b log Δt).
    `fit` sets a and b so that this is rare within clips, whatever the time Δt between frames. Before that no cut is
    found. A frame with Δt = 0 is never a cut, and is skipped: the next one is compared with the one before.

    The state (batch, size + 1) is the last z, followed by the Δt of the stream's first frame in seconds; 0 before it.

    Args:
        size: width of an embedding.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.limit: Tensor  # a and b
        self.register_buffer("limit", torch.tensor([NEVER, 0.0]))

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
        steps = dt.shape[1]
        passed = dt > 0
        first_dt = state[:, -1:]
        known = torch.cat([state[:, None, :-1], z], 1)
        # Index in `known` of the last frame with Δt > 0 up to each frame, and before it.
        latest = torch.where(passed, torch.arange(1, steps + 1, device=z.device), 0).cummax(1).values
        before = nn.functional.pad(latest[:, :-1], (1, 0))
        rows = torch.arange(len(z), device=z.device)[:, None]
        change = (z - known[rows, before]).abs().mean(-1)
        limit = torch.exp(self.limit[0] + self.limit[1] * torch.log(torch.where(passed, dt, 1.0)))
        cut = passed & ((before > 0) | (first_dt > 0)) & (change > limit)
        first = torch.where(passed & (before == 0), dt, 0.0).sum(1, keepdim=True)
        first_dt = torch.where(first_dt > 0, first_dt, first)
        state = torch.cat([known[rows[:, 0], latest[:, -1]], first_dt], 1)
        return cut, torch.where(cut, first_dt, dt), state

    @torch.no_grad()
    def fit(self, z: Tensor, dt: Tensor, lengths: Tensor | Sequence[int]) -> None:
        """Set a and b from clips that do not contain cuts.

        For each of `STRIDES`, the change that is exceeded `FALSE_ALARMS_PER_MINUTE` times a minute is found; a line is
        fitted to the logarithms.

        Args:
            z: (clips, steps, size) standardised embeddings.
            dt: (clips, steps) seconds.
            lengths: (clips,) valid frames of each clip.
        """
        points = []
        time = dt.double().cumsum(1)
        valid = torch.as_tensor(lengths, device=z.device)[:, None]
        for stride in STRIDES:
            elapsed = time[:, stride:] - time[:, :-stride]
            within = (torch.arange(stride, z.shape[1], device=z.device)[None] < valid) & (elapsed > 0)
            if not within.any():
                break
            changes = torch.stack([(own[stride:] - own[:-stride]).abs().mean(-1) for own in z])[within]
            seconds = elapsed[within].mean()
            share = min(MAX_FALSE_SHARE, FALSE_ALARMS_PER_MINUTE * float(seconds) / 60)
            change = torch.quantile(changes.double(), 1 - share).clamp_min(MIN_CHANGE)
            points.append((seconds.log(), change.log()))
        if not points:
            self.limit.copy_(torch.tensor([NEVER, 0.0]))
            return
        x, y = (torch.stack(values) for values in zip(*points, strict=True))
        spread = (x - x.mean()).square().sum()
        slope = ((x - x.mean()) * y).sum() / spread if spread > 0 else spread.new_zeros(())
        slope = slope.clamp_min(0.0)
        self.limit.copy_(torch.stack([y.mean() - slope * x.mean(), slope]))
