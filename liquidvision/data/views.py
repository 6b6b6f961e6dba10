"""Views: what a video may look like beside its plain frames, in training and when a model is put to the test."""

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

GRAINS = 240  # grains of noise along the shorter side: at any resolution a network sees about the same noise
GAMMA = 2.2  # stored values are about linear light to the power of 1 / GAMMA
FULL_WELL, READ_NOISE = 2000.0, 0.002  # photo-electrons of white; what reading a sensor adds, of white


def make_view(name: str) -> View:
    """What makes the pictures of a view: from (h, w, 3) uint8 RGB and the frame's index to the like.

    The same name, picture and index always give the same. The result may be smaller than the picture, or share
    its memory.

    - "plain": the picture itself.
    - "mirror": left and right exchanged.
    - "crop:SEED": 70 to 100 % of both sides, somewhere in the picture; the same part of all frames.
    - "light:SEED": gain 0.65 to 1.3, gamma 0.75 to 1.33, and a gain of each colour of 0.9 to 1.1; the same for all.
    - "noise:SIGMA": Gaussian noise of standard deviation SIGMA (to 1) of the range, anew in each frame, in grains
      of 1/240 of the shorter side.
    - "blur:PERCENT": Gaussian blur with a standard deviation of PERCENT (to 20) of the shorter side.
    - "dark:GAIN": GAIN (to 1) of the light reaches the sensor, so that its shot and read noise shows.

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
        return partial(crop, values) if kind == "crop" else partial(light, light_tables(values))
    degrade = {"noise": (noise, 1.0), "blur": (blur, 20.0), "dark": (dark, 1.0)}.get(kind)
    if degrade is None:
        raise UsageError(f"no view is called {name!r}; expected {NAMES}")
    change, most = degrade
    try:
        amount = float(value)
    except ValueError:
        amount = float("nan")
    if not 0 < amount <= most:
        raise UsageError(f"view {name!r} has no meaning; expected {kind}: and a number above 0, at most {most:g}")
    return partial(change, name, amount)


def parse_views(text: str) -> tuple[str, ...]:
    """The views named in a text, between commas, each once; UsageError where there is no such view."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        make_view(name)
    return names


def view_rng(name: str) -> np.random.Generator:
    """A generator that draws the same for the same name, everywhere."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def crop(values: np.ndarray, image: np.ndarray, index: int) -> np.ndarray:
    """Cut out a part, by three values from 0 to 1: its size, its place down and across."""
    share = 0.7 + 0.3 * values[0]
    height, width = (max(1, round(share * side)) for side in image.shape[:2])
    top, left = round(values[1] * (image.shape[0] - height)), round(values[2] * (image.shape[1] - width))
    return image[top : top + height, left : left + width]


def light_tables(values: np.ndarray) -> np.ndarray:
    """What each stored value of each colour becomes, (256, 3) uint8, by five values from 0 to 1."""
    gain, gamma = 0.65 * 2 ** values[0], 0.75 * (16 / 9) ** values[1]
    colours = 0.9 + 0.2 * values[2:]
    return to_bytes(255 * gain * colours * (np.arange(256)[:, None] / 255) ** gamma)


def light(tables: np.ndarray, image: np.ndarray, index: int) -> np.ndarray:
    """Look each colour's values up."""
    return np.stack([tables[:, colour][image[..., colour]] for colour in range(3)], -1)


def noise(name: str, sigma: float, image: np.ndarray, index: int) -> np.ndarray:
    """Add Gaussian noise to stored values."""
    return to_bytes(image + 255 * sigma * grains(f"{name} {index}", image.shape))


def blur(name: str, percent: float, image: np.ndarray, index: int) -> np.ndarray:
    """Gaussian blur; a strong one on a smaller picture, which holds all that it leaves."""
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


def dark(name: str, gain: float, image: np.ndarray, index: int) -> np.ndarray:
    """Take light away before the sensor: shot noise (variance in proportion to the light) and read noise stay."""
    electrons = (gain * (np.arange(256, dtype=np.float32) / 255) ** GAMMA)[image]
    electrons += np.sqrt(electrons / FULL_WELL + READ_NOISE**2) * grains(f"{name} {index}", image.shape)
    return to_bytes(255 * np.clip(electrons, 0, 1) ** np.float32(1 / GAMMA))


def grains(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise (h, w, 3) float32 in square grains."""
    height, width, colours = shape
    side = max(1, round(min(height, width) / GRAINS))
    drawn = view_rng(name).standard_normal((-(-height // side), -(-width // side), colours), np.float32)
    return drawn.repeat(side, 0)[:height].repeat(side, 1)[:, :width]


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 0..255, uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
