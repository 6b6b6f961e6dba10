"""A frame: pixels at an exact instant of one source, and what is known of the source itself."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from liquidvision.video.pixels import Pixels


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
    def duration_seconds(self) -> float | None:
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
