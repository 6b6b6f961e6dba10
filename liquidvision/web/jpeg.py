"""Decodes JPEG pictures of clients, after checking their headers."""

import cv2
import numpy as np

from liquidvision.web.protocol import RefusedError

MAX_SIDE = 1920
MAX_PIXELS = 1_500_000
MAX_SCANS = 4  # a baseline JPEG has one per component; each further scan costs a pass over the picture
START_MARKER, END_MARKER, SCAN_MARKER = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda"
BASELINE_MARKERS = (0xC0, 0xC1)
SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers, which the size follows


def decode_jpeg(jpeg: bytes) -> np.ndarray:
    """Return the picture, (h, w, 3) uint8 RGB.

    Raises:
        RefusedError: not a complete baseline JPEG, or too large.
    """
    width, height = read_jpeg_size(jpeg)
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape != (height, width, 3):
        raise RefusedError("the JPEG cannot be decoded")
    return image


def read_jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """Return width and height from the header, within the limits.

    Raises:
        RefusedError: see `decode_jpeg`.
    """
    if not jpeg.startswith(START_MARKER) or not jpeg.endswith(END_MARKER):
        raise RefusedError("a frame needs a whole JPEG")
    position = 2
    # Each segment states its length, which leads to the next one.
    while position + 9 <= len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4])
        if marker in SIZE_MARKERS:
            if marker not in BASELINE_MARKERS or jpeg.count(SCAN_MARKER) > MAX_SCANS:
                raise RefusedError("the JPEG is progressive; expected a baseline JPEG")
            height = int.from_bytes(jpeg[position + 5 : position + 7])
            width = int.from_bytes(jpeg[position + 7 : position + 9])
            if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
                raise RefusedError(
                    f"the JPEG has {width} x {height} pixels; at most {MAX_PIXELS}, and {MAX_SIDE} per side"
                )
            return width, height
        if length < 2 or jpeg[position : position + 2] == SCAN_MARKER:
            break
        position += 2 + length
    raise RefusedError("the JPEG has no readable header")
