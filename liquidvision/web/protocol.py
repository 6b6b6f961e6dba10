"""What clients may say over the WebSocket; docs/guides/webcam.md is its page."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1
LARGEST_FRAME = 1_000_000  # bytes of a message with a picture
LARGEST_TEXT = 4_096  # bytes of any other
LONGEST_LABEL = 40  # characters
LATEST = 1e10  # seconds; no clock that counts from 1970 is further
LONGEST_CORRECTION = 8.0  # seconds
MESSAGES_A_SECOND = 200.0  # on average; as many again at once

# Of RFC 6455, section 7.4.1.
INVALID, POLICY, TOO_BIG, TRY_LATER = 1007, 1008, 1009, 1013


class RefusedError(Exception):
    """A message that closes its connection.

    Args:
        reason: for the person who wrote the client, one line of less than 120 bytes.
        code: of the WebSocket's close frame.
    """

    def __init__(self, reason: str, code: int = INVALID) -> None:
        super().__init__(reason)
        self.reason, self.code = reason, code


@dataclass(frozen=True, slots=True)
class Command:
    """A text message: what to do, and with what."""

    name: str
    values: Mapping[str, Any]


def label_field(value: Any) -> str:
    """The name of a class, without blanks around it."""
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= LONGEST_LABEL or not text.isprintable():
        raise RefusedError(f"a label is 1 to {LONGEST_LABEL} printable characters")
    return text


def number_field(value: Any) -> int:
    """The number of an example."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise RefusedError("example is a whole number, as the server gave it")
    return value


def seconds_field(value: Any) -> float:
    """How far back a correction goes."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_CORRECTION:
        raise RefusedError(f"seconds is a number above 0, to {LONGEST_CORRECTION:g}")
    return float(value)


# Each command with its fields, all of them needed.
COMMANDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "reset": {},
    "add": {"label": label_field},
    "rename": {"label": label_field, "to": label_field},
    "delete": {"label": label_field},
    "forget": {"example": number_field},
    "record": {"label": label_field},
    "stop": {},
    "correct": {"label": label_field, "seconds": seconds_field},
    "undo": {},
    "train": {},
}


def read_command(text: str) -> Command:
    """A text message.

    Raises:
        RefusedError: it is too long, is not JSON, or not one of `COMMANDS` with its fields.
    """
    if len(text.encode("utf-8", "replace")) > LARGEST_TEXT:
        raise RefusedError(f"a text message has at most {LARGEST_TEXT} bytes", TOO_BIG)
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError("a text message is a JSON object") from error
    name = message.get("type") if isinstance(message, dict) else None
    if not isinstance(name, str) or name not in COMMANDS:
        raise RefusedError(f"type is one of {', '.join(COMMANDS)}")
    fields = COMMANDS[name]
    if set(message) != {"type", *fields}:
        raise RefusedError(f"{name} has the fields {', '.join(['type', *fields])}, and no others")
    return Command(name, {field: read(message[field]) for field, read in fields.items()})


def read_frame(message: bytes) -> tuple[float, bytes]:
    """A binary message: the time of capture in seconds, and the JPEG.

    Raises:
        RefusedError: it is too short, or the time is none.
    """
    if len(message) <= 8:
        raise RefusedError("a frame is 8 bytes of time (float64, little-endian, seconds), then a JPEG")
    (time,) = struct.unpack("<d", message[:8])
    if not math.isfinite(time) or not 0 <= time <= LATEST:
        raise RefusedError(f"the time of a frame is in seconds, from 0 to {LATEST:g}")
    return time, message[8:]


class Pace:
    """Counts one connection's messages: a bucket that fills by the second.

    Args:
        rate: messages a second, and the most at once.
    """

    def __init__(self, rate: float = MESSAGES_A_SECOND) -> None:
        self._rate, self._left, self._last = rate, rate, 0.0

    def count(self, now: float) -> None:
        """One message more, at `now` seconds of any clock that does not run back.

        Raises:
            RefusedError: there were too many.
        """
        self._left = min(self._rate, self._left + (now - self._last) * self._rate) - 1
        self._last = now
        if self._left < 0:
            raise RefusedError(f"more than {self._rate:g} messages a second", POLICY)
