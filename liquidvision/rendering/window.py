"""A window on the screen, by OpenCV: the picture, a line under it, the keys that are pressed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from liquidvision.errors import SinkError
from liquidvision.rendering.primitives import (
    DIM,
    INK,
    Box,
    Color,
    Scale,
    draw_text,
    draw_text_right,
    fill_box,
    fill_rounded,
    shorten,
    text_width,
)

LARGEST = 1280, 720  # pixels of the picture in a new window
ESCAPE = "\x1b"
GROUND, RED = (14, 15, 18), (255, 82, 82)
TRIAL = "import cv2; cv2.namedWindow('liquidvision'); cv2.destroyAllWindows()"
INSTEAD = "use --web, which shows the same in a browser"


class StatusLine(NamedTuple):
    """What stands under the picture, and over it.

    Attributes:
        left, right: the two ends of the line under the picture; the left one gives way.
        recording: whether a red dot stands before the right end.
        keys: keys and what they do, listed over the picture; none: no list.
    """

    left: str
    right: str
    recording: bool = False
    keys: Sequence[tuple[str, str]] = ()


class ScreenWindow:
    """A window that the person may resize and close. A context manager.

    Args:
        title: what stands in its frame.
        width, height: of the pictures to come, in pixels.
        aspect: width of a pixel over its height.

    Raises:
        SinkError: there is no display, see `check_display`.
    """

    def __init__(self, title: str, width: int, height: int, aspect: Fraction = Fraction(1)) -> None:
        check_display()
        self._name, self._aspect = title, float(aspect)
        wide = width * self._aspect
        factor = min(LARGEST[0] / wide, LARGEST[1] / height, 2.0)
        self._size = max(320, round(wide * factor)), max(240, round(height * factor))
        self._size = self._size[0], self._size[1] + bar_height(*self._size)
        cv2.namedWindow(self._name, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(self._name, *self._size)
        self._early = ""
        self._early = self.key(0.0)  # it comes onto the screen; a key that is pressed meanwhile is kept

    def show(self, image: np.ndarray, said: StatusLine) -> None:
        """Show a picture, (h, w, 3) uint8 RGB, as large as the window has room."""
        if self.closed:  # OpenCV would open another
            return
        width, height = cv2.getWindowImageRect(self._name)[2:]
        if width < 64 or height < 64:  # not on the screen yet, or made tiny
            width, height = self._size
        cv2.imshow(self._name, cv2.cvtColor(compose(image, self._aspect, width, height, said), cv2.COLOR_RGB2BGR))

    def key(self, seconds: float) -> str:
        """The key pressed within so many seconds, in lower case; empty for none. The window lives only in here."""
        if self._early:
            early, self._early = self._early, ""
            return early
        code = cv2.waitKeyEx(max(1, round(seconds * 1000)))
        # Below the upper bits stand, with some of OpenCV's toolkits, Num Lock and the like; arrows are above ASCII.
        return chr(code & 0xFFFF).lower() if code > 0 and code & 0xFFFF < 128 else ""

    @property
    def closed(self) -> bool:
        """Whether the window is gone, by its own button or by `close`."""
        try:
            return cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:
            return True

    def close(self) -> None:
        """Take the window off the screen; harmless when done twice."""
        if not self.closed:
            cv2.destroyWindow(self._name)
            cv2.waitKey(1)

    def __enter__(self) -> "ScreenWindow":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def check_display() -> None:
    """Raise SinkError where no window can be opened: without a display, or with an OpenCV built without windows.

    Tried in a process of its own, for Qt, which OpenCV may draw with, ends the process that has no display.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SinkError(f"there is no display to open a window on; {INSTEAD}")
    if subprocess.run([sys.executable, "-c", TRIAL], capture_output=True).returncode:
        raise SinkError(f"OpenCV can open no window on this display; {INSTEAD}")


def compose(image: np.ndarray, aspect: float, width: int, height: int, said: StatusLine) -> np.ndarray:
    """What a window of `width` x `height` shows: the picture in its own proportions, the list of keys, the line."""
    tall, wide = image.shape[:2]
    room = height - bar_height(width, height)
    factor = min(width / (wide * aspect), room / tall)
    size = max(1, round(wide * aspect * factor)), max(1, round(tall * factor))
    if size != (wide, tall):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    canvas = np.empty((height, width, 3), np.uint8)
    fill_box(canvas, Box(0, 0, width, height), GROUND)
    x, y = (width - size[0]) // 2, (room - size[1]) // 2
    canvas[y : y + size[1], x : x + size[0]] = image
    scale = Scale.of(room, width)
    if said.keys:
        draw_keys(canvas, Box(0, 0, width, room), scale, said.keys)
    draw_line(canvas, Box(0, room, width, height), scale, said)
    return canvas


def bar_height(width: int, height: int) -> int:
    """Pixels that the line under the picture takes of a window."""
    return round(Scale.of(height, width).body * 2)


def draw_line(canvas: np.ndarray, box: Box, scale: Scale, said: StatusLine) -> None:
    baseline, size, color = (box.y0 + box.y1) // 2 + round(scale.body * 0.36), scale.body, DIM
    end = box.x1 - scale.margin
    dot = round(size * 0.6) if said.recording else 0
    right = shorten(said.right, box.width // 2, size)
    start = end - text_width(right, size)
    draw_text_right(canvas, right, end, baseline, size, INK if dot else color, False)
    if dot:
        start -= dot + scale.pad // 2
        draw_dot(canvas, start, (box.y0 + box.y1 - dot) // 2, dot, RED)
    draw_text(canvas, shorten(said.left, start - 2 * scale.margin, size), box.x0 + scale.margin, baseline, size, color)


def draw_dot(canvas: np.ndarray, x: int, y: int, side: int, color: Color) -> None:
    cv2.circle(canvas, (x + side // 2, y + side // 2), side // 2, color, cv2.FILLED, cv2.LINE_AA)


def draw_keys(canvas: np.ndarray, room: Box, scale: Scale, keys: Sequence[tuple[str, str]]) -> None:
    """A card in the middle of `room` that lists the keys."""
    size, row = scale.body, round(scale.body * 1.8)
    gutter = max(text_width(key, size, True) for key, _ in keys) + scale.pad * 2
    wide = min(room.width, gutter + max(text_width(text, size) for _, text in keys) + 4 * scale.pad)
    tall = min(room.height, len(keys) * row + 2 * scale.pad)
    x, y = room.x0 + (room.width - wide) // 2, room.y0 + (room.height - tall) // 2
    box = Box(x, y, x + wide, y + tall)
    with fill_rounded(canvas, box, scale.radius):
        fill_box(canvas, box, GROUND)
    for number, (key, text) in enumerate(keys):
        baseline = y + scale.pad + number * row + round(row * 0.66)
        draw_text(canvas, key, x + 2 * scale.pad, baseline, size, INK, True)
        draw_text(
            canvas, shorten(text, wide - gutter - 4 * scale.pad, size), x + 2 * scale.pad + gutter, baseline, size, DIM
        )
