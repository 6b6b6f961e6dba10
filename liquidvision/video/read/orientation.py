"""Which way up a stored picture is shown: the eight orientations of a display matrix."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type

# FFmpeg's kinds of side data that PyAV has no name for, such as EXIF.
LAST_NAMED = max(cast(int, kind.value) for kind in Type)
UNNAMED_SIDE_DATA = range(LAST_NAMED + 1, LAST_NAMED + 17)


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture becomes upright: it is rotated, then mirrored from left to right.

    Attributes:
        quarter_turns: counter-clockwise quarter turns, 0 to 3.
        mirrored: whether the rotated picture is mirrored from left to right.
    """

    quarter_turns: int = 0
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.quarter_turns % 2 == 1

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return a picture or plane, (height, width, ...), upright; a view of its memory."""
        if self.quarter_turns:
            image = np.rot90(image, self.quarter_turns)
        return image[:, ::-1] if self.mirrored else image


AS_STORED = Orientation()


def frame_orientation(frame: av.VideoFrame) -> Orientation:
    """Return the orientation that a decoded frame's display matrix states."""
    try:
        side_data = frame.side_data
    except ValueError:  # one of the kinds is unknown to PyAV
        side_data = without_unnamed_side_data(frame).side_data
    matrix: Any = cast(Any, side_data).get(Type.DISPLAYMATRIX)  # PyAV's own annotation names another type of key
    return AS_STORED if matrix is None else matrix_orientation(struct.unpack("=9i", bytes(matrix)[:36]))


def without_unnamed_side_data(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame with the same picture, and only the side data that PyAV can read."""
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    for kind in UNNAMED_SIDE_DATA:
        delete = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(delete)
        last = delete
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.vpush(frame)
    return graph.vpull()


def matrix_orientation(matrix: tuple[int, ...]) -> Orientation:
    """Return the orientation closest to a display matrix (ISO/IEC 14496-12, 6.2.2).

    Args:
        matrix: nine numbers (a, b, u, c, d, v, x, y, w): a stored point (p, q) is shown at (a p + c q, b p + d q).
    """
    a, b, _, c, d, *_ = matrix
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    flip_x, flip_y = (c < 0, b < 0) if transposed else (a < 0, d < 0)
    # Transposed, then flipped left to right and top to bottom; the same as a rotation and at most one flip.
    mirrored = transposed ^ flip_x ^ flip_y
    turns = (3 if flip_x ^ mirrored else 1) if transposed else 2 * flip_y
    return Orientation(turns, mirrored)
