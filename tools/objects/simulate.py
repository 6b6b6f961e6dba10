"""Simulated video of still pictures: a camera that moves and shakes, cuts, and spells in which little can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 160  # pixels of a frame
RATE = 25.0  # frames a second
SECONDS = 6.0

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame: an RGB picture (SIDE, SIDE, 3) uint8, its time in seconds, and what it shows."""

    image: np.ndarray
    time: float
    label: int


def blur(image: np.ndarray, strength: float, _: np.random.Generator) -> np.ndarray:
    """Out of focus."""
    return cv2.GaussianBlur(image, (0, 0), 1 + 6 * strength)


def noise(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Grain of a sensor in the dark."""
    return image + draw.normal(0, 15 + 75 * strength, image.shape)


def darkness(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Too little light, and the noise that comes with it."""
    return image * (0.3 - 0.25 * strength) + draw.normal(0, 6, image.shape)


def board(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """A plain rectangle before the lens."""
    seen = image.copy()
    width, height = (int(SIDE * (0.5 + 0.45 * strength) * draw.uniform(0.8, 1)) for _ in range(2))
    left, top = (int(draw.integers(0, SIDE - extent + 1)) for extent in (width, height))
    seen[top : top + height, left : left + width] = draw.integers(0, 256, 3)
    return seen


def glare(image: np.ndarray, strength: float, _: np.random.Generator) -> np.ndarray:
    """Too much light."""
    return image * (1.5 + 1.5 * strength) + 40 * strength


def cast(image: np.ndarray, _: float, draw: np.random.Generator) -> np.ndarray:
    """Light of one colour."""
    return image * draw.permutation([0.15, 0.6, 1.2])


def salt(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Pixels that are lost: black or white."""
    lost = draw.random(image.shape[:2]) < 0.05 + 0.35 * strength
    return np.where(lost[..., None], 255.0 * (draw.random(image.shape[:2]) < 0.5)[..., None], image)


def tear(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Bands of lines that are shifted."""
    edges = np.sort(draw.integers(0, SIDE, 2 + int(6 * strength)))
    return np.concatenate([np.roll(band, int(draw.integers(-SIDE, SIDE)), 1) for band in np.split(image, edges)])


def smudge(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """A soft dark spot on the lens."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    centre, reach = draw.uniform(0.3, 0.7, 2), 0.2 + 0.25 * strength
    spot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * reach**2))
    return image * (1 - 0.95 * spot[..., None])


def smear(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Motion blur."""
    length = 2 * int(5 + 18 * strength) + 1
    angle = draw.uniform(0, math.pi)
    kernel = np.zeros((length, length), np.float32)
    middle, reach = length // 2, (length - 1) / 2
    ends = [(round(middle + s * reach * math.cos(angle)), round(middle + s * reach * math.sin(angle))) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def blocks(image: np.ndarray, strength: float, _: np.random.Generator) -> np.ndarray:
    """A stream that is starved of data."""
    few = max(6, round(SIDE / (6 + 18 * strength)))
    small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def fog(image: np.ndarray, strength: float, _: np.random.Generator) -> np.ndarray:
    """Little contrast, all bright."""
    share = 0.6 + 0.35 * strength
    return image * (1 - share) + 215 * share


def hand(image: np.ndarray, strength: float, draw: np.random.Generator) -> np.ndarray:
    """Skin-coloured ellipses before the lens."""
    seen = np.ascontiguousarray(image)
    for _ in range(4):
        centre = tuple(int(draw.uniform(0.15, 0.85) * SIDE) for _ in range(2))
        axes = tuple(int(SIDE * draw.uniform(0.15, 0.25 + 0.2 * strength)) for _ in range(2))
        colour = np.array([200, 150, 120]) * draw.uniform(0.5, 1.1)
        cv2.ellipse(seen, centre, axes, float(draw.uniform(0, 180)), 0, 360, colour.tolist(), -1)
    return cv2.GaussianBlur(seen, (0, 0), 1.5)


# What training and validation see, and what the test alone does.
SPELLS: dict[str, tuple[Change, ...]] = {
    "train": (blur, noise, darkness, board, glare, cast, salt, tear, smudge),
    "test": (smear, blocks, fog, hand),
}


def clip(pictures: list[tuple[np.ndarray, int]], seed: int, split: str) -> Iterator[Shot]:
    """A clip of `SECONDS` through these pictures, cut from one to the next; some frames are missing.

    Args:
        pictures: RGB uint8 of any size, and their labels.
        seed: of everything random; the same gives the same clip.
        split: "train" or "test": which spells come over it.
    """
    draw = np.random.default_rng([seed, split == "test"])
    times = np.cumsum(draw.uniform(0.7, 1.3, round(SECONDS * RATE)) / RATE)
    times = times[draw.random(len(times)) >= draw.choice([0.0, 0.0, 0.5]) * draw.random()]
    edges = np.linspace(0, times[-1] + 1e-6, len(pictures) + 1)
    edges[1:-1] += draw.uniform(-0.3, 0.3, len(pictures) - 1) * SECONDS / len(pictures)
    spells = drawn_spells(draw, SPELLS[split])
    grain, light = draw.uniform(0, 12), draw.uniform(0.7, 1.15)
    camera, shown = None, -1
    for time in times:
        place = int(np.searchsorted(edges[1:-1], time, side="right"))
        if place != shown:
            camera, shown = Camera(draw, float(time)), place
        picture, label = pictures[place]
        image = camera.look(picture, float(time), draw).astype(np.float32) * light
        for change, begin, end, strength in spells:
            if begin <= time < end:
                image = change(image, strength, draw)
        image = image + draw.normal(0, grain, image.shape)
        yield Shot(image.clip(0, 255).astype(np.uint8), float(time - times[0]), label)


def drawn_spells(draw: np.random.Generator, kinds: tuple[Change, ...]) -> list[tuple[Change, float, float, float]]:
    """Spells of .1 to 1.5 s that cover about a third of the clip: what, from, to, how strong (0..1)."""
    spells, time = [], draw.exponential(1.0)
    while time < SECONDS:
        length = float(np.exp(draw.uniform(math.log(0.1), math.log(1.5))))
        spells.append((kinds[draw.integers(len(kinds))], time, time + length, draw.random()))
        time += length + draw.exponential(1.0)
    return spells


class Camera:
    """A window on a picture that wanders, zooms and shakes."""

    def __init__(self, draw: np.random.Generator, start: float) -> None:
        self.start = start
        self.centre, self.drift = draw.uniform(0.4, 0.6, 2), draw.uniform(-0.06, 0.06, 2)
        self.extent, self.zoom = draw.uniform(0.6, 0.95), draw.uniform(-0.08, 0.08)
        self.shake, self.mirrored = draw.exponential(0.012), draw.random() < 0.5
        self.tilt = draw.uniform(-0.15, 0.15)

    def look(self, picture: np.ndarray, time: float, draw: np.random.Generator) -> np.ndarray:
        """Return what the camera sees at a time, (SIDE, SIDE, 3)."""
        passed = time - self.start
        height, width = picture.shape[:2]
        extent = min(1.0, max(0.45, self.extent * math.exp(self.zoom * passed)))
        centre = (self.centre + self.drift * passed).clip(0.3, 0.7) + draw.normal(0, self.shake, 2)
        across = extent / SIDE * np.array([width * (-1 if self.mirrored else 1), height])
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        matrix = np.array([[cos * across[0], -sin * across[0], 0], [sin * across[1], cos * across[1], 0]])
        matrix[:, 2] = centre * (width, height) - matrix[:, :2] @ (SIDE / 2, SIDE / 2)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REFLECT)
