"""Runs several sources at the same time, each in a thread of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import VideoReader

T = TypeVar("T")
R = TypeVar("R")


class SourcePool:
    """Runs a function over items, `count` at the same time; with a count of 1 in the caller's own thread.

    An exception in one of them, such as Ctrl-C, stops the others at their next frame and waits for them.
    """

    def __init__(self, count: int) -> None:
        self._count, self._stop = count, threading.Event()
        self._live_readers: list[VideoReader] = []

    def stoppable(self, on_frame: Callable[[Prediction], None]) -> Callable[[Prediction], None]:
        """Return what to call with each prediction: `on_frame`, then KeyboardInterrupt if the pool is stopping."""

        def call(prediction: Prediction) -> None:
            on_frame(prediction)
            if self._stop.is_set():
                raise KeyboardInterrupt

        return call

    @contextmanager
    def closing_live(self, reader: VideoReader) -> Iterator[None]:
        """Inside the context, close the reader when the pool stops, if it is live: its next frame may never come."""
        self._live_readers = [*self._live_readers, reader] if reader.info.live else self._live_readers
        try:
            yield
        finally:
            self._live_readers = [other for other in self._live_readers if other is not reader]

    def run_all(self, items: Sequence[T], work: Callable[[T], R]) -> list[R]:
        """Return the result of the function for each item.

        Raises:
            Exception: the first that the function raised, after all others have ended.
        """
        if self._count == 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(self._count, thread_name_prefix="liquidvision-job") as pool:
            futures = [pool.submit(work, item) for item in items]
            waiting: set[Future[R]] = set(futures)
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            except BaseException:
                self._stop.set()
                for future in waiting:
                    future.cancel()
                for reader in self._live_readers:
                    reader.close()
                wait(waiting)
                raise
        return [future.result() for future in futures]
