"""What a camera adds to a scene: its shake, pans and zooms, its light, noise, blur and compression."""

from __future__ import annotations

import math

import cv2
import numpy as np


class Camera:
    """One camera held in one way; every effect is a function of time alone."""

    def __init__(self, rng: np.random.Generator, split: str, size: tuple[int, int], aspect: float) -> None:
        train = split == "train"
        self._size, self._aspect = size, aspect
        shake = rng.uniform(0, 0.01) if train else rng.uniform(0.003, 0.013)
        # The training cameras sway; the held-out ones also tremble.
        paces = rng.uniform(0.3, 2.5, (3, 4)) if train else rng.uniform(0.8, 5.0, (3, 4))
        self._paces, self._phases = paces * 2 * math.pi, rng.uniform(0, 6.28, (3, 4))
        self._shakes = rng.uniform(0.2, 1.0, (3, 4)) * shake / 2 * np.array([[1.0], [1.0], [0.6]])
        self._pan = rng.uniform(-0.025, 0.025, 2) * (rng.uniform(size=2) < 0.6)
        self._pan_pace = rng.uniform(0.15, 0.6, 2)
        self._zoom = float(rng.uniform(1.0, 1.06)) if train else float(rng.uniform(0.97, 1.03))
        self._breathe = float(rng.uniform(0, 0.03) if train else rng.uniform(0.02, 0.05)) * (rng.uniform() < 0.5)
        self._tilt = float(rng.normal(0, 0.02)) if train else float(rng.choice([-1, 1]) * rng.uniform(0.0, 0.05))

        self._gain, self._gamma = float(rng.uniform(0.75, 1.2)), float(rng.uniform(0.8, 1.3))
        self._warmth = float(rng.uniform(-0.1, 0.1))
        self._fade, self._fade_pace = float(rng.uniform(0, 0.12)) * (rng.uniform() < 0.5), float(rng.uniform(0.3, 1.5))
        self._flicker = float(rng.uniform(0.01, 0.06)) * (rng.uniform() < 0.25)
        self._vignette = _vignette(size, float(rng.uniform(0.1, 0.45))) if rng.uniform() < 0.5 else None
        self._blur = float(rng.uniform(0.4, 0.9)) * (rng.uniform() < 0.3) * min(size) / 160
        noise = float(rng.uniform(1.5, 7.0))
        self._noise = [_grain(rng, size, noise) for _ in range(2)] if rng.uniform() < 0.75 else []
        self._quality = int(rng.integers(40, 96)) if rng.uniform() < 0.5 else 0

    def affine_at(self, time: float) -> np.ndarray:
        """From the scene's units to pixels, (2, 3)."""
        shift_x, shift_y, turn = (self._shakes * np.sin(self._paces * time + self._phases)).sum(1)
        pan = self._pan * np.sin(self._pan_pace * time + self._phases[:2, 0])
        zoom = self._zoom + self._breathe * math.sin(0.5 * time + self._phases[2, 0])
        angle = self._tilt + turn
        c, s = zoom * math.cos(angle), zoom * math.sin(angle)
        middle = np.array([0.5 * self._aspect, 0.5])
        turned = np.array([[c, -s], [s, c]])
        scale = np.array([self._size[0] / self._aspect, self._size[1]])
        offset = middle + (shift_x, shift_y) + pan - turned @ middle
        return np.concatenate([turned * scale[:, None], (offset * scale)[:, None]], 1)

    def develop(self, image: np.ndarray, time: float) -> np.ndarray:
        """The picture as this camera records it."""
        if self._blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._blur)
        gain = self._gain * (1 + self._fade * math.sin(self._fade_pace * time + self._phases[0, 0]))
        gain *= 1 + self._flicker * math.sin(61.0 * time)
        ramp = np.linspace(0, 1, 256) ** self._gamma
        colours = np.array([1 + self._warmth, 1.0, 1 - self._warmth]) * gain * 255
        curve = np.clip(ramp[:, None] * colours, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, curve[None])
        if self._vignette is not None:
            image = cv2.multiply(image, self._vignette, scale=1 / 255)
        if self._noise:
            # The instant picks the grain, so that a clip looks the same however often it is rendered.
            pick = int(time * 90000) * 2654435761 % 2**32
            height, width = image.shape[:2]
            x, y = pick % 61, (pick >> 8) % 61
            plus, minus = (grain[y : y + height, x : x + width] for grain in self._noise)
            image = cv2.subtract(cv2.add(image, plus), minus)
        if self._quality:
            _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        return image


def _vignette(size: tuple[int, int], strength: float) -> np.ndarray:
    x, y = np.linspace(-1, 1, size[0])[None], np.linspace(-1, 1, size[1])[:, None]
    dark = 255 * (1 - strength * np.clip((x * x + y * y) / 2, 0, 1))
    return np.repeat(dark[..., None], 3, 2).astype(np.uint8)


def _grain(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """Return half of the noise (added or subtracted), larger than the picture, so that any part can be cut out."""
    shape = (size[1] + 61, size[0] + 61, 3)
    grey = rng.normal(0, 0.7 * strength, (*shape[:2], 1)) + rng.normal(0, 0.7 * strength, shape)
    return np.clip(grey, 0, 255).astype(np.uint8)
