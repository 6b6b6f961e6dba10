"""Still pictures, encoded; small ones as text, for pages that hold all that they show."""

import base64

import cv2
import numpy as np

DATA_URI_QUALITY = 80  # of a page's JPEG, 0 to 100


def encode_image(image: np.ndarray, suffix: str, *, quality: int = 95) -> bytes:
    """A picture (h, w, 3) uint8 RGB as the content of a file of that ending; `quality` of a JPEG, 0 to 100."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return encoded.tobytes()


def encode_data_uri(image: np.ndarray, *, max_side: int = 240) -> str:
    """A picture as a JPEG in a data URI.

    Args:
        image: (h, w, 3) uint8 RGB.
        max_side: pixels of its longer side at most; a larger picture is made smaller.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = encode_image(small, ".jpg", quality=DATA_URI_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
