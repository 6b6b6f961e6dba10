"""Files with several video tracks."""

import json
import struct
from fractions import Fraction
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from commands import Run
from conftest import picture

from liquidvision import Model, infer, open_video
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


def test_the_choice_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a track is chosen among several, a message says which; not where it was asked for or is the only video."""
    path = tracks_video(tmp_path / "clip.mkv", (SMALL, 5, NONE), (LARGE, 7, NONE))
    with open_video(path):
        pass
    assert caplog.messages == ["clip.mkv has 2 video tracks; track 1 (96 x 64) is read, --video-track reads another"]
    caplog.clear()
    with open_video(path, video_track=0):
        pass
    with open_video(tracks_video(tmp_path / "clip.mp4", (WIDE, 1, DEFAULT), (SMALL, 7, NONE))):
        pass
    assert caplog.messages == []


def program(number: int, size: tuple[int, int] | None, *, start: float = 0, sounds: int = 1) -> list[bytes]:
    """Return the packets of a transport stream with one program of a second of video and sound, or of sound alone."""
    out = BytesIO()
    options = {
        "mpegts_service_id": str(number),
        "mpegts_pmt_start_pid": hex(0x1000 + number),
        "mpegts_start_pid": hex(0x100 * number),
    }
    with av.open(out, "w", format="mpegts", options=options) as container:
        if size is not None:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        audio = [container.add_stream("mp2", rate=48_000, layout="mono") for _ in range(sounds)]
        if size is not None:
            for count in range(25):
                frame = av.VideoFrame.from_ndarray(picture(count, *size), format="rgb24")
                frame.pts, frame.time_base = count + round(25 * start), Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for track in audio:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48_000, round(48_000 * start), Fraction(1, 48_000)
            container.mux(track.encode(samples))
            container.mux(track.encode(None))
    data = out.getvalue()
    return [data[place : place + 188] for place in range(0, len(data), 188)]


def join_programs(path: Path, programs: dict[int, list[bytes]]) -> Path:
    """Write a transport stream of several programs, each with packets of its own."""
    listed = b"".join(struct.pack(">HH", number, 0xE000 | (0x1000 + number)) for number in programs)
    section = struct.pack(">BHHBBB", 0, 0xB000 | (9 + len(listed)), 1, 0xC1, 0, 0) + listed
    remainder = 0xFFFFFFFF
    for byte in section:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x04C11DB7 if remainder >> 31 else 0)) & 0xFFFFFFFF
    table = (b"\x47\x40\x00\x10\x00" + section + struct.pack(">I", remainder)).ljust(188, b"\xff")
    own = [[p for p in packets if p[1] & 0x1F or p[2] not in (0, 17)] for packets in programs.values()]
    mixed = [packet for together in zip_longest(*own) for packet in together if packet is not None]
    path.write_bytes(b"".join([table, *mixed]))
    return path


@pytest.mark.parametrize("track", [None, 0, 1])
def test_the_sound_of_the_chosen_program(tmp_path: Path, model: Model, track: int | None) -> None:
    """Of a transport stream with several programs, only the sound of the video's program is copied, in sync with it."""
    small, large = program(1, SMALL, start=700), program(2, LARGE, start=60, sounds=2)
    path = join_programs(tmp_path / "clip.ts", {3: program(3, None, start=9), 1: small, 2: large})
    with open_video(path, video_track=track) as video:
        frames = list(video)
        assert video.info.has_audio and len(frames) == 25
        assert frames[0].image.shape[1] == (32 if track == 0 else 96)
        assert frames[0].time == pytest.approx(float(video.start_time), abs=0.05)
    infer(open_video(path, video_track=track), model, video=tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == (1 if track == 0 else 2)
        assert container.duration / av.time_base == pytest.approx(1, abs=0.1)
        assert next(container.decode(video=0)).time < 0.1
