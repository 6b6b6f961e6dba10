"""What is done to a picture before the network sees it."""

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
    """A part of a picture, in its pixels."""

    top: float
    left: float
    height: float
    width: float


class CropSquare(NamedTuple):
    """A square part of a picture, in its pixels; all numbers are even, as colour of half the resolution wants it."""

    top: int
    left: int
    side: int


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the network's input.

    Attributes:
        size: height and width of the input, in pixels.
        shorter: where given, the shorter side is resized to this and the centre of `size` cut out,
            as torchvision's classifiers were trained; None stretches the whole picture to `size`,
            so that nothing at its edges is lost.
        mean, std: per channel, of values in 0..1.

    Raises:
        UsageError: a size that is not positive, or a mean or std that is not three numbers.
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
        """(n, 3, h, w) uint8 RGB to (n, 3, *size) float32, standardised."""
        # Not above: that torchvision fits the installed torch is found out, and said, where backbones are.
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as transforms

        if self.shorter is None:
            images = transforms.resize(images, list(self.size), InterpolationMode.BILINEAR, antialias=True)
        else:
            images = transforms.resize(images, [self.shorter], InterpolationMode.BILINEAR, antialias=True)
            images = transforms.center_crop(images, list(self.size))
        return self._standardise(images.float())

    def straight(self, pixels: Pixels) -> Tensor | None:
        """(1, 3, *size) of a picture that can shrink itself, without its RGB of the full size; None where it cannot.

        As exact as can be: no rounding to 8 bits on the way.
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

    def visible(self, size: tuple[int, int]) -> Region:
        """What the network's input shows of a picture of this height and width."""
        height, width = size
        if self.shorter is None:
            return Region(0, 0, height, width)
        scale = min(size) / self.shorter
        tall, wide = (min(part * scale, whole) for part, whole in zip(self.size, size, strict=True))
        return Region((height - tall) / 2, (width - wide) / 2, tall, wide)

    def middle(self, size: tuple[int, int]) -> CropSquare:
        """The largest square in the middle of what the network's input shows of a picture of this height and width."""
        part = self.visible(size)
        return fit_square(part, part.top + part.height / 2, part.left + part.width / 2, max(size))

    def cut(self, image: np.ndarray | Pixels, square: CropSquare) -> Tensor:
        """(1, 3, *size) of a part of a picture, a frame's `pixels` or RGB (h, w, 3) uint8: shrunk or enlarged.

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
        """Standardise images of 0..255 in their place."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1) * 255
        return images.sub_(mean).div_(std)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocessing":
        """Raises TypeError, ValueError, KeyError or UsageError where `values` are not those of `to_json`."""
        height, width = values["size"]
        return cls(
            size=(int(height), int(width)),
            shorter=values["shorter"],
            mean=tuple(values["mean"]),
            std=tuple(values["std"]),
        )


def image_size(image: np.ndarray | Pixels) -> tuple[int, int]:
    """Height and width of a picture."""
    return image.size if isinstance(image, Pixels) else (image.shape[0], image.shape[1])


def fit_square(part: Region, y: float, x: float, side: float) -> CropSquare:
    """The square of about this side around a point, moved so that it lies in the part; as large as fits at most."""
    fitting = max(2, round(min(side, part.height, part.width)) // 2 * 2)
    top = min(max(y - fitting / 2, part.top), part.top + part.height - fitting)
    left = min(max(x - fitting / 2, part.left), part.left + part.width - fitting)
    return CropSquare(max(0, round(top) // 2 * 2), max(0, round(left) // 2 * 2), fitting)
