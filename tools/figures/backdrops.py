"""Backdrops: walls, floors and landscapes, in families that the two splits do not share."""

from __future__ import annotations

import numpy as np

from . import outdoors, walls
from .strokes import noise

FAMILIES = {
    "train": ("plain", "bricks", "planks", "meadow", "room", "clouded", "shelves", "lamps", "quilt", "posters"),
    "test": ("tiles", "beach", "windows", "city", "panels"),
}

_PAINTERS = {
    "plain": walls.plain,
    "bricks": walls.bricks,
    "planks": walls.planks,
    "meadow": outdoors.meadow,
    "room": walls.room,
    "clouded": walls.clouded,
    "shelves": walls.shelves,
    "lamps": walls.lamps,
    "quilt": walls.quilt,
    "posters": walls.posters,
    "tiles": walls.tiles,
    "beach": outdoors.beach,
    "windows": walls.windows,
    "city": outdoors.city,
    "panels": walls.panels,
}


def paint_backdrop(family: str, rng: np.random.Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """A picture (height, width, 3) of one family; `horizon` is where the wall meets the floor, from 0 to 1."""
    image = np.empty((height, width, 3), np.float32)
    line = int(horizon * height)
    _PAINTERS[family](rng, image, line)
    image += noise(rng, height, width, float(rng.uniform(1, 5)), float(rng.uniform(1, 5)))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)
