"""Files with several video tracks."""

import json
from pathlib import Path

import av
import pytest
from av.stream import Disposition
from commands import Run
from conftest import picture

from liquidvision import open_video
from liquidvision.errors import UsageError


def tracks_video(path: Path, *tracks: tuple[tuple[int, int], int, Disposition]) -> Path:
    """Write a video with a track of each (size, number of frames, disposition)."""
    with av.open(str(path), "w") as container:
        streams = []
        for (width, height), frames, disposition in tracks:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.disposition = width, height, "yuv420p", disposition
            streams.append((stream, frames))
        for stream, frames in streams:
            for number in range(frames):
                image = picture(number, stream.width, stream.height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    return path


SMALL, LARGE, WIDE = (32, 24), (96, 64), (128, 48)
NONE, DEFAULT = Disposition(0), Disposition.default


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts"])  # FFmpeg marks one track of an MP4 always
def test_the_larger_track_is_read(tmp_path: Path, name: str) -> None:
    """Of several tracks without a mark, the one with the most pixels is read."""
    path = tracks_video(tmp_path / name, (SMALL, 5, NONE), (LARGE, 7, NONE))
    with open_video(path) as video:
        assert (video.info.width, video.info.height) == LARGE and len(list(video)) == 7


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_the_default_track_is_read(tmp_path: Path, name: str) -> None:
    """The track that the file marks as default is read, even if another one is larger or comes first."""
    path = tracks_video(tmp_path / name, (WIDE, 5, NONE), (SMALL, 7, DEFAULT))
    with open_video(path) as video:
        assert (video.info.width, video.info.height) == SMALL and len(list(video)) == 7


def test_a_still_picture_is_not_the_video(tmp_path: Path) -> None:
    """A track of one picture, as beside the animation of an AVIF file, is not taken for the video."""
    path = tracks_video(tmp_path / "clip.mp4", (WIDE, 1, DEFAULT), (SMALL, 7, NONE))
    with open_video(path) as video:
        assert len(list(video)) == 7


def test_a_chosen_track(tmp_path: Path, run: Run, model_folder: Path) -> None:
    """`video_track` and --video-track read a track by its number, and `info` lists the tracks."""
    path = tracks_video(tmp_path / "clip.mkv", (SMALL, 5, NONE), (LARGE, 7, DEFAULT))
    with open_video(path, video_track=0) as video:
        assert (video.info.width, video.info.height) == SMALL
    with open_video(path, video_track=0, start=0.1) as video:
        assert next(iter(video)).image.shape[:2] == (24, 32)
    ran = run("infer", path, "-m", model_folder, "--video-track", 0, "-o", tmp_path / "out.mp4")
    assert ran.code == 0 and "5 frames" in ran.out
    text = run("info", path).out
    assert "0: h264 32x24\n" in text and "1: h264 96x64 (default, read)" in text
    listed = json.loads(run("info", path, "--json").out)["video_tracks"]
    assert [track["chosen"] for track in listed] == [False, True]


@pytest.mark.parametrize("options", [{"video_track": 2}, {"video_track": -1}, {"video_track": 0, "reader": "opencv"}])
def test_tracks_that_cannot_be_read(tmp_path: Path, options: dict) -> None:
    """A track that does not exist, or a track for OpenCV, is refused in one line."""
    path = tracks_video(tmp_path / "clip.mkv", (SMALL, 5, NONE), (LARGE, 7, NONE))
    with pytest.raises(UsageError, match="video_track") as error:
        open_video(path, **options)
    assert "\n" not in str(error.value)
