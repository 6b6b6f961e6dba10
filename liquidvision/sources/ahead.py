"""The one thread: reads ahead of the consumer, a bounded number of items, and ends with it."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.1


class Ahead(Generic[T]):
    """Iterates over `items` in a thread of its own, at most `depth` items ahead. A context manager.

    What the items' iteration raises is raised again here, in its place. Leaving the context stops
    the thread and joins it, also while it waits for room in the queue.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items, self._queue = items, Queue[tuple[str, T | BaseException | None]](max(1, depth))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="liquidvision-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        while self._thread.is_alive():
            with suppress(Empty):  # make room, so that a waiting put returns
                self._queue.get_nowait()
            self._thread.join(POLL_SECONDS)

    def __iter__(self) -> Iterator[T]:
        while True:
            kind, value = self._queue.get()
            if kind == "item":
                yield value  # type: ignore[misc]  # an item is a T by construction
            elif kind == "error":
                raise value  # type: ignore[misc]  # an error is an exception by construction
            else:
                return

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put("item", item):
                    return
            self._put("end", None)
        except BaseException as error:  # handed to the consumer, who raises it again
            self._put("error", error)

    def _put(self, kind: str, value: T | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put((kind, value), timeout=POLL_SECONDS)
                return True
            except Full:
                continue
        return False
