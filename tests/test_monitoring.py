"""The metrics endpoint: what it counts, and when it reports that a run is not healthy."""

import sys
import threading
import urllib.error
import urllib.request

import pytest
from commands import Run, one_line
from conftest import picture_frames

from liquidvision import Model, Session, VideoInfo
from liquidvision.concurrency.counts import SourceCounts
from liquidvision.errors import SinkError
from liquidvision.workflows.monitoring import serve_monitoring


class Source:
    """As much of a reader as the endpoint uses."""

    info = VideoInfo("rtsp://camera/live", 64, 48, live=True)
    counts = SourceCounts(damaged=1, dropped=2, stale=3, reconnects=4)


def ask(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_counts_and_the_label_are_served(model: Model) -> None:
    """Prometheus reads the counts and the current label of a source; the thread ends with the context."""
    port, session = free_port(), Session(model)
    with serve_monitoring(port, max_age=60) as metrics:
        assert "liquidvision" not in ask(port, "/metrics")[1]
        with metrics.watch(Source(), session) as watched:
            predictions = session.push_many(picture_frames(3))
            for prediction in predictions:
                watched.record(prediction)
            status, text = ask(port, "/metrics")
        assert "liquidvision" not in ask(port, "/metrics")[1]
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    source = '{source="rtsp://camera/live"}'
    names = ("frames", "gaps", "damaged", "dropped", "stale", "reconnects")
    assert [float(values[f"liquidvision_{name}_total{source}"]) for name in names] == [3, 0, 1, 2, 3, 4]
    assert 0 <= float(values[f"liquidvision_last_frame_age_seconds{source}"]) < 5
    assert f'label="{predictions[-1].label}"' in text
    assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


def test_health(model: Model) -> None:
    """A run is healthy while every source sends frames, and not when one has been silent for too long."""
    port, session = free_port(), Session(model)
    (prediction,) = session.push_many(picture_frames(1))
    with serve_monitoring(port, max_age=0.3) as metrics, metrics.watch(Source(), session) as a:
        assert ask(port, "/health")[0] == 200
        threading.Event().wait(0.4)
        assert ask(port, "/health")[0] == 503
        a.record(prediction)
        assert ask(port, "/health")[0] == 200
        with metrics.watch(Source(), session):
            threading.Event().wait(0.4)
            a.record(prediction)
            assert ask(port, "/health")[0] == 503
        assert ask(port, "/health")[0] == 200


def test_a_port_that_is_taken() -> None:
    """A port that is not free is reported in one line."""
    port = free_port()
    with (
        serve_monitoring(port, max_age=1),
        pytest.raises(SinkError, match="another") as error,
        serve_monitoring(port, max_age=1),
    ):
        pass
    assert "\n" not in str(error.value)


def test_on_the_command_line(run: Run, make_video, model_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """--metrics-port works with the command; without the client library one line says what to install."""
    clip = make_video()
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--metrics-port", free_port())
    assert ran.code == 0
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--metrics-port", free_port())
    assert ran.code == 1 and "liquidvision[metrics]" in one_line(ran)
