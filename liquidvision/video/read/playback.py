"""A source as one watches it: a file's pictures come when they are due, as a camera's do by themselves."""

import threading
import time
from collections.abc import Iterator

from liquidvision.video.read.reader import DecodedPicture, VideoReader

LATE = 0.5  # seconds behind a file's own pace after which the lost time is let go


class Playback(VideoReader):
    """Gives another reader's pictures, those of a file each at its own time after the first.

    A clock that runs backwards, or a decoder that is slower than the file, moves all that follows.

    Args:
        reader: what to play; it is closed with this one.
    """

    def __init__(self, reader: VideoReader) -> None:
        super().__init__(reader.window)
        self.info, self.begin, self.counts, self.live = reader.info, reader.begin, reader.counts, reader.live
        self._reader, self._change = reader, threading.Condition()
        self._closed = False
        self._zero: float | None = None  # the monotonic time at which the source's clock is at 0
        self._held: float | None = None  # since when, on the monotonic clock

    def pictures(self) -> Iterator[DecodedPicture]:
        for picture in self._reader.pictures():
            if not self.info.live and not self._wait(float(picture.pts * picture.time_base)):
                return
            yield picture

    def _wait(self, seconds: float) -> bool:
        """Wait until a picture is due; whether it is still wanted."""
        with self._change:
            now = time.monotonic()
            if self._zero is None or (self._held is None and now - self._zero - seconds > LATE):
                self._zero = now - seconds
            while not self._closed:
                left = None if self._held is not None else self._zero + seconds - time.monotonic()
                if left is not None and left <= 0:
                    return True
                self._change.wait(left)
            return False

    def hold(self, held: bool) -> None:
        """Stop a file's clock, or let it go on; what is live goes on by itself."""
        with self._change:
            now = time.monotonic()
            if held and self._held is None:
                self._held = now
            elif not held and self._held is not None:
                self._zero, self._held = None if self._zero is None else self._zero + now - self._held, None
            self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._reader.close()
