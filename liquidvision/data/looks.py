"""What a video looks like, in few numbers, so that copies are recognised although they were encoded again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from liquidvision.video.pixels import Pixels
from liquidvision.video.read.reader import DecodedPicture

GRID = 16  # cells of a picture's height and of its width
FIRST_SPACING = 0.04  # seconds between two samples of a short video; it doubles as a video gets longer
MAX_SAMPLES = 32
LUMA = np.array((0.299, 0.587, 0.114), np.float32)
DURATION_SHARE, DURATION_SECONDS = 0.01, 0.1  # by which the durations of copies may differ: the last frame's own
MAX_DIFFERENCE = 6.0  # between the mean pictures of copies, in 0..255
# Share of the movement. In clips of gestures, copies in three encodings came up to 0.04, and different gestures of one
# person in one place down to 0.38; this is about the middle. Tried on clips of fights, it found all copies only.
MAX_UNEXPLAINED = 0.22
NOISE = 0.5  # that an encoder may add to the brightness of a cell, in 0..255
STILL = 0.5  # movement, in 0..255, below which a video shows a still picture
MAX_STILL_DIFFERENCE = 0.5  # between copies of a still picture


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a video looks like.

    Attributes:
        samples: (n, GRID²) brightness in 0..255 of the frames shown at 0, 1, ... n - 1 times `spacing`; at most
            MAX_SAMPLES.
        color: (3, GRID²) RGB of the mean of these frames, in 0..255.
        spacing: seconds; 0.04 times a power of two.
        seconds: the video's duration.
    """

    samples: np.ndarray
    color: np.ndarray
    spacing: float
    seconds: float


@dataclass(slots=True)
class LookSampler:
    """Collects the look of a video while its frames pass; most of them are not converted."""

    spacing: float = FIRST_SPACING
    samples: list[np.ndarray] = field(default_factory=list)
    _shown: DecodedPicture | None = None
    _cells: np.ndarray | None = None

    def see(self, picture: DecodedPicture, seconds: float) -> None:
        """Take a picture that is shown from `seconds` on, counted from the first picture."""
        self._sample_until(seconds)
        self._shown, self._cells = picture, None

    def finish(self, seconds: float) -> Look:
        """Return the look of a video that ends at `seconds`."""
        self._sample_until(seconds)
        if not self.samples and self._shown is not None:
            self.samples.append(color_cells(self._shown.frame_pixels()))
        cells = np.stack(self.samples)
        return Look(np.einsum("c,ncg->ng", LUMA, cells), cells.mean(0), self.spacing, seconds)

    def _sample_until(self, seconds: float) -> None:
        while self._shown is not None and len(self.samples) * self.spacing < seconds:
            if self._cells is None:
                self._cells = color_cells(self._shown.frame_pixels())
            self.samples.append(self._cells)
            if len(self.samples) == MAX_SAMPLES:
                del self.samples[1::2]
                self.spacing *= 2


def color_cells(pixels: np.ndarray | Pixels) -> np.ndarray:
    """Return a picture's colours in a grid of cells, (3, GRID²) float32 RGB in 0..255."""
    fine = 2 * GRID
    small = pixels.resized(fine, fine) if isinstance(pixels, Pixels) else None
    if small is None:
        image = pixels.rgb() if isinstance(pixels, Pixels) else pixels
        rows, columns = (area_weights(side, fine) for side in image.shape[:2])
        small = np.einsum("ih,hwc,jw->cij", rows, image, columns, optimize=True)
    return small.reshape(3, GRID, 2, GRID, 2).mean((2, 4)).reshape(3, -1).astype(np.float32)


def area_weights(size: int, cells: int) -> np.ndarray:
    """Return (cells, size) weights with which a line of pixels is averaged over cells of equal length."""
    edges = np.linspace(0, size, cells + 1, dtype=np.float32)
    pixels = np.arange(size, dtype=np.float32)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(inside, 0)
    return weights / weights.sum(1, keepdims=True)


def find_alike(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Return the pairs of videos that look the same, (first, second) numbers, in order.

    Compared are the mean picture, the movement of brightness, and the duration. A copy that was cut shorter, cropped,
    mirrored or played at another speed is not recognised.
    """
    seconds = np.array([look.seconds for look in looks])
    means = np.array([look.color.reshape(-1) for look in looks])
    order = np.argsort(seconds, kind="stable")
    pairs = []
    for place, first in enumerate(order):
        longest = duration_limit(seconds[first])
        later = order[place + 1 : np.searchsorted(seconds[order], longest, side="right")]
        near = np.sqrt(np.square(means[later] - means[first]).mean(1)) < MAX_DIFFERENCE
        pairs += [(min(first, i), max(first, i)) for i in later[near] if look_alike(looks[first], looks[i])]
    return sorted((int(first), int(second)) for first, second in pairs)


def duration_limit(seconds: float) -> float:
    """Return the duration of the longest video that may be a copy of one of `seconds`."""
    return seconds * (1 + DURATION_SHARE) + DURATION_SECONDS


def look_alike(one: Look, other: Look) -> bool:
    """Return whether two videos of about the same mean picture show the same."""
    difference, unexplained = compare_looks(one, other)
    if max(measure_movement(one), measure_movement(other)) < STILL:
        return difference < MAX_STILL_DIFFERENCE
    return unexplained < MAX_UNEXPLAINED


def measure_movement(look: Look) -> float:
    """Return by how much the brightness of a video varies over time, root mean square, in 0..255."""
    return float(np.sqrt(np.square(look.samples - look.samples.mean(0)).mean()))


def compare_looks(one: Look, other: Look) -> tuple[float, float]:
    """Return by how much two videos differ.

    Returns:
        The root mean square difference of brightness, in 0..255; and the share of the movement (variance over time) of
        the two that the difference makes up, less the noise of encoding: about 0 for copies, about 1 for unrelated
        movements.
    """
    a, b = one.samples, other.samples
    if one.spacing < other.spacing:
        a = a[:: round(other.spacing / one.spacing)]
    elif other.spacing < one.spacing:
        b = b[:: round(one.spacing / other.spacing)]
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    between = a - b
    moved = (np.square(a - a.mean(0)).mean() + np.square(b - b.mean(0)).mean()) / 2
    left = max(0.0, np.square(between - between.mean(0)).mean() - NOISE**2)
    unexplained = left / (2 * moved) if moved else 1.0
    return float(np.sqrt(np.square(between).mean())), float(unexplained)
