"""What a frame may look like to the backbone: as it is, in training's variations, or degraded for a test."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from liquidvision.errors import UsageError

PLAIN = "plain"
Look = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a video: pictures (h, w, 3) uint8 RGB to the like, the same in every run.

    Attributes:
        name: "plain"; "mirror", left and right exchanged; "crop:N", a cut-out of 75 to 95 % of each side at a
            random place; "light:N", brightness, contrast and colour changed at random; both are one for a whole
            clip, and N, a whole number, chooses which. For tests: "noise:S", Gaussian noise of standard deviation
            S, a share of the range from 0 to 1, anew on every frame; "blur:P", Gaussian blur of P per cent of the
            shorter side; "dark:G", G of the light, 0 to 1, with the noise of a sensor that gets little of it.

    Raises:
        UsageError: a name that is none of these.
    """

    name: str

    def __post_init__(self) -> None:
        kind, value = self.parts
        ranges = {"noise": (0, 1), "blur": (0, 50), "dark": (0, 1), "crop": (0, 1e9), "light": (0, 1e9)}
        known = value is None if kind in (PLAIN, "mirror") else value is not None and kind in ranges
        if not known or (value is not None and not ranges[kind][0] <= value <= ranges[kind][1]):
            raise UsageError(
                f"no view is called {self.name!r}; expected plain, mirror, crop:N, light:N, noise:0..1, blur:0..50 "
                "or dark:0..1"
            )

    @property
    def parts(self) -> tuple[str, float | None]:
        """The kind, and its value."""
        kind, colon, value = self.name.partition(":")
        try:
            return kind, float(value) if colon else None
        except ValueError:
            return "", None

    def __call__(self, image: np.ndarray, index: int) -> np.ndarray:
        """Frame number `index` of a clip in this view."""
        kind, value = self.parts
        if kind == PLAIN:
            return image
        if kind == "mirror":
            return image[:, ::-1]
        assert value is not None
        if kind == "crop":
            return crop(image, random_of(self.name))
        if kind == "light":
            return relight(image, random_of(self.name))
        if kind == "blur":
            return blur(image, value / 100 * min(image.shape[:2]))
        draw = random_of(f"{self.name} {index}")
        if kind == "noise":
            return to_bytes(image + draw.standard_normal(image.shape, np.float32) * (255 * value))
        # Half a per cent of the range is read noise; the rest is the shot noise of few photons.
        light = image.astype(np.float32) * value
        return to_bytes(light + draw.standard_normal(image.shape, np.float32) * np.sqrt(1.3**2 + 0.5 * light))


def random_of(name: str) -> np.random.Generator:
    """A generator that draws the same for the same name, everywhere."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def crop(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    height, width, _ = image.shape
    sides = [max(1, round(side * draw.uniform(0.75, 0.95))) for side in (height, width)]
    top, left = (int(draw.integers(whole - side + 1)) for whole, side in zip((height, width), sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]]


def relight(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    gamma, contrast, brightness = draw.uniform(0.7, 1.4), draw.uniform(0.7, 1.3), draw.uniform(-0.1, 0.1)
    colour = draw.uniform(0.85, 1.15, 3)
    curve = (np.linspace(0, 1, 256)[:, None] ** gamma * colour - 0.5) * contrast + 0.5 + brightness
    return np.stack([to_bytes(curve[:, c] * 255)[image[..., c]] for c in range(3)], -1)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels."""
    reach = int(np.ceil(3 * sigma))
    if reach == 0:
        return image
    x = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    pixels = functional.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    pixels = functional.conv2d(pixels, kernel[:, :, None], groups=3)
    pixels = functional.conv2d(pixels, kernel[:, :, :, None], groups=3)
    return to_bytes(pixels[0].permute(1, 2, 0).numpy())


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
