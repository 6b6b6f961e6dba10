"""Causal filters: probabilities stay probabilities, the future changes nothing, seconds count and frames do not."""

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquidvision.errors import UsageError
from liquidvision.evaluation import smoothing
from liquidvision.evaluation.smoothing import ema, hmm_forward, majority, median, prefix_mean, tune_smoothing
from liquidvision.metrics.classification import ClipScores, clip_accuracy, frame_accuracy

FILTERS = {
    "ema": partial(ema, tau=0.3),
    "ema off": partial(ema, tau=0),
    "median": partial(median, window=0.5),
    "majority": partial(majority, window=0.5),
    "hmm_forward": partial(hmm_forward, hold=2.0, temperature=2.0, prior=(0.5, 0.2, 0.3)),
    "hmm_forward off": partial(hmm_forward, hold=0),
    "prefix_mean": prefix_mean,
}
every_filter = pytest.mark.parametrize("name", FILTERS)
few = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10_000)
LENGTHS = st.integers(1, 40)


def video(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random probabilities of three classes, some of them 0, and irregular times, some of them twice."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet((0.3, 0.3, 0.3), n).astype(np.float32)
    scores[rng.random(n) < 0.2] = np.eye(3, dtype=np.float32)[0]
    return scores, np.cumsum(rng.choice((0, 0.04, 0.1, 1.0), n))


@every_filter
@few
@given(SEEDS, LENGTHS)
def test_rows_are_probabilities(name: str, seed: int, n: int) -> None:
    """Every row is non-negative and sums to 1."""
    scores, times = video(seed, n)
    result = FILTERS[name](scores, times)
    assert result.shape == scores.shape and result.dtype == np.float64
    assert (result >= 0).all() and result.sum(1) == pytest.approx(np.ones(n), abs=1e-6)


@every_filter
@few
@given(SEEDS, LENGTHS, LENGTHS)
def test_the_future_changes_nothing(name: str, seed: int, n: int, cut: int) -> None:
    """What comes after a frame, or that nothing does, leaves its row as it is, and the input is not touched."""
    scores, times = video(seed, n)
    before = scores.copy()
    result = FILTERS[name](scores, times)
    assert (scores == before).all()
    assert (result[:cut] == FILTERS[name](scores[:cut], times[:cut])).all()
    changed, later = scores.copy(), times.copy()
    changed[cut:], later[cut:] = changed[cut:, ::-1], later[cut:] + 3
    assert (result[:cut] == FILTERS[name](changed, later)[:cut]).all()


@pytest.mark.parametrize("name", ["ema", "ema off", "median", "prefix_mean", "hmm_forward off"])
@few
@given(SEEDS, LENGTHS)
def test_what_is_constant_stays(name: str, seed: int, n: int) -> None:
    """Scores that never change come out as they went in."""
    scores, times = video(seed, n)
    scores[:] = np.maximum(scores[0], 1e-3) / np.maximum(scores[0], 1e-3).sum()
    assert FILTERS[name](scores, times) == pytest.approx(scores, abs=1e-6)


@every_filter
def test_what_is_constant_stays_decided(name: str) -> None:
    """A class that is the most probable of all frames is so after every filter."""
    scores, times = np.tile([0.1, 0.2, 0.7], (30, 1)), video(1, 30)[1]
    assert (FILTERS[name](scores, times).argmax(1) == 2).all()


@every_filter
@few
@given(SEEDS, LENGTHS)
def test_only_seconds_between_frames_count(name: str, seed: int, n: int) -> None:
    """A clip that begins a minute later is filtered the same."""
    scores, times = video(seed, n)
    assert FILTERS[name](scores, times + 64) == pytest.approx(FILTERS[name](scores, times), abs=1e-9)


@few
@given(SEEDS, LENGTHS, st.floats(0.01, 10))
def test_ema_is_exact_in_time(seed: int, n: int, tau: float) -> None:
    """Two half steps with the input held are one whole step, and a step is that of the differential equation."""
    scores, times = video(seed, n)
    middles = times[:-1] + np.diff(times) / 2
    halved = ema(np.repeat(scores, 2, axis=0)[1:], np.insert(times, np.arange(1, n), middles), tau)
    assert halved[::2] == pytest.approx(ema(scores, times, tau), abs=1e-9)
    step = ema(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([5.0, 5.0 + tau]), tau)
    assert step[1] == pytest.approx([np.exp(-1), 1 - np.exp(-1)])


@few
@given(SEEDS, st.floats(0.1, 10))
def test_hmm_is_exact_in_time(seed: int, hold: float) -> None:
    """A frame that tells nothing, wherever it is put between two, changes nothing at the next one."""
    scores, times = video(seed, 12)
    prior = (0.5, 0.2, 0.3)
    between = times[6] + 0.3 * (times[7] - times[6])
    result = hmm_forward(scores, times, hold, 2.0, prior)
    asked = hmm_forward(np.insert(scores, 7, prior, axis=0), np.insert(times, 7, between), hold, 2.0, prior)
    assert np.delete(asked, 7, axis=0) == pytest.approx(result, abs=1e-6)


def test_hmm_by_hand() -> None:
    """The first frame is taken as it is; the second by Bayes' rule after exp(−Δt / hold) of the first was kept."""
    scores, times = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([1.0, 1.5])
    prior = np.array([0.6, 0.4])
    kept = np.exp(-0.5 / 2)
    expected = (kept * scores[0] + (1 - kept) * prior) * scores[1] / prior
    result = hmm_forward(scores, times, 2.0, 1.0, prior)
    assert result[0] == pytest.approx(scores[0])
    assert result[1] == pytest.approx(expected / expected.sum())
    flat = hmm_forward(scores, times, 2.0, 1e9)
    assert flat == pytest.approx(np.full((2, 2), 0.5), abs=1e-6)


def test_hmm_recovers() -> None:
    """After a thousand sure frames of one class, sure frames of another win, even with a hold of a year."""
    scores = np.eye(2)[[0] * 1000 + [1] * 5]
    assert hmm_forward(scores, np.arange(1005) / 25, 3e7)[-1].argmax() == 1


@few
@given(SEEDS, LENGTHS, st.sampled_from((0, 0.04, 0.1, 0.3, 5)))
def test_median_one_after_another(seed: int, n: int, window: float) -> None:
    """The median at each frame is that of the frames less than a window old."""
    scores, times = video(seed, n)
    for k, row in enumerate(median(scores, times, window)):
        recent = [scores[i] for i in range(k + 1) if i == k or times[i] > times[k] - window + 1e-9]
        middle = np.median(np.array(recent, np.float64), axis=0) + 1e-12
        assert row == pytest.approx(middle / middle.sum(), abs=1e-9)


def test_median_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long video is sorted block by block, with the same result."""
    scores, times = video(3, 40)
    whole = median(scores, times, 0.5)
    monkeypatch.setattr(smoothing, "BLOCK", 100)
    assert (median(scores, times, 0.5) == whole).all()


def test_a_window_is_seconds() -> None:
    """A glitch of one frame is outvoted by three frames in the window, and not where they are older than it."""
    scores = np.eye(2)[[0, 0, 0, 1]] * 0.8 + 0.1
    quick, slow = np.array([0, 0.1, 0.2, 0.3]), np.array([0, 1.0, 2.0, 3.0])
    for calm in (median, majority):
        assert calm(scores, quick, 0.35)[-1].argmax() == 0
        assert calm(scores, slow, 0.35)[-1].argmax() == 1
        assert calm(scores, slow, 1.0)[-1].argmax() == 1  # a frame a whole window ago is outside of it


def test_a_frame_just_a_window_ago_is_outside() -> None:
    """As many frames are in a window of whole steps at every frame, whatever rounding does to the times."""
    for step in (1 / 25, 1001 / 30000, 0.1):
        scores = np.eye(2)[[0] * 50 + [1] * 50]
        shares = majority(scores, np.arange(100) * step, 5 * step)[:, 1]
        assert shares[49:56] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1], abs=1e-5), step


def test_majority_by_hand() -> None:
    """Votes are counted whatever their certainty; between equals the higher mean probability decides."""
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    result = majority(scores, np.arange(3.0), 10)
    assert result[2] == pytest.approx([1 / 3, 2 / 3], abs=1e-5)
    assert result[1].argmax() == 0
    assert majority(1 - scores, np.arange(3.0), 10)[1].argmax() == 1


def test_prefix_mean_ends_as_the_clip() -> None:
    """The last row of the prefix mean is the score of the whole clip."""
    scores, times = video(5, 30)
    clip = ClipScores(np.zeros(30, int), scores, times)
    assert prefix_mean(scores, times)[-1] == pytest.approx(clip.clip_scores, abs=1e-9)


def noisy(videos: int, frames: int, *, seed: int = 0, whole_clip: bool = False, classes: int = 4) -> list[ClipScores]:
    """Videos at 10 frames a second whose scores point to the truth, with much noise on every frame."""
    rng = np.random.default_rng(seed)
    tracks = []
    for _ in range(videos):
        truth = (
            np.full(frames, rng.integers(classes)) if whole_clip else rng.integers(classes, size=4).repeat(frames // 4)
        )
        odds = np.exp(1.5 * np.eye(classes)[truth] + 1.5 * rng.normal(size=(frames, classes)))
        tracks.append(ClipScores(truth, (odds / odds.sum(1, keepdims=True)).astype(np.float32), np.arange(frames) / 10))
    return tracks


@pytest.mark.parametrize("name", ["ema", "median", "majority", "hmm_forward"])
def test_tuned_filters_help(name: str) -> None:
    """On noisy scores a tuned filter is worth more than no filter, on other videos too, and says its parameters."""
    parameters, text = tune_smoothing(name, noisy(6, 80), False)
    assert text is not None and " s" in text
    other = noisy(6, 80, seed=1)
    assert frame_accuracy(smoothing.smooth_scores(name, other, parameters)) > frame_accuracy(other) + 0.1


def test_tuning_finds_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the grid, the parameters of the highest frame accuracy are taken, and the mildest of equals."""
    tracks = noisy(6, 80)
    parameters, text = tune_smoothing("ema", tracks, False)
    worth = {tau: frame_accuracy(smoothing.smooth_scores("ema", tracks, {"tau": tau})) for tau in smoothing.SECONDS}
    best = max(worth, key=worth.get)
    assert (parameters, text) == ({"tau": best}, f"τ = {best:g} s")
    sure = [ClipScores(np.arange(3), np.eye(3), np.arange(3.0))]
    assert tune_smoothing("ema", sure, False) == ({"tau": 0}, "τ = 0 s")
    assert tune_smoothing("median", sure, False) == ({"window": 0}, "window 0 s")
    assert tune_smoothing("prefix_mean", tracks, False) == ({}, None)


def test_tuning_for_whole_clips() -> None:
    """Where a label holds for the whole clip, no parameters of the grid give a higher clip accuracy."""
    tracks = noisy(12, 6, whole_clip=True)
    parameters, _ = tune_smoothing("hmm_forward", tracks, True)
    found = clip_accuracy(smoothing.smooth_scores("hmm_forward", tracks, parameters))
    for hold in smoothing.HOLDS:
        tried = parameters | {"hold": hold, "temperature": 1}
        assert found >= clip_accuracy(smoothing.smooth_scores("hmm_forward", tracks, tried))


def test_the_prior_of_a_class_never_seen() -> None:
    """A class that the validation videos never show keeps a small prior, so that it can still be recognised."""
    parameters, _ = tune_smoothing(
        "hmm_forward", [ClipScores(np.zeros(8, int), np.full((8, 2), 0.5), np.arange(8.0))], True
    )
    assert parameters["prior"] == pytest.approx((0.9, 0.1))


def test_what_cannot_be_tuned() -> None:
    """An unknown filter and no videos are refused in one line that says what is expected."""
    with pytest.raises(UsageError, match=r"'kalman'.*ema, median"):
        tune_smoothing("kalman", noisy(1, 8), False)
    with pytest.raises(UsageError, match="no video"):
        tune_smoothing("ema", [], False)


def test_tuning_is_quick() -> None:
    """A filter's grid over 40 videos of 60 frames is searched well within a second and a half."""
    tracks = noisy(40, 60)
    for name in smoothing.SMOOTHERS:
        start = time.process_time()
        tune_smoothing(name, tracks, False)
        assert time.process_time() - start < 1.5, name
