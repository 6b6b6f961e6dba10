"""Frame times where the container's own are missing, in storage order, or plainly wrong."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice, pairwise
from typing import NamedTuple

from liquidvision.concurrency.counts import SourceCounts
from liquidvision.errors import SourceError
from liquidvision.video.read.reader import DecodedPicture

MAX_REORDER = 16  # pictures by which display order may differ from storage order: the limit of H.264 and H.265
FAULTY_MARGIN = 2  # times that may step back before the decoding times are preferred: an outlier or a restarted clock
MAX_JUMP = 5.0  # seconds by which a time may differ from the one before without suspicion
JUMP_STEPS = 20  # the same, in steps of the frames before
MAX_FIRST_JUMP = 1e8  # seconds, 3 years: after a first frame at 0, a clock that counts from 1970
MAX_LAST_JUMP = 3600.0  # seconds by which the last frames may follow the others, and 20 times the length of those
MAX_OUTLIERS = 4  # frames in a row


class Timestamps:
    """Determines frames' time stamps; they are computed only where the container has none.

    Where the presentation times step back more often than the decoding times, the latter are taken, as libavcodec's
    best-effort time stamps do.

    Args:
        rate: frames per second, for frames without any time.
        time_base: seconds per tick.
        by_dts: whether the container stores no presentation times.
    """

    def __init__(self, rate: Fraction | None, time_base: Fraction, *, by_dts: bool) -> None:
        self._by_dts = by_dts
        self._step = max(1, round(1 / (rate * time_base))) if rate else 1
        self._last: int | None = None
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = self._faulty_dts = 0
        self._packets = self._equal_packets = 0

    def see_packet(self, pts: int | None, dts: int | None) -> None:
        """Take note of the times of a packet before it is decoded."""
        self._packets += 1
        self._equal_packets += pts is not None and pts == dts

    @property
    def in_storage_order(self) -> bool:
        """Whether every packet so far is stamped alike for decoding and presentation: true only without B-frames."""
        return self._equal_packets == self._packets > 0

    def resolve(self, pts: int | None, dts: int | None, duration: int) -> int:
        """Return the pts (with `by_dts`, the dts) even if it repeats or steps back; without one, the next frame."""
        if dts is not None and pts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
        self._last_dts, self._last_pts = dts if dts is not None else pts, pts if pts is not None else dts
        distrusted = self._faulty_pts > self._faulty_dts + FAULTY_MARGIN and not self.in_storage_order
        stamp = dts if self._by_dts else pts if pts is not None and not (distrusted and dts is not None) else dts
        if stamp is None:
            stamp = 0 if self._last is None else self._last + (duration or self._step)
        self._last = stamp
        return stamp


def in_display_order(pictures: Iterable[DecodedPicture], timestamps: Timestamps) -> Iterator[DecodedPicture]:
    """Yield pictures, which come in display order, with their times in the same order.

    Containers that store only decoding times give a picture that is stored before its B-frames too late a time. The
    times are those of the pictures in another order, so they are sorted. Pictures are held back at the beginning, until
    it is clear whether there are B-frames, and from then on only if there are.
    """
    waiting: deque[DecodedPicture] = deque()
    times: list[int] = []
    reordered, decided, last = False, False, None
    for picture in pictures:
        stepped_back, last = last is not None and picture.pts < last, picture.pts
        reordered = timestamps.in_storage_order and (reordered or stepped_back)
        if reordered or (timestamps.in_storage_order and not decided):
            waiting.append(picture)
            heapq.heappush(times, picture.pts)
            if len(waiting) <= MAX_REORDER:
                continue
            if reordered:
                yield replace(waiting.popleft(), pts=heapq.heappop(times))
                continue
        decided, held = True, bool(waiting) and waiting[-1] is picture
        while waiting:
            yield replace(waiting.popleft(), pts=heapq.heappop(times))
        if not held:
            yield picture
    while waiting:
        yield replace(waiting.popleft(), pts=heapq.heappop(times))


def without_outliers(
    pictures: Iterable[DecodedPicture], counts: SourceCounts, *, clock: Callable[[], float] | None = None
) -> Iterator[DecodedPicture]:
    """Yield pictures; a few whose times are far from those before and after get times in between, and are counted.

    A clock that jumps and stays there is left as it is: that is a gap, or another recording.

    Args:
        pictures: the pictures, in order.
        counts: takes the number of outliers.
        clock: the local clock in seconds, for a live source; None for a file. A live source's first picture is not
            held back, and a jump that is as long as the wait for it is none.
    """
    source = iter(pictures)
    held = list(islice(source, 3 if clock is None else 1))
    if not held:
        return
    first, later = with_plausible_start(held, counts), chain(held[1:], source)
    begin = last = Moment(first.pts, first.time_base)  # without the pixels, which would stay in memory
    step, arrived = 0.0, clock() if clock else 0.0
    held.clear()
    yield first
    del first
    try:
        for picture in later:
            now, waited = Moment(picture.pts, picture.time_base), clock() - arrived if clock else 0.0
            elapsed, limit = last.seconds_to(now), max(MAX_JUMP, JUMP_STEPS * step) + waited
            if held and 0 < elapsed <= limit:  # back on the clock
                counts.outliers += len(held)
                yield from spread(held, last, now)
                held.clear()
            elif len(held) == MAX_OUTLIERS:  # the clock has jumped for good
                yield from held
                before, last = (Moment(other.pts, other.time_base) for other in held[-2:])
                held.clear()
                begin, step = last, max(0.0, before.seconds_to(last))
                elapsed, limit = last.seconds_to(now), max(MAX_JUMP, JUMP_STEPS * step)
            if abs(elapsed) > limit:
                held.append(picture)
                continue
            yield picture
            last, step, arrived = now, elapsed if elapsed > 0 else step, arrived + waited
    except SourceError:  # the source broke off
        yield from held
        raise
    if held and step and ends_with_outliers(begin, last, held):
        counts.outliers += len(held)
        end = last.later(step * (len(held) + 1))
        yield from spread(held, last, end)
    else:
        yield from held


def ends_with_outliers(begin: "Moment", last: "Moment", held: Sequence[DecodedPicture]) -> bool:
    """Return whether the last pictures of a source have impossible times, and do not follow a long gap.

    Args:
        begin: time of the first picture.
        last: time of the last picture that is on the clock.
        held: the pictures after it, which are far from it.
    """
    moments = [Moment(picture.pts, picture.time_base) for picture in held]
    if len(held) > 2 and all(0 <= one.seconds_to(other) <= MAX_JUMP for one, other in pairwise(moments)):
        return False  # they share a clock
    longest = max(MAX_LAST_JUMP, JUMP_STEPS * begin.seconds_to(last))
    return all(not 0 <= last.seconds_to(moment) <= longest for moment in moments)


class Moment(NamedTuple):
    """A time in ticks."""

    pts: int
    time_base: Fraction

    def later(self, seconds: float) -> "Moment":
        """Return the time a number of seconds later."""
        return Moment(self.pts + round(seconds / self.time_base), self.time_base)

    def seconds_to(self, later: "Moment") -> float:
        """Return the seconds from this time to another; negative if that is earlier."""
        if self.time_base is later.time_base or self.time_base == later.time_base:
            return (later.pts - self.pts) * self.time_base.numerator / self.time_base.denominator
        return float(later.pts * later.time_base - self.pts * self.time_base)


def with_plausible_start(opening: Sequence[DecodedPicture], counts: SourceCounts) -> DecodedPicture:
    """Return the first of a source's first pictures, at a time beside the second if it is far from all others."""
    first, *others = opening
    moments = [Moment(picture.pts, picture.time_base) for picture in opening]
    if not others or -MAX_JUMP <= moments[0].seconds_to(moments[1]) <= MAX_FIRST_JUMP:
        return first
    if len(others) == 2 and not 0 <= moments[1].seconds_to(moments[2]) <= MAX_JUMP:
        return first
    counts.outliers += 1
    return replace(first, pts=others[0].pts - (others[0].duration or 1), time_base=others[0].time_base)


def spread(held: Sequence[DecodedPicture], before: Moment, after: Moment) -> Iterator[DecodedPicture]:
    """Yield pictures at equal distances between two times."""
    start = before.pts * before.time_base
    step = (after.pts * after.time_base - start) / (len(held) + 1)
    for number, picture in enumerate(held, start=1):
        pts = round((start + number * step) / picture.time_base)
        yield replace(picture, pts=pts, duration=round(step / picture.time_base) or None)
