"""Ctrl-C and SIGTERM, so that they never leave a frame in one file and not in the other."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self, TypeVar

T = TypeVar("T")


class DeferredInterrupt:
    """Ctrl-C waits until the frames in hand are in every file, and while files are finished; twice, it does not wait.

    A context manager. Does nothing outside the main thread, or where the signals are handled otherwise.

    Attributes:
        requested: whether Ctrl-C came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._between_items = False  # for a frame: nothing is half done
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

    def interruptible(self, items: Iterator[T]) -> Iterator[T]:
        """The items; KeyboardInterrupt before the next one where Ctrl-C came."""
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
