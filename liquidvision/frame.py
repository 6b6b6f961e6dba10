"""A frame: pixels at an exact instant of one source, and what is known of the source itself."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

# Kr and Kb of ISO/IEC 23091-2 (H.273), table 4, by matrix number.
LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
BT601 = 6  # what any matrix that is not in `LUMA` is taken for

WHOLE = slice(None), slice(None)


@cache
def matrix_to_rgb(luma: tuple[float, float], bits: int, full_range: bool) -> np.ndarray:
    """(3, 4) float64: Y'CbCr of so many bits, then 1, to R'G'B' of 0..255 (H.273, equations 20 to 28 and 38 to 43).

    Args:
        luma: Kr and Kb.
        bits: of a sample.
        full_range: see `Planes`.
    """
    kr, kb = luma
    kg, unit = 1 - kr - kb, 2 ** (bits - 8)
    span, swing, black = (2**bits - 1, 2**bits - 1, 0) if full_range else (219 * unit, 224 * unit, 16 * unit)
    to_red, to_blue = 2 * (1 - kr), 2 * (1 - kb)
    matrix = np.array([[1, 0, to_red], [1, -to_blue * kb / kg, -to_red * kr / kg], [1, to_blue, 0]])
    matrix *= 255 / np.array([span, swing, swing])
    return np.hstack([matrix, -matrix @ np.array([[black], [128 * unit], [128 * unit]])])


def to_rgb(planes: np.ndarray, luma: tuple[float, float], bits: int, *, full_range: bool) -> np.ndarray:
    """R'G'B' (3, h, w) float32, 0..255, of Y', Cb and Cr (3, h, w) of so many bits."""
    matrix = matrix_to_rgb(luma, bits, full_range).astype(np.float32)
    image = matrix[:, :3] @ planes.reshape(3, -1).astype(np.float32)
    image += matrix[:, 3:]
    return np.clip(image, 0, 255, out=image).reshape(planes.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A picture as video stores it: Y'CbCr of 8 bits, the colour at half the resolution (4:2:0).

    Attributes:
        y: (height, width) uint8, both even; a source's odd side is padded by its last row or column.
        u, v: (height / 2, width / 2) uint8.
        matrix: how they come from R'G'B', as ISO/IEC 23091-2 (H.273) numbers it: 1 BT.709, 5 and 6 BT.601,
            9 BT.2020.
        full_range: whether black and white are 0 and 255, not 16 and 235.
        primaries, transfer: H.273's numbers for what the colours mean, 2 where the source does not say.
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    matrix: int
    full_range: bool
    primaries: int = 2
    transfer: int = 2

    @property
    def kind(self) -> tuple[int, bool, int, int]:
        """What pictures of one video have in common."""
        return self.matrix, self.full_range, self.primaries, self.transfer


class Pixels(ABC):
    """A picture that its source still holds in a form of its own; RGB is made only when somebody wants it.

    Attributes:
        size: height and width of the upright picture.
    """

    size: tuple[int, int]

    @abstractmethod
    def rgb(self) -> np.ndarray:
        """Upright pixels (height, width, 3) uint8; the same array in every call."""

    @abstractmethod
    def resized(self, height: int, width: int, part: tuple[slice, slice] = WHOLE) -> np.ndarray | None:
        """The upright picture shrunk or stretched: (3, height, width) float32 RGB, 0..255, an array of one's own.

        Of it only `part`, its rows and columns. None where only `rgb` gives this picture's colours.
        """

    @abstractmethod
    def planes(self) -> Planes | None:
        """The upright picture's planes, not to be written to; None where `rgb` alone gives its colours."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One upright picture and the tick at which it is shown.

    Attributes:
        pixels: (height, width, 3) uint8 RGB, or what can become that: see `image`.
        index: the number of the frame in its source, counted from 0 where reading began;
            frames passed over by a stride count too.
        pts: presentation time stamp in ticks of `time_base`.
        time_base: seconds per tick.
        duration: how long the frame is shown, in ticks, where the source says so.
    """

    pixels: np.ndarray | Pixels
    index: int
    pts: int
    time_base: Fraction
    duration: int | None = None

    @property
    def image(self) -> np.ndarray:
        """Pixels, (height, width, 3) uint8, RGB.

        Raises:
            SourceError: the source's pixel format cannot be turned into RGB.
        """
        return self.pixels.rgb() if isinstance(self.pixels, Pixels) else self.pixels

    @property
    def time(self) -> float:
        """Seconds on the source's own clock."""
        return float(self.pts * self.time_base)

    @property
    def seconds(self) -> float | None:
        """How long the frame is shown, in seconds, where the source says so."""
        return float(self.duration * self.time_base) if self.duration else None


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of itself before a frame is read. Figures from a header are estimates.

    Attributes:
        name: a short name to show; never holds a password.
        width, height: pixels of the upright picture.
        rate: mean frames per second as the header states it; None where unknown. For display only:
            every computation uses the frames' own times.
        duration: seconds, None where unknown (a camera).
        live: True where frames arrive at their own pace and cannot be read again.
        has_audio: True where there is sound to copy.
        pixel_aspect: width of a pixel over its height, of the upright picture.
        codec: the video codec's name, or the capture interface's.
        num_frames_from_header: the header's frame count, None where it has none.
        rotation: degrees by which the stored pictures are turned to be upright, counter-clockwise.
        container, pixel_format, audio_codec: as FFmpeg names them, empty where unknown.
    """

    name: str
    width: int
    height: int
    rate: Fraction | None = None
    duration: float | None = None
    live: bool = False
    has_audio: bool = False
    pixel_aspect: Fraction = Fraction(1)
    codec: str = ""
    num_frames_from_header: int | None = None
    rotation: int = 0
    container: str = ""
    pixel_format: str = ""
    audio_codec: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a source that has a name.

    Attributes:
        start, stop: seconds on the source's clock.
        tags: its title, and what else is said of it.
    """

    start: Fraction
    stop: Fraction
    tags: dict[str, str]
