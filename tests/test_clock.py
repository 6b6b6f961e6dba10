"""The one rule for time: steps, gaps, repeated frames, clocks that step back."""

import numpy as np
import pytest

from liquidvision.errors import UsageError
from liquidvision.inference.clock import Clock, Step, monotonic_times


def steps(times: list[float], **options) -> tuple[list[Step], Clock]:
    clock = Clock(1.0, **options)
    return [clock.tick(time) for time in times], clock


def test_steps_are_the_seconds_that_passed() -> None:
    """The first frame steps by first_dt, a repeated one by 0, the others by the time since the one before."""
    found, clock = steps([5.0, 5.5, 5.5, 7.0])
    assert [step.dt for step in found] == [1.0, 0.5, 0.0, 1.5]
    assert (clock.repeated, clock.backwards, clock.gaps) == (1, 0, 0)


def test_a_clock_that_steps_back_costs_no_time() -> None:
    """A step back counts 0, and counting continues from the new time, in a stream and over a whole clip alike."""
    times = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
    found, clock = steps(times)
    assert [step.dt for step in found] == [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert clock.backwards == 1
    assert monotonic_times(times).tolist() == [0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("policy", "step"), [("decay", Step(20.0)), ("carry", Step(2.0)), ("reset", Step(1.0, reset=True))]
)
def test_gaps_follow_the_policy(policy: str, step: Step) -> None:
    """A step longer than max_gap is counted, and is taken whole, cut, or as a new beginning."""
    found, clock = steps([0.0, 1.0, 21.0, 22.0], max_gap=2.0, gap_policy=policy)
    assert found[2:] == [step, Step(1.0)]
    assert clock.gaps == 1


def test_a_copy_runs_on_its_own() -> None:
    """Ticks of a copy change nothing in the original."""
    _, clock = steps([0.0, 1.0])
    other = clock.copy()
    other.tick(0.5)
    assert (other.backwards, clock.backwards) == (1, 0)
    assert clock.tick(1.25) == Step(0.25)


@pytest.mark.parametrize(("time", "dt"), [(1.5, 0.5), (0.0, 0.04)])
def test_a_resumed_clock_continues_or_starts_again(time: float, dt: float) -> None:
    """After resume the next frame follows the old clock, or, with a clock that starts again, the last frame's end."""
    clock = Clock(1.0)
    clock.tick(0.96, 0.04)
    clock.tick(1.0, 0.04)
    other = Clock(1.0)
    other.resume(*clock.state())
    assert other.tick(time) == Step(dt)
    assert other.backwards == 0


def test_a_clip_without_steps_back_keeps_its_exact_times() -> None:
    """Times that never fall are returned bit by bit, whatever their spacing."""
    times = np.random.default_rng(0).exponential(0.1, 500).cumsum() + 1e6
    assert (monotonic_times(times) == times).all()
    assert monotonic_times([]).shape == (0,)


@pytest.mark.parametrize("options", [{"max_gap": 0}, {"max_gap": float("nan")}, {"gap_policy": "forget"}])
def test_impossible_options_are_refused(options: dict) -> None:
    """A gap that is not positive or an unknown policy is refused with what was expected."""
    with pytest.raises(UsageError, match="expected"):
        Clock(1.0, **options)
