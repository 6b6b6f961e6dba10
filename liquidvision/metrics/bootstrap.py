"""How sure a mean over videos is: bootstrap intervals, and paired ones for a difference."""

from collections.abc import Sequence

import numpy as np

from liquidvision.errors import UsageError


def bootstrap_interval(
    values: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Mean over videos with its percentile bootstrap interval: (mean, low, high).

    Videos are drawn with replacement; several seeds' values of a video are averaged first, so that the interval is
    that of other videos, not of other seeds. Source: Efron & Tibshirani 1993, "An introduction to the bootstrap",
    chapter 13.

    Args:
        values: one for each video, (videos,) or (seeds, videos); for an accuracy 0 or 1.
        groups: the group of each video, (videos,); whole groups are drawn, as videos of one group are alike.
            None: each video for itself.
        resamples: how many times videos are drawn.
        level: the share of resampled means inside the interval, between 0 and 1.

    Raises:
        UsageError: no videos, values that are not numbers, or not a group for each video.
    """
    of_video = np.atleast_2d(np.asarray(values, dtype=np.float64)).mean(0)
    if not of_video.size or not np.isfinite(of_video).all():
        raise UsageError("an interval needs one finite number for each of one video at least")
    if groups is not None and len(groups) != len(of_video):
        raise UsageError(f"an interval needs a group for each of its {len(of_video)} videos, not {len(groups)}")
    group = np.arange(len(of_video)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, counts = np.bincount(group, weights=of_video), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(of_video.mean()), float(low), float(high)


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Mean of a − b over the same videos with its interval, as `bootstrap_interval`; a and b may have different seeds.

    Raises:
        UsageError: as `bootstrap_interval`, or where a and b are not of the same videos.
    """
    of_a, of_b = (np.atleast_2d(np.asarray(part, dtype=np.float64)).mean(0) for part in (a, b))
    if of_a.shape != of_b.shape:
        raise UsageError(f"a paired interval needs the same videos in both, not {len(of_a)} and {len(of_b)}")
    return bootstrap_interval(of_a - of_b, groups=groups, resamples=resamples, seed=seed, level=level)
