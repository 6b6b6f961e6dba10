"""Events to an MQTT broker, with states that Home Assistant discovers."""

import hashlib
import json
import logging
import re
import threading
import time
import urllib.parse
from contextlib import suppress
from typing import Any

from liquidvision.errors import DependencyError
from liquidvision.triggers.actions import host_of, split_url
from liquidvision.triggers.courier import DeliveryError, Receiver
from liquidvision.triggers.event import END, START
from liquidvision.triggers.outbox import WaitingMessage

log = logging.getLogger(__name__)
PORTS = {"mqtt": 1883, "mqtts": 8883}
DISCOVERY = "homeassistant"  # the topic below which Home Assistant looks by default


class MqttBroker(Receiver):
    """Publish messages to a broker, each exactly once as far as the broker remembers (QoS 2).

    Below the topic of the address (default: liquidvision) are SOURCE/RULE/event (each message), SOURCE/RULE/state
    (retained: ON while an event lasts, else OFF) and availability (retained: online, and offline as last will). Each
    rule of each source is announced to Home Assistant as a binary sensor.

    Args:
        url: mqtt:// or mqtts:// (TLS), user and password, host, port, and the topic as its path.

    Raises:
        UsageError: the address is of another kind.
        DependencyError: paho-mqtt is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from paho.mqtt import client as paho
        except ImportError as error:
            raise DependencyError("--mqtt needs paho-mqtt: pip install 'liquidvision[mqtt]'") from error
        parts = split_url(url, "--mqtt", ("mqtt", "mqtts"))
        super().__init__("mqtt", url, f"--mqtt {parts.scheme}://{host_of(parts)}")
        self._topic = parts.path.strip("/") or "liquidvision"
        self._address = str(parts.hostname), parts.port or PORTS[parts.scheme]
        self._changed = threading.Condition()
        self._connected, self._away = False, False
        self._sensors: dict[str, str] = {}  # payload by topic, published at each connection
        # A session of its own, which the broker keeps while the connection is lost.
        name = f"liquidvision-{hashlib.sha256(f'{url} {id(self)}'.encode()).hexdigest()[:12]}"
        version = paho.CallbackAPIVersion.VERSION2
        self._client = paho.Client(version, client_id=name, clean_session=False)
        if parts.username is not None:
            password = urllib.parse.unquote(parts.password) if parts.password is not None else None
            self._client.username_pw_set(urllib.parse.unquote(parts.username), password)
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_connect_fail = self._on_connect_fail
        self._retry_code = paho.MQTT_ERR_NO_CONN

    def open(self) -> None:
        """Begin to connect; the client's own thread does that, and connects again whenever the connection is lost."""
        self._client.connect_async(*self._address, keepalive=30)
        self._client.loop_start()

    def announce(self, source: str, rules: list[str]) -> None:
        """Publish a sensor for each rule of a source, with the state OFF."""
        sensors = dict(sensor_messages(self._topic, source, rules))
        with self._changed:
            new = {topic: payload for topic, payload in sensors.items() if topic not in self._sensors}
            self._sensors |= new
            connected = self._connected
        for topic, payload in new.items() if connected else ():
            self._client.publish(topic, payload, qos=1, retain=True)

    def deliver(self, message: WaitingMessage) -> None:
        """Publish a message and, at the start and the end of an event, its state."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._connected, timeout=0.2):
                if time.monotonic() > self.deadline:
                    raise DeliveryError("is not connected")
        content = json.loads(message.body)
        topic = rule_topic(self._topic, content["source"], content["rule"])
        self._publish(f"{topic}/event", message.body)
        state = {START: "ON", END: "OFF"}.get(content["phase"])
        if state is not None:
            with self._changed:
                self._sensors[f"{topic}/state"] = state
            self._publish(f"{topic}/state", state, retain=True)

    def close(self) -> None:
        """Say that this run is over, and disconnect."""
        if self._connected:
            farewell = self._client.publish(f"{self._topic}/availability", "offline", qos=1, retain=True)
            with suppress(RuntimeError):  # the connection is lost
                farewell.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it; after a lost connection, the client sends it again."""
        info = self._client.publish(topic, payload, qos=2, retain=retain)
        if info.rc == self._retry_code:  # the client sends it when it is connected: that is no failure
            info.rc = type(info.rc)(0)
        while not info.is_published():
            if time.monotonic() > self.deadline:
                raise DeliveryError("does not answer")
            info.wait_for_publish(0.2)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._warn(f"refuses the connection ({reason})")
            return
        with self._changed:
            self._connected, self._away, sensors = True, False, dict(self._sensors)
            self._changed.notify_all()
        client.publish(f"{self._topic}/availability", "online", qos=1, retain=True)
        for topic, payload in sensors.items():
            client.publish(topic, payload, qos=1, retain=True)

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        self._warn("cannot be reached")

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = False
        if reason.is_failure:
            self._warn("the connection is lost")

    def _warn(self, what: str) -> None:
        """Report the first of several failures in a row."""
        if not self._away:
            log.warning("%s: %s; events wait", self.name, what)
        self._away = True


def topic_part(text: str) -> str:
    """Return a text as a part of a topic: letters, digits, _ and -; what was different stays different."""
    short = re.sub(r"\W+", "_", text.rsplit("/", 1)[-1]).strip("_").lower()[:40]
    return f"{short}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def rule_topic(topic: str, source: str, rule: str) -> str:
    """Return the topic of a rule of a source."""
    return f"{topic}/{topic_part(source)}/{topic_part(rule)}"


def sensor_messages(topic: str, source: str, rules: list[str]) -> list[tuple[str, str]]:
    """Return the topics and payloads that make a rule of a source a binary sensor of Home Assistant."""
    messages = []
    for rule in rules:
        own, sensor = rule_topic(topic, source, rule), f"{topic_part(source)}_{topic_part(rule)}"
        config = {
            "name": rule,
            "unique_id": f"liquidvision_{sensor}",
            "state_topic": f"{own}/state",
            "json_attributes_topic": f"{own}/event",
            "availability_topic": f"{topic}/availability",
            "device": {
                "identifiers": [f"liquidvision_{topic_part(source)}"],
                "name": source.rsplit("/", 1)[-1],
                "manufacturer": "liquidvision",
            },
        }
        messages.append((f"{DISCOVERY}/binary_sensor/liquidvision/{sensor}/config", json.dumps(config)))
        messages.append((f"{own}/state", "OFF"))
    return messages
