"""Traces: a bank of leaky integrators over the embedding, exact in time; what changed, and how long ago."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one node of the backbone lies in an embedding: `channels` x `cells`, channel by channel.

    Attributes:
        channels: number of channels of the node.
        cells: number of cells of the grid on which it was pooled; 1 for a global mean.
    """

    channels: int
    cells: int

    @property
    def size(self) -> int:
        return self.channels * self.cells


class Traces(nn.Module):
    """Leaky integrators e_τ of a standardised embedding z, and the deviations d_τ = z - e_τ that they leave.

    e_τ ← e_τ + (1 - exp(-Δt/τ)) d_τ: an LTC (arXiv 2006.04439, Eq. 1) with f = 0 that relaxes to its
    input, discretised exactly, so any Δt gives what the continuous equation gives with held input.
    The first frame of a stream is taken to have stood there for ever (e_τ = z).

    Given out for each frame: magnitudes log(.02 + ·) of |d_τ|, averaged by channel over a node's
    cells, by cell over its channels, and, for a globally pooled node, over groups of channels.

    Args:
        layouts: the nodes of the embedding, in order.
        taus: time constants in seconds.
        groups: number of groups that a globally pooled node's channels are averaged over.

    Raises:
        UsageError: no time constant, or one that is not positive.
    """

    def __init__(self, layouts: Sequence[Layout], taus: Sequence[float], *, groups: int = 64) -> None:
        super().__init__()
        if not taus or min(taus) <= 0:
            raise UsageError(f"taus is {list(taus)}; expected one or more positive time constants in seconds")
        self.layouts, self.taus, self.groups = tuple(layouts), tuple(taus), groups
        self.width = sum(layout.size for layout in layouts)
        self.state_size = len(self.taus) * self.width
        per_tau = sum(
            self._group_count(layout) if layout.cells == 1 else layout.channels + layout.cells for layout in layouts
        )
        self.magnitude_size = len(self.taus) * per_tau
        self.tau: Tensor
        self.register_buffer("tau", torch.tensor(self.taus), persistent=False)

    def _group_count(self, layout: Layout) -> int:
        return min(self.groups, layout.channels)

    def deviations(self, z: Tensor, state: Tensor, seen: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """One step: z (batch, width), state (batch, state_size), seen (batch, 1) 0 or 1, dt (batch, 1) seconds.

        Returns:
            The deviations d_τ (batch, taus, width), and the new state.
        """
        traces = state.view(-1, len(self.taus), self.width)
        traces = torch.where(seen[:, :, None] > 0, traces, z[:, None])
        deviation = z[:, None] - traces
        # expm1 keeps Δt = 0 the exact identity.
        traces = traces - torch.expm1(-dt[:, :, None] / self.tau[:, None]) * deviation
        return deviation, traces.flatten(1)

    def magnitudes(self, deviations: Tensor) -> Tensor:
        """log(.02 + mean |d|) of deviations (..., taus, width): (..., magnitude_size)."""
        parts, start = [], 0
        for layout in self.layouts:
            part = deviations[..., start : start + layout.size].abs()
            start += layout.size
            if layout.cells == 1:
                rows = part.flatten(0, -2)[:, None]
                means = nn.functional.adaptive_avg_pool1d(rows, self._group_count(layout))  # also of uneven groups
                parts.append(means.view(*part.shape[:-1], -1))
            else:
                grid = part.unflatten(-1, (layout.channels, layout.cells))
                parts += [grid.mean(-1), grid.mean(-2)]
        return torch.log(0.02 + torch.cat(parts, -1)).flatten(-2)
