"""Frames with exact times, and descriptions of the sources they come from."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from liquidvision.video.pixels import Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One upright picture and the time at which it is shown.

    Attributes:
        pixels: (height, width, 3) uint8 RGB, or a `Pixels` that converts to it on request; see `image`.
        index: number of the frame, counted from 0 where reading started; frames that a stride skips count too.
        pts: presentation time stamp in ticks of `time_base`.
        time_base: seconds per tick.
        duration: how long the frame is shown, in ticks; None where the source does not state it.
    """

    pixels: np.ndarray | Pixels
    index: int
    pts: int
    time_base: Fraction
    duration: int | None = None

    @property
    def image(self) -> np.ndarray:
        """The RGB pixels, (height, width, 3) uint8.

        Raises:
            SourceError: the source's pixel format cannot be converted to RGB.
        """
        return self.pixels.rgb() if isinstance(self.pixels, Pixels) else self.pixels

    @property
    def time(self) -> float:
        """Time of the frame in seconds, on the source's own clock."""
        return float(self.pts * self.time_base)

    @property
    def duration_seconds(self) -> float | None:
        """How long the frame is shown, in seconds; None where the source does not state it."""
        return float(self.duration * self.time_base) if self.duration else None


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """One of the video tracks of a file.

    Attributes:
        codec: FFmpeg's name of the codec.
        width, height: size of the stored pictures in pixels.
        default: whether the file marks it as the one to play.
        chosen: whether it is the one that is read.
    """

    codec: str
    width: int
    height: int
    default: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source reports before its frames are read. Figures from a header are estimates.

    Attributes:
        name: short name for display; never contains a password.
        width: width of the upright picture in pixels.
        height: height of the upright picture in pixels.
        rate: mean frames per second from the header; None where unknown. For display only: computations use the
            frames' own times.
        duration: seconds; None where unknown (a camera).
        live: True if frames arrive at their own pace and cannot be read again.
        has_audio: True if there is sound to copy.
        pixel_aspect: width of a pixel divided by its height, in the upright picture.
        codec: name of the video codec, or of the capture interface.
        num_frames_from_header: frame count from the header; None where it has none.
        rotation: degrees, counter-clockwise, by which the stored pictures are rotated to be upright.
        mirrored: whether the rotated pictures are then mirrored from left to right.
        interlaced: whether the stored pictures are made of two fields at different times.
        container: FFmpeg's name of the container; empty where unknown.
        pixel_format: FFmpeg's name of the pixel format; empty where unknown.
        video_tracks: all video tracks of the file, in its order; empty where unknown.
        audio_codec: FFmpeg's name of the sound's codec; empty where unknown.
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
    mirrored: bool = False
    interlaced: bool = False
    container: str = ""
    pixel_format: str = ""
    audio_codec: str = ""
    video_tracks: tuple[VideoTrack, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of a source.

    Attributes:
        start, stop: seconds on the source's clock.
        tags: metadata, such as the title.
    """

    start: Fraction
    stop: Fraction
    tags: dict[str, str]
