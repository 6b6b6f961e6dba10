"""Bootstrap confidence intervals of a mean over videos, and of a paired difference."""

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
    """Return the mean over videos with its percentile bootstrap interval: (mean, low, high).

    Videos are resampled with replacement. The values of several seeds are averaged per video first, so that the
    interval covers the choice of videos, not of seeds. Source: Efron & Tibshirani 1993, "An introduction to the
    bootstrap", chapter 13.

    Args:
        values: one per video, (videos,) or (seeds, videos); 0 or 1 for an accuracy.
        groups: the group of each video, (videos,). Whole groups are resampled, because videos of one group are alike.
            None: each video is its own group.
        resamples: number of bootstrap samples.
        seed: the seed of the resampling.
        level: share of the resampled means inside the interval, between 0 and 1.

    Raises:
        UsageError: no videos, values that are not finite, or not one group per video.
    """
    video_means = np.atleast_2d(np.asarray(values, dtype=np.float64)).mean(0)
    if not video_means.size or not np.isfinite(video_means).all():
        raise UsageError("an interval needs finite values of at least one video")
    if groups is not None and len(groups) != len(video_means):
        raise UsageError(f"an interval needs one group per video: {len(video_means)} videos, {len(groups)} groups")
    group = np.arange(len(video_means)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, counts = np.bincount(group, weights=video_means), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(video_means.mean()), float(low), float(high)


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return the mean of a − b over the same videos with its interval: (mean, low, high).

    Args:
        a: values, (videos,) or (seeds, videos), see `bootstrap_interval`.
        b: values of the same videos; the number of seeds may differ.
        groups: see `bootstrap_interval`.
        resamples: see `bootstrap_interval`.
        seed: see `bootstrap_interval`.
        level: see `bootstrap_interval`.

    Raises:
        UsageError: as `bootstrap_interval`, or a and b have different numbers of videos.
    """
    means_a, means_b = (np.atleast_2d(np.asarray(part, dtype=np.float64)).mean(0) for part in (a, b))
    if means_a.shape != means_b.shape:
        raise UsageError(f"a paired interval needs the same videos in both, not {len(means_a)} and {len(means_b)}")
    return bootstrap_interval(means_a - means_b, groups=groups, resamples=resamples, seed=seed, level=level)
