"""Plays a source in real time: a file's pictures are delivered when they are due, as a camera's are."""

import threading
import time
from collections.abc import Iterator

from liquidvision.video.read.reader import DecodedPicture, VideoReader

MAX_LAG = 0.5  # seconds of delay after which playback continues from now instead of catching up


class Playback(VideoReader):
    """Delivers another reader's pictures; those of a file each at its own time after the first.

    Where a file's clock steps back, or decoding falls behind by more than MAX_LAG, playback continues from there.

    Args:
        reader: the reader to play; it is closed with this one.
    """

    def __init__(self, reader: VideoReader) -> None:
        super().__init__(reader.window)
        self.info, self.start_time, self.counts = reader.info, reader.start_time, reader.counts
        self.live_options = reader.live_options
        self._reader, self._condition = reader, threading.Condition()
        self._closed = False
        self._clock_origin: float | None = None  # monotonic time at which the source's clock is 0
        self._paused_since: float | None = None  # monotonic time; None while playing

    def pictures(self) -> Iterator[DecodedPicture]:
        for picture in self._reader.pictures():
            if not self.info.live and not self._wait(float(picture.pts * picture.time_base)):
                return
            yield picture

    def _wait(self, seconds: float) -> bool:
        """Wait until a picture is due; return False if the reader was closed."""
        with self._condition:
            now = time.monotonic()
            if self._clock_origin is None or (
                self._paused_since is None and now - self._clock_origin - seconds > MAX_LAG
            ):
                self._clock_origin = now - seconds
            while not self._closed:
                left = None if self._paused_since is not None else self._clock_origin + seconds - time.monotonic()
                if left is not None and left <= 0:
                    return True
                self._condition.wait(left)
            return False

    def set_paused(self, paused: bool) -> None:
        """Pause or resume a file's clock; has no effect on live sources."""
        with self._condition:
            now = time.monotonic()
            if paused and self._paused_since is None:
                self._paused_since = now
            elif not paused and self._paused_since is not None:
                if self._clock_origin is not None:
                    self._clock_origin += now - self._paused_since
                self._paused_since = None
            self._condition.notify_all()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._reader.close()
