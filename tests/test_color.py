"""Colours of special videos: tone-mapped high dynamic range, and transparency over black."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from liquidvision import open_video
from liquidvision.video.pixels import Pixels
from liquidvision.video.read.decoded import DecodedPixels, Scaler
from liquidvision.video.read.orientation import AS_STORED
from liquidvision.video.read.to_rgb import BT2020, BT2020_CONSTANT_LUMINANCE, HLG, PQ, hdr_to_sdr, pq_code

GREYS = np.array([0, 1, 10, 50, 100, 203, 400, 1000, 4000])  # cd/m²


def coded(light: np.ndarray, transfer: int) -> np.ndarray:
    """Return 16-bit codes of light in cd/m²; HLG assumes a display of 1,000 cd/m²."""
    if transfer == PQ:
        return np.round(pq_code(np.asarray(light, float)) * 65535).astype(np.uint16)
    scene = (np.minimum(light, 1000) / 1000) ** (1 / 1.2)  # for grey, luminance equals each component
    low, high = np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.round(np.where(scene <= 1 / 12, low, high) * 65535).astype(np.uint16)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_stay_grey_and_in_order(transfer: int) -> None:
    """Grey stays grey and in order, from black to white, with diffuse white below the brightest."""
    shown = hdr_to_sdr(np.repeat(coded(GREYS, transfer)[None, :, None], 3, axis=2), transfer)[0].astype(int)
    assert np.ptp(shown, axis=1).max() <= 1
    grey = shown[:, 1]
    assert (np.diff(grey) >= 0).all()
    assert grey[0] == 0 and grey[-1] == 255 and 190 < grey[5] < 250
    linear = (grey / 255) ** 2.4  # dark light is not rolled off: 203 cd/m² would be 1
    assert linear[3] == pytest.approx(50 / 203, rel=0.1)


def test_hues_stay() -> None:
    """BT.709's primaries, stored in BT.2020, keep their hue, also where they are rolled off."""
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    for channel in range(3):
        for light in (20.0, 300.0):
            pure = np.zeros(3)
            pure[channel] = light
            shown = hdr_to_sdr(coded(to_bt2020 @ pure, PQ)[None, None], PQ)[0, 0].astype(int)
            others = np.delete(shown, channel)
            assert shown[channel] > 80 and others.max() < 45


def hdr_video(path: Path, codes: Sequence[int], transfer: int) -> Path:
    """Write grey pictures of these 10-bit codes, tagged as BT.2100."""
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=error:frame-threads=1", "preset": "ultrafast", "crf": "1"}
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for number, code in enumerate(codes):
            luma = np.full((64, 64), round(64 + code / 1023 * 876), np.uint16)
            chroma = np.full((32, 64), 512, np.uint16)  # both planes at half width, one below the other
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p10le")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_video_of_high_dynamic_range(tmp_path: Path, transfer: int) -> None:
    """HEVC that is tagged PQ or HLG is tone-mapped, not read as its raw codes."""
    codes = [0, 300, 600, 1023]
    with open_video(hdr_video(tmp_path / "hdr.mp4", codes, transfer)) as video:
        shown = [frame.image.mean() for frame in video]
    wanted = [hdr_to_sdr(np.full((1, 1, 3), round(code / 1023 * 65535), np.uint16), transfer).mean() for code in codes]
    assert shown == pytest.approx(wanted, abs=3)
    assert shown[-1] == 255 and abs(shown[2] - 600 / 1023 * 255) > 20


def test_what_is_transparent_lies_over_black(tmp_path: Path) -> None:
    """Transparent video is blended over black: half transparent is half as bright, fully transparent is black."""
    image = np.full((48, 64, 4), (200, 100, 50, 255), np.uint8)
    image[:, 20:40, 3], image[:, 40:, 3] = 128, 0
    path = tmp_path / "clear.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        frame = av.VideoFrame.from_ndarray(image, format="rgba")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        (frame,) = video
    columns = frame.image[10, [5, 30, 50]].astype(int)
    assert columns == pytest.approx(np.array([(200, 100, 50), (100, 50, 25), (0, 0, 0)]), abs=1)


@pytest.mark.parametrize("width", [20, 33, 35, 51, 64])
def test_transparent_pictures_of_any_width(tmp_path: Path, width: int) -> None:
    """All columns of transparent Y'CbCr are converted, at odd and other unusual widths too."""
    path = tmp_path / "clear.webp"
    bgra = np.full((18, width, 4), (0, 0, 255, 128), np.uint8)
    path.write_bytes(cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes())
    with open_video(path) as video:
        assert video.info.pixel_format == "yuva420p"
        (frame,) = video
    assert np.abs(frame.image.astype(int) - (128, 0, 0)).max() <= 4


def test_constant_luminance_is_taken_for_the_usual(make_video) -> None:
    """Video tagged as BT.2020 with constant luminance, as by phones, is read as plain BT.2020 in every form."""
    forms = []
    for matrix in (BT2020, BT2020_CONSTANT_LUMINANCE):
        for make in (Pixels.rgb, lambda pixels: pixels.resized(24, 32), lambda pixels: pixels.planes().u):
            with av.open(str(make_video())) as container:
                frame = next(container.decode(video=0))
            frame.colorspace = matrix
            pixels = DecodedPixels(frame, AS_STORED, Scaler())
            assert pixels.planes().matrix == BT2020
            forms.append(make(pixels))
    for one, other in zip(forms[:3], forms[3:], strict=True):
        np.testing.assert_array_equal(one, other)
