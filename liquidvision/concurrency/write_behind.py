"""A thread that works a few frames behind its maker, who need not wait: for the encoder, or for the drawing."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
MAX_WAITING_BYTES = 64 * 2**20  # pictures that may wait
MAX_WAITING_SECONDS = 0.1  # seconds that a frame waits for others


def queue_limits(picture: int, *, live: bool) -> tuple[int, int]:
    """How many frames of so many bytes may wait, and how many are written at once: see `WriteBehind`.

    A file's go by the half of what may wait: threads that take turns less often find more in their caches. What
    arrives live is written as it comes.
    """
    room = max(2, min(6 if live else 16, MAX_WAITING_BYTES // max(1, picture)))
    return room, 1 if live else room // 2


class WriteBehind(Generic[T]):
    """Does its work on items, one for each frame, in their order, in a thread of its own. A context manager.

    What the work raises is raised again by the next `write` or `flush`. Leaving the context ends the thread: after the
    items that wait where nothing failed or a file is to be kept, at once where it is not.

    Args:
        work: what to do with an item; what it writes to is closed by whoever opened it, after the context.
        room: items that may wait.
        at_once: items that are waited for, a moment long, before they are worked on; at most `room`.
    """

    def __init__(self, work: Callable[[T], object], room: int, at_once: int) -> None:
        self._work, self._room, self._at_once = work, room, at_once
        self._waiting: deque[T] = deque()
        self._change = threading.Condition()
        self._busy = self._flushed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="liquidvision-behind", daemon=True)

    def write(self, item: T) -> None:
        """Have an item worked on; waits where there is no room."""
        with self._change:
            self._change.wait_for(lambda: len(self._waiting) < self._room or self._error is not None)
            self._raise()
            self._waiting.append(item)
            if len(self._waiting) >= self._at_once:
                self._change.notify_all()

    def flush(self) -> None:
        """Wait until every item is done."""
        with self._change:
            self._flushed = True
            self._change.notify_all()
            self._change.wait_for(lambda: not (self._waiting or self._busy) or self._error is not None)
            self._flushed = False
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while count := self._count():
            try:
                for _ in range(count):
                    with self._change:
                        if not self._waiting:  # thrown away
                            break
                        item = self._waiting.popleft()
                    self._work(item)
            except BaseException as error:  # handed to the maker, who raises it again
                self._error = error
            with self._change:
                self._busy = False
                self._change.notify_all()
                if self._error is not None:
                    return

    def _count(self) -> int:
        """How many items to work on next, once it is time; 0 at the end."""
        with self._change:
            while not self._waiting and not self._ended:
                self._change.wait(MAX_WAITING_SECONDS)
            self._change.wait_for(
                lambda: self._ended or self._flushed or len(self._waiting) >= self._at_once, MAX_WAITING_SECONDS
            )
            self._busy = bool(self._waiting)
            return len(self._waiting)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._change:
            if kind is not None and not issubclass(kind, OSError):  # the file is discarded: see `Sink.__exit__`
                self._waiting.clear()
            self._ended = True
            self._change.notify_all()
        self._thread.join()
