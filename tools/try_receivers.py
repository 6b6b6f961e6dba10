"""Stop and start the receivers of events while events happen, and count what is lost and what comes twice.

python tools/try_receivers.py --stops 40

Events are fired 20 times a second from made-up predictions, and go through the queue of `infer` to a web server and to
mosquitto, an MQTT broker that keeps its memory on disk (left out where it is not installed). Both are stopped and
started again and again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from receivers import HttpReceiver, MqttServer, Subscriber, wait_until

from liquidvision import Prediction
from liquidvision.triggers.actions import Webhook
from liquidvision.triggers.courier import Receiver
from liquidvision.triggers.dispatch import EventDispatcher, EventSink
from liquidvision.triggers.engine import EventEngine
from liquidvision.triggers.event import Event
from liquidvision.triggers.mqtt import MqttBroker, rule_topic
from liquidvision.triggers.outbox import Outbox
from liquidvision.triggers.rules import parse_rule

LABELS, RULE = ("fight", "rest"), "fight > .5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice, sent = random.Random(options.seed), list[Event]()
    with tempfile.TemporaryDirectory() as folder:
        web = HttpReceiver()
        web.start()
        servers: list[HttpReceiver | MqttServer] = [web]
        receivers: list[Receiver] = [Webhook(f"http://127.0.0.1:{web.port}/")]
        subscriber = None
        if shutil.which("mosquitto") is not None:
            (Path(folder) / "broker").mkdir()
            broker = MqttServer(Path(folder) / "broker")
            broker.start()
            servers.append(broker)
            receivers.append(MqttBroker(f"mqtt://127.0.0.1:{broker.port}"))
            subscriber = Subscriber(broker.port)
        engine = EventEngine(LABELS, [parse_rule(RULE)], source="made-up")
        topic = rule_topic("liquidvision", "made-up", RULE)
        with EventDispatcher(None, receivers, Outbox(Path(folder) / "queue.sqlite")) as dispatcher:

            def send(event: Event) -> None:
                sent.append(event)
                dispatcher.send(event)

            with EventSink(engine, send, live=False) as stream:
                for number in range(options.stops):
                    push_for(stream, dice.uniform(0.3, 1.5))
                    for server in servers:
                        server.stop()
                    push_for(stream, dice.uniform(0.1, 2.0))
                    if subscriber is not None:
                        subscriber.subscribed = False
                    for server in servers:
                        server.start()
                    if subscriber is not None:
                        wait_until(subscriber.is_subscribed)
                    print(f"{number + 1} stops, {len(sent)} events, {len(web.got)} at the web server", flush=True)
                push_for(stream, 1.0)
            wait_until(lambda: len(web.got) >= len(sent), 120)
            if subscriber is not None:
                wait_until(lambda: len(subscriber.of(f"{topic}/event")) >= len(sent), 120)
        keys = [event.key for event in sent]
        found = {"web server": web.keys}
        if subscriber is not None:
            rows = [json.loads(payload) for payload in subscriber.of(f"{topic}/event")]
            found["MQTT broker"] = [f"{row['id']}-{row['phase']}" for row in rows]
            subscriber.close()
        for server in servers:
            server.stop()
    faults = 0
    for name, got in found.items():
        lost, again, ordered = len(set(keys) - set(got)), len(got) - len(set(got)), got == keys
        order = "in order" if ordered else "out of order"
        print(f"{name}: {len(got)} of {len(keys)} messages, {lost} lost, {again} twice, {order}")
        faults += lost + again + (not ordered)
    sys.exit(1 if faults else 0)


def push_for(stream: EventSink, seconds: float) -> None:
    """Push a prediction every 50 ms, each of which starts or ends an event."""
    for _ in range(round(seconds * 20)):
        push_for.count += 1  # type: ignore[attr-defined]
        score = 0.9 if push_for.count % 2 else 0.1  # type: ignore[attr-defined]
        scores = np.array([score, 1 - score], np.float32)
        number = push_for.count  # type: ignore[attr-defined]
        stream.write(Prediction(number, number * 0.05, 0.05, LABELS, scores, scores))
        time.sleep(0.05)


push_for.count = 0  # type: ignore[attr-defined]

if __name__ == "__main__":
    main()
