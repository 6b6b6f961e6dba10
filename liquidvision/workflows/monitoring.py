"""An endpoint for those who watch over long runs: /metrics for Prometheus, /health for anything that asks."""

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
    "dropped": "Frames left out because later ones were there",
    "stale": "Frames left out because they had waited too long",
    "reconnects": "Times that the source was lost and opened again",
}


class MonitoredSource:
    """A source in hand, and what came of its frames so far."""

    def __init__(self, reader: VideoReader, session: Session) -> None:
        self.reader, self.session = reader, session
        self.frames, self.label, self._last = 0, "", time.monotonic()

    def count(self, prediction: Prediction) -> None:
        """One more frame is done."""
        self.frames, self.label, self._last = self.frames + 1, prediction.label, time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last frame was done, or since the source was opened."""
        return time.monotonic() - self._last


def source_count(name: str, watched: MonitoredSource) -> float:
    """One of the counts of a source's reader."""
    return getattr(watched.reader.counts, name)


class SourceMonitor:
    """What the endpoint tells of the sources in hand.

    Args:
        silence: seconds without a frame after which a source is not healthy.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._watched: list[MonitoredSource] = []

    @contextmanager
    def watch(self, reader: VideoReader, session: Session) -> Iterator[MonitoredSource]:
        """Tell of this source until the end of the context."""
        watched = MonitoredSource(reader, session)
        self._watched = [*self._watched, watched]  # a new list: another thread may be reading the old one
        try:
            yield watched
        finally:
            self._watched = [other for other in self._watched if other is not watched]

    @property
    def age(self) -> float:
        """Seconds since the last frame of the source that has been silent longest; 0 where there is none."""
        return max((watched.age for watched in self._watched), default=0.0)

    @property
    def healthy(self) -> bool:
        return self.age <= self._silence

    def collect(self) -> Iterator[Any]:
        """Prometheus's families, read when it asks; the interface of its client library."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sources = [(watched.reader.info.name, watched) for watched in self._watched]

        def counter(name: str, text: str, value: Callable[[MonitoredSource], float]) -> Any:
            family = CounterMetricFamily(f"liquidvision_{name}", text, labels=["source"])
            for source, watched in sources:
                family.add_metric([source], value(watched))
            return family

        if not sources:
            return
        yield counter("frames", "Frames predicted", lambda watched: watched.frames)
        yield counter("gaps", "Steps longer than --max-gap", lambda watched: watched.session.gaps)
        for name, text in SOURCE_COUNTERS.items():
            yield counter(name, text, partial(source_count, name))
        age = GaugeMetricFamily("liquidvision_last_frame_age_seconds", "Since the last frame", labels=["source"])
        label = GaugeMetricFamily("liquidvision_label", "The label now, as 1", labels=["source", "label"])
        for source, watched in sources:
            age.add_metric([source], watched.age)
            if watched.label:
                label.add_metric([source, watched.label], 1)
        yield age
        yield label


@contextmanager
def serve_monitoring(port: int, silence: float) -> Iterator[SourceMonitor]:
    """Serve a run's metrics on this machine's loopback address until the end of the context.

    Raises:
        DependencyError: prometheus-client is not installed.
        SinkError: the port cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_wsgi_server
    except ImportError as error:
        raise DependencyError("--metrics-port needs prometheus-client: pip install 'liquidvision[metrics]'") from error
    metrics, registry = SourceMonitor(silence), CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_wsgi_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise SinkError(f"--metrics-port {port} cannot be had: {error}; choose another") from error
    prometheus: Any = server.get_app()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/health":
            return prometheus(environ, start_response)
        status = "200 OK" if metrics.healthy else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"last frame {metrics.age:.1f} s ago\n".encode()]

    server.set_app(app)
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
