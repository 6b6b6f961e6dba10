"""Backdrops: walls, floors and landscapes, in families that the two splits do not share."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

FAMILIES = {
    "train": ("plain", "bricks", "planks", "meadow", "room", "clouded", "shelves", "lamps", "quilt", "posters"),
    "test": ("tiles", "beach", "windows", "city", "panels"),
}

Tone = np.ndarray
Range = tuple[float, float]


def paint_backdrop(family: str, rng: np.random.Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """A picture (height, width, 3) of one family; `horizon` is where the wall meets the floor, from 0 to 1."""
    image = np.empty((height, width, 3), np.float32)
    line = int(horizon * height)
    _PAINTERS[family](rng, image, line)
    image += _noise(rng, height, width, float(rng.uniform(1, 5)), float(rng.uniform(1, 5)))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def _tone(rng: np.random.Generator, hue: Range, sat: Range, val: Range) -> Tone:
    hsv = (float(rng.uniform(*hue)) % 1.0, float(rng.uniform(*sat)), float(rng.uniform(*val)))
    return np.array(colorsys.hsv_to_rgb(*hsv), np.float32) * 255


def _any(rng: np.random.Generator, val: Range = (0.35, 0.95)) -> Tone:
    return _tone(rng, (0, 1), (0.05, 0.45), val)


def _noise(rng: np.random.Generator, height: int, width: int, strength: float, grain: float) -> np.ndarray:
    small = rng.normal(0, strength, (max(2, int(height / grain)), max(2, int(width / grain)))).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _slope(image: np.ndarray, top: Tone, bottom: Tone) -> None:
    part = np.linspace(0, 1, max(len(image), 1), dtype=np.float32)[:, None, None]
    image[:] = top + (bottom - top) * part


def _rect(image: np.ndarray, x0: float, y0: float, x1: float, y1: float, tone: Tone) -> None:
    """A filled rectangle; the places are parts of the picture's height, from its left top corner."""
    unit = image.shape[0]
    a, b, c, d = (max(0, round(v * unit)) for v in (x0, y0, x1, y1))
    image[b:d, a:c] = tone


def _floor(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    tone = _any(rng, (0.3, 0.75))
    _slope(image[line:], tone * 0.85, tone)
    if rng.uniform() < 0.4:
        height = image.shape[0]
        step = int(rng.uniform(0.08, 0.3) * height)
        for x in range(0, image.shape[1], step):
            middle = image.shape[1] // 2
            foot = int(middle + (x - middle) * 2.2)
            cv2.line(image, (x, line), (foot, height), (tone * 0.78).tolist(), max(1, height // 300), cv2.LINE_AA)


def _skirting(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    if rng.uniform() < 0.6:
        image[max(0, line - image.shape[0] // 45) : line] = _any(rng, (0.3, 0.95))


def _grid(
    image: np.ndarray, line: int, wide: int, tall: int, gap: int, offset: float, tones: Callable[[], Tone]
) -> None:
    for row, y in enumerate(range(0, line, tall)):
        start = -int(offset * wide * (row % 2))
        for x in range(start, image.shape[1], wide):
            image[y : min(line, y + tall - gap), max(x, 0) : max(x + wide - gap, 0)] = tones()


def _plain(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    _slope(image[:line], _any(rng), _any(rng))
    _floor(rng, image, line)


def _bricks(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height = image.shape[0]
    base = _tone(rng, (-0.02, 0.1), (0.1, 0.55), (0.35, 0.85))
    image[:line] = _any(rng, (0.5, 0.85))
    tall = int(rng.uniform(0.035, 0.07) * height)
    wide = int(tall * rng.uniform(2, 2.8))
    _grid(image, line, wide, tall, max(1, tall // 9), 0.5, lambda: base * rng.uniform(0.85, 1.1))
    _floor(rng, image, line)


def _planks(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    base = _tone(rng, (0.05, 0.12), (0.25, 0.6), (0.4, 0.85))
    board = int(rng.uniform(0.05, 0.13) * height)
    for x in range(0, width, board):
        image[:line, x : x + board] = base * rng.uniform(0.85, 1.1)
        image[:line, x : x + max(1, board // 14)] = base * 0.6
    grain = _noise(rng, 24, width, 7, 2)
    image[:line] += cv2.resize(grain, (width, max(line, 1)))[..., None]
    _floor(rng, image, line)


def _hills(rng: np.random.Generator, image: np.ndarray, line: int, tall: float, tone: Tone) -> None:
    height, width = image.shape[:2]
    x = np.linspace(0, 1, 60)
    y = sum(rng.uniform(0.2, 1) * np.sin(x * rng.uniform(3, 14) + rng.uniform(0, 6)) for _ in range(3))
    crest = line - height * tall * (0.6 + 0.25 * y)
    outline = np.concatenate([np.stack([x * width, crest], 1), [[width, line], [0, line]]]).astype(np.int32)
    cv2.fillPoly(image, [outline], tone.tolist(), cv2.LINE_AA)


def _meadow(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    sky = _tone(rng, (0.54, 0.62), (0.2, 0.6), (0.7, 1.0))
    _slope(image[:line], sky, sky * 0.3 + 175)
    for _ in range(int(rng.integers(0, 6))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0.1, 0.45) * height))
        for _ in range(4):
            at = (centre[0] + int(rng.normal(0, 0.05) * height), centre[1] + int(rng.normal(0, 0.012) * height))
            axes = (int(0.07 * height), int(0.03 * height))
            cv2.ellipse(image, at, axes, 0, 0, 360, (244, 246, 250), -1, cv2.LINE_AA)
    green = _tone(rng, (0.2, 0.36), (0.3, 0.65), (0.35, 0.75))
    if rng.uniform() < 0.7:
        _hills(rng, image, line, float(rng.uniform(0.05, 0.25)), green * 0.7 + 30)
    for _ in range(int(rng.integers(0, 5))):
        x, tall = rng.uniform(0, width / height), rng.uniform(0.2, 0.45)
        foot = line / height
        _rect(image, x - 0.012, foot - 0.5 * tall, x + 0.012, foot, np.array([92, 68, 48], np.float32))
        crown = (int(x * height), int((foot - 0.65 * tall) * height))
        axes = (int(0.3 * tall * height), int(0.35 * tall * height))
        cv2.ellipse(image, crown, axes, 0, 0, 360, (green * rng.uniform(0.55, 0.8)).tolist(), -1, cv2.LINE_AA)
    _slope(image[line:], green * 0.9, green * 1.1)
    image[line:] += _noise(rng, height - line, width, 9, 2)[..., None]


def _room(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall, reach, foot = _any(rng, (0.55, 0.98)), width / height, line / height
    _slope(image[:line], wall, wall * 0.9)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0.1, reach - 0.2), rng.uniform(0.15, 0.4)
        w, h = rng.uniform(0.08, 0.3), rng.uniform(0.08, 0.25)
        _rect(image, x, y, x + w, y + h, _any(rng, (0.15, 0.9)))
        _rect(image, x + 0.012, y + 0.012, x + w - 0.012, y + h - 0.012, _any(rng))
        if rng.uniform() < 0.5:
            _rect(image, x + 0.3 * w, y + 0.3 * h, x + 0.7 * w, y + 0.7 * h, _any(rng))
    for _ in range(int(rng.integers(0, 3))):
        x, w, h = rng.uniform(0, reach - 0.2), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.6)
        wood = _tone(rng, (0.04, 0.12), (0.2, 0.6), (0.3, 0.8))
        _rect(image, x, foot - h, x + w, foot, wood)
        for i in range(1, int(rng.integers(2, 5))):
            _rect(image, x, foot - h * i / 4, x + w, foot - h * i / 4 + 0.006, wood * 0.6)
    _skirting(rng, image, line)
    _floor(rng, image, line)


def _clouded(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    a, b = _any(rng), _any(rng)
    mix = 0.5 + _noise(rng, height, width, 0.5, float(rng.uniform(12, 60)))[..., None]
    image[:] = a + (b - a) * np.clip(mix, 0, 1)
    image[line:] *= rng.uniform(0.6, 0.9)


def _shelves(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    reach, foot = image.shape[1] / image.shape[0], line / image.shape[0]
    wood, tall = _tone(rng, (0.03, 0.13), (0.1, 0.6), (0.2, 0.9)), rng.uniform(0.07, 0.2)
    bright = rng.uniform(0.3, 1.0)
    image[:line] = wood * rng.uniform(0.4, 0.7)
    y = rng.uniform(0.0, tall)
    while y < foot:
        x = 0.0
        while x < reach:
            w, h = rng.uniform(0.008, 0.04), tall * rng.uniform(0.5, 0.92)
            if rng.uniform() < 0.85:
                tone = _tone(rng, (0, 1), (0.1, 0.8), (0.15, bright))
                _rect(image, x, y + tall - h, x + w, min(y + tall, foot), tone)
            x += w + rng.uniform(0, 0.003)
        _rect(image, 0, min(y + tall, foot) - 0.012, reach, min(y + tall, foot), wood)
        y += tall
    _floor(rng, image, line)


def _lamps(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall = _any(rng, (0.05, 0.5) if rng.uniform() < 0.7 else (0.5, 0.95))
    _slope(image[:line], wall * rng.uniform(0.5, 1.0), wall)
    lit = _tone(rng, (0.0, 0.2) if rng.uniform() < 0.7 else (0, 1), (0.05, 0.7), (0.7, 1.0))
    across, down = rng.uniform(0.025, 0.14, 2) * height
    size, stray = rng.uniform(0.1, 0.42) * min(across, down), rng.uniform(0, 0.5) * (rng.uniform() < 0.5)
    share, glow = rng.uniform(0.2, 1.0), rng.uniform(0.5, 1.5)
    for y in np.arange(down * rng.uniform(), line, down):
        for x in np.arange(across * rng.uniform(), width, across):
            at = (int(x + stray * rng.normal() * across), int(y + stray * rng.normal() * down))
            tone = lit if rng.uniform() < share else np.minimum(wall * glow, 255)
            axes = (max(1, round(size)), max(1, round(size * rng.uniform(0.8, 1.2))))
            cv2.ellipse(image[:line], at, axes, 0, 0, 360, tone.tolist(), -1, cv2.LINE_AA)
    _floor(rng, image, line)


def _quilt(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    width = image.shape[1]
    wide, tall = (int(side) for side in rng.uniform(0.08, 0.5, 2) * image.shape[0])
    for y in range(0, line, tall):
        for x in range(0, width, wide):
            a, b = (_tone(rng, (0, 1), (0.0, 0.7), (0.1, 1.0)) for _ in range(2))
            patch = image[y : min(y + tall, line), x : x + wide]
            rows, columns = (np.arange(side) / image.shape[0] / rng.uniform(0.008, 0.06) for side in patch.shape[:2])
            lean = rng.uniform(-1, 1)
            kind, duty = int(rng.integers(4)), rng.uniform(0.25, 0.75)
            first, second = (rows[:, None] + lean * columns) % 1 < duty, (columns - lean * rows[:, None]) % 1 < duty
            mask = (first, first & second, first ^ second, np.zeros_like(first))[kind]
            patch[:] = np.where(mask[..., None], a, b)
    _floor(rng, image, line)


def _posters(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    image[:line] = _any(rng, (0.15, 0.95))
    reach, foot = width / height, line / height
    for _ in range(int(rng.integers(4, 25))):
        w, h = rng.uniform(0.1, 0.45, 2)
        x, y = rng.uniform(-0.1, reach), rng.uniform(-0.1, max(0.0, foot - 0.1))
        paper, ink = (_tone(rng, (0, 1), (0.0, 0.7), (0.1, 1.0)) for _ in range(2))
        _rect(image, x, y, x + w, min(y + h, foot), paper)
        step = rng.uniform(0.012, 0.05)
        for row in np.arange(y + step, min(y + h, foot) - step, step):
            at = x + 0.02
            while at < x + w - 0.03:  # words, or a row of small pictures
                word = rng.uniform(0.3, 2.5) * step
                _rect(image, at, row, min(at + word, x + w - 0.02), row + step * 0.55, ink)
                at += word + step * rng.uniform(0.2, 0.8)
        if rng.uniform() < 0.4:
            centre = (int((x + w / 2) * height), int((y + h / 2) * height))
            axes = (int(0.35 * w * height), int(0.3 * h * height))
            tone = _tone(rng, (0, 1), (0.1, 0.8), (0.2, 1.0)).tolist()
            cv2.ellipse(image[:line], centre, axes, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
    _floor(rng, image, line)


def _tiles(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    a, b = _any(rng, (0.5, 0.95)), _any(rng, (0.4, 0.95))
    image[:line] = a * 0.7
    side = int(rng.uniform(0.06, 0.14) * image.shape[0])
    share = rng.uniform(0, 0.4)

    def tile() -> Tone:
        return (b if rng.uniform() < share else a) * rng.uniform(0.94, 1.04)

    _grid(image, line, side, side, max(1, side // 16), 0.0, tile)
    _floor(rng, image, line)


def _beach(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    glow = _tone(rng, (0.02, 0.14), (0.15, 0.5), (0.85, 1.0))
    sky = _tone(rng, (0.5, 0.75), (0.2, 0.5), (0.55, 0.95))
    shore = max(1, line - int(rng.uniform(0.1, 0.2) * height))
    _slope(image[:shore], sky, glow)
    at = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.2, 0.4) * height))
    cv2.circle(image, at, int(0.05 * height), (glow * 0.4 + 152).tolist(), -1, cv2.LINE_AA)
    if rng.uniform() < 0.6:
        _hills(rng, image, shore, float(rng.uniform(0.03, 0.12)), sky * 0.6)
    sea = _tone(rng, (0.46, 0.6), (0.3, 0.65), (0.45, 0.8))
    _slope(image[shore:line], sea * 0.85 + 20, sea)
    image[shore:line] += _noise(rng, max(line - shore, 1), width, 10, 2)[..., None]
    sand = _tone(rng, (0.08, 0.13), (0.15, 0.4), (0.7, 0.92))
    _slope(image[line:], sand * 0.85, sand)
    image[line:] += _noise(rng, height - line, width, 7, 2)[..., None]


def _windows(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall, foot = _any(rng, (0.5, 0.9)), line / height
    _slope(image[:line], wall * 0.95, wall)
    sky, frame = _tone(rng, (0.5, 0.62), (0.1, 0.4), (0.8, 1.0)), _any(rng, (0.75, 1.0))
    wide, gap = rng.uniform(0.22, 0.4), rng.uniform(0.1, 0.25)
    x = rng.uniform(0.0, 0.3)
    while x < width / height:
        top, bottom = 0.2, min(foot - 0.15, 0.55)
        _rect(image, x - 0.015, top - 0.015, x + wide + 0.015, bottom + 0.015, frame)
        _rect(image, x, top, x + wide, bottom, sky)
        _rect(image, x, top + 0.7 * (bottom - top), x + wide, bottom, sky * (0.75, 0.9, 0.7))
        _rect(image, x + 0.49 * wide, top, x + 0.51 * wide, bottom, frame)
        _rect(image, x, 0.5 * (top + bottom), x + wide, 0.5 * (top + bottom) + 0.008, frame)
        x += wide + gap
    _skirting(rng, image, line)
    _floor(rng, image, line)


def _city(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    dusk = rng.uniform() < 0.5
    sky = _tone(rng, (0.6, 0.95), (0.2, 0.55), (0.3, 0.6) if dusk else (0.75, 1.0))
    _slope(image[:line], sky, sky * 0.6 + 80)
    lamp, x, foot = np.array([250, 222, 150], np.float32), 0.0, line / height
    while x < width / height:
        w, h = rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.6)
        block = _any(rng, (0.2, 0.4) if dusk else (0.4, 0.75))
        _rect(image, x, foot - h, x + w, foot, block)
        for wx in np.arange(x + 0.02, x + w - 0.03, 0.045):
            for wy in np.arange(foot - h + 0.03, foot - 0.05, 0.06):
                lit = rng.uniform() < 0.45
                _rect(image, wx, wy, wx + 0.022, wy + 0.032, lamp if lit and dusk else block * (1.25 if lit else 0.8))
        x += w + rng.uniform(0.0, 0.06)
    _floor(rng, image, line)


def _panels(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    tones, x = [_any(rng) for _ in range(int(rng.integers(2, 4)))], 0
    step = rng.uniform(0.05, 0.3) * height
    while x < width:
        wide = int(step * rng.uniform(0.7, 1.3)) + 1
        image[:line, x : x + wide] = tones[int(rng.integers(len(tones)))] * rng.uniform(0.9, 1.05)
        x += wide
    rail = int(line * rng.uniform(0.5, 0.7))
    image[rail : rail + max(2, height // 60)] = _any(rng, (0.3, 0.9))
    _floor(rng, image, line)


_PAINTERS = {
    "plain": _plain,
    "bricks": _bricks,
    "planks": _planks,
    "meadow": _meadow,
    "room": _room,
    "clouded": _clouded,
    "shelves": _shelves,
    "lamps": _lamps,
    "quilt": _quilt,
    "posters": _posters,
    "tiles": _tiles,
    "beach": _beach,
    "windows": _windows,
    "city": _city,
    "panels": _panels,
}
