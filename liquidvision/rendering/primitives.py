"""What the overlay draws with: sizes from the picture, class colours, measured text, translucent cards and bars."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

Color = tuple[int, int, int]

INK: Color = (248, 249, 251)
DIM: Color = (200, 205, 214)
UNSURE: Color = (112, 118, 128)

# Okabe-Ito, brightest first and its blue lifted, so that each reads on a dark card.
_NAMED: tuple[Color, ...] = (
    (86, 180, 233), (240, 160, 20), (20, 180, 135), (220, 130, 180), (240, 228, 80), (232, 104, 40), (70, 125, 235),
)  # fmt: skip
_font_of_thread = threading.local()


class Box(NamedTuple):
    """A rectangle of pixels, the right and lower edges outside it."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


class Scale(NamedTuple):
    """Every length the panels use, in pixels, from the size of the picture."""

    unit: float
    head: int
    body: int
    small: int
    pad: int
    margin: int
    radius: int

    @classmethod
    def of(cls, height: int, width: int) -> "Scale":
        unit = max(10.0, min(height, width) / 22)
        head, body, small = (max(10, round(unit * part)) for part in (1.2, 0.7, 0.62))
        return cls(unit, head, body, small, round(unit * 0.5), round(unit * 0.6), round(unit * 0.36))


@lru_cache(maxsize=4096)
def class_color(index: int) -> Color:
    """The colour of class number `index`: always the same one, RGB."""
    if index < len(_NAMED):
        return _NAMED[index]
    # The golden angle keeps neighbours in number far apart in hue; lightness alternates, which the
    # colour-blind see too.
    turn = math.radians(137.508 * index + 30)
    light, chroma = ((0.80, 0.13), (0.68, 0.15), (0.88, 0.09))[index % 3]
    a, b = chroma * math.cos(turn), chroma * math.sin(turn)
    # OKLab to linear sRGB, by Ottosson's matrices.
    l_ = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m_ = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s_ = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_,
        -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_,
        -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_,
    )
    red, green, blue = (round(255 * 1.055 * min(max(v, 0.0031), 1.0) ** (1 / 2.4) - 14.025) for v in linear)
    return red, green, blue


def text_color_on(color: Color) -> Color:
    """Black or white, whichever reads better on `color`."""
    return (16, 18, 22) if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 118 else (255, 255, 255)


def format_percent(score: float) -> str:
    return f"{score:.0%}"


def _font() -> "cv2.FontFace":
    # A face holds the weight it last drew with, so threads must not share one.
    if not hasattr(_font_of_thread, "face"):
        _font_of_thread.face = cv2.FontFace("sans")
    return _font_of_thread.face


@lru_cache(maxsize=4096)
def text_width(text: str, size: int, bold: bool = False) -> int:
    """The width of `text` in pixels."""
    # The imagined picture is vast, for text that passes its edge would wrap.
    return cv2.getTextSize((1 << 24, 1 << 24), text, (0, 0), _font(), size, 600 if bold else 400)[2]


@lru_cache(maxsize=4096)
def shorten(text: str, width: int, size: int, bold: bool = False) -> str:
    """`text` on one line, cut with an ellipsis to be at most `width` pixels wide; empty where nothing fits."""
    text = " ".join(text.split())
    if text_width(text, size, bold) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", size, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def draw_text(image: np.ndarray, text: str, x: int, baseline: int, size: int, color: Color, bold: bool = False) -> None:
    """Draw `text` from (x, baseline) rightwards."""
    if text:
        cv2.putText(image, text, (x, baseline), color, _font(), size, 600 if bold else 400)


def draw_text_right(image: np.ndarray, text: str, x1: int, baseline: int, size: int, color: Color, bold: bool) -> None:
    """Draw `text` so that it ends at x1."""
    draw_text(image, text, x1 - text_width(text, size, bold), baseline, size, color, bold)


def darken(image: np.ndarray, box: Box, keep: float, lift: float) -> None:
    """Dim the pixels of `box` towards a dark grey: `keep` of the picture plus `lift`."""
    part = image[box.y0 : box.y1, box.x0 : box.x1]
    if part.size:
        cv2.convertScaleAbs(part, dst=part, alpha=keep, beta=lift)


def fill_box(image: np.ndarray, box: Box, color: Color) -> None:
    """Paint `box` in one colour."""
    if box.x1 > box.x0 and box.y1 > box.y0:
        # Several times as fast as assigning the colour to a slice.
        cv2.rectangle(image, (box.x0, box.y0), (box.x1 - 1, box.y1 - 1), color, cv2.FILLED)


@lru_cache(maxsize=64)
def _corners(radius: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """How much of each pixel lies inside and outside a rounded box: top left, top right, lower left, lower right."""
    away = radius - 0.5 - np.arange(radius)
    inside = np.clip(radius + 0.5 - np.hypot(away[:, None], away[None, :]), 0, 1).astype(np.float32)
    turned = (np.ascontiguousarray(inside[::i, ::j]) for i in (1, -1) for j in (1, -1))
    return tuple((weight, 1 - weight) for weight in turned)


@contextmanager
def fill_rounded(image: np.ndarray, box: Box, radius: int) -> Iterator[None]:
    """Whatever is drawn into `box` inside the block ends at rounded corners."""
    radius = min(radius, box.width // 2, box.height // 2)
    if radius < 1:
        yield
        return
    x0, y0, x1, y1 = box
    starts = ((y0, x0), (y0, x1 - radius), (y1 - radius, x0), (y1 - radius, x1 - radius))
    corners = [image[y : y + radius, x : x + radius] for y, x in starts]
    before = [corner.copy() for corner in corners]
    yield
    for corner, old, (inside, outside) in zip(corners, before, _corners(radius), strict=True):
        cv2.blendLinear(corner, old, inside, outside, dst=corner)


def draw_card(image: np.ndarray, box: Box, scale: Scale, strip: Color | None = None) -> None:
    """A translucent dark card, with a strip of colour along its left edge if one is given."""
    with fill_rounded(image, box, scale.radius):
        darken(image, box, 0.25, 10.0)
        if strip is not None:
            fill_box(image, box._replace(x1=box.x0 + strip_width(scale)), strip)


def strip_width(scale: Scale) -> int:
    return max(3, round(scale.unit * 0.22))


def draw_bar(image: np.ndarray, box: Box, fraction: float, color: Color) -> None:
    """A bar that fills `fraction` of `box`, on a faint track."""
    end = box.x0 + round(box.width * min(max(fraction, 0.0), 1.0))
    with fill_rounded(image, box, box.height // 2):
        darken(image, box._replace(x0=end), 0.8, 42.0)
        fill_box(image, box._replace(x1=end), color)
