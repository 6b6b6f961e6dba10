"""Causal filters that smooth per-frame probabilities: the baselines that a liquid memory has to beat.

Each filter takes `scores`, probabilities (n, classes), and `times`, seconds (n,), non-decreasing, of the n > 0 frames
of one video. It returns probabilities (n, classes) float64 whose rows sum to 1. Row k depends only on frames 0 to k and
on the seconds between them, not on a frame rate.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.metrics.classification import MIN_PROBABILITY, ClipScores, clip_accuracy, frame_accuracy
from liquidvision.models.tasks import MULTICLASS

WINDOW_TOLERANCE = 1e-9  # seconds: a frame exactly one window ago is outside the window, despite rounding
MAX_SORTED_VALUES = 1 << 22  # sorted at once
# Time constants and windows to try, in seconds; 0 does not filter. Tuning takes the smallest of equally good ones.
TIME_SCALES = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
HOLD_TIMES = (0, 0.5, 1, 2, 4, 8, 16, 32)
TEMPERATURES = (1, 2, 4, 8)


def ema(scores: np.ndarray, times: np.ndarray, tau: float) -> np.ndarray:
    """Smooth with an exponential moving average of time constant `tau` seconds; 0 returns the scores unchanged.

    y[k] = x[k] + exp(−Δt / τ) (y[k−1] − x[k]), y[0] = x[0]: exact if the input is constant at x[k] since frame k−1.
    """
    result = scores.astype(np.float64)
    decay = _decay(times, tau)
    for k in range(1, len(result)):
        result[k] += decay[k - 1] * (result[k - 1] - result[k])
    return result


def median(scores: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """Take each class's median over the frames of the last `window` seconds, normalised; 0: the frame alone."""
    n, classes = scores.shape
    first = _first_in_window(times, window)
    counts = np.arange(n) + 1 - first
    longest = int(counts.max())
    padded = np.concatenate([np.full((longest - 1, classes), np.inf), scores])
    runs = np.lib.stride_tricks.sliding_window_view(padded, longest, axis=0)  # (n, classes, longest), oldest first
    result = np.empty((n, classes))
    step = max(1, MAX_SORTED_VALUES // (longest * classes))
    for start in range(0, n, step):
        part = slice(start, start + step)
        count = counts[part, None, None]
        outside = np.arange(longest) < longest - count
        ordered = np.sort(np.where(outside, np.inf, runs[part]), axis=2)
        middle = [np.take_along_axis(ordered, place, axis=2)[..., 0] for place in ((count - 1) // 2, count // 2)]
        result[part] = (middle[0] + middle[1]) / 2
    # If the median of every class is 0, all get the same probability.
    result += MIN_PROBABILITY
    return result / result.sum(1, keepdims=True)


def majority(scores: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """Count each class's share of the votes in the last `window` seconds; 0: the vote of the frame alone.

    A frame votes for its most probable class. The mean probability in the window breaks ties.
    """
    classes = scores.shape[1]
    first = _first_in_window(times, window)
    # Probabilities weigh one millionth of a vote, so that they only break ties.
    ballots = np.eye(classes)[MULTICLASS.decide(scores)]
    votes, sums = (np.concatenate([np.zeros((1, classes)), part.cumsum(0)]) for part in (ballots, scores))
    result = votes[1:] - votes[first] + 1e-6 * (sums[1:] - sums[first])
    return result / result.sum(1, keepdims=True)


def hmm_forward(
    scores: np.ndarray,
    times: np.ndarray,
    hold: float,
    temperature: float = 1.0,
    prior: Sequence[float] | None = None,
) -> np.ndarray:
    """Run the forward (Bayes) filter of a sticky hidden Markov model: P(class at frame k | frames 0 to k).

    From one frame to the next the class stays with probability exp(−Δt / hold), otherwise it is drawn again from the
    prior, so that two half steps equal one whole step. The likelihood of a frame is (probability / prior)^(1 /
    temperature); a temperature above 1 accounts for the correlated errors of neighbouring frames. Source: Rabiner 1989,
    "A tutorial on hidden Markov models", section III.A; Bourlard & Morgan 1994, "Connectionist speech recognition", for
    probabilities divided by priors.

    Args:
        scores: see the module.
        times: see the module.
        hold: mean seconds for which a class stays; 0 treats every frame independently.
        temperature: > 0; 1 uses the probabilities unchanged.
        prior: probability of each class, > 0, (classes,); None: uniform.
    """
    n, classes = scores.shape
    base = np.full(classes, 1 / classes) if prior is None else np.asarray(prior, dtype=np.float64)
    likelihoods = (np.maximum(scores, MIN_PROBABILITY, dtype=np.float64) / base) ** (1 / temperature)
    stay = np.append(0.0, _decay(times, hold))
    redrawn = (1 - stay)[:, None] * base
    result = np.empty((n, classes))
    belief = base
    for k in range(n):
        belief = (stay[k] * belief + redrawn[k]) * likelihoods[k]
        belief /= belief.sum()
        result[k] = belief
    return result


def prefix_mean(scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Take the softmax of the mean log-probabilities of all frames so far: the clip's score up to each frame."""
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


def smooth_scores(name: str, clips: Sequence[ClipScores], parameters: dict[str, object]) -> list[ClipScores]:
    """Return the clips with their scores filtered, each on its own, by the filter `name` of `SMOOTHERS`."""
    return [ClipScores(c.truth, SMOOTHERS[name](c.scores, c.times, **parameters), c.times) for c in clips]


def tune_smoothing(name: str, clips: Sequence[ClipScores], whole_clip: bool) -> tuple[dict[str, object], str | None]:
    """Search a grid for the best parameters of a filter on validation clips.

    The criterion is frame accuracy. If one label holds for each whole clip (`whole_clip`), it is clip accuracy, and
    frame accuracy breaks ties. Of equally good parameters, those that filter least are taken.

    Returns:
        The parameters by name, for the filter and `smooth_scores`, and their description, for example "τ = 0.8 s", or
        None if there is nothing to tune.

    Raises:
        UsageError: unknown filter, or no clips.
    """
    if name not in SMOOTHERS:
        raise UsageError(f"the filter is {name!r}; expected one of {', '.join(SMOOTHERS)}")
    if not clips:
        raise UsageError(f"there is no video to tune the filter {name!r} on; give at least one")

    def accuracy(parameters: dict[str, object]) -> tuple[float, ...]:
        smoothed = smooth_scores(name, clips, parameters)
        return (clip_accuracy(smoothed) if whole_clip else 0.0, frame_accuracy(smoothed))

    grid = _parameter_grid(name, clips)
    best = max(grid, key=lambda text: accuracy(grid[text]))  # the first of equals
    return grid[best], best or None


def _parameter_grid(name: str, clips: Sequence[ClipScores]) -> dict[str, dict[str, object]]:
    """Return the parameters to try by description, those that filter least first."""
    if name == "ema":
        return {f"τ = {tau:g} s": {"tau": tau} for tau in TIME_SCALES}
    if name in ("median", "majority"):
        return {f"window {window:g} s": {"window": window} for window in TIME_SCALES}
    if name == "prefix_mean":
        return {"": {}}
    frames = np.concatenate([clip.truth for clip in clips])
    # One more than counted, so that a class absent from the validation clips can still be recognised.
    counts = 1 + np.bincount(frames, minlength=clips[0].scores.shape[1])
    prior = tuple((counts / counts.sum()).tolist())
    return {
        f"hold {hold:g} s, temperature {temperature:g}": {"hold": hold, "temperature": temperature, "prior": prior}
        for hold, temperature in product(HOLD_TIMES, TEMPERATURES)
    }


def _decay(times: np.ndarray, tau: float) -> np.ndarray:
    """Return the share of a memory of time constant `tau` that is left after each step, (n − 1,), 0 to 1."""
    return np.exp(-np.diff(times) / tau) if tau else np.zeros(max(0, len(times) - 1))


def _first_in_window(times: np.ndarray, window: float) -> np.ndarray:
    """Return for each frame the index of the first frame of the last `window` seconds, at most its own, (n,)."""
    return np.minimum(np.searchsorted(times, times - window + WINDOW_TOLERANCE, side="right"), np.arange(len(times)))
