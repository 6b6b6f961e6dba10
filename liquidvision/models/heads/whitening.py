"""What heads learn from the spread of training data: standardisation and whitening."""

import torch
from torch import Tensor

MIN_SPREAD = 1e-3  # a spread below this is none


def column_std(values: Tensor) -> Tensor:
    """The root mean square deviation from the mean, (n, d) to (d,); 0 for a single row."""
    return values.std(0, correction=0)


def whitening(values: Tensor, components: int) -> Tensor:
    """Axes (d, components) along which centred values (n, d) are uncorrelated and of unit variance, largest first.

    PCA of the values in units of their spread. Few rows have few directions: the axes left over are 0.
    """
    spread = column_std(values)
    scale = torch.where(spread > MIN_SPREAD, 1 / spread, 0.0)
    found = min(components, *values.shape)
    _, singular, axes = torch.pca_lowrank(values * scale, q=found, center=False, niter=4)
    heard = singular > MIN_SPREAD * singular[0]
    axes = torch.where(heard, axes / (singular / len(values) ** 0.5), 0.0) * scale[:, None]
    return torch.nn.functional.pad(axes, (0, components - found))
