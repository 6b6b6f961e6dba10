"""Interlaced video."""

from pathlib import Path

import av
import numpy as np
import pytest
from commands import Run

from liquidvision import open_video
from liquidvision.errors import UsageError

FRAMES = 12


def moving(instant: int) -> np.ndarray:
    """Return a picture in which an edge moves to the right by 2 pixels per instant."""
    image = np.full((64, 96, 3), 40, np.uint8)
    image[:, 20 + 2 * instant :] = 200
    return image


def interlaced_video(path: Path) -> Path:
    """Write a video whose odd rows are half a frame later than its even rows."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.flags |= 1 << 18 | 1 << 29  # interlaced coding
        for number in range(FRAMES):
            image = moving(2 * number)
            image[1::2] = moving(2 * number + 1)[1::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def combing(image: np.ndarray) -> float:
    """Return how much neighbouring rows differ, compared with rows of the same field."""
    rows = image.astype(int)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_interlaced_video_is_deinterlaced(tmp_path: Path, name: str) -> None:
    """Interlaced pictures are read without combs, one for each, at their own times; on request as they are stored."""
    path = interlaced_video(tmp_path / name)
    with open_video(path, deinterlace="off") as video:
        stored = list(video)
        assert video.info.interlaced
    with open_video(path) as video:
        frames = list(video)
        assert video.info.interlaced
    assert [frame.time for frame in frames] == [frame.time for frame in stored] and len(frames) == FRAMES
    assert [frame.duration for frame in frames] == [frame.duration for frame in stored]
    for number, (frame, plain) in enumerate(zip(frames, stored, strict=True)):
        assert frame.image.shape == (64, 96, 3)
        assert combing(frame.image) < 0.5 * combing(plain.image)
        assert np.abs(frame.image.astype(int) - moving(2 * number)).mean() < 5
    with open_video(path, start=0.2) as video:
        assert [frame.time for frame in video] == [frame.time for frame in stored[5:]]


def test_progressive_video_is_left_alone(make_video) -> None:
    """Deinterlacing does not touch progressive pictures."""
    path = make_video()
    with open_video(path) as video, open_video(path, deinterlace="off") as plain:
        assert not video.info.interlaced
        assert all((a.image == b.image).all() for a, b in zip(video, plain, strict=True))


def test_interlaced_on_the_command_line(tmp_path: Path, run: Run, make_video) -> None:
    """`info` reports interlaced video; another word than auto or off is refused."""
    assert "interlaced" in run("info", interlaced_video(tmp_path / "clip.mp4")).out
    assert "interlaced" not in run("info", make_video()).out
    with pytest.raises(UsageError, match="deinterlace"):
        open_video(make_video(), deinterlace="yes")


def test_opencv_says_that_it_does_not_deinterlace(tmp_path: Path, caplog: pytest.LogCaptureFixture, make_video) -> None:
    """The OpenCV reader, which cannot deinterlace, says so for interlaced files, unless that was not wanted."""
    path = interlaced_video(tmp_path / "clip.mp4")
    with open_video(path, reader="opencv", deinterlace="off") as video:
        assert video.info.interlaced and len(list(video)) == FRAMES
    with open_video(make_video("plain.mp4"), reader="opencv") as video:
        assert not video.info.interlaced
    assert caplog.messages == []
    with open_video(path, reader="opencv"):
        pass
    (message,) = caplog.messages
    assert message.startswith("clip.mp4 is interlaced") and "--reader av" in message
