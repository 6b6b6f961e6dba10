"""Where to look: a square that follows what moves in one stream, cut out in place of the whole picture."""

import math
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.models.backbone import Backbone
from liquidvision.models.preprocessing import CropSquare, Region, fit_square, image_size
from liquidvision.video.frame import Frame

GRID = 32  # cells along each side of the network's input in which movement is looked for
BACKGROUND_TAU = 0.12  # seconds in which a picture becomes the ground that movement is seen before
MOTION_TAU = 0.5  # seconds for which a movement is remembered
CROP_TAU = 0.25  # seconds by which the square follows
NOISE_FLOOR = 2.0  # of 255: what a cell may change without having moved
MIN_CROP = 0.4  # of the shorter side: the smallest square
CROP_SPREADS = 4.4  # standard deviations, of where it moves, that the square is wide
MOTION_POWER = 1.5  # what moves much counts for more than much that moves a little
MIN_MOTION = 1e-3  # sum of all cells' movement, below which nothing moves
STATE_SIZE = 1 + 2 * GRID * GRID + 3  # numbers of that
LUMA_BT601 = (0.299, 0.587, 0.114)  # of R', G' and B' in luma (ITU-R BT.601)


class MotionState(NamedTuple):
    """What is known after a frame; the arrays are never written to.

    Attributes:
        time: of the frame, seconds on the source's clock.
        ground: (GRID, GRID) luma, 0..255, slowly.
        moved: (GRID, GRID) how much each cell changed lately, of 255.
        place: the square's centre down and across, and its side, in pixels.
    """

    time: float
    ground: np.ndarray
    moved: np.ndarray
    place: np.ndarray


class MotionCrop:
    """What one stream's frames are to the network: prepared one after the other, in their order.

    A backbone that looks at what moves is shown a square around it: leaky integrators, stepped by the seconds that
    really passed, keep the ground, how much each cell moved lately, and the square's place and side. Where nothing has
    moved it is the middle of the picture, as large as fits.

    Args:
        backbone: what it prepares for; without a motion crop it needs nothing of the past.

    Attributes:
        last: the state after the last prepared frame; None before the first. Set it to continue from another.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        std, mean = (torch.tensor(part) for part in (backbone.preprocessing.std, backbone.preprocessing.mean))
        self._weights = 255 * std * torch.tensor(LUMA_BT601)
        self._black = float(255 * (mean * torch.tensor(LUMA_BT601)).sum())
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self.last: MotionState | None = None

    def copy(self) -> "MotionCrop":
        """Return a crop that continues from here on its own."""
        return copy(self)

    def to_tensor(self) -> Tensor:
        """Return the state after the last frame as (STATE_SIZE,) float64."""
        last = self.last or MotionState(math.nan, np.zeros((GRID, GRID)), np.zeros((GRID, GRID)), np.zeros(3))
        return torch.from_numpy(np.concatenate([[last.time], last.ground.ravel(), last.moved.ravel(), last.place]))

    def load(self, state: Tensor) -> None:
        """Continue from what `to_tensor` returned."""
        time, (ground, moved) = float(state[0]), state[1:-3].numpy().reshape(2, GRID, GRID)
        self.last = None if math.isnan(time) else MotionState(time, ground, moved, state[-3:].numpy())

    def prepare(self, frame: Frame) -> Tensor:
        """The network's input of the stream's next frame, see `Backbone.prepare`.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if not self._backbone.motion_crop:
            return self._backbone.prepare(frame.pixels)
        square = self.follow(self._backbone.whole(frame.pixels)[0], frame)
        return self._backbone.preprocessing.cut(frame.pixels, square)

    @torch.inference_mode()
    def embed(self, frames: Sequence[Frame]) -> Tensor:
        """Embeddings (n, dim) of the stream's next frames; raises as `prepare`."""
        pixels = torch.cat([self.prepare(frame) for frame in frames])
        return self._backbone(pixels)

    def follow(self, whole: Tensor, frame: Frame) -> CropSquare:
        """The square to cut out of the stream's next frame, of which the network's input (3, h, w) is `whole`."""
        cells = functional.adaptive_avg_pool2d(whole.cpu(), GRID)
        cells = functional.avg_pool2d(cells[None], 3, 1, 1, count_include_pad=False)[0]
        light = (torch.tensordot(self._weights, cells, 1) + self._black).double().numpy()
        visible = self._backbone.preprocessing.visible(image_size(frame.pixels))
        if self.last is None:
            still = np.zeros_like(light)
            self.last = MotionState(frame.time, light, still, target_square(visible, still))
        else:
            last_time, ground, moved, place = self.last
            seconds = frame.time - last_time
            if seconds < 0:  # the clock started again, as that of a feed's next segment: it follows at once
                seconds = frame.duration_seconds or 0.0
            moved = moved + decay_fraction(seconds, MOTION_TAU) * (
                np.maximum(np.abs(light - ground) - NOISE_FLOOR, 0) - moved
            )
            ground = ground + decay_fraction(seconds, BACKGROUND_TAU) * (light - ground)
            place = place + decay_fraction(seconds, CROP_TAU) * (target_square(visible, moved) - place)
            self.last = MotionState(frame.time, ground, moved, place)
        return fit_square(visible, *self.last.place)


def target_square(visible: Region, moved: np.ndarray) -> np.ndarray:
    """Where the square ought to be: its centre down and across, and its side, in pixels."""
    most = min(visible.height, visible.width)
    weights = moved**MOTION_POWER
    total = float(weights.sum())
    if total < MIN_MOTION:
        return np.array([visible.top + visible.height / 2, visible.left + visible.width / 2, most])
    places = (np.arange(GRID) + 0.5) / GRID
    down, across = weights.sum(1) / total, weights.sum(0) / total
    y, x = float(down @ places), float(across @ places)
    spread = (down @ (places - y) ** 2) * visible.height**2 + (across @ (places - x) ** 2) * visible.width**2
    side = min(max(CROP_SPREADS * math.sqrt(spread / 2), MIN_CROP * most), most)
    return np.array([visible.top + y * visible.height, visible.left + x * visible.width, side])


def decay_fraction(seconds: float, tau: float) -> float:
    """How far a leaky integrator goes towards its input in so many seconds."""
    return -math.expm1(-seconds / tau)
