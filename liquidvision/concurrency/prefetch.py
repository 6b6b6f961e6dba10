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
        at_once: items that must be there before a consumer who waits is told, at most half of `depth`; the thread,
            too, goes on when there is room for so many: fewer, longer turns on a core.
        policy: what happens when so many wait: "wait" (the thread waits; nothing is lost), "drop-oldest"
            (the one that has waited longest is left out), or "latest" (only the newest ever waits).
        max_staleness: seconds; what has waited longer is left out. None: nothing.
        counts: where what is left out is counted.

    Attributes:
        came: the monotonic time at which the item came that was handed out last; 0.0 before the first.
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int,
        *,
        at_once: int = 1,
        policy: str = "wait",
        max_staleness: float | None = None,
        counts: SourceCounts | None = None,
    ) -> None:
        self._items, self._policy, self._max_staleness = items, policy, max_staleness
        self._depth = 1 if policy == "latest" else max(1, depth)
        self._at_once = min(at_once, max(1, self._depth // 2))
        self._counts = counts or SourceCounts()
        self._waiting: deque[tuple[float, T]] = deque()  # with the monotonic time at which they came
        self._change = threading.Condition()
        self.came = 0.0
        self._ended = self._stop = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="liquidvision-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._change:
            self._stop = True
            self._change.notify_all()
        self._thread.join()

    def ready(self, seconds: float) -> bool:
        """Wait no longer than so many seconds; whether the next item, or the end, is there without waiting."""
        with self._change:
            return self._change.wait_for(lambda: bool(self._waiting) or self._ended, seconds)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._change:
                while not self._waiting and not self._ended:
                    self._change.wait()
                if not self._waiting:
                    break
                came, item = self._waiting.popleft()
                if len(self._waiting) <= self._depth - self._at_once:
                    self._change.notify_all()
            if self._max_staleness is not None and time.monotonic() - came > self._max_staleness:
                self._counts.stale += 1
                continue
            self.came = came
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
        with self._change:
            self._ended = True
            self._change.notify_all()

    def _put(self, item: T) -> bool:
        """Let an item wait; whether more is wanted."""
        came = time.monotonic()
        with self._change:
            while len(self._waiting) >= self._depth and not self._stop:
                if self._policy == "wait":
                    self._change.wait()
                else:
                    self._waiting.popleft()
                    self._counts.dropped += 1
            self._waiting.append((came, item))
            if len(self._waiting) >= self._at_once:
                self._change.notify_all()
            return not self._stop
