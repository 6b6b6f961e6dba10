"""Deinterlacing: one progressive picture of each interlaced one, with FFmpeg's bwdif filter."""

from collections import deque
from fractions import Fraction

import av
from av.filter import Graph


class Deinterlacer:
    """Deinterlaces the pictures that are marked as interlaced; until the first one, pictures pass through unchanged.

    The filter needs the picture after each, so that it is one picture behind. Times stay those of the pictures.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None
        self._waiting: deque[tuple[int | None, int | None, int, Fraction | None]] = deque()

    def push(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        """Take a decoded picture; return those that are ready."""
        if self._graph is None and not frame.interlaced_frame:
            return [frame]
        ready = []
        form = frame.width, frame.height, frame.format.name
        if form != self._form:
            ready = self.flush()
            self._graph, self._form = bwdif_graph(frame), form
        assert self._graph is not None
        self._waiting.append((frame.pts, frame.dts, frame.duration, frame.time_base))
        self._graph.vpush(frame)
        return ready + self._pull()

    def flush(self) -> list[av.VideoFrame]:
        """Return the picture that is still held."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        ready, self._graph, self._form = self._pull(), None, None
        return ready

    def _pull(self) -> list[av.VideoFrame]:
        assert self._graph is not None
        ready: list[av.VideoFrame] = []
        try:
            while True:
                frame = self._graph.vpull()
                frame.pts, frame.dts, frame.duration, frame.time_base = self._waiting.popleft()
                ready.append(frame)
        except (av.error.BlockingIOError, av.error.EOFError):
            return ready


def bwdif_graph(frame: av.VideoFrame) -> Graph:
    """Return a filter graph that deinterlaces pictures of a frame's size and format."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph
