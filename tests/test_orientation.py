"""The eight orientations in which a video may be stored."""

import json
from pathlib import Path

import av
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


def test_info_reports_a_mirror(tmp_path: Path, run: Run) -> None:
    """`info` says that a video is mirrored, in words and as JSON."""
    path = turned_video(tmp_path / "turned.mp4", ORIENTATIONS["mirrored"][0])
    assert "mirrored to be upright" in run("info", path).out
    shown = json.loads(run("info", path, "--json").out)
    assert shown["mirrored"] is True and shown["rotation"] == 0
