"""The part of the stored pictures that a container marks to be shown: Matroska's PixelCrop, `clap` in MP4 and MOV."""

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

from liquidvision.errors import SourceError
from liquidvision.video.read.container import check_untiled, open_container, public_name
from liquidvision.video.read.orientation import AS_STORED, Orientation, frame_orientation

log = logging.getLogger(__name__)

FORMATS_WITH_CROPPING = ("matroska", "mov")  # prefixes of FFmpeg's names
# Matroska's elements (RFC 9559): the path to the description of a video track, and the edges that are cut off.
VIDEO_ELEMENTS = (0x18538067, 0x1654AE6B, 0xAE, 0xE0)  # Segment, Tracks, TrackEntry, Video
BOTTOM, TOP, LEFT, RIGHT = 0x54AA, 0x54BB, 0x54CC, 0x54DD


@dataclass(frozen=True, slots=True)
class Cropping:
    """Rows and columns at the edges of the stored pictures that are not shown."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def fits(self, width: int, height: int) -> bool:
        """Return whether something of a picture is left."""
        return self.left + self.right < width and self.top + self.bottom < height

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the part of a picture, (height, width, ...), that is shown; a view of its memory."""
        height, width = image.shape[:2]
        if not self.fits(width, height):
            return image
        return image[self.top : height - self.bottom, self.left : width - self.right]


WHOLE = Cropping()


class Cropper:
    """Crops decoded pictures, without copying them."""

    def __init__(self, cropping: Cropping) -> None:
        self.cropping, self._crops_nothing = cropping, cropping == WHOLE
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None

    def crop(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the part of a frame that is shown; the whole frame where nothing would be left."""
        if self._crops_nothing or not self.cropping.fits(frame.width, frame.height):
            return frame
        form = frame.width, frame.height, frame.format.name
        if self._graph is None or form != self._form:
            self._graph, self._form = self._crop_graph(frame), form
        times = frame.pts, frame.dts, frame.duration, frame.time_base
        self._graph.vpush(frame)
        shown = self._graph.vpull()
        assert isinstance(shown, av.VideoFrame)
        shown.pts, shown.dts, shown.duration, shown.time_base = times
        return shown

    def _crop_graph(self, frame: av.VideoFrame) -> Graph:
        cut, graph = self.cropping, Graph()
        width, height = frame.width - cut.left - cut.right, frame.height - cut.top - cut.bottom
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
        )
        crop = graph.add("crop", f"w={width}:h={height}:x={cut.left}:y={cut.top}:exact=1")
        source.link_to(crop)
        crop.link_to(graph.add("buffersink"))
        graph.configure()
        return graph


def stated_cropping(container: av.container.InputContainer, stream: av.VideoStream) -> Cropping:
    """Return the cropping that a container states for a video stream.

    FFmpeg reads it from every container that has it, but PyAV does not show it. It is read from the header of a
    Matroska file that FFmpeg writes for the stream, into memory.
    """
    if not container.format.name.startswith(FORMATS_WITH_CROPPING):
        return WHOLE
    header = io.BytesIO()
    try:
        copy = av.open(header, "w", format="matroska")
        try:
            copy.add_stream_from_template(stream)
            copy.start_encoding()
        finally:
            with suppress(av.error.FFmpegError):  # a trailer without packets, of no interest
                copy.close()
    except (av.error.FFmpegError, ValueError) as error:
        log.info("the cropping is not known: %s", error)
        return WHOLE
    found = dict(video_elements(header.getvalue()))
    left, top, right, bottom = (int.from_bytes(found.get(edge, b""), "big") for edge in (LEFT, TOP, RIGHT, BOTTOM))
    return Cropping(left, top, right, bottom)


@dataclass(frozen=True, slots=True)
class Storage:
    """How a file stores its pictures.

    Attributes:
        cropping, orientation: what makes them upright.
        interlaced: whether the first one is made of two fields.
    """

    cropping: Cropping = WHOLE
    orientation: Orientation = AS_STORED
    interlaced: bool = False


def file_storage(path: str) -> Storage:
    """Return how a file stores the pictures of its first video track; as they are, where FFmpeg cannot read it.

    Raises:
        SourceError: it holds a picture in tiles.
    """
    try:
        container = open_container(path)
    except SourceError:
        return Storage()
    with container:
        check_untiled(container, public_name(path))
        try:
            stream = container.streams.video[0]
            frame = next(container.decode(stream), None)
            if frame is None:
                return Storage(stated_cropping(container, stream))
            return Storage(stated_cropping(container, stream), frame_orientation(frame), frame.interlaced_frame)
        except (av.error.FFmpegError, ValueError, IndexError):
            return Storage()


def video_elements(data: bytes, path: tuple[int, ...] = VIDEO_ELEMENTS) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and contents of the elements below a path of Matroska's elements."""
    place = 0
    while place < len(data):
        number, place = read_number(data, place, keep_marker=True)
        size, place = read_number(data, place)
        body = data[place : place + size]
        if not path:
            yield number, body
        elif number == path[0]:
            yield from video_elements(body, path[1:])
        place += size


def read_number(data: bytes, place: int, *, keep_marker: bool = False) -> tuple[int, int]:
    """Return a number of variable length (RFC 8794, section 4) and the place after it.

    The leading zeros of the first byte state the length, and a 1 follows them, which belongs to an element's number.
    """
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), place + length
