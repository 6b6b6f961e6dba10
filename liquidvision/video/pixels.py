"""Pictures in the form in which a source holds them: decoded planes, RGB on request."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

WHOLE_PICTURE = slice(None), slice(None)


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
    def color_tags(self) -> tuple[int, bool, int, int]:
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
    def resized(self, height: int, width: int, region: tuple[slice, slice] = WHOLE_PICTURE) -> np.ndarray | None:
        """The upright picture shrunk or stretched: (3, height, width) float32 RGB, 0..255, an array of one's own.

        Of it only `region`, its rows and columns. None where only `rgb` gives this picture's colours.
        """

    @abstractmethod
    def planes(self) -> Planes | None:
        """The upright picture's planes, not to be written to; None where `rgb` alone gives its colours."""
