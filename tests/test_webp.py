"""Animated WebP as a video."""

import os
import struct
import threading
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import picture

from liquidvision import Model, infer, open_video
from liquidvision.errors import SourceError
from liquidvision.video.read.webp import DISPOSE, DO_NOT_BLEND

DURATIONS = (100, 200, 30, 400)  # milliseconds
TIMES = (0, 0.1, 0.3, 0.33)
Drawn = tuple[np.ndarray, tuple[int, int], int]  # RGBA pixels, place (row, column), flags


def animation(path: Path, durations: Sequence[int] = DURATIONS) -> Path:
    """Write an animation of `picture`."""
    drawn = cv2.Animation()
    drawn.frames = [picture(number)[..., ::-1].copy() for number in range(len(durations))]
    drawn.durations = np.array(durations)
    path.write_bytes(cv2.imencodeanimation(".webp", drawn, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes())
    return path


def drawn_animation(path: Path, *frames: Drawn, quality: int = 101) -> Path:
    """Write an animation of 20 x 16 pixels, with frames that cover a part of it."""
    chunks = chunk(b"VP8X", bytes([0x12, 0, 0, 0, 19, 0, 0, 15, 0, 0])) + chunk(b"ANIM", bytes(6))
    for image, (row, column), flags in frames:
        bgra = image[..., [2, 1, 0, 3]]
        data = cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()[12:]
        if data[:4] == b"VP8X":
            data = data[18:]
        numbers = (column // 2, row // 2, image.shape[1] - 1, image.shape[0] - 1, 50)
        header = b"".join(number.to_bytes(3, "little") for number in numbers) + bytes([flags])
        chunks += chunk(b"ANMF", header + data)
    path.write_bytes(chunk(b"RIFF", b"WEBP" + chunks))
    return path


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def plain(color: tuple[int, ...], height: int, width: int) -> np.ndarray:
    return np.full((height, width, 4), color, np.uint8)


def test_times_and_pictures(tmp_path: Path) -> None:
    """Each picture is shown at its own time for its own duration."""
    with open_video(animation(tmp_path / "clip.webp")) as video:
        assert (video.info.width, video.info.height, video.info.num_frames_from_header) == (64, 48, 4)
        assert video.info.duration == pytest.approx(0.73) and video.info.codec == "webp"
        frames = list(video)
        assert video.counts.damaged == 0
    assert [frame.time for frame in frames] == pytest.approx(TIMES)
    assert [frame.duration_seconds for frame in frames] == pytest.approx([ms / 1000 for ms in DURATIONS])
    for number, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 10


def test_a_part_of_an_animation(tmp_path: Path) -> None:
    """Start, stop and stride apply to an animation as to other videos."""
    path = animation(tmp_path / "clip.webp")
    with open_video(path, start=0.1, stop=0.33) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([0.1, 0.3])
    assert np.abs(frames[0].image.astype(int) - picture(1)).mean() < 10
    with open_video(path, stride=2) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 0.3])
    with open_video(path, start=9) as video:
        assert list(video) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_an_animation_from_a_pipe(tmp_path: Path) -> None:
    """An animation that comes through a pipe is read like the file."""
    data, pipe = animation(tmp_path / "clip.webp").read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    with open_video(pipe) as video:
        assert [frame.time for frame in video] == pytest.approx(TIMES)
    writer.join()


def test_an_animation_from_memory(tmp_path: Path) -> None:
    """An animation is read from a file object like the file."""
    with open_video(BytesIO(animation(tmp_path / "clip.webp").read_bytes())) as video:
        assert [frame.time for frame in video] == pytest.approx(TIMES)


def test_infer_keeps_the_times(tmp_path: Path, model: Model) -> None:
    """A video made from an animation has its times and its length."""
    summary = infer(animation(tmp_path / "clip.webp"), model, video=tmp_path / "out.mp4")
    assert summary.frames == 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(0.73, abs=0.01)
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(TIMES, abs=0.001)


@pytest.mark.parametrize("quality", [101, 95])
def test_frames_that_cover_a_part(tmp_path: Path, quality: int) -> None:
    """Frames are blended over the ones before or replace them, and are removed where they say so; nothing is black."""
    red, green, half = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 128)
    path = drawn_animation(
        tmp_path / "clip.webp",
        (plain(red, 16, 20), (0, 0), 0),
        (plain(half, 8, 8), (4, 6), 0),
        (plain(half, 8, 8), (4, 6), DO_NOT_BLEND | DISPOSE),
        (plain(green, 4, 4), (0, 0), 0),
        quality=quality,
    )
    with open_video(path) as video:
        images = [frame.image.astype(int) for frame in video]
    assert [tuple(image[15, 19]) for image in images] == [pytest.approx((255, 0, 0), abs=3)] * 4
    middle = [(255, 0, 0), (127, 0, 128), (0, 0, 128), (0, 0, 0)]
    assert [tuple(image[8, 10]) for image in images] == [pytest.approx(color, abs=3) for color in middle]
    assert tuple(images[3][2, 2]) == pytest.approx((0, 255, 0), abs=3)


def test_a_frame_without_a_duration(tmp_path: Path) -> None:
    """A frame that states no duration is shown for a tenth of a second."""
    with open_video(animation(tmp_path / "clip.webp", [0, 50, 0])) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 0.1, 0.15])


def test_a_damaged_frame(tmp_path: Path) -> None:
    """A frame that cannot be decoded is counted and skipped; with `strict` it is an error."""
    path = animation(tmp_path / "clip.webp")
    data = bytearray(path.read_bytes())
    second = data.index(b"ANMF", data.index(b"ANMF") + 4)
    data[second + 32 : second + 60] = bytes(28)
    path.write_bytes(data)
    with open_video(path) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 0.3, 0.33])
        assert video.counts.damaged == 1
    with pytest.raises(SourceError, match="damaged"), open_video(path, strict=True) as video:
        list(video)


def test_a_truncated_animation(tmp_path: Path) -> None:
    """Of an animation that is cut off, the complete frames are read; without one it is refused in one line."""
    path = animation(tmp_path / "clip.webp")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with open_video(path) as video:
        assert [frame.time for frame in video] == pytest.approx(TIMES[:3])
        assert video.counts.damaged == 1
    for length in (data.index(b"ANMF") + 40, data.index(b"ANMF"), 32, 20):
        path.write_bytes(data[:length])
        with pytest.raises(SourceError, match=r"clip\.webp") as error:
            open_video(path)
        assert "\n" not in str(error.value)


def test_an_animation_that_is_too_large(tmp_path: Path) -> None:
    """An animation with more pixels than allowed is refused before memory is allocated."""
    path = animation(tmp_path / "clip.webp")
    with pytest.raises(SourceError, match=r"64 x 48.*--max-pixels"):
        open_video(path, max_pixels=1000)
    data = bytearray(path.read_bytes())
    data[24:30] = b"\xff" * 6  # 16,777,216 x 16,777,216
    path.write_bytes(data)
    with pytest.raises(SourceError, match="--max-pixels"):
        open_video(path)
