"""Events: what a rule found, when it began, and when it ended."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

START, UPDATE, END = "start", "update", "end"


@dataclass(frozen=True, slots=True)
class Event:
    """One message about an event: its start, an update while it lasts, or its end.

    Attributes:
        id: the same for all messages of an event. For a file it depends on file, rule and time alone, so that a second
            run over the file gives the same ids.
        phase: "start", "update" or "end".
        rule: the name of the rule, or its text.
        source: the file, or the name of the stream; it never contains a password.
        label: the label that the rule names first; "" where it names none.
        score: the score of the label now, 0 to 1; None where there is none.
        peak: the highest score of the label since the start.
        start: when the event began, in seconds from the beginning of the source.
        time: the time of this message, in seconds from the beginning of the source.
        started_at: when the event began, by this machine's clock: ISO 8601, UTC.
        at: the time of this message by this machine's clock.
        clip: the file of the event's clip; "" where none is cut.
    """

    id: str
    phase: str
    rule: str
    source: str
    label: str
    score: float | None
    peak: float | None
    start: float
    time: float
    started_at: str
    at: str
    clip: str = ""

    @property
    def key(self) -> str:
        """What distinguishes this message from all others."""
        return message_key(self.id, self.phase, round(self.time, 6))

    @property
    def duration(self) -> float:
        """Seconds from the start to this message."""
        return self.time - self.start

    def to_json(self) -> dict[str, Any]:
        """Return the message as plain data."""
        content: dict[str, Any] = {
            "id": self.id,
            "phase": self.phase,
            "rule": self.rule,
            "source": self.source,
            "label": self.label,
            "score": None if self.score is None else round(self.score, 5),
            "peak": None if self.peak is None else round(self.peak, 5),
            "start": round(self.start, 6),
            "time": round(self.time, 6),
            "duration": round(self.duration, 6),
            "started_at": self.started_at,
            "at": self.at,
        }
        return content | {"clip": self.clip} if self.clip else content


def message_key(identity: str, phase: str, time: float) -> str:
    """Return the key of a message; an event has one start, one end, and any number of updates."""
    return f"{identity}-{phase}-{time:.3f}" if phase == UPDATE else f"{identity}-{phase}"


def event_id(*parts: object) -> str:
    """Return the id of an event by what distinguishes it."""
    return hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def format_wall_clock(seconds: float) -> str:
    """Return a time of this machine's clock, in seconds since 1970, as ISO 8601 with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
