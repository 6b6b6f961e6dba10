"""The motion crop: a square that follows what moves in one stream and replaces the whole frame."""

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

GRID = 32  # cells along each side of the network's input in which motion is measured
BACKGROUND_TAU = 0.12  # time constant of the background, in seconds
MOTION_TAU = 0.5  # time constant of the recent change, in seconds
CROP_TAU = 0.25  # time constant of the square's position and side, in seconds
NOISE_FLOOR = 2.0  # change of a cell, of 255, that is not motion
MIN_CROP = 0.4  # smallest side of the square, as a share of the frame's shorter side
CROP_SPREADS = 4.4  # side of the square in standard deviations of where the motion is
MOTION_POWER = 1.5  # exponent that gives strong motion more weight than widespread weak motion
MIN_MOTION = 1e-3  # sum of all cells' change below which nothing moves
STATE_SIZE = 1 + 2 * GRID * GRID + 3  # numbers in a saved state
LUMA_BT601 = (0.299, 0.587, 0.114)  # weights of R', G' and B' in luma (ITU-R BT.601)


class MotionState(NamedTuple):
    """The state of a `MotionCrop` after a frame. Its arrays are never written to.

    Attributes:
        time: the frame's time, in seconds on the source's clock.
        background: (GRID, GRID), a slow mean of luma, 0 to 255.
        motion: (GRID, GRID) recent change of each cell, 0 to 255.
        square: vertical and horizontal centre of the square, and its side, in pixels.
    """

    time: float
    background: np.ndarray
    motion: np.ndarray
    square: np.ndarray


class MotionCrop:
    """Prepares the frames of one stream, in order, for a backbone: as crops around what moves.

    Leaky integrators, whose steps use the true time between frames, hold the background, the recent change of each cell
    of a grid, and the position and side of the square. Where nothing has moved, the square is the largest one in the
    centre of the frame. For a backbone without a motion crop whole frames are prepared, and nothing is remembered.

    Args:
        backbone: whose input to prepare.

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
        return torch.from_numpy(
            np.concatenate([[last.time], last.background.ravel(), last.motion.ravel(), last.square])
        )

    def load(self, state: Tensor) -> None:
        """Continue from what `to_tensor` returned."""
        time, (background, motion) = float(state[0]), state[1:-3].numpy().reshape(2, GRID, GRID)
        self.last = None if math.isnan(time) else MotionState(time, background, motion, state[-3:].numpy())

    def prepare(self, frame: Frame) -> Tensor:
        """Return the network's input (1, 3, *size) for the stream's next frame.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        if not self._backbone.motion_crop:
            return self._backbone.prepare(frame.pixels)
        square = self.next_square(self._backbone.prepare_whole(frame.pixels)[0], frame)
        return self._backbone.preprocessing.crop(frame.pixels, square)

    @torch.inference_mode()
    def embed(self, frames: Sequence[Frame]) -> Tensor:
        """Return embeddings (n, dim) of the stream's next frames; see `prepare`."""
        pixels = torch.cat([self.prepare(frame) for frame in frames])
        return self._backbone(pixels)

    def next_square(self, whole: Tensor, frame: Frame) -> CropSquare:
        """Return the square to crop from the next frame; `whole` (3, h, w) is the network's input for all of it."""
        cells = functional.adaptive_avg_pool2d(whole.cpu(), GRID)
        cells = functional.avg_pool2d(cells[None], 3, 1, 1, count_include_pad=False)[0]
        light = (torch.tensordot(self._weights, cells, 1) + self._black).double().numpy()
        visible = self._backbone.preprocessing.visible_region(image_size(frame.pixels))
        if self.last is None:
            still = np.zeros_like(light)
            self.last = MotionState(frame.time, light, still, target_square(visible, still))
        else:
            last_time, background, motion, square = self.last
            seconds = frame.time - last_time
            if seconds < 0:  # the clock started again, as in the next segment of a feed: that follows at once
                seconds = frame.duration_seconds or 0.0
            motion = motion + decay_fraction(seconds, MOTION_TAU) * (
                np.maximum(np.abs(light - background) - NOISE_FLOOR, 0) - motion
            )
            background = background + decay_fraction(seconds, BACKGROUND_TAU) * (light - background)
            square = square + decay_fraction(seconds, CROP_TAU) * (target_square(visible, motion) - square)
            self.last = MotionState(frame.time, background, motion, square)
        return fit_square(visible, *self.last.square)


def target_square(visible: Region, motion: np.ndarray) -> np.ndarray:
    """Return where the square should go: its vertical and horizontal centre and its side, in pixels."""
    most = min(visible.height, visible.width)
    weights = motion**MOTION_POWER
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
    """Return the share of the way to its input that a leaky integrator covers in this many seconds."""
    return -math.expm1(-seconds / tau)
