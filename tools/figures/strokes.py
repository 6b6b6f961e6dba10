"""What backdrops are painted with: drawn tones, noise, slopes, rectangles, floors and hills."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Tone = np.ndarray
Range = tuple[float, float]


def tone_of(rng: np.random.Generator, hue: Range, sat: Range, val: Range) -> Tone:
    hsv = (float(rng.uniform(*hue)) % 1.0, float(rng.uniform(*sat)), float(rng.uniform(*val)))
    return np.array(colorsys.hsv_to_rgb(*hsv), np.float32) * 255


def any_tone(rng: np.random.Generator, val: Range = (0.35, 0.95)) -> Tone:
    return tone_of(rng, (0, 1), (0.05, 0.45), val)


def noise(rng: np.random.Generator, height: int, width: int, strength: float, grain: float) -> np.ndarray:
    small = rng.normal(0, strength, (max(2, int(height / grain)), max(2, int(width / grain)))).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def slope(image: np.ndarray, top: Tone, bottom: Tone) -> None:
    part = np.linspace(0, 1, max(len(image), 1), dtype=np.float32)[:, None, None]
    image[:] = top + (bottom - top) * part


def rect(image: np.ndarray, x0: float, y0: float, x1: float, y1: float, tone: Tone) -> None:
    """A filled rectangle; the places are parts of the picture's height, from its left top corner."""
    unit = image.shape[0]
    a, b, c, d = (max(0, round(v * unit)) for v in (x0, y0, x1, y1))
    image[b:d, a:c] = tone


def floor(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    tone = any_tone(rng, (0.3, 0.75))
    slope(image[line:], tone * 0.85, tone)
    if rng.uniform() < 0.4:
        height = image.shape[0]
        step = int(rng.uniform(0.08, 0.3) * height)
        for x in range(0, image.shape[1], step):
            middle = image.shape[1] // 2
            foot = int(middle + (x - middle) * 2.2)
            cv2.line(image, (x, line), (foot, height), (tone * 0.78).tolist(), max(1, height // 300), cv2.LINE_AA)


def skirting(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    if rng.uniform() < 0.6:
        image[max(0, line - image.shape[0] // 45) : line] = any_tone(rng, (0.3, 0.95))


def grid(
    image: np.ndarray, line: int, wide: int, tall: int, gap: int, offset: float, tones: Callable[[], Tone]
) -> None:
    for row, y in enumerate(range(0, line, tall)):
        start = -int(offset * wide * (row % 2))
        for x in range(start, image.shape[1], wide):
            image[y : min(line, y + tall - gap), max(x, 0) : max(x + wide - gap, 0)] = tones()


def hills(rng: np.random.Generator, image: np.ndarray, line: int, tall: float, tone: Tone) -> None:
    height, width = image.shape[:2]
    x = np.linspace(0, 1, 60)
    y = sum(rng.uniform(0.2, 1) * np.sin(x * rng.uniform(3, 14) + rng.uniform(0, 6)) for _ in range(3))
    crest = line - height * tall * (0.6 + 0.25 * y)
    outline = np.concatenate([np.stack([x * width, crest], 1), [[width, line], [0, line]]]).astype(np.int32)
    cv2.fillPoly(image, [outline], tone.tolist(), cv2.LINE_AA)
