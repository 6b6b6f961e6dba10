"""What a page about a recording needs, collected in bounded memory while the recording is predicted."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from liquidvision.annotation.interval import Interval
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame
from liquidvision.video.write.images import encode_data_uri

MAX_POINTS = 600  # of the line of certainty
THUMB_SIDE, STILL_SIDE = 160, 320  # pixels of the longer side
MIN_SPACING = 2.0  # seconds between two moments of one list


@dataclass(frozen=True, slots=True)
class PicturedMoment:
    """A moment of a recording.

    Attributes:
        time: seconds from the recording's beginning.
        label: the most probable label.
        score: its score.
        picture: the frame, as a data URI.
    """

    time: float
    label: str
    score: float
    picture: str


class SpacedSamples:
    """At most `most` samples, evenly spaced in time over a stream of unknown length.

    When there are too many, every other one is dropped, and the spacing doubles.
    """

    def __init__(self, most: int, spacing: float) -> None:
        self._most, self._spacing, self._next = most, spacing, float("-inf")
        self.samples: list[PicturedMoment] = []

    def wants(self, time: float) -> bool:
        """Return whether a sample at this time would be kept."""
        return time >= self._next

    def add(self, moment: PicturedMoment) -> None:
        """Keep a moment that `wants` accepted."""
        if len(self.samples) == self._most:
            self.samples, self._spacing = self.samples[::2], 2 * self._spacing
        self.samples.append(moment)
        self._next = moment.time + self._spacing


class UncertainMoments:
    """The moments with the lowest scores, at least `MIN_SPACING` seconds apart."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.moments: list[PicturedMoment] = []

    def wants(self, time: float, score: float) -> bool:
        """Return whether a moment would be kept."""
        near = [each for each in self.moments if abs(each.time - time) < MIN_SPACING]
        if near:
            return all(score < each.score for each in near)
        return len(self.moments) < self._most or score < max(each.score for each in self.moments)

    def add(self, moment: PicturedMoment) -> None:
        """Keep a moment that `wants` accepted, in place of those near it or of the most certain one."""
        kept = [each for each in self.moments if abs(each.time - moment.time) >= MIN_SPACING]
        self.moments = heapq.nsmallest(self._most, [*kept, moment], key=lambda each: (each.score, each.time))


@dataclass(slots=True)
class RecordingDigest:
    """Collects what the page shows of one recording.

    Attributes:
        name: of the recording.
        most_pictures: how many thumbnails to keep.
        origin: time on the source's clock at which the recording begins.
        intervals: all intervals, in the order in which they were certain.
        certain: for each label, the moment of its highest score.
        certainty: sums and counts of the best score in equal stretches of time.
        end: the time of the last frame, in seconds from the beginning.
    """

    name: str
    most_pictures: int = 24
    origin: float = 0.0
    most_uncertain: int = 6
    intervals: list[Interval] = field(default_factory=list)
    certain: dict[str, PicturedMoment] = field(default_factory=dict)
    certainty: list[tuple[float, int]] = field(default_factory=list)
    end: float = 0.0
    _bin: float = 0.1  # seconds of a stretch of `certainty`
    _thumbs: SpacedSamples = field(init=False)
    _uncertain: UncertainMoments = field(init=False)

    def __post_init__(self) -> None:
        self._thumbs = SpacedSamples(2 * self.most_pictures, 1.0)
        self._uncertain = UncertainMoments(self.most_uncertain)

    def see(self, frame: Frame, prediction: Prediction, done: Iterable[Interval]) -> None:
        """Add the next frame, its prediction, and the intervals that are certain since."""
        self.intervals += done
        time = max(0.0, prediction.time - self.origin)
        self.end = max(self.end, time + (frame.duration_seconds or 0.0))
        label, score = prediction.label, prediction.score
        self._count(time, score)
        if self._thumbs.wants(time):
            self._thumbs.add(PicturedMoment(time, label, score, encode_data_uri(frame.image, max_side=THUMB_SIDE)))
        best = self.certain.get(label)
        # A picture of each small step upwards would cost more than it shows.
        certain = best is None or score > best.score + 0.02
        if certain or self._uncertain.wants(time, score):
            moment = PicturedMoment(time, label, score, encode_data_uri(frame.image, max_side=STILL_SIDE))
            if certain:
                self.certain[label] = moment
            if self._uncertain.wants(time, score):
                self._uncertain.add(moment)

    def _count(self, time: float, score: float) -> None:
        """Add a score to its stretch of time; stretches become longer as the recording does."""
        while int(time / self._bin) >= MAX_POINTS:
            pairs = [self.certainty[i : i + 2] for i in range(0, len(self.certainty), 2)]
            self.certainty = [(sum(s for s, _ in pair), sum(n for _, n in pair)) for pair in pairs]
            self._bin *= 2
        place = int(time / self._bin)
        self.certainty += [(0.0, 0)] * (place + 1 - len(self.certainty))
        total, number = self.certainty[place]
        self.certainty[place] = total + score, number + 1

    @property
    def thumbnails(self) -> list[PicturedMoment]:
        """At most `most_pictures` moments, evenly spaced."""
        samples = self._thumbs.samples
        step = -(-len(samples) // self.most_pictures) or 1
        return samples[::step]

    @property
    def uncertain(self) -> list[PicturedMoment]:
        """The least certain moments, in the order of time."""
        return sorted(self._uncertain.moments, key=lambda moment: moment.time)

    @property
    def certainty_line(self) -> list[tuple[float, float]]:
        """Time in seconds and mean score of each stretch that has frames."""
        return [((i + 0.5) * self._bin, s / n) for i, (s, n) in enumerate(self.certainty) if n]
