"""Delivers messages from the queue to a receiver, in a thread of its own, as often as it takes."""

import hashlib
import logging
import random
import threading
import time
from abc import ABC, abstractmethod

from liquidvision.triggers.outbox import Outbox, WaitingMessage

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts, doubled each time, ±50 %
GRACE = 5.0  # seconds at the end of a run for what still waits


class DeliveryError(Exception):
    """The receiver is away: try again. The message contains no secrets."""


class RejectedError(Exception):
    """The receiver does not want this message, and never will. The message contains no secrets."""


class Receiver(ABC):
    """Where messages go.

    Attributes:
        name: for messages to people; it contains no secrets.
        key: what distinguishes it from other receivers, also in later runs; it contains no secrets.
        deadline: monotonic time after which a delivery is given up.
    """

    deadline = float("inf")

    def __init__(self, kind: str, address: str, name: str) -> None:
        self.name, self.key = name, hashlib.sha256(f"{kind} {address}".encode()).hexdigest()[:32]

    def open(self) -> None:
        """Called once, before everything else."""
        return

    def announce(self, source: str, rules: list[str]) -> None:
        """Called for each source before its first event."""
        return

    @abstractmethod
    def deliver(self, message: WaitingMessage) -> None:
        """Hand over a message, and return when the receiver has it. Called from one thread.

        Raises:
            DeliveryError: the receiver is away.
            RejectedError: it does not want the message.
        """

    def close(self) -> None:
        """End the connection; called after the last message, from the same thread."""
        return


class Courier:
    """Brings a receiver its messages, the oldest first. One that cannot be delivered is tried again; the others wait.

    Args:
        receiver: where to bring them.
        outbox: where they wait.
    """

    def __init__(self, receiver: Receiver, outbox: Outbox) -> None:
        self.receiver, self._outbox = receiver, outbox
        self._news = threading.Condition()
        self._ending, self._away, self._more = False, False, True
        receiver.open()
        self._thread = threading.Thread(target=self._run, name="liquidvision-events", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is a new message."""
        with self._news:
            self._more = True
            self._news.notify()

    def close(self) -> int:
        """Deliver what waits, within `GRACE` seconds, and return how many messages remain in the queue."""
        with self._news:
            self._ending, self.receiver.deadline = True, time.monotonic() + GRACE
            self._news.notify()
        self._thread.join()
        return self._outbox.count(self.receiver.key)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while True:
                with self._news:
                    self._more = False
                message = self._outbox.first(self.receiver.key)
                if message is None:
                    with self._news:
                        if self._ending:
                            return
                        self._news.wait_for(lambda: self._more or self._ending)
                    continue
                if time.monotonic() > self.receiver.deadline:
                    return
                if self._attempt(message):
                    pause = FIRST_PAUSE
                    continue
                self._wait(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self.receiver.close()

    def _attempt(self, message: WaitingMessage) -> bool:
        """Try to deliver a message; return whether it is done with."""
        try:
            self.receiver.deliver(message)
        except DeliveryError as error:
            return self._fail(str(error))
        except RejectedError as error:
            log.warning("%s: %s; the event %s is not sent again", self.receiver.name, error, message.key)
        except Exception as error:  # of a library; its text might contain secrets
            return self._fail(f"failed ({type(error).__name__})")
        if self._away:
            log.warning("%s is back", self.receiver.name)
        self._away = False
        self._outbox.finish(message)
        return True

    def _fail(self, what: str) -> bool:
        """Report the first of several failures in a row; return that the message is not done with."""
        if not self._away:
            log.warning("%s: %s; events wait in %s", self.receiver.name, what, self._outbox.path)
        self._away = True
        return False

    def _wait(self, seconds: float) -> None:
        """Wait for a while; at the end of the run, shorter."""
        with self._news:
            self._news.wait_for(lambda: self._ending, timeout=seconds)
            ending = self._ending
        if ending:
            time.sleep(min(0.2, seconds))
