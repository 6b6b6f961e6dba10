"""Converts decoded pictures to upright RGB for a standard screen: matrix, range, alpha and high dynamic range.

High dynamic range (ITU-R BT.2100: PQ or HLG, BT.2020 primaries) is tone-mapped to BT.709 of standard range. Diffuse
white, 203 cd/m² (ITU-R BT.2408), becomes the screen's white. Brighter light is rolled off along the EETF of ITU-R
BT.2390, by the largest component of each pixel, which preserves hues.
"""

from functools import cache

import av
import numpy as np
from av.video.reformatter import Colorspace

from liquidvision.errors import SourceError
from liquidvision.video.read.orientation import Orientation

# Numbers of matrices and transfer functions in ISO/IEC 23091-2 (H.273) and FFmpeg.
BT2020_CONSTANT_LUMINANCE, BT2020, UNSPECIFIED, BT709, BT601 = 10, 9, 2, 1, 6
PQ, HLG = 16, 18
DIFFUSE_WHITE = 203.0  # cd/m²
PEAK_LUMINANCE = 1000.0  # cd/m²: the brightest light that a picture is assumed to hold
TABLE_SIZE = 4096  # entries of each lookup table
# Linear BT.2020 to linear BT.709 (ITU-R BT.2087, equation 2).
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)  # weights of linear BT.2020


def frame_to_rgb(frame: av.VideoFrame, orientation: Orientation) -> np.ndarray:
    """Convert a decoded frame to upright RGB pixels, (h, w, 3) uint8; transparent parts are blended over black.

    Args:
        frame: the decoded frame.
        orientation: how the frame becomes upright.

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
            image = blend_over_black(frame_to_rgba(frame, matrix))
        else:
            image = frame.to_ndarray(format="rgb24", src_colorspace=matrix)
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceError(f"a picture of format {frame.format.name} cannot be converted to RGB: {error}") from error
    return np.ascontiguousarray(orientation.apply(image))


def frame_to_rgba(frame: av.VideoFrame, matrix: Colorspace | None = None) -> np.ndarray:
    """Convert a decoded frame to RGB and alpha, (h, w, 4) uint8."""
    # From 4:2:0 and 4:2:2 to packed RGBA, swscale leaves the last columns of some widths unwritten: 20 and 36, say.
    return frame.to_ndarray(format="gbrap" if frame.format.name.startswith("yuv") else "rgba", src_colorspace=matrix)


def color_matrix(frame: av.VideoFrame) -> int:
    """Return the number (H.273) of a Y'CbCr frame's matrix.

    As in players, untagged high-definition video is assumed to be BT.709 and other untagged video BT.601. BT.2020 with
    constant luminance is treated as BT.2020: swscale does not support it, and phones that tag it do not use it.
    """
    if frame.colorspace == BT2020_CONSTANT_LUMINANCE:
        return BT2020
    if frame.colorspace == UNSPECIFIED:
        return BT709 if frame.height > 576 or frame.width >= 1280 else BT601
    return int(frame.colorspace)


def blend_over_black(image: np.ndarray) -> np.ndarray:
    """Blend RGBA (h, w, 4) uint8 with straight alpha over black; return RGB (h, w, 3) uint8."""
    alpha = image[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(image[..., :3])
    return ((image[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def hdr_to_sdr(codes: np.ndarray, transfer: int) -> np.ndarray:
    """Tone-map PQ or HLG codes (h, w, 3) uint16 in BT.2020 primaries to BT.709 RGB (h, w, 3) uint8."""
    light = linear_light(transfer)[codes >> 4]  # 12 bits suffice; light as a share of PEAK_LUMINANCE
    if transfer == HLG:  # HLG's OOTF (BT.2100): a display gamma of 1.2 at 1,000 cd/m²
        light *= np.maximum(light @ LUMINANCE, 1e-6)[..., None] ** np.float32(0.2)
    brightest = light.max(-1)
    index = np.minimum(np.sqrt(np.sqrt(brightest)) * (TABLE_SIZE - 1), TABLE_SIZE - 1).astype(np.int32)
    light *= roll_off_gain()[index][..., None]
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
    """Return the light in cd/m² of PQ codes 0..1 (EOTF of BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = code ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_code(light: np.ndarray) -> np.ndarray:
    """Return the PQ codes 0..1 of light in cd/m², the inverse of `pq_light`."""
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
    white = float(pq_code(np.array(DIFFUSE_WHITE))) / top
    knee = 1.5 * white - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * white
    shown = pq_light(np.where(code < knee, code, spline) * top) / DIFFUSE_WHITE
    return np.divide(shown, share, out=np.full_like(share, PEAK_LUMINANCE / DIFFUSE_WHITE), where=share > 1e-9).astype(
        np.float32
    )


@cache
def display_codes() -> np.ndarray:
    """Return 8-bit codes (4096,) for a display gamma of 2.4 (ITU-R BT.1886), by the square root of light 0..1."""
    light = (np.arange(TABLE_SIZE) / (TABLE_SIZE - 1)) ** 2
    return np.round(255 * light ** (1 / 2.4)).astype(np.uint8)
