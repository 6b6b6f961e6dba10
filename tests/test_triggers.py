"""Rules: what they mean, what is refused where, and the events that they fire."""

import numpy as np
import pytest

import liquidvision as lv
from liquidvision import Prediction, UsageError
from liquidvision.triggers.engine import EventEngine
from liquidvision.triggers.rules import (
    AllOf,
    AnyOf,
    Compare,
    CountIn,
    HeldWithin,
    Holds,
    HoldsFor,
    NoFrames,
    Not,
    parse_rule,
)

LABELS = ("fight", "sits down", "rest")


def scored(*seen: tuple[float, float], down: float = 0.0) -> list[Prediction]:
    """Return predictions by time and the score of "fight"."""
    return [
        Prediction(i, time, 0, LABELS, np.array([score, down, 1 - score - down], np.float32), np.zeros(3, np.float32))
        for i, (time, score) in enumerate(seen)
    ]


def fired(rule: str | list[str], *seen: tuple[float, float], **options) -> list[tuple[str, float]]:
    return [(each.phase, round(each.time, 6)) for each in lv.events(scored(*seen), rule, **options)]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("fight", Holds("fight")),
        ("fight > .8", Compare("fight", ">", 0.8)),
        ("sits down >= 80 %", Compare("sits down", ">=", 0.8)),
        ("'no frames' < 1", Compare("no frames", "<", 1)),
        ("fight > .8 for 3s", HoldsFor(Compare("fight", ">", 0.8), 3)),
        ("not fight for 2 min", Not(HoldsFor(Holds("fight"), 120))),
        ("a or b and c", AnyOf((Holds("a"), AllOf((Holds("b"), Holds("c")))))),
        ("(a or b) and c for 500 ms", AllOf((AnyOf((Holds("a"), Holds("b"))), HoldsFor(Holds("c"), 0.5)))),
        ("a and b within 1 h", AllOf((Holds("a"), HeldWithin(Holds("b"), 3600)))),
        ("count(sits down) in 60 s >= 3", CountIn("sits down", 60, ">=", 3)),
        ("no frames for 10 s", NoFrames(10)),
        ("brawl: fight > .8", Compare("fight", ">", 0.8)),
    ],
)
def test_a_rule_is_read(text, condition):
    """Each form of the grammar has its tree; `for` and `within` belong to what is just before them."""
    rule = parse_rule(text)
    assert rule.condition == condition
    assert (rule.name, rule.text) == (("brawl", "fight > .8") if ":" in text else (text, text))


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "it ends here; expected a label"),
        ("fight >", 8, "it ends here; expected a number"),
        ("fight > high", 9, "'high' is no number"),
        ("fight > 80", 9, "80 is no score; expected 0 to 1"),
        ("fight > .8 for 3", 17, "it ends here; expected s, ms, min or h"),
        ("fight > .8 for 3 parsecs", 18, "'parsecs' is no unit of time"),
        ("fight for 0 s", 11, "the time is 0"),
        ("fight and", 10, "it ends here; expected a label"),
        ("(fight", 7, "it ends here; expected )"),
        ("fight)", 6, "')' does not fit"),
        ("fight > .8 fall", 12, "'fall' does not fit; expected and, or"),
        ("fight & fall", 7, "'&' means nothing here"),
        ("'fight > .8", 1, "the quote is not closed"),
        ("count(fight) in 60 s", 21, "it ends here; expected a comparison"),
        ("no frames", 10, "it ends here; expected for"),
        (": fight", 1, "the name is empty"),
    ],
)
def test_errors_point_at_the_column(text, column, message):
    """What is no rule is refused in one line with the column, what is there, and what was expected."""
    with pytest.raises(UsageError) as error:
        parse_rule(text)
    assert f"column {column}: {message}" in str(error.value)


def test_unknown_labels_are_named_with_similar_ones():
    """The column is that of the label, also behind a name."""
    with pytest.raises(UsageError, match=r"column 8: there is no label 'fihgt'; expected one of fight"):
        list(lv.events(scored((0, 0.5)), "brawl: fihgt > .8"))


def test_an_event_has_a_start_and_an_end():
    """`for` waits until the condition has held that long; the end is the first frame where it does not."""
    seen = [(0, 0.9), (1, 0.5), (2, 0.9), (4, 0.85), (5, 0.95), (6, 0.2), (7, 0.9)]
    found = list(lv.events(scored(*seen), "fight > .8 for 3 s", source="a.mp4", update_every=0.5))
    assert [(each.phase, each.time) for each in found] == [("start", 5), ("end", 6)]
    start, end = found
    assert start.id == end.id and (end.start, end.duration, end.label, end.source) == (5, 1, "fight", "a.mp4")
    assert end.peak == pytest.approx(0.95) and end.score == pytest.approx(0.2)
    assert start.started_at == end.started_at <= end.at and end.at.endswith("Z")
    assert start.key != end.key


def test_updates_come_while_an_event_lasts():
    """An update comes at the first frame that is late enough, and each has a key of its own."""
    seen = [(0, 0.9), (1, 0.9), (2, 0.9), (3, 0.9), (4, 0.1)]
    assert fired("fight > .8", *seen, update_every=2) == [("start", 0), ("update", 2), ("end", 4)]
    keys = [each.key for each in lv.events(scored(*seen), "fight > .8", update_every=1)]
    assert len(set(keys)) == len(keys) == 5


def test_what_lasts_at_the_end_ends_there():
    """A stream that is over ends its events."""
    assert fired("fight > .8", (0, 0.9), (1, 0.9)) == [("start", 0), ("end", 1)]
    assert list(lv.events([], "fight")) == []


def test_a_label_alone_holds_with_hysteresis():
    """Without a comparison the settings of intervals decide."""
    seen = [(0, 0.65), (1, 0.45), (2, 0.3)]
    assert fired("fight", *seen) == [("start", 0), ("end", 2)]
    high = lv.IntervalRule(lv.IntervalSettings(0.9, 0.8))
    assert fired("fight", *seen, interval_rule=high) == []


def test_within_remembers_and_not_turns_around():
    """A condition that held a moment ago counts for `within`, and `not` is the opposite."""
    seen = [(0, 0.9), (1, 0.1), (2, 0.1), (3, 0.1)]
    assert fired("rest > .8 and fight > .8 within 2 s", *seen) == [("start", 1), ("end", 3)]
    assert fired("not fight > .8", *seen) == [("start", 1), ("end", 3)]
    assert fired("fight > .8 or rest > .8", *seen) == [("start", 0), ("end", 3)]


def test_count_counts_intervals_not_frames():
    """Three intervals that began within ten seconds fire; the oldest drops out."""
    on, off = 0.9, 0.1
    seen = [(0, on), (1, off), (4, on), (4.2, on), (5, off), (8, on), (9, off), (11, off)]
    assert fired("count(fight) in 10 s >= 3", *seen) == [("start", 8), ("end", 11)]


def test_silence_is_an_event():
    """`no frames` begins after its seconds and ends with the next frame; a gap ends what needs a label."""
    seen = [(0, 0.9), (1, 0.9), (20, 0.9), (21, 0.9)]
    assert fired("no frames for 10 s", *seen) == [("start", 11), ("end", 20)]
    assert fired("fight > .8", *seen) == [("start", 0), ("end", 6), ("start", 20), ("end", 21)]
    assert fired("fight > .8 for 5 s", *seen) == []


def test_silence_can_be_noticed_while_it_lasts():
    """Without a frame, time that passes fires the event once."""
    engine = EventEngine(LABELS, [parse_rule("no frames for 2 s")])
    assert engine.wait(5) == [] and engine.push(scored((0, 0.5))[0]) == []
    assert [[each.phase for each in engine.wait(seconds)] for seconds in (1, 2.5, 3)] == [[], ["start"], []]
    assert [(each.phase, each.time) for each in engine.push(scored((4, 0.5))[0])] == [("end", 4)]


def test_after_an_event_its_rule_cools_down():
    """Within the cool-down nothing starts; a condition that still holds after it does."""
    seen = [(0, 0.9), (1, 0.1), (2, 0.9), (3, 0.9), (11, 0.9), (12, 0.1)]
    assert fired("fight > .8", *seen, cooldown=10, max_gap=20) == [("start", 0), ("end", 1), ("start", 11), ("end", 12)]


def test_a_clock_that_steps_back_starts_over():
    """Events end before the step; the same times after it are other events; a repeated frame changes nothing."""
    seen = scored((5, 0.9), (6, 0.9), (6, 0.1), (5, 0.9), (6, 0.1))
    found = list(lv.events(seen, "fight > .8"))
    assert [(each.phase, each.time) for each in found] == [("start", 5), ("end", 6), ("start", 5), ("end", 6)]
    assert found[0].id == found[1].id != found[2].id


def test_several_rules_fire_on_their_own():
    """Each rule has its own events, and ids of a second run are the same."""
    rules = ["fight > .8", "fight > .5"]
    runs = [[(each.rule, each.id) for each in lv.events(scored((0, 0.6), (1, 0.9)), rules)] for _ in range(2)]
    assert runs[0] == runs[1] and len({key for _, key in runs[0]}) == 2


@pytest.mark.parametrize("options", [{"cooldown": -1}, {"update_every": 0}])
def test_impossible_times_are_refused(options):
    """Seconds below 0 are no time."""
    with pytest.raises(UsageError, match="expected seconds"):
        list(lv.events(scored((0, 0.5)), "fight", **options))
