"""Predictions of one stream in, events out."""

import math
import time as wall
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.errors import UsageError
from liquidvision.inference.intervals import IntervalTracker
from liquidvision.prediction import Prediction
from liquidvision.triggers.conditions import Instant, Watcher, make_watcher, silences
from liquidvision.triggers.event import END, START, UPDATE, Event, event_id, format_wall_clock
from liquidvision.triggers.rules import Rule, parse_rule
from liquidvision.video.frame import Frame


@dataclass(frozen=True, slots=True)
class EventOptions:
    """When events are fired again, and how often they are updated.

    Attributes:
        cooldown: seconds after the end of an event in which its rule fires no other one.
        update_every: seconds between the updates of an event while it lasts. None: it has none.

    Raises:
        UsageError: a number is out of its range.
    """

    cooldown: float = 0.0
    update_every: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.cooldown < math.inf:
            raise UsageError(f"cooldown is {self.cooldown}; expected seconds, 0 or more")
        if self.update_every is not None and not 0 < self.update_every < math.inf:
            raise UsageError(f"update_every is {self.update_every}; expected seconds above 0")


@dataclass(slots=True)
class _RuleState:
    """A rule of one stream, and its event, if one lasts."""

    rule: Rule
    number: int | None  # of the label that it names first
    watcher: Watcher
    event: Event | None = None
    updated: float = 0.0
    ended: float = -math.inf


class EventEngine:
    """Fires events of one stream, see `EventOptions` and the grammar of rules.

    Over a gap longer than `max_gap` no label holds: an event whose rule needs one ends `max_gap` after the last frame.
    When the clock steps back, all events end, and conditions forget what they saw.

    Args:
        labels: names of the classes.
        rules: the rules.
        source: the source, for `Event.source`.
        origin: time on the source's clock at which the source begins; events count from there.
        run: what distinguishes this run from others of the same source; "" for a file.
        interval_rule: when a label holds. None: the default settings.
        options: see `EventOptions`.
        max_gap: the longest time without a frame over which a label holds, in seconds.
        clock: returns this machine's time, in seconds since 1970.

    Raises:
        UsageError: a rule names a label that is not among `labels`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        rules: Sequence[Rule],
        *,
        source: str = "",
        origin: float = 0.0,
        run: str = "",
        interval_rule: IntervalRule | None = None,
        options: EventOptions | None = None,
        max_gap: float = 5.0,
        clock: Callable[[], float] = wall.time,
    ) -> None:
        for rule in rules:
            rule.check_labels(labels)
        self._labels, self._rules = tuple(labels), tuple(rules)
        self._source, self._origin, self._run = source, origin, run
        self._tracker = IntervalTracker(labels, interval_rule, max_gap=max_gap)
        self._options, self._max_gap, self._clock = options or EventOptions(), max_gap, clock
        # After these times without a frame a rule may change: at the first, labels no longer hold.
        self._silences = sorted({max_gap, *(seconds for rule in rules for seconds in silences(rule.condition))})
        self._restarts = 0
        self._restart()

    def _restart(self) -> None:
        numbers = [self._labels.index(next(iter(rule.labels))) if rule.labels else None for rule in self._rules]
        self._states = [
            _RuleState(rule, number, make_watcher(rule.condition, self._labels))
            for rule, number in zip(self._rules, numbers, strict=True)
        ]
        self._time: float | None = None  # of the last frame
        self._silent = 0.0  # seconds since the last frame that were already seen
        self._scores = np.zeros(len(self._labels), np.float32)

    def push(self, prediction: Prediction) -> list[Event]:
        """Add the prediction of the next frame, and return what happened."""
        time, done = prediction.time, []
        if self._time is not None and time < self._time:
            done = self.close()
            self._restarts += 1
            self._restart()
        if self._time is not None and time == self._time:
            return []
        if self._time is not None:
            done += self.wait(time - self._time)
        self._tracker.push(prediction)
        self._time, self._silent, self._scores = time, 0.0, prediction.scores
        return done + self._see(Instant(time, 0.0, prediction.scores, self._holding()))

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass without a frame, and return what happened because of that.

        Args:
            seconds: seconds since the last frame. Nothing happens before the first.
        """
        done: list[Event] = []
        if self._time is None:
            return done
        for silent in self._silences:
            if self._silent < silent < seconds:
                scores = self._scores if silent < self._max_gap else None
                holding = self._holding() if silent < self._max_gap else {}
                done += self._see(Instant(self._time + silent, silent, scores, holding))
                self._silent = silent
        return done

    def close(self) -> list[Event]:
        """End the stream, and return the ends of the events that last."""
        now = (self._time or 0.0) + self._silent
        done = [self._end(state, now) for state in self._states if state.event is not None]
        self._tracker.close()
        return done

    def _holding(self) -> dict[int, float]:
        return {self._labels.index(each.label): each.start for each in self._tracker.open}

    def _see(self, instant: Instant) -> list[Event]:
        """Ask all rules, and return what happened."""
        done = []
        for state in self._states:
            holds, event = state.watcher.see(instant), state.event
            if event is None:
                if holds and instant.time - state.ended >= self._options.cooldown:
                    done.append(self._start(state, instant.time))
                continue
            if not holds:
                done.append(self._end(state, instant.time))
                continue
            every = self._options.update_every
            state.event = event = self._message(state, event, UPDATE, instant.time)
            if every is not None and instant.time - state.updated >= every:
                state.updated = instant.time
                done.append(event)
        return done

    def _score(self, state: _RuleState) -> float | None:
        return None if state.number is None else float(self._scores[state.number])

    def _start(self, state: _RuleState, time: float) -> Event:
        at, score = format_wall_clock(self._clock()), self._score(state)
        start, label = time - self._origin, "" if state.number is None else self._labels[state.number]
        identity = event_id(self._source, self._run, self._restarts, state.rule.name, state.rule.text, f"{start:.6f}")
        state.updated = time
        state.event = Event(identity, START, state.rule.name, self._source, label, score, score, start, start, at, at)
        return state.event

    def _message(self, state: _RuleState, event: Event, phase: str, time: float) -> Event:
        """Return the message of an event at a time."""
        score = self._score(state)
        peak = score if score is None or event.peak is None else max(score, event.peak)
        at = format_wall_clock(self._clock())
        return Event(
            event.id,
            phase,
            event.rule,
            event.source,
            event.label,
            score,
            peak,
            event.start,
            time - self._origin,
            event.started_at,
            at,
        )

    def _end(self, state: _RuleState, time: float) -> Event:
        assert state.event is not None
        event = self._message(state, state.event, END, time)
        state.event, state.ended = None, time
        return event


def events(
    predictions: Iterable[Prediction | tuple[Frame, Prediction]],
    rules: str | Sequence[str],
    *,
    source: str = "",
    interval_rule: IntervalRule | None = None,
    cooldown: float = 0.0,
    update_every: float | None = None,
    max_gap: float = 5.0,
) -> Iterator[Event]:
    """Yield the events of one stream of predictions, each when it happens.

    Example:
        >>> for event in events(predict("clip.mp4", model), "fight > .8 for 3 s"):
        ...     print(event.phase, event.label, event.time)

    Args:
        predictions: predictions, or the pairs that `predict` yields.
        rules: one rule or several, in the grammar of `infer --on`.
        source: a name for `Event.source`.
        interval_rule: when a label holds, see `Model.interval_rule`. None: the default settings.
        cooldown: seconds after the end of an event in which its rule fires no other one.
        update_every: seconds between the updates of an event while it lasts. None: it has none.
        max_gap: the longest time without a frame over which a label holds, in seconds.

    Yields:
        Events. Times are on the source's own clock. What lasts at the end ends there.

    Raises:
        UsageError: a rule is not valid, or names a label that the predictions do not have.
    """
    parsed = [parse_rule(rule) for rule in ([rules] if isinstance(rules, str) else rules)]
    options, engine = EventOptions(cooldown, update_every), None
    for item in predictions:
        prediction = item if isinstance(item, Prediction) else item[1]
        if engine is None:
            engine = EventEngine(
                prediction.labels,
                parsed,
                source=source,
                interval_rule=interval_rule,
                options=options,
                max_gap=max_gap,
            )
        yield from engine.push(prediction)
    if engine is not None:
        yield from engine.close()
