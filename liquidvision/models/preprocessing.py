"""Preprocessing: resize, crop and standardise frames for the network."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from liquidvision.errors import UsageError
from liquidvision.video.color import BT601, LUMA_WEIGHTS, planes_to_rgb
from liquidvision.video.pixels import Pixels

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Region(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: float
    left: float
    height: float
    width: float


class CropSquare(NamedTuple):
    """A square of an image, in pixels; all numbers are even, since 4:2:0 chroma has half the resolution."""

    top: int
    left: int
    side: int


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the network's input: resized, and standardised per channel.

    Attributes:
        size: height and width of the input, in pixels, 1 to 8192.
        shorter: resize the shorter side to this many pixels and crop the centre of `size`, as torchvision's classifiers
            were trained. None stretches the whole image to `size`, so that nothing at its edges is lost.
        mean: per channel, of values from 0 to 1.
        std: per channel, of values from 0 to 1.

    Raises:
        UsageError: a size out of range, or a mean or std that is not three numbers.
    """

    size: tuple[int, int] = (224, 224)
    shorter: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        sizes = [*self.size, self.size[0] if self.shorter is None else self.shorter]
        if not all(isinstance(n, int) and 1 <= n <= 8192 for n in sizes):
            raise UsageError(f"the network's input is {sizes} pixels; expected whole numbers from 1 to 8192")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(s > 0 for s in self.std):
            raise UsageError(f"mean is {self.mean} and std {self.std}; expected three numbers each, std above 0")

    def __call__(self, images: Tensor) -> Tensor:
        """Return standardised images (n, 3, *size) float32 of RGB images (n, 3, h, w) uint8."""
        # Imported here, so that only zoo.py reports a torchvision that does not fit the installed torch.
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as transforms

        if self.shorter is None:
            images = transforms.resize(images, list(self.size), InterpolationMode.BILINEAR, antialias=True)
        else:
            images = transforms.resize(images, [self.shorter], InterpolationMode.BILINEAR, antialias=True)
            images = transforms.center_crop(images, list(self.size))
        return self._standardise(images.float())

    def resize_planes(self, pixels: Pixels) -> Tensor | None:
        """Return the input (1, 3, *size) of an image that can resize itself without full-size RGB; None if it cannot.

        Nothing is rounded to 8 bits on the way.
        """
        height, width = self.size
        if self.shorter is not None:
            tall, wide = pixels.size
            if min(height, width) > self.shorter:
                return None
            least = min(tall, wide)
            height, width = (max(1, int(self.shorter * side / least)) for side in (tall, wide))
        top, left = (round((whole - part) / 2) for whole, part in zip((height, width), self.size, strict=True))
        centre = pixels.resized(height, width, (slice(top, top + self.size[0]), slice(left, left + self.size[1])))
        return None if centre is None else self._standardise(torch.from_numpy(centre[None]))

    def visible_region(self, size: tuple[int, int]) -> Region:
        """Return the part of an image of this height and width that the network's input shows."""
        height, width = size
        if self.shorter is None:
            return Region(0, 0, height, width)
        scale = min(size) / self.shorter
        tall, wide = (min(part * scale, whole) for part, whole in zip(self.size, size, strict=True))
        return Region((height - tall) / 2, (width - wide) / 2, tall, wide)

    def center_square(self, size: tuple[int, int]) -> CropSquare:
        """Return the largest square in the centre of the visible region of an image of this height and width."""
        part = self.visible_region(size)
        return fit_square(part, part.top + part.height / 2, part.left + part.width / 2, max(size))

    def crop(self, image: np.ndarray | Pixels, square: CropSquare) -> Tensor:
        """Return the input (1, 3, *size) for a square of an image, a frame's `pixels` or RGB (h, w, 3) uint8.

        Raises:
            SourceError: the pixel format cannot be turned into RGB.
        """
        top, left, side = square
        height, width = self.size
        how = cv2.INTER_AREA if side > min(self.size) else cv2.INTER_LINEAR
        planes = image.planes() if isinstance(image, Pixels) else None
        if planes is None:
            rgb = image.rgb() if isinstance(image, Pixels) else image
            part = np.ascontiguousarray(rgb[top : top + side, left : left + side])
            colours = cv2.resize(part, (width, height), interpolation=how).transpose(2, 0, 1).astype(np.float32)
        else:
            parts = [planes.y[top : top + side, left : left + side]]
            top, left, side = top // 2, left // 2, side // 2
            parts += [plane[top : top + side, left : left + side] for plane in (planes.u, planes.v)]
            sized = [cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=how) for part in parts]
            luma = LUMA_WEIGHTS.get(planes.matrix, LUMA_WEIGHTS[BT601])
            colours = planes_to_rgb(np.stack(sized), luma, 8, full_range=planes.full_range)
        return self._standardise(torch.from_numpy(np.ascontiguousarray(colours))[None])

    def _standardise(self, images: Tensor) -> Tensor:
        """Standardise images of values 0 to 255 in place."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return images.sub_(mean).div_(std)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """Return the preprocessing that `to_json` described.

        Raises:
            TypeError, ValueError, KeyError, UsageError: damaged values.
        """
        height, width = values["size"]
        return cls(
            size=(int(height), int(width)),
            shorter=values["shorter"],
            mean=tuple(values["mean"]),
            std=tuple(values["std"]),
        )


def image_size(image: np.ndarray | Pixels) -> tuple[int, int]:
    """Return height and width of an image."""
    return image.size if isinstance(image, Pixels) else (image.shape[0], image.shape[1])


def fit_square(part: Region, y: float, x: float, side: float) -> CropSquare:
    """Return a square of about this side around a point, moved and shrunk so that it fits into the region."""
    fitting = max(2, round(min(side, part.height, part.width)) // 2 * 2)
    top = min(max(y - fitting / 2, part.top), part.top + part.height - fitting)
    left = min(max(x - fitting / 2, part.left), part.left + part.width - fitting)
    return CropSquare(max(0, round(top) // 2 * 2), max(0, round(left) // 2 * 2), fitting)
