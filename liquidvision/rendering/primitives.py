"""Drawing primitives of the overlay: sizes, class colours, text, translucent cards and bars.

They draw into pixels, or into a `VectorPage`, from which subtitles are made.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

Color = tuple[int, int, int]

TEXT_COLOR: Color = (248, 249, 251)
DIM_TEXT_COLOR: Color = (200, 205, 214)
UNSURE_COLOR: Color = (112, 118, 128)

# The Okabe-Ito palette, brightest first, with a lighter blue, so that each colour is legible on a dark card.
_BASE_COLORS: tuple[Color, ...] = (
    (86, 180, 233), (240, 160, 20), (20, 180, 135), (220, 130, 180), (240, 228, 80), (232, 104, 40), (70, 125, 235),
)  # fmt: skip
_font_of_thread = threading.local()


class Box(NamedTuple):
    """A rectangle of pixels; x1 and y1 are exclusive."""

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
    """The lengths that the panels use, in pixels, in proportion to the picture.

    Attributes:
        unit: the base length.
        head, body, small: font sizes.
        pad: distance from the edge of a card to its content.
        margin: distance between cards, and from the edge of the picture.
        radius: the radius of rounded corners.
    """

    unit: float
    head: int
    body: int
    small: int
    pad: int
    margin: int
    radius: int

    @classmethod
    def for_picture(cls, height: int, width: int) -> "Scale":
        """Return the lengths for a picture of this size."""
        unit = max(10.0, min(height, width) / 22)
        head, body, small = (max(10, round(unit * part)) for part in (1.2, 0.7, 0.62))
        return cls(unit, head, body, small, round(unit * 0.5), round(unit * 0.6), round(unit * 0.36))


class VectorPage(ABC):
    """A surface on which the primitives draw shapes and texts instead of pixels; see `AssPage`.

    Attributes:
        shape: height, width and 3, as of an RGB image.
    """

    shape: tuple[int, int, int]

    @abstractmethod
    def text(self, text: str, x: int, baseline: int, size: int, color: Color, *, bold: bool) -> None:
        """Add a text with its left end at (x, baseline); `size` is the font's, in pixels."""

    @abstractmethod
    def box(self, box: Box, color: Color, opacity: float) -> None:
        """Add a box of one colour; `opacity` is 0 to 1."""

    @abstractmethod
    def dot(self, x: int, y: int, radius: int, color: Color) -> None:
        """Add a filled circle."""

    @abstractmethod
    def rounded(self, box: Box, radius: int) -> AbstractContextManager[None]:
        """Clip what the `with` block adds to a box with rounded corners."""


Surface = np.ndarray | VectorPage  # (h, w, 3) uint8 RGB, or shapes


@lru_cache(maxsize=4096)
def class_color(index: int) -> Color:
    """Return the RGB colour of class number `index`; it is always the same."""
    if index < len(_BASE_COLORS):
        return _BASE_COLORS[index]
    # The golden angle gives neighbouring numbers different hues. Lightness alternates, so that colour-blind people can
    # distinguish them too.
    turn = math.radians(137.508 * index + 30)
    light, chroma = ((0.80, 0.13), (0.68, 0.15), (0.88, 0.09))[index % 3]
    a, b = chroma * math.cos(turn), chroma * math.sin(turn)
    # OKLab to linear sRGB, with Ottosson's matrices (https://bottosson.github.io/posts/oklab/).
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
    """Return near-black or white, whichever is more legible on `color`."""
    return (16, 18, 22) if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 118 else (255, 255, 255)


def format_percent(score: float) -> str:
    """Return a score of 0 to 1 as a whole percentage."""
    return f"{score:.0%}"


def _font() -> "cv2.FontFace":
    # A face stores the weight it last drew with, so threads must not share one.
    if not hasattr(_font_of_thread, "face"):
        _font_of_thread.face = cv2.FontFace("sans")
    return _font_of_thread.face


@lru_cache(maxsize=4096)
def text_width(text: str, size: int, bold: bool = False) -> int:
    """Return the width of `text` in pixels."""
    # OpenCV wraps text at the edge of the picture, so measure on a very large one.
    return cv2.getTextSize((1 << 24, 1 << 24), text, (0, 0), _font(), size, 600 if bold else 400)[2]


@lru_cache(maxsize=4096)
def shorten(text: str, width: int, size: int, bold: bool = False) -> str:
    """Return `text` on one line of at most `width` pixels, cut with an ellipsis; empty if nothing fits."""
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


def draw_text(image: Surface, text: str, x: int, baseline: int, size: int, color: Color, bold: bool = False) -> None:
    """Draw `text` with its left end at (x, baseline)."""
    if isinstance(image, VectorPage):
        if text:
            image.text(text, x, baseline, size, color, bold=bold)
    elif text:
        cv2.putText(image, text, (x, baseline), color, _font(), size, 600 if bold else 400)


def draw_text_right(image: Surface, text: str, x1: int, baseline: int, size: int, color: Color, bold: bool) -> None:
    """Draw `text` with its right end at (x1, baseline)."""
    draw_text(image, text, x1 - text_width(text, size, bold), baseline, size, color, bold)


def darken(image: Surface, box: Box, factor: float, offset: float) -> None:
    """Multiply the pixels of `box` by `factor` and add `offset`, in place."""
    if isinstance(image, VectorPage):  # the same as a box of this grey, of which a share covers what is below
        grey = round(min(offset / (1 - factor), 255))
        image.box(box, (grey, grey, grey), 1 - factor)
        return
    part = image[box.y0 : box.y1, box.x0 : box.x1]
    if part.size:
        cv2.convertScaleAbs(part, dst=part, alpha=factor, beta=offset)


def fill_box(image: Surface, box: Box, color: Color) -> None:
    """Fill `box` with one colour."""
    if isinstance(image, VectorPage):
        image.box(box, color, 1.0)
    elif box.x1 > box.x0 and box.y1 > box.y0:
        # Several times faster than assigning the colour to a slice.
        cv2.rectangle(image, (box.x0, box.y0), (box.x1 - 1, box.y1 - 1), color, cv2.FILLED)


def draw_disc(image: Surface, x: int, y: int, radius: int, color: Color) -> None:
    """Draw a filled circle."""
    if isinstance(image, VectorPage):
        image.dot(x, y, radius, color)
    else:
        cv2.circle(image, (x, y), radius, color, -1, cv2.LINE_AA)


@lru_cache(maxsize=64)
def _corner_weights(radius: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return the share of each pixel inside and outside a rounded box, for the corners in reading order."""
    distance = radius - 0.5 - np.arange(radius)
    inside = np.clip(radius + 0.5 - np.hypot(distance[:, None], distance[None, :]), 0, 1).astype(np.float32)
    flipped = (np.ascontiguousarray(inside[::i, ::j]) for i in (1, -1) for j in (1, -1))
    return tuple((weight, 1 - weight) for weight in flipped)


@contextmanager
def rounded_corners(image: Surface, box: Box, radius: int) -> Iterator[None]:
    """Clip what the `with` block draws into `box` to rounded corners."""
    radius = min(radius, box.width // 2, box.height // 2)
    if radius < 1:
        yield
        return
    if isinstance(image, VectorPage):
        with image.rounded(box, radius):
            yield
        return
    x0, y0, x1, y1 = box
    starts = ((y0, x0), (y0, x1 - radius), (y1 - radius, x0), (y1 - radius, x1 - radius))
    corners = [image[y : y + radius, x : x + radius] for y, x in starts]
    before = [corner.copy() for corner in corners]
    yield
    for corner, old, (inside, outside) in zip(corners, before, _corner_weights(radius), strict=True):
        cv2.blendLinear(corner, old, inside, outside, dst=corner)


def draw_card(image: Surface, box: Box, scale: Scale, strip: Color | None = None) -> None:
    """Draw a translucent dark card, with a strip of colour along its left edge if `strip` is given."""
    with rounded_corners(image, box, scale.radius):
        darken(image, box, 0.25, 10.0)
        if strip is not None:
            fill_box(image, box._replace(x1=box.x0 + strip_width(scale)), strip)


def strip_width(scale: Scale) -> int:
    """Return the width of a card's colour strip, in pixels."""
    return max(3, round(scale.unit * 0.22))


def draw_bar(image: Surface, box: Box, fraction: float, color: Color) -> None:
    """Draw a bar that fills `fraction` of `box`, 0 to 1, on a faint background."""
    end = box.x0 + round(box.width * min(max(fraction, 0.0), 1.0))
    with rounded_corners(image, box, box.height // 2):
        darken(image, box._replace(x0=end), 0.8, 42.0)
        fill_box(image, box._replace(x1=end), color)
