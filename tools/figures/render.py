"""Renders clips: a seed and the instants wanted in, pictures with their true labels and joints out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .actions import Script
from .body import Body, joints_of
from .camera import Camera
from .draw import Painter
from .looks import Looks
from .scene import MARGIN, Scene

SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Rendered:
    """One picture of a clip, and its ground truth."""

    image: np.ndarray  # (h, w, 3) uint8 RGB
    time: float  # seconds
    label: int  # index into ACTIONS
    joints: np.ndarray  # (14, 2) float32, x and y as fractions of width/height, after the camera's motion


def render_clip(
    seed: int,
    *,
    split: str = "train",
    times: Sequence[float],
    size: tuple[int, int] = (160, 160),
    aspect: float = 16 / 9,
    plan: Sequence[tuple[str, float]] | None = None,
) -> Iterator[Rendered]:
    """Renders the clip that a seed stands for, at any instants.

    The seed fixes the person, the place, the camera and the motion, which is a continuous function of
    time: other `times` sample the same clip at other instants. `size` is (width, height); where its
    shape is not `aspect` the picture is squashed. `plan` replaces the random actions by the given
    (action, seconds) pairs, after which the figure holds still.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; the splits are: {', '.join(SPLITS)}")

    def stream(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, SPLITS.index(split), part])

    body = Body.drawn(stream(0), split)
    reach = 0.28 * body.height + 0.04
    script = Script(stream(1), (reach, max(aspect - reach, reach + 0.01)), body.height, plan)
    return _frames(stream, split, body, script, times, size, aspect)


def _frames(
    stream: Callable[[int], np.random.Generator],
    split: str,
    body: Body,
    script: Script,
    times: Sequence[float],
    size: tuple[int, int],
    aspect: float,
) -> Iterator[Rendered]:
    scene = Scene(stream(2), split, aspect, body)
    painter = Painter(body, Looks.drawn(stream(3), split), scene.view)
    camera = Camera(stream(4), split, size, aspect)

    # The backdrop is painted with square pixels, then squashed to a little over the picture's own density.
    plain = scene.backdrop(max(size[1], size[0] / aspect) * 1.15)
    squashed_width = round((aspect + 2 * MARGIN) * size[0] / aspect * 1.15)
    backdrop = cv2.resize(plain, (squashed_width, plain.shape[0]), interpolation=cv2.INTER_AREA)
    per_pixel = (aspect + 2 * MARGIN) / squashed_width, (1 + 2 * MARGIN) / plain.shape[0]
    to_scene = np.array([[per_pixel[0], 0, -MARGIN], [0, per_pixel[1], -MARGIN], [0, 0, 1]])

    for time in times:
        time = float(time)
        stance, label = script.at(time)
        affine = camera.affine_at(time)
        image = cv2.warpAffine(
            backdrop, affine @ to_scene, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        scene.drift(image, affine, time)
        joints = joints_of(body, stance, time, aspect)
        painter.shadow(joints, affine, image)
        painter.paint(image, joints, affine)
        flat = scene.view.project(joints) @ affine[:, :2].T + affine[:, 2]
        yield Rendered(camera.develop(image, time), time, label, (flat / size).astype(np.float32))
