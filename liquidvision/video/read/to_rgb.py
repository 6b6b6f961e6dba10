"""Decoded pictures as upright RGB for a usual screen: matrix, range, alpha, and high dynamic range brought to standard.

High dynamic range (ITU-R BT.2100: PQ or HLG, BT.2020 primaries) becomes BT.709 as a screen of standard range
shows it: diffuse white at 203 cd/m² (ITU-R BT.2408) as its white, what is brighter rolled off along the
EETF of ITU-R BT.2390 by each pixel's largest component, so that hues stay.
"""

from functools import cache

import av
import numpy as np
from av.video.reformatter import Colorspace

from liquidvision.errors import SourceError

# As ISO/IEC 23091-2 (H.273) and FFmpeg number them.
BT2020_CONSTANT_LUMINANCE, BT2020, UNSPECIFIED, BT709, BT601 = 10, 9, 2, 1, 6
PQ, HLG = 16, 18
DIFFUSE_WHITE = 203.0  # cd/m²
PEAK_LUMINANCE = 1000.0  # cd/m²: the brightest light that a picture is assumed to hold
TABLE_SIZE = 4096  # entries of each lookup table
# Linear BT.2020 to linear BT.709 (ITU-R BT.2087, equation 2).
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)  # of linear BT.2020


def frame_to_rgb(frame: av.VideoFrame, quarter_turns: int) -> np.ndarray:
    """Upright RGB pixels (h, w, 3) uint8 of a decoded frame, turned counter-clockwise.

    What is transparent lies over black.

    Raises:
        SourceError: the pixel format cannot be converted.
    """
    if frame.colorspace == BT2020_CONSTANT_LUMINANCE:
        frame.colorspace = BT2020
    matrix = None
    if frame.colorspace == UNSPECIFIED and frame.format.name.startswith("yuv"):
        matrix = Colorspace.ITU709 if color_matrix(frame) == BT709 else Colorspace.ITU601
    try:
        if frame.color_trc in (PQ, HLG):
            image = hdr_to_sdr(frame.to_ndarray(format="rgb48le", src_colorspace=matrix), int(frame.color_trc))
        elif any(component.is_alpha for component in frame.format.components) or frame.format.has_palette:
            image = blend_over_black(frame.to_ndarray(format="rgba", src_colorspace=matrix))
        else:
            image = frame.to_ndarray(format="rgb24", src_colorspace=matrix)
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceError(f"a picture of format {frame.format.name} cannot be turned into RGB: {error}") from error
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def color_matrix(frame: av.VideoFrame) -> int:
    """H.273's number of a Y'CbCr frame's matrix.

    Untagged, high definition is taken for BT.709 and the rest for BT.601, as players do. Constant luminance is
    taken for the usual: swscale knows none, and phones that tag it do not use it either.
    """
    if frame.colorspace == BT2020_CONSTANT_LUMINANCE:
        return BT2020
    if frame.colorspace == UNSPECIFIED:
        return BT709 if frame.height > 576 or frame.width >= 1280 else BT601
    return int(frame.colorspace)


def blend_over_black(image: np.ndarray) -> np.ndarray:
    """RGB (h, w, 3) uint8 of RGBA (h, w, 4) uint8, straight alpha, over black."""
    alpha = image[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(image[..., :3])
    return ((image[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def hdr_to_sdr(codes: np.ndarray, transfer: int) -> np.ndarray:
    """BT.709 RGB (h, w, 3) uint8 of PQ or HLG codes (h, w, 3) uint16 in BT.2020 primaries."""
    light = linear_light(transfer)[codes >> 4]  # 12 bits are what a table needs; of PEAK_LUMINANCE
    if transfer == HLG:  # the display's part of HLG (BT.2100, OOTF): a gamma of 1.2 at 1,000 cd/m²
        light *= np.maximum(light @ LUMINANCE, 1e-6)[..., None] ** np.float32(0.2)
    brightest = light.max(-1)
    place = np.minimum(np.sqrt(np.sqrt(brightest)) * (TABLE_SIZE - 1), TABLE_SIZE - 1).astype(np.int32)
    light *= roll_off_gain()[place][..., None]
    light = np.clip(light @ TO_BT709.T, 0, 1)
    return display_codes()[(np.sqrt(light) * (TABLE_SIZE - 1)).astype(np.int32)]


@cache
def linear_light(transfer: int) -> np.ndarray:
    """Return the light of every 12-bit code as a share of PEAK_LUMINANCE, (4096,) float32.

    PQ: the EOTF of BT.2100 (display light). HLG: its inverse OETF (scene light).
    """
    code = np.arange(TABLE_SIZE) / (TABLE_SIZE - 1)
    if transfer == PQ:
        return np.minimum(pq_light(code) / PEAK_LUMINANCE, 1.0).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


def pq_light(code: np.ndarray) -> np.ndarray:
    """cd/m² of PQ codes 0..1 (BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = code ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_code(light: np.ndarray) -> np.ndarray:
    """PQ codes 0..1 of cd/m², the inverse of `pq_light`."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (light / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


@cache
def roll_off_gain() -> np.ndarray:
    """Return the factors (4096,) float32 that tone-map light: the EETF of BT.2390-10, 5.4.1.

    The index is the fourth root of the light as a share of PEAK_LUMINANCE. Light times its factor is a share of
    DIFFUSE_WHITE, at most 1.
    """
    share = (np.arange(TABLE_SIZE) / (TABLE_SIZE - 1)) ** 4
    top = float(pq_code(np.array(PEAK_LUMINANCE)))
    code = pq_code(share * PEAK_LUMINANCE) / top
    most = float(pq_code(np.array(DIFFUSE_WHITE))) / top
    knee = 1.5 * most - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    shown = pq_light(np.where(code < knee, code, spline) * top) / DIFFUSE_WHITE
    return np.divide(shown, share, out=np.full_like(share, PEAK_LUMINANCE / DIFFUSE_WHITE), where=share > 1e-9).astype(
        np.float32
    )


@cache
def display_codes() -> np.ndarray:
    """8-bit codes (4096,) of the square root of light 0..1, for a screen of gamma 2.4 (ITU-R BT.1886)."""
    light = (np.arange(TABLE_SIZE) / (TABLE_SIZE - 1)) ** 2
    return np.round(255 * light ** (1 / 2.4)).astype(np.uint8)
