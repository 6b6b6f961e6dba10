"""A thread that works a few frames behind its maker, who need not wait: for the encoder, or for the drawing."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
MAX_QUEUED_BYTES = 64 * 2**20  # pictures that may wait
MAX_BURST_WAIT_SECONDS = 0.1  # seconds that a frame waits for others


def queue_limits(frame_bytes: int, *, live: bool) -> tuple[int, int]:
    """How many frames of so many bytes may wait, and how many are written at once: see `WriteBehind`.

    A file's go by the half of what may wait: threads that take turns less often find more in their caches. What
    arrives live is written as it comes.
    """
    capacity = max(2, min(6 if live else 16, MAX_QUEUED_BYTES // max(1, frame_bytes)))
    return capacity, 1 if live else capacity // 2


class WriteBehind(Generic[T]):
    """Does its work on items, one for each frame, in their order, in a thread of its own. A context manager.

    What the work raises is raised again by the next `write` or `flush`. Leaving the context ends the thread: after the
    items that wait where nothing failed or a file is to be kept, at once where it is not.

    Args:
        work: what to do with an item; what it writes to is closed by whoever opened it, after the context.
        capacity: items that may wait.
        burst: items that are waited for, a moment long, before they are worked on; at most `capacity`.
    """

    def __init__(self, work: Callable[[T], object], capacity: int, burst: int) -> None:
        self._work, self._capacity, self._burst = work, capacity, burst
        self._queue: deque[T] = deque()
        self._condition = threading.Condition()
        self._busy = self._flushed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="liquidvision-write", daemon=True)

    def write(self, item: T) -> None:
        """Have an item worked on; waits where there is no capacity."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._queue) < self._capacity or self._error is not None)
            self._raise_error()
            self._queue.append(item)
            if len(self._queue) >= self._burst:
                self._condition.notify_all()

    def flush(self) -> None:
        """Wait until every item is done."""
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
                        if not self._queue:  # thrown away
                            break
                        item = self._queue.popleft()
                    self._work(item)
            except BaseException as error:  # handed to the maker, who raises it again
                self._error = error
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                if self._error is not None:
                    return

    def _wait_for_work(self) -> int:
        """How many items to work on next, once it is time; 0 at the end."""
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
            if kind is not None and not issubclass(kind, OSError):  # the file is discarded: see `Sink.__exit__`
                self._queue.clear()
            self._ended = True
            self._condition.notify_all()
        self._thread.join()
