"""Metrics of a long run over HTTP: /metrics for Prometheus, /health for any other monitor."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from liquidvision.errors import DependencyError, SinkError
from liquidvision.inference.session import Session
from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import VideoReader

SOURCE_COUNTERS = {
    "damaged": "Packets and pictures that were damaged or could not be decoded",
    "outliers": "Frames with an impossible time, placed between the frames around them",
    "dropped": "Frames dropped because later ones had arrived",
    "stale": "Frames dropped because they had waited too long",
    "reconnects": "Times that a lost source was opened again",
}


class MonitoredSource:
    """A running source with the number of its frames and its latest label."""

    def __init__(self, reader: VideoReader, session: Session) -> None:
        self.reader, self.session = reader, session
        self.frames, self.label, self._last = 0, "", time.monotonic()

    def record(self, prediction: Prediction) -> None:
        """Count one more frame, and note its label and when it came."""
        self.frames, self.label, self._last = self.frames + 1, prediction.label, time.monotonic()

    def touch(self, prediction: Prediction) -> None:
        """Note that a frame came which is counted later: in the first of two passes."""
        self._last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last frame, or since the source was opened."""
        return time.monotonic() - self._last


def source_count(name: str, source: MonitoredSource) -> float:
    """Return one of the counts of a source's reader, see `SOURCE_COUNTERS`."""
    return getattr(source.reader.counts, name)


class SourceMonitor:
    """Collects the metrics of the sources that are running.

    Args:
        max_age: seconds without a frame after which a source is not healthy.
    """

    def __init__(self, max_age: float) -> None:
        self._max_age = max_age
        self._sources: list[MonitoredSource] = []

    @contextmanager
    def watch(self, reader: VideoReader, session: Session) -> Iterator[MonitoredSource]:
        """Include a source in the metrics until the end of the context."""
        source = MonitoredSource(reader, session)
        self._sources = [*self._sources, source]  # a new list: another thread may be reading the old one
        try:
            yield source
        finally:
            self._sources = [other for other in self._sources if other is not source]

    @property
    def age(self) -> float:
        """Seconds since the last frame of the source that has been silent longest; 0 without sources."""
        return max((source.age for source in self._sources), default=0.0)

    @property
    def healthy(self) -> bool:
        """Whether no source has been silent for longer than `max_age`."""
        return self.age <= self._max_age

    def collect(self) -> Iterator[Any]:
        """Yield metric families; the interface that prometheus-client calls at every request."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sources = [(source.reader.info.name, source) for source in self._sources]

        def counter(name: str, text: str, value: Callable[[MonitoredSource], float]) -> Any:
            family = CounterMetricFamily(f"liquidvision_{name}", text, labels=["source"])
            for label, source in sources:
                family.add_metric([label], value(source))
            return family

        if not sources:
            return
        yield counter("frames", "Frames predicted", lambda source: source.frames)
        yield counter("gaps", "Steps longer than --max-gap", lambda source: source.session.gaps)
        for name, text in SOURCE_COUNTERS.items():
            yield counter(name, text, partial(source_count, name))
        age = GaugeMetricFamily("liquidvision_last_frame_age_seconds", "Since the last frame", labels=["source"])
        current = GaugeMetricFamily("liquidvision_label", "The current label, as 1", labels=["source", "label"])
        for name, source in sources:
            age.add_metric([name], source.age)
            if source.label:
                current.add_metric([name, source.label], 1)
        yield age
        yield current


@contextmanager
def serve_monitoring(port: int, max_age: float) -> Iterator[SourceMonitor]:
    """Serve the metrics of a run on 127.0.0.1 until the end of the context.

    Args:
        port: the server's port.
        max_age: see `SourceMonitor`.

    Raises:
        DependencyError: prometheus-client is not installed.
        SinkError: the port is not free.
    """
    try:
        from prometheus_client import CollectorRegistry, start_wsgi_server
    except ImportError as error:
        raise DependencyError("--metrics-port needs prometheus-client: pip install 'liquidvision[metrics]'") from error
    monitor, registry = SourceMonitor(max_age), CollectorRegistry()
    registry.register(monitor)
    try:
        server, thread = start_wsgi_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise SinkError(f"--metrics-port {port} cannot be used: {error}; choose another") from error
    prometheus: Any = server.get_app()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/health":
            return prometheus(environ, start_response)
        status = "200 OK" if monitor.healthy else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"last frame {monitor.age:.1f} s ago\n".encode()]

    server.set_app(app)
    try:
        yield monitor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
