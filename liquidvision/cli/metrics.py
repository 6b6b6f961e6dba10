"""An endpoint for those who watch over long runs: /metrics for Prometheus, /health for anything that asks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liquidvision.errors import DependencyError, SinkError
from liquidvision.prediction import Prediction
from liquidvision.session import Session
from liquidvision.sources.reader import VideoReader

COUNTED = {
    "damaged": "Packets and pictures that were damaged or could not be decoded",
    "dropped": "Frames left out because later ones were there",
    "stale": "Frames left out because they had waited too long",
    "reconnects": "Times that the source was lost and opened again",
}


class Metrics:
    """What the endpoint tells of the run in hand.

    Args:
        silence: seconds without a frame after which the run is not healthy.
    """

    def __init__(self, silence: float) -> None:
        self._silence, self._last = silence, time.monotonic()
        self._reader: VideoReader | None = None
        self._session: Session | None = None
        self._frames, self._label = 0, ""

    def watch(self, reader: VideoReader, session: Session) -> None:
        """Tell of this source from now on."""
        self._reader, self._session, self._frames, self._last = reader, session, 0, time.monotonic()

    def count(self, prediction: Prediction) -> None:
        """One more frame is done."""
        self._frames, self._label, self._last = self._frames + 1, prediction.label, time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last frame was done, or since the source was opened."""
        return time.monotonic() - self._last

    @property
    def healthy(self) -> bool:
        return self.age <= self._silence

    def collect(self) -> Iterator[Any]:
        """Prometheus's families, read when it asks; the interface of its client library."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        reader, session = self._reader, self._session
        if reader is None or session is None:
            return
        source = [reader.info.name]

        def counter(name: str, text: str, value: float) -> Any:
            family = CounterMetricFamily(f"liquidvision_{name}", text, labels=["source"])
            family.add_metric(source, value)
            return family

        yield counter("frames", "Frames predicted", self._frames)
        yield counter("gaps", "Steps longer than --max-gap", session.gaps)
        for name, text in COUNTED.items():
            yield counter(name, text, getattr(reader.counts, name))
        age = GaugeMetricFamily("liquidvision_last_frame_age_seconds", "Since the last frame", labels=["source"])
        age.add_metric(source, self.age)
        yield age
        label = GaugeMetricFamily("liquidvision_label", "The label now, as 1", labels=["source", "label"])
        if self._label:
            label.add_metric([*source, self._label], 1)
        yield label


@contextmanager
def endpoint(port: int, silence: float) -> Iterator[Metrics]:
    """Serve a run's metrics on this machine's loopback address until the end of the context.

    Raises:
        DependencyError: prometheus-client is not installed.
        SinkError: the port cannot be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_wsgi_server
    except ImportError as error:
        raise DependencyError("--metrics-port needs prometheus-client: pip install 'liquidvision[metrics]'") from error
    metrics, registry = Metrics(silence), CollectorRegistry()
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
