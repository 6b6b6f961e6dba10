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
