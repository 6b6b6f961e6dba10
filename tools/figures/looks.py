"""What one person wears: the colours, patterns and hair that a seed draws."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# Hue ranges of clothes; the two splits share none.
_HUES = {
    "train": ((0.95, 1.04), (0.12, 0.19), (0.36, 0.46), (0.58, 0.68)),
    "test": ((0.06, 0.1), (0.23, 0.33), (0.49, 0.55), (0.72, 0.9)),
}
_SKINS = {
    "train": ((246, 212, 184), (224, 172, 135), (178, 122, 84), (122, 80, 54), (88, 58, 42)),
    "test": ((236, 194, 160), (202, 148, 108), (150, 100, 68), (104, 68, 48)),
}
_HAIRS = {
    "train": ((40, 30, 26), (92, 60, 36), (206, 170, 100), (120, 118, 116)),
    "test": ((62, 40, 30), (150, 74, 40), (224, 206, 170), (20, 20, 26)),
}


@dataclass(frozen=True, slots=True)
class Looks:
    skin: Colour
    hair: Colour
    shirt: Colour
    second: Colour  # the stripes, and the hat
    trousers: Colour
    shoes: Colour
    stripes: int  # across the shirt; 0 is plain
    sleeves: int  # 0 none, 1 to the elbow, 2 to the wrist
    legs: str  # "long", "short" or "skirt"
    haircut: str  # "short", "long", "bun", "bald" or "hat"

    @classmethod
    def drawn(cls, rng: np.random.Generator, split: str) -> Looks:
        train = split == "train"
        stripes = (0, 0, 2, 3) if train else (0, 0, 4, 5)
        return cls(
            skin=_pick(rng, _SKINS[split]),
            hair=_pick(rng, _HAIRS[split]),
            shirt=_cloth(rng, split),
            second=_cloth(rng, split, pale=True),
            trousers=_cloth(rng, split, dark=True),
            shoes=_pick(rng, ((40, 36, 34), (235, 235, 232), (150, 60, 48), (70, 74, 92))),
            stripes=int(rng.choice(stripes)),
            sleeves=int(rng.choice([0, 1, 2], p=[0.15, 0.35, 0.5])),
            legs=str(rng.choice(["long", "short", "skirt"], p=[0.65, 0.2, 0.15])),
            haircut=str(rng.choice(["short", "long", "bun", "bald", "hat"], p=[0.4, 0.25, 0.1, 0.1, 0.15])),
        )


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Colour:
    colour = np.array(colours[int(rng.integers(len(colours)))], float)
    r, g, b = np.clip(colour + rng.uniform(-10, 10), 0, 255)
    return float(r), float(g), float(b)


def _cloth(rng: np.random.Generator, split: str, *, dark: bool = False, pale: bool = False) -> Colour:
    low, high = _HUES[split][int(rng.integers(len(_HUES[split])))]
    saturation, value = rng.uniform(0.35, 0.85), rng.uniform(0.45, 0.95)
    if dark:
        saturation, value = rng.uniform(0.2, 0.6), rng.uniform(0.22, 0.6)
    if pale:
        saturation, value = rng.uniform(0.1, 0.5), rng.uniform(0.75, 1.0)
    r, g, b = colorsys.hsv_to_rgb(float(rng.uniform(low, high)) % 1.0, float(saturation), float(value))
    return 255 * r, 255 * g, 255 * b
