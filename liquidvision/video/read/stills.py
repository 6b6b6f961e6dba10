"""Reads pictures as a video: a folder of them, a pattern of numbered names, or an animated WebP file."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.frame import VideoInfo
from liquidvision.video.pixels import Pixels
from liquidvision.video.read.container import error_reason, open_container
from liquidvision.video.read.decoded import DecodedPixels, Scaler
from liquidvision.video.read.hardware import to_planar
from liquidvision.video.read.names import exact_rate, picture_files, rate_missing
from liquidvision.video.read.orientation import frame_orientation
from liquidvision.video.read.reader import MAX_PIXELS, DecodedPicture, ReadWindow, VideoReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of a sequence.

    Attributes:
        pts, duration: when and for how long it is shown, in ticks of the sequence.
        load: a function that returns its pixels, and raises SourceError where it cannot.
    """

    pts: int
    duration: int
    load: Callable[[], np.ndarray | Pixels]


class StillsReader(VideoReader):
    """Reads a sequence of still pictures, each when its turn comes.

    Args:
        name: name for display.
        stills: the pictures, in order.
        time_base: seconds per tick of their times.
        window: the part to read; pictures outside it are not loaded.
        codec: name of the kind of pictures.
        rate: pictures per second, where that is constant.
        strict: raise a SourceError for a picture that cannot be decoded. By default it is counted and skipped.

    Raises:
        SourceError: no picture can be decoded.
    """

    def __init__(
        self,
        name: str,
        stills: Sequence[Still],
        time_base: Fraction,
        window: ReadWindow,
        *,
        codec: str,
        rate: Fraction | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(window)
        self._time_base, self._strict = time_base, strict
        wanted = [still for still in stills if still.pts * time_base >= window.start - time_base / 2] or stills[-1:]
        self._pictures = self._load(wanted)
        first = next(self._pictures, None)
        if first is None:
            raise SourceError(f"{name} has no picture that can be decoded; expected JPEG, PNG or the like")
        pixels = first.frame_pixels()
        height, width = pixels.size if isinstance(pixels, Pixels) else pixels.shape[:2]
        self._pictures = chain([first], self._pictures)
        duration = float((stills[-1].pts + stills[-1].duration) * time_base)
        self.info = VideoInfo(
            name, width, height, rate=rate, duration=duration, codec=codec, num_frames_from_header=len(stills)
        )

    def _load(self, stills: Sequence[Still]) -> Iterator[DecodedPicture]:
        for still in stills:
            try:
                pixels = still.load()
            except SourceError as error:
                if self._strict:
                    raise
                self.counts.damaged += 1
                log.info("skipped a picture: %s", error)
                continue
            shown = pixels if isinstance(pixels, Pixels) else _Constant(pixels)
            yield DecodedPicture(still.pts, self._time_base, still.duration, shown)

    def pictures(self) -> Iterator[DecodedPicture]:
        yield from self._pictures

    def close(self) -> None:
        self._pictures = iter(())


class _Constant:
    """A function that returns an array."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image

    def __call__(self) -> np.ndarray:
        return self._image


def open_stills(
    source: Path, rate: float | Fraction | None, window: ReadWindow, *, strict: bool, max_pixels: int = MAX_PIXELS
) -> StillsReader:
    """Open a folder of pictures, in the order of the numbers in their names, or a pattern such as shots/%05d.jpg.

    In a pattern, the number of a picture determines its time, so a missing number is a gap.

    Raises:
        UsageError: no rate, or none that is positive.
        SourceError: no picture is found, or none can be decoded.
    """
    if rate is None:
        raise UsageError(rate_missing(source))
    exact, files = exact_rate(rate), picture_files(source)
    if not files:
        raise SourceError(f"{source} matches no picture; expected files such as {source.name.replace('%', '')}")
    scaler = Scaler()
    stills = [Still(number, 1, _Loader(path, max_pixels, scaler)) for number, path in files]
    codec = files[0][1].suffix.lstrip(".").lower()
    return StillsReader(source.resolve().name, stills, 1 / exact, window, codec=codec, rate=exact, strict=strict)


class _Loader:
    """A function that decodes the first picture of a file."""

    def __init__(self, path: Path, max_pixels: int, scaler: Scaler) -> None:
        self._path, self._max_pixels, self._scaler = path, max_pixels, scaler

    def __call__(self) -> Pixels:
        try:
            with open_container(self._path, max_pixels=self._max_pixels) as container:
                frame = next(container.decode(video=0))
        except (av.error.FFmpegError, StopIteration, IndexError) as error:
            raise SourceError(f"{self._path.name} cannot be decoded: {error_reason(error)}") from error
        if frame.width * frame.height > self._max_pixels:
            raise SourceError(f"{self._path.name} has more than {self._max_pixels:,} pixels; raise --max-pixels")
        return DecodedPixels(to_planar(frame), frame_orientation(frame), self._scaler)
