"""Pictures in their source's own format, converted to RGB on request."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

WHOLE_PICTURE = slice(None), slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A picture as 8-bit Y'CbCr planes with chroma at half resolution (4:2:0), the usual form in video files.

    Attributes:
        y: (height, width) uint8; both sides are even, an odd side of the source is padded with its last row or column.
        u, v: (height / 2, width / 2) uint8.
        matrix: number of the conversion matrix in ISO/IEC 23091-2 (H.273): 1 BT.709, 5 and 6 BT.601, 9 BT.2020.
        full_range: True if black and white are 0 and 255; False if they are 16 and 235.
        primaries, transfer: numbers of the primaries and the transfer function in H.273; 2 (unspecified) where the
            source does not state them.
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    matrix: int
    full_range: bool
    primaries: int = 2
    transfer: int = 2

    @property
    def color_tags(self) -> tuple[int, bool, int, int]:
        """Matrix, range, primaries and transfer function: the properties that all pictures of one video share."""
        return self.matrix, self.full_range, self.primaries, self.transfer


class Pixels(ABC):
    """A picture in its source's own format. Conversion to RGB happens only on request.

    Attributes:
        size: height and width of the upright picture.
    """

    size: tuple[int, int]

    @abstractmethod
    def rgb(self) -> np.ndarray:
        """Return the upright picture, (height, width, 3) uint8; every call returns the same array."""

    @abstractmethod
    def resized(self, height: int, width: int, region: tuple[slice, slice] = WHOLE_PICTURE) -> np.ndarray | None:
        """Return the upright picture resized to (height, width), as a new (3, h, w) float32 RGB array in 0..255.

        Args:
            height, width: size to resize the whole picture to.
            region: rows and columns of the resized picture to return.

        Returns:
            The region, or None if only `rgb` can convert this picture's colours.
        """

    @abstractmethod
    def planes(self) -> Planes | None:
        """Return the upright picture's planes (read-only), or None if only `rgb` can convert its colours."""
