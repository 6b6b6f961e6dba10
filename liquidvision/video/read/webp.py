"""Animated WebP: FFmpeg decodes single WebP pictures, of which an animation is put together here (RFC 9649)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from liquidvision.errors import SourceError
from liquidvision.video.read.to_rgb import frame_to_rgba

MILLISECOND = Fraction(1, 1000)
ANIMATED, HAS_ALPHA = 0x02, 0x10  # flags of the header chunk, VP8X
DISPOSE, DO_NOT_BLEND = 0x01, 0x02  # flags of a frame
FRAME_HEADER = 16  # bytes
SHOWN_FOR = 100  # milliseconds of a frame that states no duration, as in browsers


@dataclass(frozen=True, slots=True)
class Part:
    """One frame of an animation: a picture that is drawn on the canvas.

    Attributes:
        area: the rows and columns of the canvas.
        duration: in milliseconds.
        flags: DISPOSE and DO_NOT_BLEND.
        data: the picture as chunks of a WebP file.
        complete: whether the file holds all of it.
    """

    area: tuple[slice, slice]
    duration: int
    flags: int
    data: bytes
    complete: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        rows, columns = self.area
        return rows.stop - rows.start, columns.stop - columns.start


class AnimatedWebP:
    """The pictures of an animated WebP file, in order.

    Args:
        data: the content of the file.
        name: for messages.
        max_pixels: maximum number of pixels of the canvas.

    Attributes:
        width, height: size of the canvas.
        duration: milliseconds.
        parts: the frames.

    Raises:
        SourceError: the canvas has too many pixels.
    """

    def __init__(self, data: bytes, name: str, max_pixels: int) -> None:
        header = next(body for kind, body, _ in chunks(data[12:]) if kind == b"VP8X")
        self.width, self.height = 1 + little(header[4:7]), 1 + little(header[7:10])
        if self.width * self.height > max_pixels:
            raise SourceError(
                f"{name} has pictures of {self.width} x {self.height}, more than {max_pixels:,} pixels; "
                "raise --max-pixels to read it"
            )
        self.parts = [
            read_part(body, complete=complete)
            for kind, body, complete in chunks(data[12:])
            if kind == b"ANMF" and len(body) > FRAME_HEADER
        ]
        self.duration = sum(part.duration for part in self.parts)
        self._decoder = av.CodecContext.create("webp", "r")
        self._decoder.thread_count = 1  # a picture must not wait for the next one
        self._decoder.options = {"max_pixels": str(max_pixels)}

    def pictures(self, count_damage: Callable[[Exception | None], None]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield time and duration in milliseconds and RGB pixels (height, width, 3) of each picture.

        Transparent parts are black. A frame that cannot be decoded is counted and skipped.
        """
        canvas = np.zeros((self.height, self.width, 3), np.uint8)
        time = 0
        for part in self.parts:
            drawn, below = self._decode(part, count_damage), canvas[part.area]
            if drawn is not None:
                if part.flags & DO_NOT_BLEND:
                    below[:] = 0
                below[:] = over(drawn[..., :3], drawn[..., 3:], below)
                yield time, part.duration, canvas.copy()
            if part.flags & DISPOSE:
                below[:] = 0
            time += part.duration

    def _decode(self, part: Part, count_damage: Callable[[Exception | None], None]) -> np.ndarray | None:
        """Return a frame's own picture, (h, w, 4) RGBA; None where it is damaged."""
        rows, columns = part.area
        try:
            frames = self._decoder.decode(av.Packet(still(part))) if part.complete else []
        except (av.error.FFmpegError, ValueError) as error:
            count_damage(error)
            return None
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            if (frame.height, frame.width) == part.size and rows.stop <= self.height and columns.stop <= self.width:
                return frame_to_rgba(frame)
        count_damage(None)
        return None


def is_animated_webp(data: bytes) -> bool:
    """Return whether the content of a file is an animated WebP."""
    is_extended = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30
    return is_extended and bool(data[20] & ANIMATED)


def read_part(body: bytes, *, complete: bool) -> Part:
    """Return the frame that a chunk holds."""
    left, top, width, height, duration = (little(body[place : place + 3]) for place in range(0, 15, 3))
    area = slice(2 * top, 2 * top + height + 1), slice(2 * left, 2 * left + width + 1)
    return Part(area, duration or SHOWN_FOR, body[15], body[FRAME_HEADER:], complete)


def still(part: Part) -> bytes:
    """Return a frame as a WebP file of its own."""
    data, (height, width) = part.data, part.size
    if data[:4] == b"ALPH":  # transparency, which only the extended form may have
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        data = b"VP8X" + (10).to_bytes(4, "little") + bytes([HAS_ALPHA, 0, 0, 0]) + size + data
    return b"RIFF" + (len(data) + 4).to_bytes(4, "little") + b"WEBP" + data


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield kind and content of each chunk, and whether it is complete."""
    place = 0
    while place + 8 <= len(data):
        size = little(data[place + 4 : place + 8])
        body = data[place + 8 : place + 8 + size]
        yield data[place : place + 4], body, len(body) == size
        place += 8 + size + size % 2


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def over(color: np.ndarray, alpha: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Blend colours (h, w, 3) with straight alpha (h, w, 1) over others; all uint8."""
    opaque = alpha.astype(np.uint16)
    return ((color * opaque + below * (255 - opaque) + 127) // 255).astype(np.uint8)
