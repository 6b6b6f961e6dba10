"""Small still pictures, for pages that hold all that they show."""

import base64

import cv2
import numpy as np

QUALITY = 80  # of the JPEG, 0 to 100


def data_uri(image: np.ndarray, *, longest: int = 240) -> str:
    """A picture as a JPEG in a data URI.

    Args:
        image: (h, w, 3) uint8 RGB.
        longest: pixels of its longer side at most; a larger picture is made smaller.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"
