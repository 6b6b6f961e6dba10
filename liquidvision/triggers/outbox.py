"""Messages that wait on disk until their receiver has them: in order, each once."""

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from liquidvision.errors import SinkError

log = logging.getLogger(__name__)
MAX_WAITING = 10_000  # messages for one receiver; of more, the oldest are dropped
MAX_REMEMBERED = 100_000  # delivered messages whose keys are kept, so that a second run does not send them again
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT,  -- NULL once it is delivered or dropped
    UNIQUE (receiver, key)
);
CREATE INDEX IF NOT EXISTS waiting ON messages (receiver, number) WHERE body IS NOT NULL;
"""


class WaitingMessage(NamedTuple):
    """A message that is not delivered yet.

    Attributes:
        number: its place in the queue.
        key: what distinguishes it from all others.
        body: JSON.
    """

    number: int
    key: str
    body: str


class Outbox:
    """A bounded queue on disk, in SQLite. One process uses it at a time; its methods may be called from any thread.

    Args:
        path: the file; created if it does not exist.
        max_waiting: messages that may wait for one receiver; of more, the oldest are dropped, with a warning.

    Raises:
        SinkError: the file cannot be used, or another process uses it.
    """

    def __init__(self, path: Path, *, max_waiting: int = MAX_WAITING) -> None:
        self.path, self._max_waiting = path, max_waiting
        self._lock, self._delivered, self._dropped = threading.Lock(), 0, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=0.5, check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("BEGIN IMMEDIATE")
            self._base.execute("COMMIT")
            self._base.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            locked = "locked" in str(error)
            what = "another run uses it; give each run a queue of its own" if locked else str(error)
            raise SinkError(f"the queue of events {path} cannot be used: {what}") from error

    def put(self, receiver: str, key: str, body: str) -> None:
        """Add a message for a receiver, unless it was added before. It is on the disk when this returns.

        Raises:
            SinkError: the disk is full, or the file cannot be written.
        """
        try:
            with self._lock:
                added = self._base.execute(
                    "INSERT OR IGNORE INTO messages (receiver, key, body) VALUES (?, ?, ?)", (receiver, key, body)
                ).rowcount
                if added and self._count(receiver) > self._max_waiting:
                    self._drop_oldest(receiver)
        except sqlite3.Error as error:
            raise SinkError(f"cannot write the queue of events {self.path}: {error}") from error

    def first(self, receiver: str) -> WaitingMessage | None:
        """Return the message that has waited longest for a receiver; None if there is none."""
        with self._lock, closing(self._base.cursor()) as cursor:
            row = cursor.execute(
                "SELECT number, key, body FROM messages WHERE receiver = ? AND body IS NOT NULL "
                "ORDER BY number LIMIT 1",
                (receiver,),
            ).fetchone()
        return None if row is None else WaitingMessage(*row)

    def finish(self, message: WaitingMessage) -> None:
        """Note that a message is delivered."""
        with self._lock:
            self._base.execute("UPDATE messages SET body = NULL WHERE number = ?", (message.number,))
            self._delivered += 1
            if self._delivered % 1000 == 0:
                self._base.execute(
                    "DELETE FROM messages WHERE body IS NULL AND number <= (SELECT MAX(number) FROM messages) - ?",
                    (MAX_REMEMBERED,),
                )

    def count(self, receiver: str) -> int:
        """Return how many messages wait for a receiver."""
        with self._lock:
            return self._count(receiver)

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        with self._lock:
            self._base.close()

    def _count(self, receiver: str) -> int:
        query = "SELECT COUNT(*) FROM messages WHERE receiver = ? AND body IS NOT NULL"
        return int(self._base.execute(query, (receiver,)).fetchone()[0])

    def _drop_oldest(self, receiver: str) -> None:
        self._base.execute(
            "UPDATE messages SET body = NULL WHERE number = "
            "(SELECT MIN(number) FROM messages WHERE receiver = ? AND body IS NOT NULL)",
            (receiver,),
        )
        self._dropped += 1
        if self._dropped == 1:
            log.warning(
                "%d events wait for a receiver, the most that are kept; the oldest are dropped", self._max_waiting
            )
