"""Decoded video kept as Y'CbCr: network input, overlay and encoder work directly on its planes."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import LABELS, picture

from liquidvision import Frame, Model, Overlay, Prediction, Preprocessing, Session, VideoInfo, infer, open_video
from liquidvision.rendering.canvas import DrawnPixels
from liquidvision.video.color import planes_to_rgb
from liquidvision.video.pixels import Pixels, Planes
from liquidvision.video.read.decoded import DecodedPixels, Scaler
from liquidvision.video.read.orientation import Orientation
from liquidvision.video.write.av_writer import AVVideoSink

TICK = Fraction(1, 25)
# Pixel format, H.273's matrix, whether of full range.
KINDS = [
    ("yuv420p", 6, False),
    ("yuv420p", 1, False),
    ("yuv420p", 9, False),
    ("yuvj420p", 1, True),
    ("yuv422p", 6, False),
    ("yuv444p", 1, False),
    ("yuv420p10le", 1, False),
]


def tagged_video(path: Path, form: str, matrix: int, full: bool, size: tuple[int, int] = (128, 96)) -> Path:
    """Write five lossless frames with these colour tags."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, form.replace("yuvj", "yuv")
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for i in range(5):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            frame = frame.reformat(
                format=stream.pix_fmt,
                dst_colorspace={1: 1, 6: 5, 9: 9}[matrix],
                src_color_range=2,
                dst_color_range=2 if full else 1,
            )
            frame.pts, frame.time_base = i, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("form", "matrix", "full"), KINDS)
@pytest.mark.parametrize("preprocessing", [Preprocessing((40, 56)), Preprocessing((48, 48), 64)])
def test_straight_to_the_networks_size(
    tmp_path: Path, form: str, matrix: int, full: bool, preprocessing: Preprocessing
) -> None:
    """Network input from planes equals that from full-size RGB within rounding, for every matrix, range and depth."""
    with open_video(tagged_video(tmp_path / "clip.mkv", form, matrix, full)) as video:
        frame = next(iter(video))
    assert isinstance(frame.pixels, Pixels)
    straight = preprocessing.resize_planes(frame.pixels)
    assert straight is not None
    plain = preprocessing(torch.from_numpy(picture(0, 128, 96)).permute(2, 0, 1)[None])
    assert straight.shape == plain.shape
    levels = (straight - plain) * torch.tensor(preprocessing.std).view(3, 1, 1) * 255
    assert abs(float(levels.mean())) < 1.5 and float(levels.abs().mean()) < 3


def test_turned_pictures_are_turned_after_they_shrank(make_video, tmp_path: Path) -> None:
    """Rotated and mirrored clips give upright pictures from planes, too."""
    source, turned = make_video(size=(96, 64)), tmp_path / "turned.mp4"
    with av.open(str(source)) as there, av.open(str(turned), "w") as here:
        stream = here.add_stream_from_template(there.streams.video[0])
        for packet in there.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                here.mux(packet)
    with open_video(source) as video:
        lying = next(iter(video))
    with av.open(str(source)) as container:
        decoded = next(container.decode(video=0))
    for orientation in (Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)):
        pixels = DecodedPixels(decoded, orientation, Scaler())
        tall, wide = pixels.size
        assert (tall, wide) == orientation.apply(lying.image).shape[:2]
        assert (pixels.rgb() == orientation.apply(lying.image)).all()
        small, planes = pixels.resized(tall // 2, wide // 2), pixels.planes()
        assert small is not None and planes is not None
        upright = orientation.apply(lying.image).reshape(tall // 2, 2, wide // 2, 2, 3).mean((1, 3))
        assert np.abs(small.transpose(1, 2, 0) - upright).mean() < 6
        assert np.abs(DrawnPixels(planes).rgb().astype(int) - pixels.rgb()).mean() < 3


def test_ten_bits_to_rgb() -> None:
    """Black and white of both ranges, and BT.709's pure red, are converted as the standard defines."""

    def shown(y: int, cb: int, cr: int, full_range: bool = False) -> list[float]:
        planes = np.array([y, cb, cr], np.uint16).reshape(3, 1, 1)
        return planes_to_rgb(planes, (0.2126, 0.0722), 10, full_range=full_range).ravel().tolist()

    assert shown(64, 512, 512) == pytest.approx([0] * 3, abs=0.1)
    assert shown(64 + 876, 512, 512) == pytest.approx([255] * 3, abs=0.1)
    assert shown(1023, 512, 512, full_range=True) == pytest.approx([255] * 3, abs=0.1)
    red = 64 + round(0.2126 * 876), 512 - round(0.1146 * 896), 512 + 448
    assert shown(*red) == pytest.approx([255, 0, 0], abs=1.5)


def test_what_only_rgb_can_give(tmp_path: Path) -> None:
    """Pictures with transparency have no planes, and are embedded from RGB."""
    path = tmp_path / "clear.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 4), 128, np.uint8), format="rgba")
        frame.pts, frame.time_base = 0, TICK
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        (shown,) = video
    assert isinstance(shown.pixels, Pixels)
    assert shown.pixels.planes() is None and Preprocessing((32, 32)).resize_planes(shown.pixels) is None


def predictions(count: int) -> list[Prediction]:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), count).astype(np.float32)
    return [Prediction(i, i / 25, 0.04, LABELS, scores[i], scores[i]) for i in range(count)]


@pytest.mark.parametrize("size", [(426, 240), (321, 243)])
@pytest.mark.parametrize(("form", "matrix", "full"), [KINDS[0], KINDS[1], KINDS[3]])
def test_the_overlay_on_planes_looks_the_same(
    tmp_path: Path, form: str, matrix: int, full: bool, size: tuple[int, int]
) -> None:
    """The overlay drawn on planes looks as on RGB; outside its cards luma does not change by a bit."""
    path = tagged_video(tmp_path / "clip.mkv", form, matrix, full, size)
    on_planes, on_rgb = Overlay(compare=True).stream(), Overlay(compare=True).stream()
    with open_video(path) as video:
        for frame, prediction in zip(video, predictions(5), strict=True):
            assert isinstance(frame.pixels, Pixels)
            before = frame.pixels.planes()
            drawn = on_planes.annotate(frame, prediction)
            assert isinstance(drawn.pixels, Pixels) and before is not None
            wanted = on_rgb.draw(DrawnPixels(before).rgb(), prediction)
            assert drawn.image.shape == wanted.shape
            # Small coloured letters lose colour in 4:2:0, as they would in the encoder.
            assert np.abs(drawn.image.astype(int) - wanted).mean() < 1.5
            after = drawn.pixels.planes()
            again = frame.pixels.planes()
            assert after is not None and again is not None
            assert (before.y == again.y).all(), "the source's own planes were drawn on"
            same = after.y == before.y
            assert 0.3 < same.mean() < 1
            untouched = (wanted == DrawnPixels(before).rgb()).all(-1)
            inside = ~cv2.dilate((~untouched).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
            assert inside.mean() > 0.3
            assert same[inside].all()


def test_no_overlay_no_change(make_video, model: Model, tmp_path: Path) -> None:
    """With nothing to draw, the encoded planes are the decoder's own."""
    with open_video(make_video(size=(128, 96))) as video:
        frame = next(iter(video))
    (prediction,) = predictions(1)
    drawn = Overlay(()).stream().annotate(frame, prediction)
    assert isinstance(frame.pixels, Pixels) and isinstance(drawn.pixels, Pixels)
    before, after = frame.pixels.planes(), drawn.pixels.planes()
    assert before is not None and after is not None
    assert all((getattr(before, name) == getattr(after, name)).all() for name in "yuv")


@pytest.mark.parametrize(("form", "matrix", "full"), [KINDS[0], KINDS[1], KINDS[3]])
def test_colours_are_written_as_they_came(tmp_path: Path, form: str, matrix: int, full: bool, model: Model) -> None:
    """The output keeps the source's matrix and range, and shows the same colours."""
    source = tagged_video(tmp_path / "clip.mkv", form, matrix, full)
    infer(source, model, video=tmp_path / "out.mp4", overlay=Overlay(()))
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (matrix, 2 if full else 1)
    with open_video(source) as a, open_video(tmp_path / "out.mp4") as b:
        for x, y in zip(a, b, strict=True):
            assert np.abs(x.image.astype(int) - y.image).mean() < 6


def test_a_picture_that_becomes_smaller(tmp_path: Path) -> None:
    """The overlay follows a source whose pictures change their size, also to one smaller than a card was."""
    drawer = Overlay().stream()
    for number, (width, height) in enumerate([(640, 360), (64, 48), (16, 16), (640, 360)]):
        image = np.full((height, width, 3), 90, np.uint8)
        with open_video(solid(tmp_path / f"{number}.mkv", image, 6)) as video:
            frame = next(iter(video))
        scores = np.array([0.2, 0.7, 0.1], np.float32)
        drawn = drawer.annotate(frame, Prediction(number, number / 25, 1 / 25, LABELS, scores, scores))
        assert drawn.image.shape == (height, width, 3)


def test_colours_that_change_midway(tmp_path: Path) -> None:
    """A frame with another matrix, or in RGB, is converted to the format of the output's first frame."""
    image = np.full((96, 128, 3), (200, 60, 40), np.uint8)

    def planes(matrix: int) -> DrawnPixels:
        with open_video(solid(tmp_path / f"{matrix}.mkv", image, matrix)) as video:
            frame = next(iter(video))
        assert isinstance(frame.pixels, Pixels)
        found = frame.pixels.planes()
        assert isinstance(found, Planes)
        return DrawnPixels(found)

    parts: Sequence[Pixels | np.ndarray] = [planes(6), planes(1), image]
    with AVVideoSink(tmp_path / "out.mp4", VideoInfo("x", 128, 96, rate=Fraction(25))) as sink:
        for i, pixels in enumerate(parts):
            sink.write(Frame(pixels, i, i, TICK))
    with open_video(tmp_path / "out.mp4") as video:
        shown = [frame.image.mean((0, 1)) for frame in video]
    assert len(shown) == 3
    for color in shown:
        assert color == pytest.approx([200, 60, 40], abs=5)


def solid(path: Path, image: np.ndarray, matrix: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace={1: 1, 6: 5}[matrix], src_color_range=2, dst_color_range=1
        )
        frame.pts, frame.time_base = 0, TICK
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_session_sees_a_frame_as_predict_does(make_video, model: Model) -> None:
    """Frames pushed one by one or together give the same scores; their RGB gives them within rounding."""
    with open_video(make_video(size=(128, 96))) as video:
        frames = list(video)
    by_hand = Session(model).push_many(frames)
    by_rgb = Session(model).push_many([replace(frame, pixels=frame.image) for frame in frames])
    session = Session(model)
    one_by_one = [session.push(frame) for frame in frames]
    for a, b, c in zip(by_hand, one_by_one, by_rgb, strict=True):
        assert np.abs(a.scores - b.scores).max() < 1e-5
        assert np.abs(a.scores - c.scores).max() < 0.1
