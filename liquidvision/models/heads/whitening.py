"""Statistics of training data: standardisation and whitening."""

import torch
from torch import Tensor

MIN_SPREAD = 1e-3  # a smaller standard deviation counts as none


def column_std(values: Tensor) -> Tensor:
    """Return the population standard deviation of the columns, (n, d) to (d,); 0 for a single row."""
    return values.std(0, correction=0) if values.shape[1] else values.new_zeros(0)


def whitening(values: Tensor, components: int) -> Tensor:
    """Return axes (d, components) on which centred values (n, d) are uncorrelated with unit variance, largest first.

    The axes are the principal components of the values divided by their standard deviations. If the values span fewer
    directions than `components`, the remaining axes are 0.
    """
    spread = column_std(values)
    scale = torch.where(spread > MIN_SPREAD, 1 / spread, 0.0)
    found = min(components, *values.shape)
    _, singular, axes = torch.pca_lowrank(values * scale, q=found, center=False, niter=4)
    significant = singular > MIN_SPREAD * singular[0]
    axes = torch.where(significant, axes / (singular / len(values) ** 0.5), 0.0) * scale[:, None]
    return torch.nn.functional.pad(axes, (0, components - found))
