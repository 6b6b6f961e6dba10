"""Views: variants of a video, for training (mirrored, cropped, relit) and for robustness tests (noise, blur, dark)."""

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from liquidvision.errors import UsageError

PLAIN_VIEW = "plain"
NAMES = "plain, mirror, crop:SEED, light:SEED, noise:SIGMA, blur:PERCENT or dark:GAIN"
View = Callable[[np.ndarray, int], np.ndarray]

GRAINS = 240  # of noise along the shorter side, so that a network sees about the same noise at any resolution
GAMMA = 2.2  # stored values are approximately linear light to the power of 1 / GAMMA
FULL_WELL = 2000.0  # photo-electrons of white
READ_NOISE = 0.002  # standard deviation of a sensor's read noise, as a share of white


def make_view(name: str) -> View:
    """Return the function that makes a view's pictures from (h, w, 3) uint8 RGB and the frame's index.

    The same name, picture and index always give the same result. It may be smaller than the picture, or share its
    memory.

    - "plain": the picture itself.
    - "mirror": left and right swapped.
    - "crop:SEED": 70 to 100 % of both sides at a random position; the same for all frames.
    - "light:SEED": gain 0.65 to 1.3, gamma 0.75 to 1.33, and a gain of each colour of 0.9 to 1.1; the same for all.
    - "noise:SIGMA": Gaussian noise with a standard deviation of SIGMA (up to 1) of the range, different in each frame,
      in grains of 1/240 of the shorter side.
    - "blur:PERCENT": Gaussian blur with a standard deviation of PERCENT (up to 20) of the shorter side.
    - "dark:GAIN": the share GAIN (up to 1) of the light reaches the sensor, so that its shot and read noise shows.

    Raises:
        UsageError: no such view, or a number out of range.
    """
    kind, _, value = name.partition(":")
    if name == PLAIN_VIEW:
        return lambda image, index: image
    if name == "mirror":
        return lambda image, index: image[:, ::-1]
    if kind in ("crop", "light") and value.isdecimal():
        values = view_rng(name).random(5)
        return partial(crop_picture, values) if kind == "crop" else partial(relight, light_tables(values))
    degrade = {"noise": (add_noise, 1.0), "blur": (blur, 20.0), "dark": (dim_light, 1.0)}.get(kind)
    if degrade is None:
        raise UsageError(f"no view is called {name!r}; expected {NAMES}")
    change, maximum = degrade
    try:
        amount = float(value)
    except ValueError:
        amount = float("nan")
    if not 0 < amount <= maximum:
        raise UsageError(f"view {name!r} is out of range; expected {kind}: and a number above 0, at most {maximum:g}")
    return partial(change, name, amount)


def parse_views(text: str) -> tuple[str, ...]:
    """Return the views named in a text, between commas, each once.

    Raises:
        UsageError: no such view.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        make_view(name)
    return names


def view_rng(name: str) -> np.random.Generator:
    """Return a random generator that draws the same numbers for the same name, on every machine."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def crop_picture(values: np.ndarray, image: np.ndarray, index: int) -> np.ndarray:
    """Crop a picture by three values from 0 to 1: size, vertical position, horizontal position."""
    share = 0.7 + 0.3 * values[0]
    height, width = (max(1, round(share * side)) for side in image.shape[:2])
    top, left = round(values[1] * (image.shape[0] - height)), round(values[2] * (image.shape[1] - width))
    return image[top : top + height, left : left + width]


def light_tables(values: np.ndarray) -> np.ndarray:
    """Return the new value of each stored value and colour, (256, 3) uint8, by five values from 0 to 1."""
    gain, gamma = 0.65 * 2 ** values[0], 0.75 * (16 / 9) ** values[1]
    colours = 0.9 + 0.2 * values[2:]
    return to_bytes(255 * gain * colours * (np.arange(256)[:, None] / 255) ** gamma)


def relight(tables: np.ndarray, image: np.ndarray, index: int) -> np.ndarray:
    """Replace each colour's values by those of its table."""
    return np.stack([tables[:, colour][image[..., colour]] for colour in range(3)], -1)


def add_noise(name: str, sigma: float, image: np.ndarray, index: int) -> np.ndarray:
    """Add Gaussian noise to stored values."""
    return to_bytes(image + 255 * sigma * noise_grains(f"{name} {index}", image.shape))


def blur(name: str, percent: float, image: np.ndarray, index: int) -> np.ndarray:
    """Apply a Gaussian blur; a strong one to a smaller picture, which loses nothing more."""
    height, width = image.shape[:2]
    sigma = percent / 100 * min(height, width)
    pixels = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    shrink = int(sigma / 1.5)
    if shrink > 1:
        pixels = functional.interpolate(pixels, (height // shrink, width // shrink), mode="area")
        sigma = (sigma**2 - (shrink**2 - 1) / 12) ** 0.5 / shrink  # the mean over a square blurs by as much
    reach = max(1, int(np.ceil(3 * sigma)))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(places**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    pixels = functional.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    pixels = functional.conv2d(pixels, kernel[:, :, :, None], groups=3)
    pixels = functional.conv2d(pixels, kernel[:, :, None, :], groups=3)
    return to_bytes(pixels[0].permute(1, 2, 0).numpy())


def dim_light(name: str, gain: float, image: np.ndarray, index: int) -> np.ndarray:
    """Reduce the light before the sensor: shot noise (variance proportional to the light) and read noise stay."""
    electrons = (gain * (np.arange(256, dtype=np.float32) / 255) ** GAMMA)[image]
    electrons += np.sqrt(electrons / FULL_WELL + READ_NOISE**2) * noise_grains(f"{name} {index}", image.shape)
    return to_bytes(255 * np.clip(electrons, 0, 1) ** np.float32(1 / GAMMA))


def noise_grains(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal noise (h, w, 3) float32 in square grains."""
    height, width, colours = shape
    side = max(1, round(min(height, width) / GRAINS))
    drawn = view_rng(name).standard_normal((-(-height // side), -(-width // side), colours), np.float32)
    return drawn.repeat(side, 0)[:height].repeat(side, 1)[:, :width]


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round and clip values to 0..255, uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
