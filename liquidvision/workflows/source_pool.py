"""Several sources at the same time, each in a thread of its own."""

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
    """Runs a function over items, `count` at once; where one is, in the caller's own thread.

    What ends one by an exception, as Ctrl-C ends all, asks the others to end with their next frame, and waits for them.
    """

    def __init__(self, count: int) -> None:
        self._count, self._stop = count, threading.Event()
        self._readers: list[VideoReader] = []  # of sources that may be silent when they are asked to end

    def ends(self, on_frame: Callable[[Prediction], None]) -> Callable[[Prediction], None]:
        """What to call with each prediction, so that the job ends as by Ctrl-C when it is asked to."""

        def seen(prediction: Prediction) -> None:
            on_frame(prediction)
            if self._stop.is_set():
                raise KeyboardInterrupt

        return seen

    @contextmanager
    def reading(self, reader: VideoReader) -> Iterator[None]:
        """In the context a live reader is closed when the jobs are asked to end: its next frame may never come."""
        self._readers = [*self._readers, reader] if reader.info.live else self._readers
        try:
            yield
        finally:
            self._readers = [other for other in self._readers if other is not reader]

    def over(self, items: Sequence[T], work: Callable[[T], R]) -> list[R]:
        """What the function gives for each item.

        Raises:
            What it raised first, after all have ended.
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
                for reader in self._readers:
                    reader.close()
                wait(waiting)
                raise
        return [future.result() for future in futures]
