"""Encodes still images, as file content or as data URIs for self-contained pages."""

import base64

import cv2
import numpy as np

DATA_URI_QUALITY = 80  # JPEG quality, 0 to 100


def encode_image(image: np.ndarray, suffix: str, *, quality: int = 95) -> bytes:
    """Encode an RGB picture (h, w, 3) uint8 as a file with this suffix; `quality`, 0 to 100, applies to JPEG."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return encoded.tobytes()


def encode_data_uri(image: np.ndarray, *, max_side: int = 240) -> str:
    """Encode a picture as a JPEG data URI.

    Args:
        image: (h, w, 3) uint8 RGB.
        max_side: maximum length of the longer side in pixels; a larger picture is shrunk.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = encode_image(small, ".jpg", quality=DATA_URI_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
