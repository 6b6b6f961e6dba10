"""JPEGs from strangers: looked at before they are decoded."""

import cv2
import numpy as np

from liquidvision.web.protocol import RefusedError

LONGEST_SIDE = 1920
MOST_PIXELS = 1_500_000
MOST_SCANS = 4  # of a baseline JPEG: one for each component, at most; each more would cost a pass over the picture
START, END, SCAN = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda"
BASELINE = (0xC0, 0xC1)
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers that a picture's size follows


def decode(jpeg: bytes) -> np.ndarray:
    """The picture, (h, w, 3) uint8 RGB.

    Raises:
        RefusedError: it is no whole baseline JPEG, or too large.
    """
    width, height = encoded_size(jpeg)
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape != (height, width, 3):
        raise RefusedError("the JPEG cannot be decoded")
    return image


def encoded_size(jpeg: bytes) -> tuple[int, int]:
    """Width and height as the header says, within the limits.

    Raises:
        RefusedError: see `decode`.
    """
    if not jpeg.startswith(START) or not jpeg.endswith(END):
        raise RefusedError("a frame's picture is a whole JPEG")
    place = 2
    # Walks from segment to segment; each says how long it is.
    while place + 9 <= len(jpeg) and jpeg[place] == 0xFF:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4])
        if marker in FRAMES:
            if marker not in BASELINE or jpeg.count(SCAN) > MOST_SCANS:
                raise RefusedError("the JPEG is not a baseline one; progressive ones are not taken")
            height, width = int.from_bytes(jpeg[place + 5 : place + 7]), int.from_bytes(jpeg[place + 7 : place + 9])
            if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE and width * height <= MOST_PIXELS):
                raise RefusedError(
                    f"the JPEG has {width} x {height} pixels; at most {MOST_PIXELS}, and {LONGEST_SIDE} a side"
                )
            return width, height
        if length < 2 or jpeg[place : place + 2] == SCAN:
            break
        place += 2 + length
    raise RefusedError("the JPEG has no header that can be read")
