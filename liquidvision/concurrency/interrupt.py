"""Delays Ctrl-C and SIGTERM until every output file holds the same frames."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self, TypeVar

T = TypeVar("T")


class DeferredInterrupt:
    """Context manager that delays Ctrl-C and SIGTERM until the frames in progress are written to every file.

    Inside the block, KeyboardInterrupt is raised only between two items of `interruptible`, so it never interrupts the
    writing of a frame or the closing of files. A second signal raises it at once. The context manager does nothing
    outside the main thread, or for a signal that has another handler than Python's default for Ctrl-C.

    Attributes:
        requested: whether a signal arrived.
    """

    def __init__(self) -> None:
        self.requested = False
        self._between_items = False  # True while waiting for the next item: no frame is half written
        self._signals: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.default_int_handler:
                    self._signals.append(number)
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._signals:
            signal.signal(number, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or self._between_items:
            raise KeyboardInterrupt

    def clear(self) -> None:
        """Forget the signal: what it ended has ended, and the next one is a first one again."""
        self.requested = False

    def interruptible(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items; raise KeyboardInterrupt before the next one if a signal arrived."""
        while True:
            self._between_items = True
            if self.requested:
                raise KeyboardInterrupt
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self._between_items = False
            yield item
