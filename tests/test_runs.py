"""The current label of a stream, its flips and its runs."""

from liquidvision.inference.runs import LabelRun, RunTracker


def tracked(*seen: tuple[float, int], **options) -> RunTracker:
    tracker = RunTracker(max_runs=100, **options)
    for time, label in seen:
        tracker.see(time, label)
    return tracker


def test_a_change_of_label_is_a_flip() -> None:
    """The first label is no flip; every later change is one, and see() says so."""
    tracker = RunTracker()
    assert [tracker.see(time, label) for time, label in ((0, 3), (1, 3), (2, 4), (3, 3))] == [False, False, True, True]
    assert (tracker.flips, tracker.label, tracker.time) == (2, 3, 3)


def test_a_repeated_frame_changes_nothing() -> None:
    """Of frames with one time the first counts."""
    tracker = tracked((0, 1), (1, 1), (1, 2), (2, 1))
    assert tracker.flips == 0 and list(tracker.runs) == [LabelRun(0, 2, 1)]


def test_a_clock_that_steps_back_starts_over() -> None:
    """A step back is no flip, and the runs from before are gone."""
    tracker = tracked((5, 1), (6, 1), (0, 2), (1, 2))
    assert tracker.flips == 0 and list(tracker.runs) == [LabelRun(0, 1, 2)]


def test_a_run_reaches_to_the_next_frame() -> None:
    """A label holds until the next frame is shown, whatever that says."""
    assert list(tracked((0, 1), (0.5, 1), (1, 2), (1.5, 2)).runs) == [LabelRun(0, 1, 1), LabelRun(1, 1.5, 2)]


def test_a_run_ends_at_a_gap() -> None:
    """A run does not reach over a gap, and the same label after it is a new run and no flip."""
    tracker = tracked((0, 1), (0.5, 1), (9, 1), (9.5, 1), hold_seconds=1.0)
    assert list(tracker.runs) == [LabelRun(0, 0.5, 1), LabelRun(9, 9.5, 1)] and tracker.flips == 0


def test_old_runs_can_be_forgotten() -> None:
    """Runs that ended before a time are dropped, and only the newest are kept."""
    tracker = tracked((0, 1), (1, 2), (2, 3), (3, 4))
    tracker.forget_before(1.5)
    assert [run.label for run in tracker.runs] == [2, 3, 4]
    few = RunTracker(max_runs=2)
    for time in range(10):
        few.see(time, time)
    assert [run.label for run in few.runs] == [8, 9] and few.flips == 9
