"""The calm timeline: against a slow reference, and what it must never do."""

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquidvision.errors import UsageError
from liquidvision.inference.calm import calm_labels


def slow_reference(labels: list[int], times: list[float], scores: np.ndarray, shortest: float) -> list[int]:
    """Dissolve the shortest run again and again, with everything computed from scratch each time."""
    labels, times = list(labels), list(times)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    ends = [*times, times[-1] + step]
    while True:
        runs, place = [], 0
        for label, group in groupby(labels):
            count = len(list(group))
            runs.append((round(ends[place + count] - ends[place], 9), place, place + count, label))
            place += count
        seconds, start, stop, _ = min(runs)
        if seconds >= shortest or len(runs) == 1:
            return labels
        before = labels[start - 1] if start else None
        after = labels[stop] if stop < len(labels) else None
        best = start
        if before is None or after is None or before == after:
            best = start if before is None else stop
        else:
            gains = [sum(scores[start:cut, before] - scores[start:cut, after]) for cut in range(start, stop + 1)]
            best = start + int(np.argmax(np.round(gains, 9)))
        labels[start:best] = [before] * (best - start)
        labels[best:stop] = [after] * (stop - best)


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.0, 0.12, 0.3, 1.0]), st.booleans())
def test_it_equals_a_slow_reference(seed, frames, shortest, irregular):
    """Labels are those of an implementation that starts from scratch after each dissolved run."""
    random = np.random.default_rng(seed)
    steps = random.choice([0.0, 0.02, 0.04, 0.2], frames) if irregular else np.full(frames, 0.04)
    times = steps.cumsum()
    scores = np.round(random.normal(0, 1, (frames, 3)), 3)
    labels = scores.argmax(1)
    calm = calm_labels(labels, times, lambda start, stop: scores[start:stop], shortest=shortest)
    assert calm.tolist() == slow_reference(labels.tolist(), times.tolist(), scores, shortest)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 39), max_size=4))
def test_parts_do_not_change_each_other(seed, breaks):
    """With breaks, each part is as it would be alone."""
    random = np.random.default_rng(seed)
    scores, times = random.normal(0, 1, (40, 3)), np.arange(40) * 0.04
    labels = scores.argmax(1)
    whole = calm_labels(labels, times, lambda start, stop: scores[start:stop], breaks=breaks)
    edges = [0, *sorted(set(breaks)), 40]
    for a, b in pairwise(edges):
        own = scores[a:b]
        part = calm_labels(labels[a:b], times[a:b], lambda start, stop, own=own: own[start:stop])
        assert whole[a:b].tolist() == part.tolist()


def test_a_short_run_is_cut_where_the_scores_change_sides():
    """The frames of a dissolved run go to the neighbour that is more probable at each."""
    scores = np.zeros((20, 3))
    scores[:8, 0] = scores[12:, 1] = 3.0
    scores[8:12, 2] = 3.0
    scores[8:11, 0] = 1.0
    scores[11, 1] = 1.0
    calm = calm_labels(scores.argmax(1), np.arange(20) * 0.04, lambda start, stop: scores[start:stop])
    assert calm.tolist() == [0] * 11 + [1] * 9


@pytest.mark.parametrize("shortest", [-0.1, float("nan"), float("inf")])
def test_impossible_lengths_are_refused(shortest):
    """A length that is negative or not finite is refused."""
    with pytest.raises(UsageError, match="expected seconds, 0 or more"):
        calm_labels([0], [0.0], lambda start, stop: np.zeros((1, 1)), shortest=shortest)
