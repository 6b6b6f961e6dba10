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
        asked: whether Ctrl-C came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waiting = False  # for a frame: nothing is half done
        self._numbers: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.default_int_handler:
                    self._numbers.append(number)
                    signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            signal.signal(number, signal.default_int_handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or self._waiting:
            raise KeyboardInterrupt

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """The items; KeyboardInterrupt before the next one where Ctrl-C came."""
        while True:
            self._waiting = True
            if self.asked:
                raise KeyboardInterrupt
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self._waiting = False
            yield item
