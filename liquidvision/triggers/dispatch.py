"""From a stream to the receivers of its events: fire, queue, log."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from liquidvision.inference.records import PredictionSink
from liquidvision.prediction import Prediction
from liquidvision.triggers.courier import Courier, Receiver
from liquidvision.triggers.engine import EventEngine
from liquidvision.triggers.event import END, START, Event
from liquidvision.triggers.event_log import EventLog
from liquidvision.triggers.outbox import Outbox
from liquidvision.video.write.sink import STDOUT

log = logging.getLogger(__name__)
TICK = 0.25  # seconds between looks at a live source that is silent


class EventDispatcher:
    """Hands the messages of all streams of a run to its log and its receivers. A context manager.

    A message is in the queue on disk, and in the log, when `send` returns; each receiver gets it in a thread of its
    own. Leaving the context delivers what waits, for some seconds; the rest stays in the queue for the next run.

    Args:
        event_log: the log, or None.
        receivers: who gets messages.
        outbox: the queue; needed with receivers.
    """

    def __init__(self, event_log: EventLog | None, receivers: Sequence[Receiver], outbox: Outbox | None) -> None:
        self._log, self._receivers, self._outbox = event_log, list(receivers), outbox
        self._couriers: list[Courier] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._outbox is not None:
            self._couriers = [Courier(receiver, self._outbox) for receiver in self._receivers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with ExitStack() as stack:
            if self._log is not None:
                stack.callback(self._log.close)
            if self._outbox is not None:
                stack.callback(self._outbox.close)
            for courier in self._couriers:
                left = courier.close()
                if left and self._outbox is not None:
                    log.warning(
                        "%d events for %s wait in %s; the next run with the same option and queue sends them",
                        left,
                        courier.receiver.name,
                        self._outbox.path,
                    )

    def announce(self, source: str, rules: Sequence[str]) -> None:
        """Say which rules watch a source, before its first event."""
        for receiver in self._receivers:
            receiver.announce(source, list(rules))

    def send(self, event: Event) -> None:
        """Put a message into the queue and the log.

        Raises:
            SinkError: one of them cannot be written.
        """
        body = json.dumps(event.to_json(), ensure_ascii=False)
        with self._lock:
            for courier in self._couriers:
                assert self._outbox is not None
                self._outbox.put(courier.receiver.key, event.key, body)
                courier.wake()
            if self._log is not None:
                self._log.write(event)


class EventSink(PredictionSink):
    """Fires the events of one stream from its predictions, as one of the outputs of `infer`. It writes no file itself.

    When the source ends, breaks off, or is interrupted, events that last end.

    Args:
        engine: the rules of the stream.
        send: what to do with each event.
        live: whether time passes while no frame comes; a thread then watches for rules about silence.
        finish: what completes an event at its end, such as cutting its clip. None: nothing.
        resumable: whether another run repeats this one if it is interrupted: events that last then have no end here.

    Attributes:
        counts: number of events by rule.
    """

    def __init__(
        self,
        engine: EventEngine,
        send: Callable[[Event], None],
        *,
        live: bool,
        finish: Callable[[Event], Event] | None = None,
        resumable: bool = False,
    ) -> None:
        self._engine, self._send, self._complete, self._resumable = engine, send, finish, resumable
        self.counts: dict[str, int] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._error: Exception | None = None
        self._arrived = time.monotonic()
        self._clock = threading.Thread(target=self._watch_silence, name="liquidvision-silence", daemon=True)
        super().__init__(STDOUT)
        if live:
            self._clock.start()

    def write(self, prediction: Prediction) -> None:
        """Add the prediction of the next frame."""
        with self._lock:
            if self._error is not None:
                raise self._error
            self._arrived = time.monotonic()
            self._send_all(self._engine.push(prediction))

    def _send_all(self, happened: Sequence[Event]) -> None:
        for event in happened:
            if event.phase == START:
                self.counts[event.rule] = self.counts.get(event.rule, 0) + 1
            self._send(self._complete(event) if event.phase == END and self._complete is not None else event)

    def _watch_silence(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                try:
                    self._send_all(self._engine.wait(time.monotonic() - self._arrived))
                except Exception as error:  # raised again at the next frame
                    self._error = error
                    return

    def _claim(self) -> None:
        return

    def _publish(self) -> None:
        return

    def remove_empty_part(self) -> None:
        """There is no file."""

    def keep(self) -> None:
        """End the stream after it broke off or was interrupted."""
        if self._resumable:
            self._release()
        else:
            self._finish()

    def discard(self) -> None:
        """End the stream after a failure; its events have no end."""
        self._release()

    def _finish(self) -> None:
        self._release()
        self._send_all(self._engine.close())

    def _release(self) -> None:
        self._ended.set()
        if self._clock.is_alive():
            self._clock.join()
