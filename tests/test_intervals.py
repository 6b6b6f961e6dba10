"""Scores become intervals: hysteresis, shortest duration and bridged gaps in seconds, causal, and continued."""

import json
from itertools import pairwise

import numpy as np
import pytest
from conftest import picture_frames
from hypothesis import given
from hypothesis import strategies as st

import liquidvision as lv
from liquidvision import Interval, IntervalRule, IntervalSettings, IntervalTracker, ModelError, Prediction, UsageError

LABELS = ("rest", "fight")
RULE = IntervalRule(IntervalSettings(0.7, 0.4, 0.5, 0.3), background="rest")


def scored(*seen: tuple[float, float]) -> list[Prediction]:
    """Return predictions by time and the score of "fight"."""
    return [
        Prediction(number, time, 0.0, LABELS, np.array([1 - score, score], np.float32), np.zeros(2, np.float32))
        for number, (time, score) in enumerate(seen)
    ]


def spans(found) -> list[tuple[float, float, str]]:
    return [(round(each.start, 6), round(each.end, 6), each.label) for each in found]


def test_an_interval_begins_high_and_ends_low():
    """Between `leave` and `enter` the state stays as it is; the score is the mean over the time."""
    seen = scored((0, 0.5), (1, 0.75), (2, 0.45), (3, 0.5), (4, 0.3), (5, 0.6), (6, 0.1))
    (only,) = lv.intervals(seen, RULE)
    assert (only.start, only.end, only.label) == (1, 4, "fight")
    assert only.score == pytest.approx((0.75 + 0.45 + 0.5) / 3)


def test_the_same_numbers_hold_at_any_rate():
    """A score that depends on the time gives the same intervals at 10, 50 and 200 frames a second, to one frame."""

    def score(time: float) -> float:
        return 0.9 if 1 <= time < 2 or 2.2 <= time < 3 or 5 <= time < 5.3 else 0.1

    for rate in (10, 50, 200):
        found = list(lv.intervals(scored(*((i / rate, score(i / rate)) for i in range(8 * rate))), RULE))
        assert spans(found) == [(1, 3, "fight")]


def test_short_ones_are_left_out_and_gaps_bridged():
    """A gap of `merge_gap` is bridged and a longer one is not; what is shorter than `min_duration` is left out."""
    on, off = 0.9, 0.1
    seen = scored((0, on), (1, off), (1.3, on), (2, off), (2.4, on), (2.8, off), (4, on), (4.5, off), (9, off))
    assert spans(lv.intervals(seen, RULE)) == [(0, 2, "fight"), (4, 4.5, "fight")]


def test_an_interval_comes_when_it_can_no_longer_change():
    """It is returned by the first frame that is `merge_gap` later than its end, and not before."""
    tracker = IntervalTracker(LABELS, RULE)
    come = [len(tracker.push(each)) for each in scored((0, 0.9), (1, 0.1), (1.2, 0.1), (1.31, 0.1), (2, 0.1))]
    assert come == [0, 0, 0, 1, 0]


def test_an_open_interval_is_closed_at_the_end():
    """The last frame lasts as long as the one before, or as its own duration says."""
    seen = scored((0, 0.9), (0.5, 0.9))
    assert spans(lv.intervals(seen, RULE)) == [(0, 1, "fight")]
    pairs = zip(picture_frames(2, step=0.5), seen, strict=True)
    assert spans(lv.intervals(pairs, RULE)) == [(0, 1, "fight")]
    assert list(lv.intervals([], RULE)) == []


def test_a_gap_ends_an_interval():
    """Over a gap longer than `max_gap` nothing holds; the interval ends with its last frame."""
    seen = scored((0, 0.9), (1, 0.9), (20, 0.9), (21, 0.1), (30, 0.1))
    assert spans(lv.intervals(seen, RULE)) == [(0, 2, "fight"), (20, 21, "fight")]


def test_a_clock_that_steps_back_ends_all_intervals():
    """What holds before a step back and after it are two intervals; a repeated frame changes nothing."""
    seen = scored((5, 0.9), (6, 0.9), (6, 0.1), (0, 0.9), (1, 0.1), (2, 0.1))
    assert spans(lv.intervals(seen, RULE)) == [(5, 7, "fight"), (0, 1, "fight")]


def test_labels_have_settings_of_their_own():
    """Options give a number for all labels, and others for some; the background has no intervals."""
    rule = IntervalRule().change(enter=".8,fight=.95", min_duration="0", leave=".1")
    assert rule.of("fight") == IntervalSettings(0.95, 0.1, 0, 0.3) and rule.of("rest").enter == 0.8
    seen = scored((0, 0.9), (1, 0.96), (2, 0.05), (3, 0.05))
    assert spans(lv.intervals(seen, rule)) == [(1, 2, "fight"), (2, 4, "rest")]
    assert spans(lv.intervals(seen, IntervalRule(rule.settings, rule.labels, "rest"))) == [(1, 2, "fight")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enter": "high"}, "--enter is 'high'; expected a number, or LABEL=NUMBER"),
        ({"enter": 0.3}, "enter is 0.3 and leave 0.4"),
        ({"leave": "nan"}, "leave nan"),
        ({"merge_gap": -1}, "merge_gap is -1.0; expected seconds"),
        ({"enter": "nobody=.9"}, "no label 'nobody'"),
    ],
)
def test_impossible_values_are_refused(options, message):
    """An error names the option, the value and what was expected."""
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        list(lv.intervals(scored((0, 0.5)), **options))


times = st.lists(st.tuples(st.floats(0.01, 2), st.floats(0, 1)), min_size=1, max_size=40)
settings = st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0, 0.3, 1]), st.sampled_from([0, 0.3, 1]))


def predictions_of(steps) -> list[Prediction]:
    clock = np.cumsum([step for step, _ in steps])
    return scored(*((float(time), score) for time, (_, score) in zip(clock, steps, strict=True)))


@given(times, settings)
def test_intervals_are_in_order_and_long_enough(steps, values):
    """Intervals of one label follow each other with gaps above `merge_gap`, and none is too short."""
    low, high = sorted(values[:2])
    rule = IntervalRule(IntervalSettings(high, low, *values[2:]))
    found = [each for each in lv.intervals(predictions_of(steps), rule) if each.label == "fight"]
    assert all(each.duration >= rule.settings.min_duration - 1e-6 for each in found)
    assert all(0 <= each.score <= 1 for each in found)
    assert all(b.start - a.end > rule.settings.merge_gap - 1e-6 for a, b in pairwise(found))


@given(times, settings, st.integers(0, 40))
def test_a_saved_state_continues(steps, values, cut):
    """Cut anywhere, saved as JSON and continued in the same recording, a stream has the same intervals."""
    low, high = sorted(values[:2])
    rule = IntervalRule(IntervalSettings(high, low, *values[2:]))
    seen = predictions_of(steps)
    first = IntervalTracker(LABELS, rule, file="a.mp4")
    found = [each for prediction in seen[:cut] for each in first.push(prediction)]
    second = IntervalTracker(LABELS, rule, file="a.mp4")
    second.resume(json.loads(json.dumps(first.state())))
    found += [each for prediction in seen[cut:] for each in second.push(prediction)]
    whole = IntervalTracker(LABELS, rule, file="a.mp4")
    expected = [each for prediction in seen for each in whole.push(prediction)] + whole.close()
    assert found + second.close() == expected


@pytest.mark.parametrize("shift", [0.0, -1.5])
def test_an_interval_continues_in_the_next_recording(shift):
    """It counts as one, whatever the second recording's clock, and is returned as its part in each."""
    rule = IntervalRule(IntervalSettings(0.7, 0.4, 1.0, 0.3), background="rest")
    first = IntervalTracker(LABELS, rule, file="a.mp4")
    assert not [each for seen in scored((0, 0.1), (0.5, 0.1), (1, 0.9)) for each in first.push(seen)]
    second = IntervalTracker(LABELS, rule, file="b.mp4", origin=1.5 + shift)
    second.resume(json.loads(json.dumps(first.state())))
    later = scored((1.5 + shift, 0.5), (2 + shift, 0.5), (2.5 + shift, 0.1), (4 + shift, 0.1))
    found = [each for seen in later for each in second.push(seen)]
    assert [(each.file, each.start, each.end) for each in found] == [("a.mp4", 1, 1.5), ("b.mp4", 0, 1)]


def test_a_state_of_another_model_is_refused():
    """Unknown labels and damaged states are named as such."""
    tracker = IntervalTracker(("walk", "run"), IntervalRule())
    for state in (
        {"candidates": {"fight": {"earlier": []}}, "time": 1, "length": 0},
        {"candidates": {"run": {}}, "time": 1, "length": 0},
        {},
    ):
        with pytest.raises(ModelError, match="intervals of another form"):
            tracker.resume(state)


def test_open_intervals_can_be_asked_for():
    """While a label holds, its interval so far is known."""
    tracker = IntervalTracker(LABELS, RULE)
    for each in scored((0, 0.9), (0.2, 0.8)):
        tracker.push(each)
    assert spans(tracker.open) == [(0, 0.2, "fight")]
    assert tracker.close() == [] and tracker.open == []


def test_a_rule_is_what_its_json_says():
    """Writing and reading a rule changes nothing; a label may have one value of its own."""
    rule = IntervalRule(IntervalSettings(0.9, 0.2, 1, 0), {"fight": IntervalSettings(0.5, 0.1, 0, 2)}, "rest")
    assert IntervalRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    some = IntervalRule.from_json({"enter": 0.9, "labels": {"fight": {"enter": 0.5}}})
    assert some.of("fight") == IntervalSettings(0.5, 0.4, 0.5, 0.3)
    for wrong in ({"enters": 1}, {"enter": "x"}, {"labels": {"a": {"b": 1}}}, {"labels": 3}):
        with pytest.raises((TypeError, ValueError)):
            IntervalRule.from_json(wrong)


def test_a_model_keeps_its_rule(model_folder, tmp_path):
    """config.json holds the rule; a state saved without it still fits, and a broken rule is named."""
    model = lv.Model.from_pretrained(model_folder)
    before = model.fingerprint()
    model.interval_rule = IntervalRule(IntervalSettings(0.9, 0.2, 1, 0), background="red")
    model.save_pretrained(tmp_path / "m")
    again = lv.Model.from_pretrained(tmp_path / "m")
    assert again.interval_rule == model.interval_rule and again.fingerprint() == before
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["intervals"]["enter"] = 7
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="enter is 7"):
        lv.Model.from_pretrained(tmp_path / "m")


def test_an_interval_equals_an_annotated_one():
    """Annotations and results are of one type."""
    assert Interval(0, 1, "x") == Interval(0.0, 1.0, "x") and Interval(0.5, 2, "x").duration == 1.5
