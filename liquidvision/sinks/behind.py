"""A thread that writes a video a few frames behind its maker, who need not wait for the encoder."""

import threading
from collections import deque
from types import TracebackType
from typing import Self

from liquidvision.frame import Frame
from liquidvision.sinks.sink import VideoSink

DEPTH = 6  # frames that may wait


class Behind:
    """Writes frames to a sink in their order, in a thread of its own. A context manager.

    What the sink raises is raised again by the next `write` or `flush`. Leaving the context ends the thread: after the
    frames that wait where nothing failed or a file is to be kept, at once where it is not.

    Args:
        sink: what to write to; it is closed by whoever opened it, after the context.
    """

    def __init__(self, sink: VideoSink) -> None:
        self._sink = sink
        self._waiting: deque[Frame] = deque()
        self._change = threading.Condition()
        self._busy = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="liquidvision-behind", daemon=True)

    def write(self, frame: Frame) -> None:
        """Have a frame written; waits where `DEPTH` wait already."""
        with self._change:
            self._change.wait_for(lambda: len(self._waiting) < DEPTH or self._error is not None)
            self._raise()
            self._waiting.append(frame)
            self._change.notify_all()

    def flush(self) -> None:
        """Wait until every frame is written."""
        with self._change:
            self._change.wait_for(lambda: not (self._waiting or self._busy) or self._error is not None)
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                frame, self._busy = self._waiting.popleft(), True
                self._change.notify_all()
            try:
                self._sink.write(frame)
            except BaseException as error:  # handed to the maker, who raises it again
                self._error = error
            with self._change:
                self._busy = False
                self._change.notify_all()
                if self._error is not None:
                    return

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
