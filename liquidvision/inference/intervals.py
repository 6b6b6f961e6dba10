"""Scores into intervals while a stream runs: hysteresis, a shortest duration, and gaps that are bridged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from liquidvision.annotation.interval import Interval
from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.errors import ModelError, UsageError
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

TIME_TOLERANCE = 1e-9  # seconds: times are sums of fractions, and equal durations must count as equal


@dataclass(slots=True)
class _Candidate:
    """What may become an interval of one label. Times are on the source's clock.

    Attributes:
        start: where it begins in this recording.
        end: where its score fell below `leave`; None while it holds.
        score: the score of the last frame.
        seconds, weighted: seconds while it held, and the integral of the score over them.
        earlier: its parts in earlier recordings: file, start and end.
    """

    start: float
    end: float | None
    score: float
    seconds: float = 0.0
    weighted: float = 0.0
    earlier: list[tuple[str, float, float]] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        """Let the score of the last frame hold for a time."""
        if self.end is None:
            self.seconds += seconds
            self.weighted += seconds * self.score


class IntervalTracker:
    """Turn the scores of one stream into intervals, while it runs.

    An interval of a label begins at the frame whose score reaches `enter`, and ends at the frame whose score is below
    `leave`. The next one that begins within `merge_gap` seconds continues it. It is returned as soon as it can no
    longer change, which is `merge_gap` seconds after its end, unless it is shorter than `min_duration`. A label holds
    until the next frame; over a gap longer than `max_gap`, it ends with its last frame. A frame with the time of the
    frame before is ignored. When the clock steps back, all intervals end. What is kept does not grow with time.

    Args:
        labels: names of the classes.
        rule: None: the default settings for all labels.
        max_gap: the longest time without a frame over which a label holds, in seconds.
        file: the recording, for `Interval.file`.
        origin: time on the source's clock at which the recording begins; intervals count from there.

    Raises:
        UsageError: the rule names a label that is not among `labels`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        rule: IntervalRule | None = None,
        *,
        max_gap: float = 5.0,
        file: str = "",
        origin: float = 0.0,
    ) -> None:
        rule = rule or IntervalRule()
        if unknown := [label for label in rule.labels if label not in labels]:
            raise UsageError(f"there is no label {unknown[0]!r}; the model has {', '.join(labels)}")
        settings = [rule.of(label) for label in labels]
        self.labels, self.file, self.origin = tuple(labels), file, origin
        self._settings, self._max_gap = settings, max_gap
        # No score reaches that of the background.
        self._enter = np.array(
            [np.inf if label == rule.background else own.enter for label, own in zip(labels, settings, strict=True)]
        )
        self._leave = np.array([own.leave for own in settings])
        self._candidates: dict[int, _Candidate] = {}
        self._time: float | None = None  # of the last frame
        self._length = 0.0  # seconds for which the last frame is shown, as far as known
        self._resumed: tuple[str, float] | None = None  # file and origin of the saved state, until a frame comes

    @property
    def open(self) -> list[Interval]:
        """The intervals that hold at the last frame, up to it, also those that are still too short."""
        return [
            Interval(each.start - self.origin, (self._time or 0.0) - self.origin, self.labels[number], score=each.score)
            for number, each in self._candidates.items()
            if each.end is None
        ]

    def push(self, prediction: Prediction, duration: float | None = None) -> list[Interval]:
        """Add the prediction of the next frame, and return the intervals that can no longer change.

        Args:
            prediction: the prediction of the next frame.
            duration: seconds for which the frame is shown; None if that is not known.
        """
        return self.see(prediction.time, prediction.scores, duration)

    def see(self, time: float, scores: np.ndarray, duration: float | None = None) -> list[Interval]:
        """Add the scores (classes,) of the next frame, see `push`."""
        if self._resumed is not None:
            self._enter_recording(time)
        if self._time is not None and time == self._time:
            return []
        done: list[Interval] = []
        if self._time is not None and time < self._time:
            done = self.close()
        if self._time is not None:
            self._pass_time(time)
        # A candidate whose score is below `leave` ends here, and one that ended may begin again.
        for number, each in list(self._candidates.items()):
            each.score = float(scores[number])
            merge_gap = self._settings[number].merge_gap
            if each.end is None:
                each.end = time if scores[number] < self._leave[number] else None
            elif scores[number] >= self._enter[number] and time - each.end <= merge_gap + TIME_TOLERANCE:
                each.start, each.end = (time if each.end < each.start else each.start), None
            if each.end is not None and time - each.end >= merge_gap - TIME_TOLERANCE:
                done += self._finish(number)
        for number in np.flatnonzero(scores >= self._enter).tolist():
            if number not in self._candidates:
                self._candidates[number] = _Candidate(time, None, float(scores[number]))
        step = 0.0 if self._time is None else time - self._time
        self._length, self._time = (step or self._length) if duration is None else duration, time
        return done

    def close(self) -> list[Interval]:
        """End the stream with its last frame, and return the remaining intervals."""
        if self._resumed is not None:  # no frame came
            self.file, self.origin = self._resumed
        for each in self._candidates.values():
            each.pass_time(self._length)
            each.end = (self._time or 0.0) + self._length if each.end is None else each.end
        done = [interval for number in list(self._candidates) for interval in self._finish(number)]
        self._time = None
        return done

    def _pass_time(self, time: float) -> None:
        """Let the labels of the last frame hold until now; over a gap, until the end of that frame."""
        assert self._time is not None
        gap = time - self._time > self._max_gap
        until = min(self._time + self._length, time) if gap else time
        for each in self._candidates.values():
            each.pass_time(until - self._time)
            if gap and each.end is None:
                each.end = until

    def _finish(self, number: int) -> list[Interval]:
        """Remove a candidate, and return its parts, unless together they are too short."""
        each, label = self._candidates.pop(number), self.labels[number]
        assert each.end is not None
        parts = [*each.earlier, (self.file, each.start - self.origin, max(each.start, each.end) - self.origin)]
        if sum(end - start for _, start, end in parts) < self._settings[number].min_duration - TIME_TOLERANCE:
            return []
        score = each.weighted / each.seconds if each.seconds else each.score
        return [Interval(start, end, label, score=score, file=file) for file, start, end in parts if end > start]

    def state(self) -> dict[str, Any]:
        """Return what is not finished yet, as plain data for JSON."""
        candidates = {self.labels[number]: asdict(each) for number, each in self._candidates.items()}
        return {
            "file": self.file,
            "origin": self.origin,
            "time": self._time,
            "length": self._length,
            "candidates": candidates,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned, in the same recording or in the next one.

        If the next frame's time is not later than the saved one, it follows directly, as in a `Session`. What continues
        from another recording is returned as one interval for each, with its `file`.

        Raises:
            ModelError: the state is of another form, or of other labels.
        """
        try:
            self._candidates = {
                self.labels.index(label): _Candidate(**{**each, "earlier": [tuple(part) for part in each["earlier"]]})
                for label, each in state["candidates"].items()
            }
            self._time, self._length = state["time"], float(state["length"])
            self._resumed = None if self._time is None else (state["file"], float(state["origin"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the saved state has intervals of another form or of other labels: {error!r}") from error

    def _enter_recording(self, time: float) -> None:
        """See where the first frame after `resume` lies: in the same recording, or in another that follows."""
        assert self._resumed is not None and self._time is not None
        (file, origin), self._resumed = self._resumed, None
        if file == self.file and time > self._time:
            return
        last_end = self._time + self._length
        shift = 0.0 if time > self._time else time - last_end
        gap = shift == 0.0 and time - self._time > self._max_gap
        for each in self._candidates.values():
            end = min(last_end, time - shift) if each.end is None else each.end
            if end > each.start:
                each.earlier.append((file, each.start - origin, end - origin))
            each.pass_time(end - self._time)
            each.start, each.end = time, (end + shift if gap or each.end is not None else None)
        self._time = None


def intervals(
    predictions: Iterable[Prediction | tuple[Frame, Prediction]],
    rule: IntervalRule | None = None,
    *,
    enter: float | str | None = None,
    leave: float | str | None = None,
    min_duration: float | str | None = None,
    merge_gap: float | str | None = None,
    max_gap: float = 5.0,
) -> Iterator[Interval]:
    """Yield the intervals of one stream of predictions, each as soon as it can no longer change.

    Example:
        >>> for interval in intervals(predict("clip.mp4", model), model.interval_rule, enter=0.8):
        ...     print(f"{interval.label} from {interval.start:.1f} to {interval.end:.1f} s")

    Args:
        predictions: predictions, or the pairs that `predict` yields.
        rule: `Model.interval_rule`, or one of your own. None: the default settings for all labels.
        enter: changes the rule, see `IntervalSettings`: a number for all labels, or a text such as ".7,fight=.8".
        leave: see `enter`.
        min_duration: see `enter`.
        merge_gap: see `enter`.
        max_gap: the longest time without a frame over which a label holds, in seconds.

    Yields:
        Intervals by the time at which they are certain. Times are on the source's own clock.

    Raises:
        UsageError: a value is out of its range, or the rule names a label that the predictions do not have.
    """
    rule = (rule or IntervalRule()).change(enter=enter, leave=leave, min_duration=min_duration, merge_gap=merge_gap)
    tracker: IntervalTracker | None = None
    for item in predictions:
        prediction, duration = (item, None) if isinstance(item, Prediction) else (item[1], item[0].duration_seconds)
        tracker = tracker or IntervalTracker(prediction.labels, rule, max_gap=max_gap)
        yield from tracker.push(prediction, duration)
    if tracker is not None:
        yield from tracker.close()
