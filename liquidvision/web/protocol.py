"""Parses what clients send over the WebSocket. docs/guides/webcam.md describes the protocol."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 1_000_000  # of a message with a picture
MAX_TEXT_BYTES = 4_096  # of any other message
MAX_LABEL_LENGTH = 40  # characters
MAX_TIME = 1e10  # seconds; more than any clock that counts from 1970
MAX_CORRECTION_SECONDS = 8.0
MAX_EXAMPLE_NUMBER = 2**53 - 1  # the largest integer that JavaScript represents exactly
MESSAGES_PER_SECOND = 200.0  # on average; the same number may arrive at once

# Close codes of RFC 6455, section 7.4.1.
INVALID, POLICY, TOO_BIG, TRY_LATER = 1007, 1008, 1009, 1013


class RefusedError(Exception):
    """A message after which the server closes the connection.

    Args:
        reason: the reason, for the author of the client: one line of less than 120 bytes.
        code: the code of the WebSocket's close frame.
    """

    def __init__(self, reason: str, code: int = INVALID) -> None:
        super().__init__(reason)
        self.reason, self.code = reason, code


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed text message: the command and its fields."""

    name: str
    values: Mapping[str, Any]


def parse_label(value: Any) -> str:
    """Return the name of a class, without surrounding spaces."""
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= MAX_LABEL_LENGTH or not text.isprintable():
        raise RefusedError(f"a label needs 1 to {MAX_LABEL_LENGTH} printable characters")
    return text


def parse_example_number(value: Any) -> int:
    """Return the number of an example."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_EXAMPLE_NUMBER:
        raise RefusedError("example must be a whole number that the server sent")
    return value


def parse_seconds(value: Any) -> float:
    """Return how many seconds a correction goes back."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_CORRECTION_SECONDS:
        raise RefusedError(f"seconds must be above 0 and at most {MAX_CORRECTION_SECONDS:g}")
    return float(value)


# Each command with its fields; all of them are required.
COMMANDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "reset": {},
    "add": {"label": parse_label},
    "rename": {"label": parse_label, "to": parse_label},
    "delete": {"label": parse_label},
    "forget": {"example": parse_example_number},
    "record": {"label": parse_label},
    "stop": {},
    "correct": {"label": parse_label, "seconds": parse_seconds},
    "undo": {},
    "train": {},
}


def read_command(text: str) -> Command:
    """Parse a text message.

    Raises:
        RefusedError: it is too long, not JSON, or not one of `COMMANDS` with exactly its fields.
    """
    if len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise RefusedError(f"a text message may have at most {MAX_TEXT_BYTES} bytes", TOO_BIG)
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError("a text message must be a JSON object") from error
    name = message.get("type") if isinstance(message, dict) else None
    if not isinstance(name, str) or name not in COMMANDS:
        raise RefusedError(f"type is one of {', '.join(COMMANDS)}")
    fields = COMMANDS[name]
    if set(message) != {"type", *fields}:
        raise RefusedError(f"{name} has the fields {', '.join(['type', *fields])}, and no others")
    return Command(name, {field: parse(message[field]) for field, parse in fields.items()})


def read_frame(message: bytes) -> tuple[float, bytes]:
    """Parse a binary message into the capture time in seconds and the JPEG.

    Raises:
        RefusedError: it is too short, or the time is out of range.
    """
    if len(message) <= 8:
        raise RefusedError("a frame needs 8 bytes of time (float64, little-endian, seconds), then a JPEG")
    (time,) = struct.unpack("<d", message[:8])
    if not math.isfinite(time) or not 0 <= time <= MAX_TIME:
        raise RefusedError(f"the time of a frame must be 0 to {MAX_TIME:g} seconds")
    return time, message[8:]


class RateLimiter:
    """Limits the messages of one connection with a token bucket.

    Args:
        rate: messages per second, and the most that may arrive at once.
    """

    def __init__(self, rate: float = MESSAGES_PER_SECOND) -> None:
        self._rate, self._tokens, self._last = rate, rate, 0.0

    def count(self, now: float) -> None:
        """Count a message that arrives at `now` seconds of a monotonic clock.

        Raises:
            RefusedError: too many messages.
        """
        self._tokens = min(self._rate, self._tokens + (now - self._last) * self._rate) - 1
        self._last = now
        if self._tokens < 0:
            raise RefusedError(f"more than {self._rate:g} messages a second", POLICY)
