"""Causal filters return probabilities, ignore the future, and depend on seconds, not on frames."""

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
    """Return random probabilities of three classes, some of them 0, and irregular times, some repeated."""
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
def test_later_frames_change_nothing(name: str, seed: int, n: int, cut: int) -> None:
    """Later frames do not change a row, and the input is not modified."""
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
def test_constant_scores_stay(name: str, seed: int, n: int) -> None:
    """Constant scores are returned unchanged."""
    scores, times = video(seed, n)
    scores[:] = np.maximum(scores[0], 1e-3) / np.maximum(scores[0], 1e-3).sum()
    assert FILTERS[name](scores, times) == pytest.approx(scores, abs=1e-6)


@every_filter
def test_a_constant_decision_stays(name: str) -> None:
    """A class that is most probable in all frames stays so after every filter."""
    scores, times = np.tile([0.1, 0.2, 0.7], (30, 1)), video(1, 30)[1]
    assert (FILTERS[name](scores, times).argmax(1) == 2).all()


@every_filter
@few
@given(SEEDS, LENGTHS)
def test_only_seconds_between_frames_count(name: str, seed: int, n: int) -> None:
    """A clip that starts a minute later is filtered the same."""
    scores, times = video(seed, n)
    assert FILTERS[name](scores, times + 64) == pytest.approx(FILTERS[name](scores, times), abs=1e-9)


@few
@given(SEEDS, LENGTHS, st.floats(0.01, 10))
def test_ema_is_exact_in_time(seed: int, n: int, tau: float) -> None:
    """Two half steps equal one whole step for a constant input, and a step solves the differential equation."""
    scores, times = video(seed, n)
    middles = times[:-1] + np.diff(times) / 2
    halved = ema(np.repeat(scores, 2, axis=0)[1:], np.insert(times, np.arange(1, n), middles), tau)
    assert halved[::2] == pytest.approx(ema(scores, times, tau), abs=1e-9)
    step = ema(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([5.0, 5.0 + tau]), tau)
    assert step[1] == pytest.approx([np.exp(-1), 1 - np.exp(-1)])


@few
@given(SEEDS, st.floats(0.1, 10))
def test_hmm_is_exact_in_time(seed: int, hold: float) -> None:
    """An uninformative frame between two others does not change the next row."""
    scores, times = video(seed, 12)
    prior = (0.5, 0.2, 0.3)
    between = times[6] + 0.3 * (times[7] - times[6])
    result = hmm_forward(scores, times, hold, 2.0, prior)
    asked = hmm_forward(np.insert(scores, 7, prior, axis=0), np.insert(times, 7, between), hold, 2.0, prior)
    assert np.delete(asked, 7, axis=0) == pytest.approx(result, abs=1e-6)


def test_hmm_by_hand() -> None:
    """The first row is the first frame's scores; the second follows from Bayes' rule."""
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
    """After a thousand certain frames of one class, certain frames of another win, even with a hold of a year."""
    scores = np.eye(2)[[0] * 1000 + [1] * 5]
    assert hmm_forward(scores, np.arange(1005) / 25, 3e7)[-1].argmax() == 1


@few
@given(SEEDS, LENGTHS, st.sampled_from((0, 0.04, 0.1, 0.3, 5)))
def test_median_equals_its_definition(seed: int, n: int, window: float) -> None:
    """The median at each frame is that of the frames less than a window old."""
    scores, times = video(seed, n)
    for k, row in enumerate(median(scores, times, window)):
        recent = [scores[i] for i in range(k + 1) if i == k or times[i] > times[k] - window + 1e-9]
        middle = np.median(np.array(recent, np.float64), axis=0) + 1e-12
        assert row == pytest.approx(middle / middle.sum(), abs=1e-9)


def test_median_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long video is sorted in blocks with the same result."""
    scores, times = video(3, 40)
    whole = median(scores, times, 0.5)
    monkeypatch.setattr(smoothing, "MAX_SORTED_VALUES", 100)
    assert (median(scores, times, 0.5) == whole).all()


def test_a_window_is_seconds() -> None:
    """Three frames in the window outvote a glitch of one frame, but not if they are older than the window."""
    scores = np.eye(2)[[0, 0, 0, 1]] * 0.8 + 0.1
    quick, slow = np.array([0, 0.1, 0.2, 0.3]), np.array([0, 1.0, 2.0, 3.0])
    for smooth in (median, majority):
        assert smooth(scores, quick, 0.35)[-1].argmax() == 0
        assert smooth(scores, slow, 0.35)[-1].argmax() == 1
        assert smooth(scores, slow, 1.0)[-1].argmax() == 1  # a frame a whole window ago is outside of it


def test_a_frame_exactly_one_window_ago_is_outside() -> None:
    """A window of whole steps holds the same number of frames everywhere, despite rounding."""
    for step in (1 / 25, 1001 / 30000, 0.1):
        scores = np.eye(2)[[0] * 50 + [1] * 50]
        shares = majority(scores, np.arange(100) * step, 5 * step)[:, 1]
        assert shares[49:56] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1], abs=1e-5), step


def test_majority_by_hand() -> None:
    """Votes count equally whatever their confidence, and the mean probability breaks ties."""
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    result = majority(scores, np.arange(3.0), 10)
    assert result[2] == pytest.approx([1 / 3, 2 / 3], abs=1e-5)
    assert result[1].argmax() == 0
    assert majority(1 - scores, np.arange(3.0), 10)[1].argmax() == 1


def test_prefix_mean_ends_as_the_clip() -> None:
    """The last row of the prefix mean equals the scores of the whole clip."""
    scores, times = video(5, 30)
    clip = ClipScores(np.zeros(30, int), scores, times)
    assert prefix_mean(scores, times)[-1] == pytest.approx(clip.clip_scores, abs=1e-9)


def noisy(videos: int, frames: int, *, seed: int = 0, whole_clip: bool = False, classes: int = 4) -> list[ClipScores]:
    """Return videos at 10 frames per second whose scores point to the truth, with strong noise on every frame."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(videos):
        truth = (
            np.full(frames, rng.integers(classes)) if whole_clip else rng.integers(classes, size=4).repeat(frames // 4)
        )
        odds = np.exp(1.5 * np.eye(classes)[truth] + 1.5 * rng.normal(size=(frames, classes)))
        clips.append(ClipScores(truth, (odds / odds.sum(1, keepdims=True)).astype(np.float32), np.arange(frames) / 10))
    return clips


@pytest.mark.parametrize("name", ["ema", "median", "majority", "hmm_forward"])
def test_tuned_filters_help(name: str) -> None:
    """A tuned filter improves noisy scores, on other videos too, and its parameters are described."""
    parameters, text = tune_smoothing(name, noisy(6, 80), False)
    assert text is not None and " s" in text
    other = noisy(6, 80, seed=1)
    assert frame_accuracy(smoothing.smooth_scores(name, other, parameters)) > frame_accuracy(other) + 0.1


def test_tuning_finds_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning takes the parameters with the highest frame accuracy, and the smallest of equals."""
    clips = noisy(6, 80)
    parameters, text = tune_smoothing("ema", clips, False)
    accuracy = {
        tau: frame_accuracy(smoothing.smooth_scores("ema", clips, {"tau": tau})) for tau in smoothing.TIME_SCALES
    }
    best = max(accuracy, key=accuracy.get)
    assert (parameters, text) == ({"tau": best}, f"τ = {best:g} s")
    sure = [ClipScores(np.arange(3), np.eye(3), np.arange(3.0))]
    assert tune_smoothing("ema", sure, False) == ({"tau": 0}, "τ = 0 s")
    assert tune_smoothing("median", sure, False) == ({"window": 0}, "window 0 s")
    assert tune_smoothing("prefix_mean", clips, False) == ({}, None)


def test_tuning_for_whole_clips() -> None:
    """With whole-clip labels no parameters of the grid give a higher clip accuracy."""
    clips = noisy(12, 6, whole_clip=True)
    parameters, _ = tune_smoothing("hmm_forward", clips, True)
    found = clip_accuracy(smoothing.smooth_scores("hmm_forward", clips, parameters))
    for hold in smoothing.HOLD_TIMES:
        tried = parameters | {"hold": hold, "temperature": 1}
        assert found >= clip_accuracy(smoothing.smooth_scores("hmm_forward", clips, tried))


def test_an_absent_class_keeps_a_small_prior() -> None:
    """A class that is absent from the validation videos keeps a small prior."""
    parameters, _ = tune_smoothing(
        "hmm_forward", [ClipScores(np.zeros(8, int), np.full((8, 2), 0.5), np.arange(8.0))], True
    )
    assert parameters["prior"] == pytest.approx((0.9, 0.1))


def test_tuning_refuses_unknown_filters_and_no_videos() -> None:
    """An unknown filter and an empty list of videos are refused with the expected values."""
    with pytest.raises(UsageError, match=r"'kalman'.*ema, median"):
        tune_smoothing("kalman", noisy(1, 8), False)
    with pytest.raises(UsageError, match="no video"):
        tune_smoothing("ema", [], False)


def test_tuning_is_quick() -> None:
    """A filter's grid over 40 videos of 60 frames is searched well within a second and a half."""
    clips = noisy(40, 60)
    for name in smoothing.SMOOTHERS:
        start = time.process_time()
        tune_smoothing(name, clips, False)
        assert time.process_time() - start < 1.5, name
