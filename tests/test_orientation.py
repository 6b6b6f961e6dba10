"""The eight orientations in which a video may be stored."""

import json
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import pytest
from commands import Run

from liquidvision import Model, infer, open_video

SIZE = (64, 48)
# (a, b, c, d) of the display matrix, and what a player does with the stored picture.
ORIENTATIONS = {
    "as stored": ((1, 0, 0, 1), lambda image: image),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "flipped": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "anticlockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "transversed": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
}
# The names of EXIF's orientations 1 to 8.
EXIF_ORDER = (
    *("as stored", "mirrored", "upside down", "flipped"),
    *("transposed", "clockwise", "transversed", "anticlockwise"),
)
every_orientation = pytest.mark.parametrize("name", ORIENTATIONS)


def corners() -> np.ndarray:
    """Return a picture with a different colour in each quarter, so that each orientation looks different."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = (200, 0, 0), (0, 200, 0), (0, 0, 200), 200
    return image


def turned_video(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a video of `corners` with a display matrix in its track header."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    identity = matrix_bytes((1, 0, 0, 1))
    at = data.index(identity, data.index(b"tkhd"))  # the movie header holds another
    path.write_bytes(data[:at] + matrix_bytes(matrix) + data[at + len(identity) :])
    return path


def matrix_bytes(matrix: tuple[int, int, int, int]) -> bytes:
    a, b, c, d = (value << 16 for value in matrix)
    return b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))


@every_orientation
@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_every_orientation_is_read_upright(tmp_path: Path, name: str, reader: str) -> None:
    """Both readers show every one of the eight orientations as players do."""
    matrix, upright = ORIENTATIONS[name]
    with open_video(turned_video(tmp_path / "turned.mp4", matrix), reader=reader) as video:
        image = next(iter(video)).image
        assert image.shape[:2] == (video.info.height, video.info.width)
        stored = np.rot90(image[:, ::-1] if video.info.mirrored else image, -video.info.rotation // 90)
    assert np.abs(image.astype(int) - upright(corners())).mean() < 6
    assert np.abs(stored.astype(int) - corners()).mean() < 6


@every_orientation
def test_every_orientation_is_written_upright(tmp_path: Path, model: Model, name: str) -> None:
    """A video that `infer` writes is stored upright."""
    matrix, upright = ORIENTATIONS[name]
    infer(turned_video(tmp_path / "turned.mp4", matrix), model, video=tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        written = next(container.decode(video=0)).to_ndarray(format="rgb24")
    # The overlay covers the top and the bottom: the middle row shows which side is which.
    expected = upright(corners())
    assert written.shape == expected.shape


def turned_photo(path: Path, number: int) -> Path:
    """Write `corners` as a picture whose EXIF data state one of the orientations 1 to 8."""
    big = number % 2 == 0  # both byte orders
    order: Literal["big", "little"] = "big" if big else "little"
    entry = [(1, 2), (0x0112, 2), (3, 2), (1, 4), (number, 2), (0, 2), (0, 4)]  # a tag, its type, count and value
    exif = (b"MM" if big else b"II") + b"".join(
        value.to_bytes(size, order) for value, size in [(42, 2), (8, 4), *entry]
    )
    bgr, data = corners()[..., ::-1], np.frombuffer(exif, np.uint8)
    path.write_bytes(cv2.imencodeWithMetadata(path.suffix, bgr, [cv2.IMAGE_METADATA_EXIF], [data])[1].tobytes())
    return path


@pytest.mark.parametrize("reader", ["av", "opencv"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("number", range(1, 9))
def test_every_orientation_of_a_photo(tmp_path: Path, number: int, suffix: str, reader: str) -> None:
    """Both readers show photos upright in each of EXIF's orientations, the mirrored ones too."""
    _, upright = ORIENTATIONS[EXIF_ORDER[number - 1]]
    with open_video(turned_photo(tmp_path / f"photo{suffix}", number), reader=reader) as video:
        image = next(iter(video)).image
        assert image.shape[:2] == (video.info.height, video.info.width)
    assert image.shape == upright(corners()).shape
    assert np.abs(image.astype(int) - upright(corners())).mean() < 8


def test_photos_of_a_folder_are_upright(tmp_path: Path) -> None:
    """Each picture of a folder is shown in its own orientation."""
    for number in (1, 2, 3, 4):
        turned_photo(tmp_path / f"{number}.jpg", number)
    with open_video(tmp_path, rate=5) as video:
        for frame, name in zip(video, EXIF_ORDER, strict=False):
            assert np.abs(frame.image.astype(int) - ORIENTATIONS[name][1](corners())).mean() < 8


def test_info_reports_a_mirror(tmp_path: Path, run: Run) -> None:
    """`info` says that a video is mirrored, in words and as JSON."""
    path = turned_video(tmp_path / "turned.mp4", ORIENTATIONS["mirrored"][0])
    assert "mirrored to be upright" in run("info", path).out
    shown = json.loads(run("info", path, "--json").out)
    assert shown["mirrored"] is True and shown["rotation"] == 0
