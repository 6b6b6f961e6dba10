"""Clips of events, cut from the source's own packets."""

import logging
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from liquidvision.errors import SourceError, UsageError
from liquidvision.triggers.event import Event
from liquidvision.video.write.packet_copy import copy_part, part_suffix

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventClips:
    """Cut the clip of each event from its file, without encoding, from the key frame before the lead-in.

    Attributes:
        folder: where the clips go; it is created if it does not exist.
        lead: seconds before the start of the event, 0 or more.
        tail: seconds after the end of the event, 0 or more.

    Raises:
        UsageError: a number is out of its range.
    """

    folder: Path
    lead: float = 5.0
    tail: float = 5.0

    def __post_init__(self) -> None:
        for name in ("lead", "tail"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"clip_{name} is {getattr(self, name)}; expected seconds, 0 or more")

    def cut(self, event: Event, source: Path, video_track: int | None = None) -> Event:
        """Cut the clip of an event that has ended, and return the event with it.

        A clip that exists is kept. Where the source cannot be copied, the event has no clip, with a warning.

        Raises:
            SinkError: the clip cannot be written.
        """
        rule = re.sub(r"\W+", "_", event.rule).strip("_")[:40]
        name = f"{source.stem[:100]}-{rule}-{event.start:.2f}-{event.id[:6]}{part_suffix(source)}"
        target = self.folder / name
        if not target.is_file():
            start, stop = max(0.0, event.start - self.lead), event.time + self.tail
            try:
                copy_part(source, target, start, stop, video_track=video_track)
            except SourceError as error:
                log.warning("no clip of the event at %.1f s: %s", event.start, error)
                return event
        return replace(event, clip=str(target))
