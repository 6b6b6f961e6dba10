"""A thread that reads ahead of its consumer through a bounded queue."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from liquidvision.concurrency.counts import SourceCounts

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Context manager and iterator that reads `items` in a thread of its own, at most `depth` items ahead.

    An exception of the iteration is raised again in the consumer, after the items that came before it. Leaving the
    context stops and joins the thread, even while the thread waits for room in the queue.

    Args:
        items: the items to read.
        depth: maximum number of items in the queue, 1 or more.
        burst: number of queued items at which a waiting consumer is woken, at most half of `depth`. The thread is woken
            when there is room for that many. Larger bursts mean fewer and longer turns on a core.
        policy: what happens when the queue is full: "wait" (the thread waits, nothing is lost), "drop-oldest"
            (the item that has waited longest is dropped), or "latest" (the queue holds only the newest item).
        max_staleness: seconds; items that have waited longer are dropped. None: none are.
        counts: counts dropped and stale items.

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
        self._queue: deque[tuple[float, T]] = deque()  # (monotonic time of arrival, item)
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
        """Wait at most `timeout` seconds; return whether the next item, or the end, is available without waiting."""
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
        except BaseException as error:  # raised again in the consumer
            self._error = error
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _put(self, item: T) -> bool:
        """Put an item into the queue; return whether to read on."""
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
