"""Pictures of which a container marks a part to be shown."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import picture

from liquidvision import Model, infer, open_video

SIZE = (64, 48)
TIMES = (0, 40, 80, 120)
LEFT, TOP, RIGHT, BOTTOM = 8, 4, 16, 6
SHOWN = slice(TOP, SIZE[1] - BOTTOM), slice(LEFT, SIZE[0] - RIGHT)
MATRIX_BYTES = 36  # of the display matrix in a track's header
CLOCKWISE = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in (0, 1, 0, -1, 0, 0, 0, 0, 1 << 14))


def whole_video(path: Path, codec: str = "libx264") -> Path:
    """Write a video whose pictures are not cropped; a Matroska file states their colours, which takes some room."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 6, 6, 6, 1
        for number in range(len(TIMES)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def crop_matroska(path: Path, left: int, top: int, right: int, bottom: int) -> Path:
    """Replace the colours in a Matroska file's header by the four edges that are not shown."""
    data = path.read_bytes()
    place = data.index(b"\x55\xb0")  # Colour
    length = 3 + (data[place + 2] & 0x7F)
    edges = ((b"\x54\xaa", bottom), (b"\x54\xbb", top), (b"\x54\xcc", left), (b"\x54\xdd", right))
    stated = b"".join(number + b"\x81" + bytes([value]) for number, value in edges)
    nothing = length - len(stated) - 2
    stated += b"\xec" + bytes([0x80 | nothing]) + bytes(nothing)
    path.write_bytes(data[:place] + stated + data[place + length :])
    return path


def crop_mp4(path: Path, left: int, top: int, right: int, bottom: int, matrix: bytes | None = None) -> Path:
    """Add a clean aperture, `clap`, to the sample description of an MP4 file, and its size to the track's header."""
    width, height = SIZE[0] - left - right, SIZE[1] - top - bottom
    numbers = (width, 1, height, 1, left - right, 2, top - bottom, 2)  # the distances of the centres, halved
    box = b"clap" + b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") - 4
    size_of_track = header + int.from_bytes(data[header : header + 4], "big") - 8
    data[size_of_track : size_of_track + 8] = (width << 16).to_bytes(4, "big") + (height << 16).to_bytes(4, "big")
    if matrix is not None:
        data[size_of_track - MATRIX_BYTES : size_of_track] = matrix
    insert_box(data, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"), (len(box) + 4).to_bytes(4, "big") + box)
    path.write_bytes(data)
    return path


def insert_box(data: bytearray, path: Sequence[bytes], box: bytes) -> None:
    """Append a box to the first sample description, below a path of boxes; nothing may follow that refers to places."""
    assert data.index(b"mdat") < data.index(b"moov")
    place = data.index(b"moov") - 4
    for name in path:
        while data[place + 4 : place + 8] != name:
            place += int.from_bytes(data[place : place + 4], "big")
        grow(data, place, len(box))
        place += 16 if name == b"stsd" else 8
    end = place + int.from_bytes(data[place : place + 4], "big")
    grow(data, place, len(box))
    data[end:end] = box


def grow(data: bytearray, place: int, length: int) -> None:
    """Add to the size of the box at a place."""
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + length).to_bytes(4, "big")


def cropped_video(path: Path, *edges: int) -> Path:
    return (crop_matroska if path.suffix == ".mkv" else crop_mp4)(whole_video(path), *edges)


@pytest.mark.parametrize("reader", ["av", "opencv"])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.mov"])
@pytest.mark.parametrize("edges", [(LEFT, TOP, RIGHT, BOTTOM), (3, 0, 0, 5), (0, 0, 0, 1)])
def test_cropped_pictures(tmp_path: Path, name: str, edges: tuple[int, int, int, int], reader: str) -> None:
    """Both readers show only the part of the pictures that the container marks, with square pixels."""
    left, top, right, bottom = edges
    with open_video(cropped_video(tmp_path / name, *edges), reader=reader) as video:
        assert (video.info.width, video.info.height) == (SIZE[0] - left - right, SIZE[1] - top - bottom)
        assert video.info.pixel_aspect == 1
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([t / 1000 for t in TIMES])
    for number, frame in enumerate(frames):
        wanted = picture(number)[top : SIZE[1] - bottom, left : SIZE[0] - right]
        assert frame.image.shape == wanted.shape
        assert np.abs(frame.image.astype(int) - wanted).mean() < 12


def test_a_network_sees_the_cropped_pictures(tmp_path: Path) -> None:
    """Planes and resized pictures are cropped like the RGB pictures."""
    with open_video(cropped_video(tmp_path / "clip.mkv", LEFT, TOP, RIGHT, BOTTOM)) as video:
        pixels = next(iter(video)).pixels
    wanted = picture(0)[SHOWN].astype(float)
    assert not isinstance(pixels, np.ndarray)
    small, planes = pixels.resized(*wanted.shape[:2]), pixels.planes()
    assert small is not None and np.abs(small.transpose(1, 2, 0) - wanted).mean() < 12
    assert planes is not None and planes.y.shape == wanted.shape[:2]
    grey = 16 + wanted @ (0.299, 0.587, 0.114) * 219 / 255
    assert np.abs(planes.y - grey).mean() < 6


def test_cropped_and_rotated(tmp_path: Path) -> None:
    """The stored pictures are cropped before they are rotated."""
    path = crop_mp4(whole_video(tmp_path / "clip.mp4"), LEFT, TOP, RIGHT, BOTTOM, CLOCKWISE)
    for reader in ("av", "opencv"):
        with open_video(path, reader=reader) as video:
            image = next(iter(video)).image
            assert image.shape[:2] == (video.info.height, video.info.width)
        wanted = np.rot90(picture(0)[SHOWN], -1)
        assert image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 12


@pytest.mark.parametrize(
    ("name", "edges"), [("clip.mkv", (0,) * 4), ("clip.mp4", (0,) * 4), ("clip.mp4", (32, 0, 32, 0))]
)
def test_a_cropping_of_nothing(tmp_path: Path, name: str, edges: tuple[int, int, int, int]) -> None:
    """Without edges, or with edges that leave nothing of the pictures, all of each picture is shown."""
    for reader in ("av", "opencv"):
        with open_video(cropped_video(tmp_path / name, *edges), reader=reader) as video:
            assert next(iter(video)).image.shape[:2] == (48, 64)


def test_cropped_pictures_are_written(tmp_path: Path, model: Model) -> None:
    """A video that `infer` writes holds the cropped pictures, and states no further cropping."""
    out = tmp_path / "out.mkv"
    infer(cropped_video(tmp_path / "clip.mp4", LEFT, TOP, RIGHT, BOTTOM), model, video=out)
    with open_video(out) as video:
        assert (video.info.width, video.info.height) == (40, 38)
        assert video.info.pixel_aspect == Fraction(1)
