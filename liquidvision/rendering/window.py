"""A window on the screen, made with OpenCV: a picture, a status line under it, and key presses."""

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
    DIM_TEXT_COLOR,
    TEXT_COLOR,
    Box,
    Color,
    Scale,
    draw_text,
    draw_text_right,
    fill_box,
    rounded_corners,
    shorten,
    text_width,
)

MAX_PICTURE_SIZE = 1280, 720  # width and height in pixels of the picture in a new window
ESCAPE = "\x1b"
BACKGROUND, RED = (14, 15, 18), (255, 82, 82)
OPEN_WINDOW_CODE = "import cv2; cv2.namedWindow('liquidvision'); cv2.destroyAllWindows()"
ADVICE = "use --web, which shows the same in a browser"


class StatusLine(NamedTuple):
    """The text under the picture, and the list of keys over it.

    Attributes:
        left, right: the two ends of the line under the picture; the left one is shortened if both do not fit.
        recording: whether to draw a red dot before the right text.
        keys: (key, meaning) pairs, listed over the picture; empty for no list.
    """

    left: str
    right: str
    recording: bool = False
    keys: Sequence[tuple[str, str]] = ()


class ScreenWindow:
    """A window that the user can resize and close. A context manager.

    Args:
        title: the window's title.
        width, height: size of the pictures, in pixels.
        aspect: width of a pixel divided by its height.

    Raises:
        SinkError: no window can be opened, see `check_display`.
    """

    def __init__(self, title: str, width: int, height: int, aspect: Fraction = Fraction(1)) -> None:
        check_display()
        self._name, self._aspect = title, float(aspect)
        display_width = width * self._aspect
        factor = min(MAX_PICTURE_SIZE[0] / display_width, MAX_PICTURE_SIZE[1] / height, 2.0)
        self._size = max(320, round(display_width * factor)), max(240, round(height * factor))
        self._size = self._size[0], self._size[1] + status_height(*self._size)
        cv2.namedWindow(self._name, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(self._name, *self._size)
        self._early_key = ""
        self._early_key = self.read_key(0.0)  # makes the window appear; a key pressed meanwhile is kept

    def show(self, image: np.ndarray, status: StatusLine) -> None:
        """Show a picture (h, w, 3) uint8 RGB, scaled to the window, with a status line under it."""
        if self.closed:  # OpenCV would open a new one
            return
        width, height = cv2.getWindowImageRect(self._name)[2:]
        if width < 64 or height < 64:  # not on the screen yet, or very small
            width, height = self._size
        cv2.imshow(
            self._name, cv2.cvtColor(compose_window(image, self._aspect, width, height, status), cv2.COLOR_RGB2BGR)
        )

    def read_key(self, seconds: float) -> str:
        """Wait up to `seconds` for a key, and return it in lower case; empty for none.

        The window is redrawn and handles its events only during this call.
        """
        if self._early_key:
            key, self._early_key = self._early_key, ""
            return key
        code = cv2.waitKeyEx(max(1, round(seconds * 1000)))
        # With some of OpenCV's toolkits the upper bits hold modifiers such as Num Lock. Arrow keys are beyond ASCII.
        return chr(code & 0xFFFF).lower() if code > 0 and code & 0xFFFF < 128 else ""

    @property
    def closed(self) -> bool:
        """Whether the window was closed, by its own button or by `close`."""
        try:
            return cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:
            return True

    def close(self) -> None:
        """Close the window. It may be called more than once."""
        if not self.closed:
            cv2.destroyWindow(self._name)
            cv2.waitKey(1)

    def __enter__(self) -> "ScreenWindow":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def check_display() -> None:
    """Raise SinkError if no window can be opened: there is no display, or OpenCV was built without windows.

    This is tried in a separate process, since Qt, which OpenCV may use, ends a process that has no display.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SinkError(f"there is no display to open a window on; {ADVICE}")
    if subprocess.run([sys.executable, "-c", OPEN_WINDOW_CODE], capture_output=True).returncode:
        raise SinkError(f"OpenCV cannot open a window on this display; {ADVICE}")


def compose_window(image: np.ndarray, aspect: float, width: int, height: int, status: StatusLine) -> np.ndarray:
    """Return the content of a window (height, width, 3): the picture in its own proportions, keys, and status line."""
    image_height, image_width = image.shape[:2]
    room = height - status_height(width, height)
    factor = min(width / (image_width * aspect), room / image_height)
    size = max(1, round(image_width * aspect * factor)), max(1, round(image_height * factor))
    if size != (image_width, image_height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    canvas = np.empty((height, width, 3), np.uint8)
    fill_box(canvas, Box(0, 0, width, height), BACKGROUND)
    x, y = (width - size[0]) // 2, (room - size[1]) // 2
    canvas[y : y + size[1], x : x + size[0]] = image
    scale = Scale.for_picture(room, width)
    if status.keys:
        draw_key_list(canvas, Box(0, 0, width, room), scale, status.keys)
    draw_status(canvas, Box(0, room, width, height), scale, status)
    return canvas


def status_height(width: int, height: int) -> int:
    """Return the height of the status line in a window of this size, in pixels."""
    return round(Scale.for_picture(height, width).body * 2)


def draw_status(canvas: np.ndarray, box: Box, scale: Scale, status: StatusLine) -> None:
    """Draw the status line into `box`."""
    baseline, size, color = (box.y0 + box.y1) // 2 + round(scale.body * 0.36), scale.body, DIM_TEXT_COLOR
    end = box.x1 - scale.margin
    dot = round(size * 0.6) if status.recording else 0
    right = shorten(status.right, box.width // 2, size)
    start = end - text_width(right, size)
    draw_text_right(canvas, right, end, baseline, size, TEXT_COLOR if dot else color, False)
    if dot:
        start -= dot + scale.pad // 2
        draw_dot(canvas, start, (box.y0 + box.y1 - dot) // 2, dot, RED)
    draw_text(
        canvas, shorten(status.left, start - 2 * scale.margin, size), box.x0 + scale.margin, baseline, size, color
    )


def draw_dot(canvas: np.ndarray, x: int, y: int, diameter: int, color: Color) -> None:
    """Draw a filled circle of `diameter` with its upper left corner at (x, y)."""
    cv2.circle(canvas, (x + diameter // 2, y + diameter // 2), diameter // 2, color, cv2.FILLED, cv2.LINE_AA)


def draw_key_list(canvas: np.ndarray, room: Box, scale: Scale, keys: Sequence[tuple[str, str]]) -> None:
    """Draw a card that lists the keys, in the middle of `room`."""
    size, row = scale.body, round(scale.body * 1.8)
    gutter = max(text_width(key, size, True) for key, _ in keys) + scale.pad * 2
    card_width = min(room.width, gutter + max(text_width(text, size) for _, text in keys) + 4 * scale.pad)
    card_height = min(room.height, len(keys) * row + 2 * scale.pad)
    x, y = room.x0 + (room.width - card_width) // 2, room.y0 + (room.height - card_height) // 2
    box = Box(x, y, x + card_width, y + card_height)
    with rounded_corners(canvas, box, scale.radius):
        fill_box(canvas, box, BACKGROUND)
    for number, (key, text) in enumerate(keys):
        baseline = y + scale.pad + number * row + round(row * 0.66)
        draw_text(canvas, key, x + 2 * scale.pad, baseline, size, TEXT_COLOR, True)
        draw_text(
            canvas,
            shorten(text, card_width - gutter - 4 * scale.pad, size),
            x + 2 * scale.pad + gutter,
            baseline,
            size,
            DIM_TEXT_COLOR,
        )
