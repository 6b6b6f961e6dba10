"""Backdrops outdoors: landscapes and a town."""

from __future__ import annotations

import cv2
import numpy as np

from .strokes import any_tone, floor, hills, noise, rect, slope, tone_of


def meadow(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    sky = tone_of(rng, (0.54, 0.62), (0.2, 0.6), (0.7, 1.0))
    slope(image[:line], sky, sky * 0.3 + 175)
    for _ in range(int(rng.integers(0, 6))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0.1, 0.45) * height))
        for _ in range(4):
            at = (centre[0] + int(rng.normal(0, 0.05) * height), centre[1] + int(rng.normal(0, 0.012) * height))
            axes = (int(0.07 * height), int(0.03 * height))
            cv2.ellipse(image, at, axes, 0, 0, 360, (244, 246, 250), -1, cv2.LINE_AA)
    green = tone_of(rng, (0.2, 0.36), (0.3, 0.65), (0.35, 0.75))
    if rng.uniform() < 0.7:
        hills(rng, image, line, float(rng.uniform(0.05, 0.25)), green * 0.7 + 30)
    for _ in range(int(rng.integers(0, 5))):
        x, tall = rng.uniform(0, width / height), rng.uniform(0.2, 0.45)
        foot = line / height
        rect(image, x - 0.012, foot - 0.5 * tall, x + 0.012, foot, np.array([92, 68, 48], np.float32))
        crown = (int(x * height), int((foot - 0.65 * tall) * height))
        axes = (int(0.3 * tall * height), int(0.35 * tall * height))
        cv2.ellipse(image, crown, axes, 0, 0, 360, (green * rng.uniform(0.55, 0.8)).tolist(), -1, cv2.LINE_AA)
    slope(image[line:], green * 0.9, green * 1.1)
    image[line:] += noise(rng, height - line, width, 9, 2)[..., None]


def beach(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    glow = tone_of(rng, (0.02, 0.14), (0.15, 0.5), (0.85, 1.0))
    sky = tone_of(rng, (0.5, 0.75), (0.2, 0.5), (0.55, 0.95))
    shore = max(1, line - int(rng.uniform(0.1, 0.2) * height))
    slope(image[:shore], sky, glow)
    at = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.2, 0.4) * height))
    cv2.circle(image, at, int(0.05 * height), (glow * 0.4 + 152).tolist(), -1, cv2.LINE_AA)
    if rng.uniform() < 0.6:
        hills(rng, image, shore, float(rng.uniform(0.03, 0.12)), sky * 0.6)
    sea = tone_of(rng, (0.46, 0.6), (0.3, 0.65), (0.45, 0.8))
    slope(image[shore:line], sea * 0.85 + 20, sea)
    image[shore:line] += noise(rng, max(line - shore, 1), width, 10, 2)[..., None]
    sand = tone_of(rng, (0.08, 0.13), (0.15, 0.4), (0.7, 0.92))
    slope(image[line:], sand * 0.85, sand)
    image[line:] += noise(rng, height - line, width, 7, 2)[..., None]


def city(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    dusk = rng.uniform() < 0.5
    sky = tone_of(rng, (0.6, 0.95), (0.2, 0.55), (0.3, 0.6) if dusk else (0.75, 1.0))
    slope(image[:line], sky, sky * 0.6 + 80)
    lamp, x, foot = np.array([250, 222, 150], np.float32), 0.0, line / height
    while x < width / height:
        w, h = rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.6)
        block = any_tone(rng, (0.2, 0.4) if dusk else (0.4, 0.75))
        rect(image, x, foot - h, x + w, foot, block)
        for wx in np.arange(x + 0.02, x + w - 0.03, 0.045):
            for wy in np.arange(foot - h + 0.03, foot - 0.05, 0.06):
                lit = rng.uniform() < 0.45
                rect(image, wx, wy, wx + 0.022, wy + 0.032, lamp if lit and dusk else block * (1.25 if lit else 0.8))
        x += w + rng.uniform(0.0, 0.06)
    floor(rng, image, line)
