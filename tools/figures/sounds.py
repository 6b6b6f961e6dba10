"""The sound of a clip: soft taps, rustles and tones, synthesised from its timed actions."""

from __future__ import annotations

import numpy as np

RATE = 48_000
PEAK = 10 ** (-12 / 20)


def soundtrack(rows: list[tuple[float, float, str]], seed: int) -> np.ndarray:
    """Stereo samples (2, n), float32, for rows of (start, end, label) in seconds."""
    rng = np.random.default_rng(seed)
    track = rng.normal(0, 0.002, (2, round(rows[-1][1] * RATE)))
    for start, end, label in rows:
        length = end - start
        if label.startswith("walks"):
            for i, at in enumerate(np.arange(start + 0.15, end - 0.05, 0.42)):
                part = (at - start) / length
                where = part if label == "walks right" else 1 - part
                _add(track, at, 0.4 * _tap(rng, 150.0 + 25 * (i % 2), 0.09), where)
        elif label == "falls":
            _add(track, end - 0.15, 1.0 * _tap(rng, 62.0, 0.4), 0.5)
        elif label in ("sits down", "stands up"):
            _add(track, start, 0.16 * _rustle(rng, length), 0.5)
            if label == "sits down":
                _add(track, end - 0.2, 0.4 * _tap(rng, 95.0, 0.16), 0.5)
        elif label in ("raises an arm", "lowers an arm"):
            ends = (440.0, 660.0) if label == "raises an arm" else (660.0, 440.0)
            _add(track, start, 0.13 * _glide(*ends, length), 0.6)
        elif label == "waves":
            for at in np.arange(start + 0.1, end - 0.2, 0.36):
                _add(track, at, 0.12 * _rustle(rng, 0.22), 0.7)
    return (track * PEAK / np.abs(track).max()).astype(np.float32)


def _add(track: np.ndarray, at: float, sound: np.ndarray, where: float) -> None:
    """Mixes a sound in; `where` runs from 0 at the left to 1 at the right."""
    first = round(at * RATE)
    sound = sound[: max(track.shape[1] - first, 0)]
    where = 0.25 + 0.5 * where
    track[0, first : first + len(sound)] += sound * np.sqrt(1 - where)
    track[1, first : first + len(sound)] += sound * np.sqrt(where)


def _tap(rng: np.random.Generator, pitch: float, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    body = np.sin(2 * np.pi * pitch * t * (1 - 0.3 * t / seconds)) * np.exp(-5 * t / seconds)
    click = _soft(rng.normal(0, 1, len(t)), 30) * np.exp(-40 * t / seconds)
    return (body + click) * np.minimum(1, t / 0.003)


def _rustle(rng: np.random.Generator, seconds: float) -> np.ndarray:
    count = round(seconds * RATE)
    return _soft(rng.normal(0, 1, count), 12) * np.hanning(count)


def _glide(low: float, high: float, seconds: float) -> np.ndarray:
    count = round(seconds * RATE)
    pitch = np.linspace(low, high, count)
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(count)


def _soft(noise: np.ndarray, width: int) -> np.ndarray:
    """Takes the hiss off white noise, keeping its loudness."""
    return np.convolve(noise, np.ones(width) / np.sqrt(width), "same")
