"""Reconnects to live sources that are lost, with exponential back-off and one continuous clock."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from liquidvision.errors import SourceError
from liquidvision.video.read.reader import DecodedPicture, LiveOptions, ReadWindow, VideoReader

log = logging.getLogger(__name__)
FIRST_RETRY_DELAY, MAX_RETRY_DELAY = 0.5, 30.0  # seconds; the delay doubles with each attempt


class LiveReader(VideoReader):
    """Reads a live source, and reopens it when it is lost.

    Times are the source's own, in ticks of the first connection's time base. After an outage they continue by the
    seconds that passed on the monotonic clock, whatever the clock of the new connection shows.

    Args:
        first: the open source.
        connect: reopens the source; a SourceError counts as a failed attempt.
        window: the part to read, counted from the first connection.
        live_options: see `LiveOptions`.
    """

    def __init__(
        self, first: VideoReader, connect: Callable[[], VideoReader], window: ReadWindow, live_options: LiveOptions
    ) -> None:
        super().__init__(window)
        self.live_options, self._max_attempts = live_options, live_options.reconnect
        self.start_time, self.info, self.counts = first.start_time, replace(first.info, live=True), first.counts
        self._reader, self._connect = first, connect
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._attempts = 0  # since the last picture

    def pictures(self) -> Iterator[DecodedPicture]:
        base: Fraction | None = None
        last, arrived, shift, reconnected = 0, 0.0, 0, False
        while True:
            lost: SourceError | None = None
            try:
                for picture in self._reader.pictures():
                    now = time.monotonic()
                    base = base or picture.time_base
                    pts = picture.pts if picture.time_base == base else round(picture.pts * picture.time_base / base)
                    if reconnected:
                        shift, reconnected = last + max(1, round((now - arrived) / base)) - pts, False
                        log.warning("%s is back after %.1f s", self.info.name, now - arrived)
                    last, arrived, self._attempts = pts + shift, now, 0
                    yield replace(picture, pts=last, time_base=base)
            except SourceError as error:
                lost = error
            if self._closed.is_set():
                return
            arrived = arrived or time.monotonic()
            if not self._reconnect(str(lost or f"{self.info.name} ended")):
                if lost is None:  # the stream ended normally and did not come back
                    return
                raise lost
            reconnected = base is not None

    def _reconnect(self, why: str) -> bool:
        """Retry until the source opens, no attempt is left, or this reader is closed; return whether it opened."""
        self._reader.close()
        while self._max_attempts is None or self._attempts < self._max_attempts:
            delay = min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2**self._attempts) * random.uniform(0.5, 1.5)
            log.warning("%s; trying again in %.1f s", why, delay)
            self._attempts += 1
            if self._closed.wait(delay):
                return False
            try:
                reader = self._connect()
            except SourceError as error:
                why = str(error)  # keeping the error would keep the failed reader and its decoder's memory
                continue
            self.counts.damaged += reader.counts.damaged
            reader.counts = self.counts
            with self._lock:
                self._reader = reader
            if self._closed.is_set():
                reader.close()
                return False
            self.counts.reconnects += 1
            return True
        return False

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self._reader.close()
