"""Backdrops indoors: walls of many kinds, and a floor."""

from __future__ import annotations

import cv2
import numpy as np

from .strokes import Tone, any_tone, floor, grid, noise, rect, skirting, slope, tone_of


def plain(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    slope(image[:line], any_tone(rng), any_tone(rng))
    floor(rng, image, line)


def bricks(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height = image.shape[0]
    base = tone_of(rng, (-0.02, 0.1), (0.1, 0.55), (0.35, 0.85))
    image[:line] = any_tone(rng, (0.5, 0.85))
    tall = int(rng.uniform(0.035, 0.07) * height)
    wide = int(tall * rng.uniform(2, 2.8))
    grid(image, line, wide, tall, max(1, tall // 9), 0.5, lambda: base * rng.uniform(0.85, 1.1))
    floor(rng, image, line)


def planks(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    base = tone_of(rng, (0.05, 0.12), (0.25, 0.6), (0.4, 0.85))
    board = int(rng.uniform(0.05, 0.13) * height)
    for x in range(0, width, board):
        image[:line, x : x + board] = base * rng.uniform(0.85, 1.1)
        image[:line, x : x + max(1, board // 14)] = base * 0.6
    grain = noise(rng, 24, width, 7, 2)
    image[:line] += cv2.resize(grain, (width, max(line, 1)))[..., None]
    floor(rng, image, line)


def room(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall, reach, foot = any_tone(rng, (0.55, 0.98)), width / height, line / height
    slope(image[:line], wall, wall * 0.9)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0.1, reach - 0.2), rng.uniform(0.15, 0.4)
        w, h = rng.uniform(0.08, 0.3), rng.uniform(0.08, 0.25)
        rect(image, x, y, x + w, y + h, any_tone(rng, (0.15, 0.9)))
        rect(image, x + 0.012, y + 0.012, x + w - 0.012, y + h - 0.012, any_tone(rng))
        if rng.uniform() < 0.5:
            rect(image, x + 0.3 * w, y + 0.3 * h, x + 0.7 * w, y + 0.7 * h, any_tone(rng))
    for _ in range(int(rng.integers(0, 3))):
        x, w, h = rng.uniform(0, reach - 0.2), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.6)
        wood = tone_of(rng, (0.04, 0.12), (0.2, 0.6), (0.3, 0.8))
        rect(image, x, foot - h, x + w, foot, wood)
        for i in range(1, int(rng.integers(2, 5))):
            rect(image, x, foot - h * i / 4, x + w, foot - h * i / 4 + 0.006, wood * 0.6)
    skirting(rng, image, line)
    floor(rng, image, line)


def clouded(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    a, b = any_tone(rng), any_tone(rng)
    mix = 0.5 + noise(rng, height, width, 0.5, float(rng.uniform(12, 60)))[..., None]
    image[:] = a + (b - a) * np.clip(mix, 0, 1)
    image[line:] *= rng.uniform(0.6, 0.9)


def shelves(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    reach, foot = image.shape[1] / image.shape[0], line / image.shape[0]
    wood, tall = tone_of(rng, (0.03, 0.13), (0.1, 0.6), (0.2, 0.9)), rng.uniform(0.07, 0.2)
    bright = rng.uniform(0.3, 1.0)
    image[:line] = wood * rng.uniform(0.4, 0.7)
    y = rng.uniform(0.0, tall)
    while y < foot:
        x = 0.0
        while x < reach:
            w, h = rng.uniform(0.008, 0.04), tall * rng.uniform(0.5, 0.92)
            if rng.uniform() < 0.85:
                tone = tone_of(rng, (0, 1), (0.1, 0.8), (0.15, bright))
                rect(image, x, y + tall - h, x + w, min(y + tall, foot), tone)
            x += w + rng.uniform(0, 0.003)
        rect(image, 0, min(y + tall, foot) - 0.012, reach, min(y + tall, foot), wood)
        y += tall
    floor(rng, image, line)


def lamps(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall = any_tone(rng, (0.05, 0.5) if rng.uniform() < 0.7 else (0.5, 0.95))
    slope(image[:line], wall * rng.uniform(0.5, 1.0), wall)
    lit = tone_of(rng, (0.0, 0.2) if rng.uniform() < 0.7 else (0, 1), (0.05, 0.7), (0.7, 1.0))
    across, down = rng.uniform(0.025, 0.14, 2) * height
    size, stray = rng.uniform(0.1, 0.42) * min(across, down), rng.uniform(0, 0.5) * (rng.uniform() < 0.5)
    share, glow = rng.uniform(0.2, 1.0), rng.uniform(0.5, 1.5)
    for y in np.arange(down * rng.uniform(), line, down):
        for x in np.arange(across * rng.uniform(), width, across):
            at = (int(x + stray * rng.normal() * across), int(y + stray * rng.normal() * down))
            tone = lit if rng.uniform() < share else np.minimum(wall * glow, 255)
            axes = (max(1, round(size)), max(1, round(size * rng.uniform(0.8, 1.2))))
            cv2.ellipse(image[:line], at, axes, 0, 0, 360, tone.tolist(), -1, cv2.LINE_AA)
    floor(rng, image, line)


def quilt(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    width = image.shape[1]
    wide, tall = (int(side) for side in rng.uniform(0.08, 0.5, 2) * image.shape[0])
    for y in range(0, line, tall):
        for x in range(0, width, wide):
            a, b = (tone_of(rng, (0, 1), (0.0, 0.7), (0.1, 1.0)) for _ in range(2))
            patch = image[y : min(y + tall, line), x : x + wide]
            rows, columns = (np.arange(side) / image.shape[0] / rng.uniform(0.008, 0.06) for side in patch.shape[:2])
            lean = rng.uniform(-1, 1)
            kind, duty = int(rng.integers(4)), rng.uniform(0.25, 0.75)
            first, second = (rows[:, None] + lean * columns) % 1 < duty, (columns - lean * rows[:, None]) % 1 < duty
            mask = (first, first & second, first ^ second, np.zeros_like(first))[kind]
            patch[:] = np.where(mask[..., None], a, b)
    floor(rng, image, line)


def posters(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    image[:line] = any_tone(rng, (0.15, 0.95))
    reach, foot = width / height, line / height
    for _ in range(int(rng.integers(4, 25))):
        w, h = rng.uniform(0.1, 0.45, 2)
        x, y = rng.uniform(-0.1, reach), rng.uniform(-0.1, max(0.0, foot - 0.1))
        paper, ink = (tone_of(rng, (0, 1), (0.0, 0.7), (0.1, 1.0)) for _ in range(2))
        rect(image, x, y, x + w, min(y + h, foot), paper)
        step = rng.uniform(0.012, 0.05)
        for row in np.arange(y + step, min(y + h, foot) - step, step):
            at = x + 0.02
            while at < x + w - 0.03:  # words, or a row of small pictures
                word = rng.uniform(0.3, 2.5) * step
                rect(image, at, row, min(at + word, x + w - 0.02), row + step * 0.55, ink)
                at += word + step * rng.uniform(0.2, 0.8)
        if rng.uniform() < 0.4:
            centre = (int((x + w / 2) * height), int((y + h / 2) * height))
            axes = (int(0.35 * w * height), int(0.3 * h * height))
            tone = tone_of(rng, (0, 1), (0.1, 0.8), (0.2, 1.0)).tolist()
            cv2.ellipse(image[:line], centre, axes, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
    floor(rng, image, line)


def tiles(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    a, b = any_tone(rng, (0.5, 0.95)), any_tone(rng, (0.4, 0.95))
    image[:line] = a * 0.7
    side = int(rng.uniform(0.06, 0.14) * image.shape[0])
    share = rng.uniform(0, 0.4)

    def tile() -> Tone:
        return (b if rng.uniform() < share else a) * rng.uniform(0.94, 1.04)

    grid(image, line, side, side, max(1, side // 16), 0.0, tile)
    floor(rng, image, line)


def windows(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    wall, foot = any_tone(rng, (0.5, 0.9)), line / height
    slope(image[:line], wall * 0.95, wall)
    sky, frame = tone_of(rng, (0.5, 0.62), (0.1, 0.4), (0.8, 1.0)), any_tone(rng, (0.75, 1.0))
    wide, gap = rng.uniform(0.22, 0.4), rng.uniform(0.1, 0.25)
    x = rng.uniform(0.0, 0.3)
    while x < width / height:
        top, bottom = 0.2, min(foot - 0.15, 0.55)
        rect(image, x - 0.015, top - 0.015, x + wide + 0.015, bottom + 0.015, frame)
        rect(image, x, top, x + wide, bottom, sky)
        rect(image, x, top + 0.7 * (bottom - top), x + wide, bottom, sky * (0.75, 0.9, 0.7))
        rect(image, x + 0.49 * wide, top, x + 0.51 * wide, bottom, frame)
        rect(image, x, 0.5 * (top + bottom), x + wide, 0.5 * (top + bottom) + 0.008, frame)
        x += wide + gap
    skirting(rng, image, line)
    floor(rng, image, line)


def panels(rng: np.random.Generator, image: np.ndarray, line: int) -> None:
    height, width = image.shape[:2]
    tones, x = [any_tone(rng) for _ in range(int(rng.integers(2, 4)))], 0
    step = rng.uniform(0.05, 0.3) * height
    while x < width:
        wide = int(step * rng.uniform(0.7, 1.3)) + 1
        image[:line, x : x + wide] = tones[int(rng.integers(len(tones)))] * rng.uniform(0.9, 1.05)
        x += wide
    rail = int(line * rng.uniform(0.5, 0.7))
    image[rail : rail + max(2, height // 60)] = any_tone(rng, (0.3, 0.9))
    floor(rng, image, line)
