"""The log of events: a line of JSON for each message, on disk when it is written."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from liquidvision.errors import SinkError
from liquidvision.triggers.event import Event, message_key

STDOUT = Path("-")


class EventLog:
    """Append messages of events to a file, as JSON Lines. Unlike other outputs it has its final name from the start.

    Messages that the file already holds are left out, so that a run that is done again after a kill doubles none. A
    line that a kill cut off is removed.

    Args:
        path: the file; "-" writes to standard output.
        replace: remove what it holds.

    Raises:
        SinkError: the file cannot be read or written.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self.path = path
        self._known: set[str] = set()
        try:
            if path == STDOUT:
                self._file = open(os.dup(sys.stdout.fileno()), "ab", buffering=0)  # noqa: SIM115
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if replace else "ab", buffering=0)
            if not replace:
                self._read_known()
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error

    def _read_known(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        for line in content[:whole].splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line of another program
                row = json.loads(line)
                self._known.add(message_key(row["id"], row["phase"], row["time"]))

    def write(self, event: Event) -> None:
        """Append a message, and wait until it is on the disk; one that the file holds already is left out.

        Raises:
            SinkError: the file cannot be written.
        """
        if event.key in self._known:
            return
        try:
            data = memoryview(json.dumps(event.to_json(), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            while data:
                data = data[self._file.write(data) :]
            if self.path != STDOUT:
                os.fsync(self._file.fileno())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
