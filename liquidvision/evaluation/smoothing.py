"""Causal filters that calm per-frame probabilities: what a liquid memory has to be better than.

Each takes `scores`, probabilities (n, classes), and `times`, seconds (n,), never decreasing, of the n > 0 frames of one
video, and gives probabilities (n, classes) float64, rows summing to 1. Row k depends on frames 0 to k alone, and on the
seconds between them, not on a frame rate.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.metrics.classification import MIN_PROBABILITY, ClipScores, clip_accuracy, frame_accuracy

EDGE = 1e-9  # seconds: a frame exactly a window's width ago is outside of it, whatever rounding says
BLOCK = 1 << 22  # numbers sorted at once
# From no filter at all to slow ones, in seconds; tuning takes the mildest of equals.
SECONDS = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
HOLDS = (0, 0.5, 1, 2, 4, 8, 16, 32)
TEMPERATURES = (1, 2, 4, 8)


def ema(scores: np.ndarray, times: np.ndarray, tau: float) -> np.ndarray:
    """Exponential moving average of time constant `tau` seconds; 0 leaves the scores as they are.

    y[k] = x[k] + exp(−Δt / τ) (y[k−1] − x[k]), y[0] = x[0]: exact for an input held at x[k] since frame k−1.
    """
    result = scores.astype(np.float64)
    kept = _kept(times, tau)
    for k in range(1, len(result)):
        result[k] += kept[k - 1] * (result[k - 1] - result[k])
    return result


def median(scores: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """Each class's median over the frames of the last `window` seconds, made to sum to 1; 0: the frame alone."""
    n, classes = scores.shape
    first = _first_in_window(times, window)
    counts = np.arange(n) + 1 - first
    longest = int(counts.max())
    padded = np.concatenate([np.full((longest - 1, classes), np.inf), scores])
    runs = np.lib.stride_tricks.sliding_window_view(padded, longest, axis=0)  # (n, classes, longest), oldest first
    result = np.empty((n, classes))
    step = max(1, BLOCK // (longest * classes))
    for start in range(0, n, step):
        part = slice(start, start + step)
        count = counts[part, None, None]
        outside = np.arange(longest) < longest - count
        ordered = np.sort(np.where(outside, np.inf, runs[part]), axis=2)
        middle = [np.take_along_axis(ordered, place, axis=2)[..., 0] for place in ((count - 1) // 2, count // 2)]
        result[part] = (middle[0] + middle[1]) / 2
    # Where every class's median is 0, none is preferred.
    result += MIN_PROBABILITY
    return result / result.sum(1, keepdims=True)


def majority(scores: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """Each class's share of the votes of the frames of the last `window` seconds; 0: the frame's own vote.

    A frame votes for its most probable class. Between equals the higher mean probability in the window decides.
    """
    classes = scores.shape[1]
    first = _first_in_window(times, window)
    # One vote in a million goes by probability: less than one vote's share of any window, so it decides ties alone.
    ballots = np.eye(classes)[scores.argmax(1)]
    votes, doubts = (np.concatenate([np.zeros((1, classes)), part.cumsum(0)]) for part in (ballots, scores))
    result = votes[1:] - votes[first] + 1e-6 * (doubts[1:] - doubts[first])
    return result / result.sum(1, keepdims=True)


def hmm_forward(
    scores: np.ndarray,
    times: np.ndarray,
    hold: float,
    temperature: float = 1.0,
    prior: Sequence[float] | None = None,
) -> np.ndarray:
    """The forward (Bayes) filter of a sticky hidden Markov model: P(class at frame k | frames 0 to k).

    Between frames the class is kept with probability exp(−Δt / hold) and else drawn anew from the prior, so that two
    half steps are one whole step. A frame's likelihood is (probability / prior)^(1 / temperature): scaled likelihoods,
    flattened since neighbouring frames err alike. Source: Rabiner 1989, "A tutorial on hidden Markov models", section
    III.A; Bourlard & Morgan 1994, "Connectionist speech recognition", for probabilities divided by priors.

    Args:
        hold: seconds for which a class is kept in the mean; 0 forgets from frame to frame.
        temperature: > 0; 1 takes the probabilities as they are.
        prior: probability of each class, > 0, (classes,); None: all alike.
    """
    n, classes = scores.shape
    base = np.full(classes, 1 / classes) if prior is None else np.asarray(prior, dtype=np.float64)
    likelihoods = (np.maximum(scores, MIN_PROBABILITY, dtype=np.float64) / base) ** (1 / temperature)
    kept = np.append(0.0, _kept(times, hold))
    drawn = (1 - kept)[:, None] * base
    result = np.empty((n, classes))
    belief = base
    for k in range(n):
        belief = (kept[k] * belief + drawn[k]) * likelihoods[k]
        belief /= belief.sum()
        result[k] = belief
    return result


def prefix_mean(scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Softmax of the mean log-probabilities of all frames so far: a clip's score as it stands at each frame."""
    logits = (
        np.log(np.maximum(scores, MIN_PROBABILITY, dtype=np.float64)).cumsum(0) / np.arange(1, len(times) + 1)[:, None]
    )
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


SMOOTHERS: dict[str, Callable[..., np.ndarray]] = {
    "ema": ema,
    "median": median,
    "majority": majority,
    "hmm_forward": hmm_forward,
    "prefix_mean": prefix_mean,
}


def smooth_scores(name: str, tracks: Sequence[ClipScores], parameters: dict[str, object]) -> list[ClipScores]:
    """The tracks with their scores filtered, each on its own, by the filter of that name in `SMOOTHERS`."""
    return [ClipScores(t.truth, SMOOTHERS[name](t.scores, t.times, **parameters), t.times) for t in tracks]


def tune_smoothing(name: str, tracks: Sequence[ClipScores], whole_clip: bool) -> tuple[dict[str, object], str | None]:
    """The best parameters of a filter on validation videos, by trying a grid of them, and what to call them.

    Best is the highest frame accuracy; where one label holds for each whole video (`whole_clip`), the highest clip
    accuracy, and between equals the highest frame accuracy. The mildest filter of equals is taken.

    Returns:
        Parameters, by name, for the filter and `smooth_scores`, and a text such as "τ = 0.8 s"; None where there was
        nothing to tune.

    Raises:
        UsageError: no such filter, or no video.
    """
    if name not in SMOOTHERS:
        raise UsageError(f"there is no filter {name!r}: expected one of {', '.join(SMOOTHERS)}")
    if not tracks:
        raise UsageError(f"no video to tune the filter {name!r} on: give at least one")

    def worth(parameters: dict[str, object]) -> tuple[float, ...]:
        calmed = smooth_scores(name, tracks, parameters)
        return (clip_accuracy(calmed) if whole_clip else 0.0, frame_accuracy(calmed))

    grid = _grid(name, tracks)
    best = max(grid, key=lambda text: worth(grid[text]))  # the first of equals
    return grid[best], best or None


def _grid(name: str, tracks: Sequence[ClipScores]) -> dict[str, dict[str, object]]:
    """The parameters to try, mildest first, by what to call them."""
    if name == "ema":
        return {f"τ = {tau:g} s": {"tau": tau} for tau in SECONDS}
    if name in ("median", "majority"):
        return {f"window {window:g} s": {"window": window} for window in SECONDS}
    if name == "prefix_mean":
        return {"": {}}
    frames = np.concatenate([track.truth for track in tracks])
    counts = 1 + np.bincount(frames, minlength=tracks[0].scores.shape[1])  # a class that never occurs may occur yet
    prior = tuple((counts / counts.sum()).tolist())
    return {
        f"hold {hold:g} s, temperature {heat:g}": {"hold": hold, "temperature": heat, "prior": prior}
        for hold, heat in product(HOLDS, TEMPERATURES)
    }


def _kept(times: np.ndarray, tau: float) -> np.ndarray:
    """How much of a memory of time constant `tau` is left over each step, (n − 1,), 0 to 1."""
    return np.exp(-np.diff(times) / tau) if tau else np.zeros(max(0, len(times) - 1))


def _first_in_window(times: np.ndarray, window: float) -> np.ndarray:
    """For each frame the first one of the last `window` seconds, itself at the latest, (n,)."""
    return np.minimum(np.searchsorted(times, times - window + EDGE, side="right"), np.arange(len(times)))
