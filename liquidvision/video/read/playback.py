"""A source as one watches it: a file's pictures come when they are due, as a camera's do by themselves."""

import threading
import time
from collections.abc import Iterator

from liquidvision.video.read.reader import DecodedPicture, VideoReader

MAX_LAG = 0.5  # seconds behind a file's own pace after which the lost time is let go


class Playback(VideoReader):
    """Gives another reader's pictures, those of a file each at its own time after the first.

    A clock that runs backwards, or a decoder that is slower than the file, moves all that follows.

    Args:
        reader: what to play; it is closed with this one.
    """

    def __init__(self, reader: VideoReader) -> None:
        super().__init__(reader.window)
        self.info, self.start_time, self.counts = reader.info, reader.start_time, reader.counts
        self.live_options = reader.live_options
        self._reader, self._condition = reader, threading.Condition()
        self._closed = False
        self._clock_origin: float | None = None  # the monotonic time at which the source's clock is at 0
        self._paused_since: float | None = None  # since when, on the monotonic clock

    def pictures(self) -> Iterator[DecodedPicture]:
        for picture in self._reader.pictures():
            if not self.info.live and not self._wait(float(picture.pts * picture.time_base)):
                return
            yield picture

    def _wait(self, seconds: float) -> bool:
        """Wait until a picture is due; whether it is still wanted."""
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
        """Stop a file's clock, or let it go on; what is live goes on by itself."""
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
