"""The one thread: reads ahead of the consumer, a bounded number of items, and ends with it."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from liquidvision.concurrency.counts import SourceCounts

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Iterates over `items` in a thread of its own, at most `depth` items ahead. A context manager.

    What the items' iteration raises is raised again here, in its place. Leaving the context stops
    the thread and joins it, also while it waits for room.

    Args:
        items: what to read.
        depth: how many items may wait, 1 or more.
        burst: items that must be there before a consumer who waits is told, at most half of `depth`; the thread,
            too, goes on when there is room for so many: fewer, longer turns on a core.
        policy: what happens when so many wait: "wait" (the thread waits; nothing is lost), "drop-oldest"
            (the one that has waited longest is left out), or "latest" (only the newest ever waits).
        max_staleness: seconds; what has waited longer is left out. None: nothing.
        counts: where what is left out is counted.

    Attributes:
        arrival_time: monotonic time at which the item handed out last was read; 0.0 before the first.
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int,
        *,
        burst: int = 1,
        policy: str = "wait",
        max_staleness: float | None = None,
        counts: SourceCounts | None = None,
    ) -> None:
        self._items, self._policy, self._max_staleness = items, policy, max_staleness
        self._depth = 1 if policy == "latest" else max(1, depth)
        self._burst = min(burst, max(1, self._depth // 2))
        self._counts = counts or SourceCounts()
        self._queue: deque[tuple[float, T]] = deque()  # with the monotonic time at which they arrived
        self._condition = threading.Condition()
        self.arrival_time = 0.0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="liquidvision-prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        self._thread.join()

    def wait_ready(self, timeout: float) -> bool:
        """Wait no longer than so many seconds; whether the next item, or the end, is there without waiting."""
        with self._condition:
            return self._condition.wait_for(lambda: bool(self._queue) or self._ended, timeout)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._condition:
                while not self._queue and not self._ended:
                    self._condition.wait()
                if not self._queue:
                    break
                arrived, item = self._queue.popleft()
                if len(self._queue) <= self._depth - self._burst:
                    self._condition.notify_all()
            if self._max_staleness is not None and time.monotonic() - arrived > self._max_staleness:
                self._counts.stale += 1
                continue
            self.arrival_time = arrived
            yield item
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # handed to the consumer, who raises it again
            self._error = error
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _put(self, item: T) -> bool:
        """Let an item wait; whether more is wanted."""
        arrived = time.monotonic()
        with self._condition:
            while len(self._queue) >= self._depth and not self._stopped:
                if self._policy == "wait":
                    self._condition.wait()
                else:
                    self._queue.popleft()
                    self._counts.dropped += 1
            self._queue.append((arrived, item))
            if len(self._queue) >= self._burst:
                self._condition.notify_all()
            return not self._stopped
