"""Bootstrap intervals: known widths, whole groups, paired differences."""

import numpy as np
import pytest

from liquidvision.errors import UsageError
from liquidvision.metrics.bootstrap import bootstrap_interval, paired_bootstrap


def test_the_width_follows_the_standard_error() -> None:
    """For many videos the interval is the mean ± 1.96 standard errors, and narrower at a lower level."""
    values = np.random.default_rng(0).normal(3, 2, size=400)
    error = values.std() / 20
    mean, low, high = bootstrap_interval(values)
    assert mean == pytest.approx(values.mean())
    assert (mean - low, high - mean) == pytest.approx((1.96 * error, 1.96 * error), rel=0.1)
    _, low, high = bootstrap_interval(values, level=0.68)
    assert (mean - low, high - mean) == pytest.approx((0.994 * error, 0.994 * error), rel=0.1)


def test_it_covers_the_truth() -> None:
    """About 95 of a hundred intervals contain the true share."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        _, low, high = bootstrap_interval(rng.random(50) < 0.7, resamples=400)
        held += low <= 0.7 <= high
    assert 88 <= held <= 99


def test_seeds_are_averaged_first() -> None:
    """Two seeds that are correct on different videos give every video 0.5, and an interval of width 0."""
    assert bootstrap_interval(np.array([[0, 1, 0, 1], [1, 0, 1, 0]])) == (0.5, 0.5, 0.5)
    assert bootstrap_interval(np.array([[0, 1], [0, 1]])) == bootstrap_interval(np.array([0, 1]))


def test_groups_are_drawn_whole() -> None:
    """Ten videos of one group are as uncertain as one, and a larger group has more weight."""
    of_group = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    alone = bootstrap_interval(of_group)
    assert bootstrap_interval(np.repeat(of_group, 10), groups=list("abcde" * 10)) != alone
    assert bootstrap_interval(np.repeat(of_group, 10), groups=np.repeat(list("abcde"), 10)) == pytest.approx(alone)
    # Of two drawn groups half the draws hold one of each: nine videos right and one wrong.
    assert bootstrap_interval(np.arange(10) < 9, groups=["a"] * 9 + ["b"], level=0.4) == pytest.approx((0.9, 0.9, 0.9))


def test_repeatable() -> None:
    """The same seed gives the same interval, another seed nearly the same."""
    values = np.random.default_rng(2).random(100)
    assert (
        bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    )
    assert bootstrap_interval(values, seed=3) == pytest.approx(bootstrap_interval(values, seed=4), abs=0.02)


def test_paired_intervals_are_narrower() -> None:
    """A constant gain on every video has an interval of width 0, however much the videos differ."""
    hard = np.random.default_rng(3).random(60)
    mean, low, high = paired_bootstrap(hard + 0.05, hard)
    assert (mean, low, high) == pytest.approx((0.05, 0.05, 0.05))
    gain = paired_bootstrap(np.stack([hard, hard + 0.2]), hard[None], groups=[str(i // 2) for i in range(60)])
    assert gain == pytest.approx((0.1, 0.1, 0.1))
    assert paired_bootstrap(hard, hard + 0.05)[0] == pytest.approx(-0.05)


def test_malformed_values_are_refused() -> None:
    """No videos, values that are not finite, missing groups and different videos are refused."""
    for values, groups in ((np.zeros(0), None), (np.array([0, np.nan]), None), (np.zeros(3), ["a", "b"])):
        with pytest.raises(UsageError, match="an interval needs"):
            bootstrap_interval(values, groups=groups)
    with pytest.raises(UsageError, match="same videos"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
