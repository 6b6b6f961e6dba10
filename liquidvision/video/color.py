"""Conversion from Y'CbCr to R'G'B' (ISO/IEC 23091-2, ITU-T H.273)."""

from functools import cache

import numpy as np

# Kr and Kb of H.273, table 4, by matrix number.
LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
BT601 = 6  # matrix number used for matrices that are not in LUMA_WEIGHTS


@cache
def yuv_to_rgb_matrix(luma: tuple[float, float], bits: int, full_range: bool) -> np.ndarray:
    """Return the (3, 4) float64 matrix that maps (Y', Cb, Cr, 1) to R'G'B' in 0..255.

    Source: H.273, equations 20 to 28 and 38 to 43.

    Args:
        luma: Kr and Kb.
        bits: bits of a Y'CbCr sample.
        full_range: see `Planes`.
    """
    kr, kb = luma
    kg, unit = 1 - kr - kb, 2 ** (bits - 8)
    span, swing, black = (2**bits - 1, 2**bits - 1, 0) if full_range else (219 * unit, 224 * unit, 16 * unit)
    to_red, to_blue = 2 * (1 - kr), 2 * (1 - kb)
    matrix = np.array([[1, 0, to_red], [1, -to_blue * kb / kg, -to_red * kr / kg], [1, to_blue, 0]])
    matrix *= 255 / np.array([span, swing, swing])
    return np.hstack([matrix, -matrix @ np.array([[black], [128 * unit], [128 * unit]])])


def planes_to_rgb(planes: np.ndarray, luma: tuple[float, float], bits: int, *, full_range: bool) -> np.ndarray:
    """Convert Y', Cb and Cr (3, h, w) with `bits` bits per sample to R'G'B' (3, h, w) float32 in 0..255."""
    matrix = yuv_to_rgb_matrix(luma, bits, full_range).astype(np.float32)
    image = matrix[:, :3] @ planes.reshape(3, -1).astype(np.float32)
    image += matrix[:, 3:]
    return np.clip(image, 0, 255, out=image).reshape(planes.shape)
