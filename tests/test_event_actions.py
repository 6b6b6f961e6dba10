"""What happens with events: the log, programs, web addresses, an MQTT broker, and the queue on disk."""

import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from receivers import HttpReceiver, MqttServer, Subscriber, free_port, wait_until

from liquidvision import SinkError, UsageError
from liquidvision.triggers import courier
from liquidvision.triggers.actions import Program, Webhook
from liquidvision.triggers.courier import Receiver
from liquidvision.triggers.dispatch import EventDispatcher
from liquidvision.triggers.event import Event
from liquidvision.triggers.event_log import EventLog
from liquidvision.triggers.mqtt import MqttBroker, rule_topic
from liquidvision.triggers.outbox import Outbox


def message(number: int, phase: str = "start", source: str = "/videos/a.mp4") -> Event:
    at = "2026-01-01T00:00:00.000Z"
    return Event(f"id{number:04}", phase, "brawl", source, "fight", 0.9, 0.95, number, number + 0.5, at, at)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(courier, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(courier, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def server():
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def queue(tmp_path) -> Path:
    return tmp_path / "queue.sqlite"


def deliver(queue: Path, receivers, *messages: Event, log: EventLog | None = None) -> None:
    with EventDispatcher(log, receivers, Outbox(queue)) as dispatcher:
        for each in messages:
            dispatcher.send(each)


def test_a_webhook_gets_each_message_as_json(server, queue):
    """A POST with the event, its key, and the user of the address."""
    server.start()
    deliver(queue, [Webhook(f"http://me:s%40cret@127.0.0.1:{server.port}/hook?token=x")], message(1), message(1, "end"))
    headers, content = server.got[0]
    assert content == message(1).to_json() and server.keys == ["id0001-start", "id0001-end"]
    assert headers["Content-Type"] == "application/json" and headers["Authorization"] == "Basic bWU6c0BjcmV0"


def test_a_receiver_that_comes_and_goes_gets_all_in_order_once(server, queue):
    """An HTTP server is stopped and started four times while events happen: none is lost, none comes twice."""
    sent = [message(number) for number in range(60)]
    with EventDispatcher(None, [Webhook(f"http://127.0.0.1:{server.port}/")], Outbox(queue)) as dispatcher:
        for number, each in enumerate(sent):
            if number % 15 == 0:
                server.start()
            if number % 15 == 10:
                wait_until(lambda: len(server.got) > 0)
                server.stop()
            dispatcher.send(each)
            time.sleep(0.005)
        server.start()
        wait_until(lambda: len(server.got) >= len(sent))
    assert server.keys == [each.key for each in sent]


def test_what_could_not_be_sent_is_sent_by_the_next_run(server, queue, monkeypatch, caplog):
    """The queue outlives the run; a message that was delivered is not sent again."""
    monkeypatch.setattr(courier, "GRACE", 0.1)
    hook = f"http://127.0.0.1:{server.port}/secret-path"
    deliver(queue, [Webhook(hook)], message(1), message(2))
    assert "2 events for --webhook http://127.0.0.1" in caplog.text and "does not answer" in caplog.text
    server.start()
    monkeypatch.setattr(courier, "GRACE", 60)
    deliver(queue, [Webhook(hook)], message(2), message(3))
    deliver(queue, [Webhook(hook)], message(1), message(3))
    assert server.keys == ["id0001-start", "id0002-start", "id0003-start"]


def test_an_unexpected_failure_is_tried_again(queue, caplog):
    """An error of a library neither ends the thread nor loses the message."""

    class Odd(Receiver):
        def __init__(self) -> None:
            super().__init__("odd", "x", "odd receiver")
            self.got: list[str] = []
            self.failures = 2

        def deliver(self, message) -> None:
            if self.failures:
                self.failures -= 1
                raise OverflowError("secret")
            self.got.append(message.key)

    odd = Odd()
    deliver(queue, [odd], message(1), message(2))
    assert odd.got == ["id0001-start", "id0002-start"]
    assert "odd receiver: failed (OverflowError)" in caplog.text and "secret" not in caplog.text


def test_what_a_receiver_refuses_is_not_sent_again(server, queue, caplog):
    """An answer such as 422 drops one message, with a warning; 503 keeps it."""
    server.start()
    server.status = 422
    with EventDispatcher(None, [Webhook(f"http://127.0.0.1:{server.port}/")], Outbox(queue)) as dispatcher:
        dispatcher.send(message(1))
        wait_until(lambda: "answered 422" in caplog.text)
        server.status = 503
        dispatcher.send(message(2))
        wait_until(lambda: "answered 503" in caplog.text)
        server.status = 200
        wait_until(lambda: len(server.got) == 1)
    assert server.keys == ["id0002-start"]


def test_secrets_are_in_no_message_and_not_in_the_queue(queue, caplog, monkeypatch):
    """User, password, path and query of an address stay in memory."""
    monkeypatch.setattr(courier, "GRACE", 0.05)
    caplog.set_level(logging.DEBUG)
    secret = "h4nter2"
    port = free_port()
    hooks = [f"http://{secret}:{secret}@127.0.0.1:{port}/{secret}?k={secret}", f"http://127.0.0.1:{port}/{secret}"]
    deliver(queue, [Webhook(hook) for hook in hooks], message(1))
    pytest.importorskip("paho.mqtt")
    broker = MqttBroker(f"mqtt://{secret}:{secret}@127.0.0.1:{port}/x")
    deliver(queue, [broker], message(1))
    assert "127.0.0.1" in caplog.text and secret not in caplog.text
    assert all(secret.encode() not in file.read_bytes() for file in queue.parent.glob("queue.sqlite*"))
    for wrong in (f"ftp://{secret}@host", f"http://:{secret}@", f"http://{secret}:x@host:port"):
        with pytest.raises(UsageError) as error:
            Webhook(wrong)
        assert secret not in str(error.value)


def test_a_program_gets_json_and_no_shell(tmp_path, queue):
    """Arguments are those of the command; what a shell would expand stays as it is."""
    out = tmp_path / "out with space"
    script = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + sys.stdin.read() + '\\n')"
    command = f"{sys.executable} -c \"{script}\" '{out}' '$HOME; rm *'"
    deliver(queue, [Program(command)], message(1), message(2))
    lines = out.read_text().splitlines()
    assert [json.loads(line.removeprefix("$HOME; rm *")) for line in lines] == [
        message(1).to_json(),
        message(2).to_json(),
    ]


def test_a_program_that_fails_or_hangs_does_not_stop_the_others(tmp_path, queue, caplog, monkeypatch):
    """An exit code is reported; a program that runs too long is killed with what it started."""
    monkeypatch.setattr("liquidvision.triggers.actions.EXEC_SECONDS", 0.3)
    program = f"{sys.executable} -c \"import sys, time; 'id0001' in sys.stdin.read() and time.sleep(60); sys.exit(3)\""
    deliver(queue, [Program(program)], message(1), message(2))
    assert "ran longer than 0.3 s" in caplog.text and "exit code 3" in caplog.text
    for wrong in ("no-such-program --x", "'unclosed", ""):
        with pytest.raises(UsageError, match="--exec"):
            Program(wrong)


def test_the_log_holds_each_message_once(tmp_path):
    """A log that goes on leaves out what it holds, and a line that a kill cut off is written again."""
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for each in (message(1), message(1, "update"), message(1, "end")):
        log.write(each)
    log.close()
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    again = EventLog(path)
    for each in (message(1), message(1, "update"), message(1, "end"), message(2)):
        again.write(each)
    again.close()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["id0001"] * 3 + ["id0002"]
    assert path.read_bytes().startswith(content)
    EventLog(path, replace=True).close()
    assert path.read_bytes() == b""
    with pytest.raises(SinkError, match="cannot write"):
        EventLog(tmp_path)


def test_the_queue_is_bounded(queue, caplog):
    """Of more messages than may wait, the oldest are dropped, and one warning says so."""
    outbox = Outbox(queue, max_waiting=3)
    for number in range(5):
        outbox.put("me", str(number), "{}")
    outbox.put("me", "4", "{}")
    assert outbox.count("me") == 3 and outbox.first("me").key == "2"
    assert outbox.count("you") == 0 and outbox.first("you") is None
    outbox.close()
    assert caplog.text.count("the oldest are dropped") == 1


def test_a_queue_belongs_to_one_run(queue, tmp_path):
    """Another process cannot use it meanwhile; a file of another kind is refused, too."""
    outbox = Outbox(queue)
    program = (
        "import sys; from pathlib import Path; from liquidvision.triggers.outbox import Outbox\n"
        "Outbox(Path(sys.argv[1]))"
    )
    ran = subprocess.run([sys.executable, "-c", program, queue], capture_output=True, text=True, check=False)
    assert "another run uses it" in ran.stderr
    outbox.close()
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(SinkError, match="cannot be used"):
        Outbox(tmp_path / "text")


needs_mosquitto = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto, an MQTT broker")


@pytest.fixture
def broker(tmp_path):
    (tmp_path / "broker").mkdir()
    own = MqttServer(tmp_path / "broker")
    own.start()
    yield own
    own.stop()


@needs_mosquitto
def test_a_broker_gets_messages_states_and_sensors(broker, queue):
    """Each message, the retained state, the availability, and what Home Assistant needs to show it."""
    subscriber = Subscriber(broker.port)
    with EventDispatcher(None, [MqttBroker(f"mqtt://127.0.0.1:{broker.port}/house")], Outbox(queue)) as dispatcher:
        dispatcher.announce("/videos/a.mp4", ["brawl"])
        topic = rule_topic("house", "/videos/a.mp4", "brawl")
        wait_until(lambda: subscriber.of(f"{topic}/state") == ["OFF"])
        dispatcher.send(message(1))
        wait_until(lambda: subscriber.of(f"{topic}/state")[-1] == "ON")
        dispatcher.send(message(1, "end"))
        wait_until(lambda: subscriber.of(f"{topic}/state")[-1] == "OFF")
    assert [json.loads(payload) for payload in subscriber.of(f"{topic}/event")] == [
        message(1).to_json(),
        message(1, "end").to_json(),
    ]
    wait_until(lambda: subscriber.of("house/availability") == ["online", "offline"])
    (config,) = [payload for name, payload, _ in subscriber.got if name.startswith("homeassistant/binary_sensor/")]
    config = json.loads(config)
    assert config["state_topic"] == f"{topic}/state" and config["availability_topic"] == "house/availability"
    subscriber.close()


@needs_mosquitto
def test_a_broker_that_comes_and_goes_gets_all_in_order_once(broker, queue):
    """Mosquitto is stopped and started three times while events happen: none is lost, none comes twice."""
    subscriber = Subscriber(broker.port)
    sent = [message(number) for number in range(30)]
    topic = rule_topic("liquidvision", "/videos/a.mp4", "brawl")
    with EventDispatcher(None, [MqttBroker(f"mqtt://127.0.0.1:{broker.port}")], Outbox(queue)) as dispatcher:
        for number, each in enumerate(sent):
            if number % 10 == 4:
                broker.stop()
            dispatcher.send(each)
            time.sleep(0.01)
            if number % 10 == 8:
                subscriber.subscribed = False
                broker.start()
                wait_until(lambda: subscriber.subscribed)
        wait_until(lambda: len(subscriber.of(f"{topic}/event")) >= len(sent))
    keys = [json.loads(payload)["id"] for payload in subscriber.of(f"{topic}/event")]
    subscriber.close()
    assert keys == [each.id for each in sent]


@needs_mosquitto
def test_a_killed_run_is_offline(broker, tmp_path):
    """The broker publishes the last will of a run that vanished."""
    subscriber = Subscriber(broker.port)
    program = (
        "import sys, time; from liquidvision.triggers.mqtt import MqttBroker\n"
        "own = MqttBroker(sys.argv[1]); own.open(); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, f"mqtt://127.0.0.1:{broker.port}/x"])
    wait_until(lambda: subscriber.of("x/availability") == ["online"])
    child.kill()
    child.wait()
    wait_until(lambda: subscriber.of("x/availability") == ["online", "offline"])
    subscriber.close()
