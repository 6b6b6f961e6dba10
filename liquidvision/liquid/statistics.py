"""What heads learn from the spread of training data: standardisation and whitening."""

import torch
from torch import Tensor

STILL = 1e-3  # a spread below this is none


def spread_of(values: Tensor) -> Tensor:
    """The root mean square deviation from the mean, (n, d) to (d,); 0 for a single row."""
    return values.std(0, correction=0)


def whitening(values: Tensor, components: int) -> Tensor:
    """Axes (d, components) along which centred values (n, d) are uncorrelated and of unit variance, largest first.

    PCA of the values in units of their spread. Few rows have few directions: the axes left over are 0.
    """
    spread = spread_of(values)
    scale = torch.where(spread > STILL, 1 / spread, 0.0)
    found = min(components, *values.shape)
    _, singular, axes = torch.pca_lowrank(values * scale, q=found, center=False, niter=4)
    heard = singular > STILL * singular[0]
    axes = torch.where(heard, axes / (singular / len(values) ** 0.5), 0.0) * scale[:, None]
    return torch.nn.functional.pad(axes, (0, components - found))
