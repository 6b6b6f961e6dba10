"""The room or place a clip is set in: its backdrop, its seat, and anything that drifts through it."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from .backdrops import FAMILIES, paint_backdrop
from .body import Body
from .draw import View, fill
from .looks import Colour

MARGIN = 0.2  # how far the backdrop goes on past the picture's edge, in frame heights


class Scene:
    """One place: a backdrop painted once, with a seat that is always there, and its drifting distractors."""

    def __init__(self, rng: np.random.Generator, split: str, aspect: float, body: Body) -> None:
        train = split == "train"
        self.aspect = aspect
        pitch = rng.uniform(0.12, 0.24) if train else rng.uniform(0.22, 0.34)
        light = rng.uniform(-0.8, 0.8)
        self.view = View(float(rng.uniform(0.86, 0.95)), float(pitch), (float(light), -math.sqrt(1 - light * light)))
        self._family = str(rng.choice(FAMILIES[split]))
        self._horizon = self.view.floor - float(rng.uniform(0.07, 0.2)) - 0.35 * body.height * math.sin(pitch)
        self._seat_colour = _dull(rng)
        self._seat_style = str(rng.choice(["bench", "ledge", "boxes"] if train else ["sofa", "bench", "blocks"]))
        self._body = body
        self._seed = int(rng.integers(2**31))
        self._drifters = _Drifter.several(rng, split, aspect)

    def backdrop(self, density: float) -> np.ndarray:
        """The still part of the scene, margins included, with `density` pixels per frame height."""
        rng = np.random.default_rng(self._seed)
        height, width = round((1 + 2 * MARGIN) * density), round((self.aspect + 2 * MARGIN) * density)
        image = paint_backdrop(self._family, rng, height, width, (self._horizon + MARGIN) / (1 + 2 * MARGIN))
        affine = np.array([[density, 0, MARGIN * density], [0, density, MARGIN * density]])
        self._paint_seat(image, affine, rng)
        return image

    def _paint_seat(self, image: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> None:
        """A seat as long as the figure can walk, so that where it stands does not betray what it will do."""
        h, thigh = self._body.height, self._body.thigh
        top = h * (self._body.shin + 0.035 - 0.035 * self._body.girth)
        front, back = -0.5 * thigh * h, -1.35 * thigh * h
        x0, x1 = -MARGIN - 0.1, self.aspect + MARGIN + 0.1
        if self._seat_style in ("bench", "ledge", "sofa"):
            x0, x1 = float(rng.uniform(0.02, 0.1)), self.aspect - float(rng.uniform(0.02, 0.1))
        colour = self._seat_colour
        dark, darker = tuple(0.72 * c for c in colour), tuple(0.5 * c for c in colour)

        def face(corners: list[tuple[float, float, float]], paint: Colour) -> None:
            fill(image, self.view.project(np.array(corners)), affine, paint)

        def front_face(a: float, b: float, low: float, high: float, paint: Colour) -> None:
            face([(a, low, front), (b, low, front), (b, high, front), (a, high, front)], paint)

        def box(a: float, b: float, low: float, high: float) -> None:
            front_face(a, b, low, high, dark)
            face([(a, high, front), (b, high, front), (b, high, back), (a, high, back)], colour)

        shade = [(x0 - 0.03, 0, front + 0.05 * h), (x1 + 0.03, 0, front + 0.05 * h), (x1, 0, back), (x0, 0, back)]
        floor = image[round(affine[1, 2] + affine[1, 1] * 0.97), image.shape[1] // 2]
        face(shade, tuple(0.6 * float(c) for c in floor))
        if self._seat_style == "bench":
            for x in np.linspace(x0 + 0.05, x1 - 0.05, int(rng.integers(3, 6))):
                box(x - 0.015, x + 0.015, 0, top)
            box(x0, x1, 0.86 * top, top)
        elif self._seat_style == "sofa":
            tall = top + 0.3 * h
            face([(x0, 0, back), (x1, 0, back), (x1, tall, back), (x0, tall, back)], dark)
            box(x0, x1, 0, top)
            front_face(x0, x1, 0.55 * top, 0.6 * top, darker)
            for x in np.linspace(x0, x1, int(rng.integers(3, 6)))[1:-1]:
                front_face(x - 0.003, x + 0.003, 0, top, darker)
        elif self._seat_style == "ledge":
            box(x0, x1, 0, top)
            box(x0 - 0.02, x1 + 0.02, 0.9 * top, top)
        else:
            count = int(rng.integers(5, 10))
            edges = np.linspace(x0, x1, count + 1)
            for i in range(count):
                tone = 0.8 + 0.2 * float(rng.uniform())
                colour = tuple(tone * c for c in self._seat_colour)
                dark = tuple(0.72 * c for c in colour)
                box(edges[i] + 0.002, edges[i + 1] - 0.002, 0, top)

    def drift(self, image: np.ndarray, affine: np.ndarray, time: float) -> None:
        for drifter in self._drifters:
            drifter.paint(image, affine, time)


class _Drifter:
    """A ball, a bird or a balloon that moves independently of the label."""

    def __init__(self, rng: np.random.Generator, aspect: float) -> None:
        self._centre = np.array([rng.uniform(0.1, aspect - 0.1), rng.uniform(0.08, 0.45)])
        self._range = np.array([rng.uniform(0.05, 0.5), rng.uniform(0.01, 0.08)])
        self._pace = rng.uniform(0.1, 0.9, 2)
        self._phase = rng.uniform(0, 6.28, 2)
        self._size = float(rng.uniform(0.015, 0.05))
        self._shape = int(rng.integers(3, 8))
        self._colour = tuple(float(c) for c in rng.uniform(60, 240, 3))

    @classmethod
    def several(cls, rng: np.random.Generator, split: str, aspect: float) -> list[_Drifter]:
        weights = [0.6, 0.3, 0.1] if split == "train" else [0.5, 0.3, 0.2]
        return [cls(rng, aspect) for _ in range(int(rng.choice(3, p=weights)))]

    def paint(self, image: np.ndarray, affine: np.ndarray, time: float) -> None:
        where = self._centre + self._range * np.sin(self._pace * time + self._phase)
        corners = 14 if self._shape > 5 else self._shape
        turn = np.linspace(0, 2 * math.pi, corners, endpoint=False) + 0.7 * time * (corners < 14)
        fill(image, where + self._size * np.stack([np.cos(turn), np.sin(turn)], 1), affine, self._colour)


def _dull(rng: np.random.Generator) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(float(rng.uniform()), float(rng.uniform(0.05, 0.45)), float(rng.uniform(0.35, 0.9)))
    return 255 * r, 255 * g, 255 * b
