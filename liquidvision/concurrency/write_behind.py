"""A thread that encodes or draws frames a little behind the thread that produces them."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
MAX_QUEUED_BYTES = 64 * 2**20  # of frames in the queue
MAX_BURST_WAIT_SECONDS = 0.1  # longest time that a frame waits for its burst to fill


def queue_limits(frame_bytes: int, *, live: bool) -> tuple[int, int]:
    """Return the `capacity` and the `burst` of a `WriteBehind` for frames of a size.

    Frames of a file are written in bursts of half the capacity: threads that take turns less often find more in their
    caches. Frames of a live source are written as they come.
    """
    capacity = max(2, min(6 if live else 16, MAX_QUEUED_BYTES // max(1, frame_bytes)))
    return capacity, 1 if live else capacity // 2


class WriteBehind(Generic[T]):
    """Context manager that runs `work` on each item, in order, in a thread of its own.

    An exception of `work` is raised again by the next `write` or `flush`. Leaving the context ends the thread. The
    thread first finishes the queued items, unless the block raised an exception that is not an OSError: then the
    output is discarded (see `Sink`), and so are the queued items.

    Args:
        work: called with each item. Files that it writes to are closed by their owner, after this context.
        capacity: maximum number of items in the queue.
        burst: number of queued items to wait for, at most MAX_BURST_WAIT_SECONDS, before working on them; at most
            `capacity`.
    """

    def __init__(self, work: Callable[[T], object], capacity: int, burst: int) -> None:
        self._work, self._capacity, self._burst = work, capacity, burst
        self._queue: deque[T] = deque()
        self._condition = threading.Condition()
        self._busy = self._flushed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="liquidvision-write", daemon=True)

    def write(self, item: T) -> None:
        """Put an item into the queue; wait while the queue is full."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._queue) < self._capacity or self._error is not None)
            self._raise_error()
            self._queue.append(item)
            if len(self._queue) >= self._burst:
                self._condition.notify_all()

    def flush(self) -> None:
        """Wait until all items are done."""
        with self._condition:
            self._flushed = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not (self._queue or self._busy) or self._error is not None)
            self._flushed = False
            self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while count := self._wait_for_work():
            try:
                for _ in range(count):
                    with self._condition:
                        if not self._queue:  # discarded by __exit__
                            break
                        item = self._queue.popleft()
                    self._work(item)
            except BaseException as error:  # raised again by write and flush
                self._error = error
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                if self._error is not None:
                    return

    def _wait_for_work(self) -> int:
        """Wait for the next burst; return its number of items, 0 at the end."""
        with self._condition:
            while not self._queue and not self._ended:
                self._condition.wait(MAX_BURST_WAIT_SECONDS)
            self._condition.wait_for(
                lambda: self._ended or self._flushed or len(self._queue) >= self._burst, MAX_BURST_WAIT_SECONDS
            )
            self._busy = bool(self._queue)
            return len(self._queue)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._condition:
            if kind is not None and not issubclass(kind, OSError):  # the output is discarded: see `Sink.__exit__`
                self._queue.clear()
            self._ended = True
            self._condition.notify_all()
        self._thread.join()
