"""Real videos: the output has the source's frames, times and sound; pictures are upright and in shape."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from liquidvision import Model, infer, open_video

WITHIN = 0.0015  # seconds


def real(data: Path, name: str) -> Path:
    """Return a video of the shared folder by its name."""
    found = sorted((data / "testvideos").glob(f"*/{name}"))
    if not found:
        pytest.skip(f"{name} is not in the shared data folder")
    return found[0]


def times_of(path: Path, stop: float | None = None) -> list[float]:
    """Return the times of the pictures, as PyAV decodes them, counted from the first."""
    times: list[float] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            time = float(frame.pts * stream.time_base)
            if stop is not None and times and time - times[0] >= stop - 1e-6:
                break
            times.append(time)
    return [time - times[0] for time in times]


def sound_of(path: Path, stop: float | None = None) -> list[bytes]:
    """Return the content of the packets of sound that begin before `stop`."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        begin = (container.start_time or 0) / av.time_base
        return [
            bytes(packet)
            for packet in container.demux(container.streams.audio[0])
            if packet.size and (stop is None or float(packet.pts * packet.time_base) - begin < stop)
        ]


@pytest.mark.parametrize(
    ("name", "stop", "ending"),
    [
        ("bigbuckbunny.mp4", 1.0, ".mp4"),
        ("bigbuckbunny.mp4", 0.4, ".mkv"),
        ("cursed-vfr.mp4", 1.5, ".mp4"),
        ("nasa_13013_rotated.mp4", None, ".mp4"),
        ("car-detection.mp4", 5.0, ".mp4"),
        ("transparency.webm", 0.5, ".mp4"),
        ("video-h265.mp4", 0.4, ".mp4"),
        ("sine_stereo_mp2.mpg", None, ".mkv"),
        ("test_non_zero_start.mp4", None, ".mp4"),
        ("unordered.mov", None, ".mp4"),
    ],
)
def test_frames_times_and_sound_are_kept(
    data: Path, model: Model, tmp_path: Path, name: str, stop: float | None, ending: str
) -> None:
    """The output has the source's frames, at the same times, and the same packets of sound."""
    source, out = real(data, name), tmp_path / f"out{ending}"
    summary = infer(open_video(source, stop=stop), model, video=out)
    before, after = times_of(source, stop), times_of(out)
    assert summary.frames == len(after) == len(before) > 3
    assert after == pytest.approx(before, abs=WITHIN)
    assert sound_of(out) == sound_of(source, stop)
    assert (summary.backwards, summary.repeated, summary.damaged, summary.notes) == (0, 0, 0, [])


@pytest.mark.parametrize("name", ["nasa_13013_rotated.mp4", "video_90.mov", "video_180.mov", "rotate-buck-bunny.mp4"])
def test_upright(data: Path, model: Model, tmp_path: Path, name: str) -> None:
    """A rotated clip is read upright, as OpenCV reads it, and written without a rotation."""
    source, out = real(data, name), tmp_path / "out.mp4"
    _, bgr = cv2.VideoCapture(str(source)).read()
    with open_video(source) as video:
        image = next(iter(video)).image
        assert image.shape == bgr.shape == (video.info.height, video.info.width, 3)
        assert video.info.rotation
    assert np.abs(image.astype(int) - bgr[..., ::-1]).mean() < 3
    if name.startswith("nasa"):
        assert image.shape[0] > image.shape[1]
    infer(source, model, video=out, max_frames=3)
    with open_video(out) as video:
        assert video.info.rotation == 0
        assert (video.info.height, video.info.width) == image.shape[:2]


def test_pixel_aspect_is_kept(data: Path, model: Model, tmp_path: Path) -> None:
    """A clip with pixels twice as wide as high is written with such pixels."""
    source, out = real(data, "sar_2x1.mp4"), tmp_path / "out.mp4"
    infer(source, model, video=out, max_frames=5)
    with open_video(source) as before, open_video(out) as after:
        assert before.info.pixel_aspect == after.info.pixel_aspect == 2
        assert (after.info.width, after.info.height) == (640, 360)


def test_a_phone_clip_of_constant_luminance(data: Path, model: Model, tmp_path: Path) -> None:
    """A clip tagged bt2020c, which swscale does not support, is decoded and is not black."""
    source, out = real(data, "phone_bt2020c_h264.mp4"), tmp_path / "out.mp4"
    with open_video(source, stop=0.5) as video:
        images = [frame.image for frame in video]
    assert len(images) > 5
    assert all(20 < image.mean() < 235 and image.std() > 15 for image in images)
    summary = infer(open_video(source, stop=0.5), model, video=out)
    with open_video(out) as video:
        assert sum(20 < frame.image.mean() < 235 for frame in video) == summary.frames == len(images)


@pytest.mark.parametrize("name", ["testsrc2_mpeg4.avi", "test.avi", "S001C001P001R001A001_rgb.avi"])
def test_avi_runs_evenly(data: Path, name: str) -> None:
    """The frames of an AVI, which stores no times, are evenly spaced by its rate, also with B-frames."""
    with open_video(real(data, name), stop=2) as video:
        rate = float(video.info.rate or 0)
        times = [frame.time for frame in video]
    assert rate > 0 and len(times) > 20
    assert np.diff(times) == pytest.approx(1 / rate, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["bt601_full_range.mp4", "bt601_limited_range.mp4", "bt709_full_range.mp4", "nasa_13013.mp4"]
)
def test_both_readers_agree(data: Path, name: str) -> None:
    """Both readers give the same times and, within rounding, the same colours."""
    source = real(data, name)
    # OpenCV reads the first video track.
    with open_video(source, stop=0.3, video_track=0) as a, open_video(source, stop=0.3, reader="opencv") as b:
        pairs = list(zip(a, b, strict=True))
    assert len(pairs) > 3
    for x, y in pairs:
        assert x.time == pytest.approx(y.time, abs=WITHIN)
        assert np.abs(x.image.astype(int) - y.image).mean() < 6


@pytest.mark.parametrize(
    "name",
    ["newtonscradle.gif", "h265_video.mp4", "av1_video.mkv", "testsrc2_444_10bit_hevc.mp4", "no-aud.ts", "frames.webm"],
)
def test_all_kinds_are_read(data: Path, name: str) -> None:
    """Many formats are read: pictures with content, at increasing times."""
    with open_video(real(data, name), stop=0.5) as video:
        frames = [(frame.time, frame.image.std(), frame.image.shape) for frame in video]
        assert {shape for _, _, shape in frames} == {(video.info.height, video.info.width, 3)}
    assert len(frames) >= 2 and max(std for _, std, _ in frames) > 5
    assert all(a < b for (a, *_), (b, *_) in pairwise(frames))


def subtitles_of(path: Path) -> list[tuple[float, bytes]]:
    """Return time and text of each subtitle of the first track that is not empty."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.subtitles[0]) if packet.size > 2]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


def test_subtitles_are_kept(data: Path, model: Model, tmp_path: Path) -> None:
    """A clip with two sound and two subtitle tracks keeps them, in sync."""
    source, out = real(data, "nasa_13013.mp4"), tmp_path / "out.mp4"
    summary = infer(open_video(source, start=2.0, stop=6.0), model, video=out)
    assert summary.notes == []
    with av.open(str(out)) as container:
        kinds = [(stream.type, stream.language) for stream in container.streams]
    assert sorted(kinds) == [("audio", "eng")] * 2 + [("subtitle", "eng")] * 2 + [("video", "eng")]
    (_, first), (time, second) = [(t, text) for t, text in subtitles_of(source) if 0 < t < 6.0]
    assert subtitles_of(out) == [(0.0, first), (pytest.approx(time - 2.0, abs=WITHIN), second)]


def test_sound_for_the_web(data: Path, model: Model, tmp_path: Path) -> None:
    """MPEG sound, which WebM cannot hold, is re-encoded to Opus of the same length."""
    source, out = real(data, "sine_stereo_mp2.mpg"), tmp_path / "out.webm"
    summary = infer(open_video(source, stop=1.0), model, video=out, codec="vp9")
    assert summary.notes == ["sound re-encoded from mp2 to Opus: .webm cannot hold mp2"]
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert seconds == pytest.approx(1.0, abs=0.05)


def test_dts_is_copied(data: Path, model: Model, make_video: Callable[..., Path], tmp_path: Path) -> None:
    """DTS, whose decoder has another name than the codec, is copied into Matroska like any sound."""
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with (
        av.open(str(make_video())) as clip,
        av.open(str(real(data, "toothsome-dts.mp4"))) as dts,
        av.open(str(source), "w") as container,
    ):
        for part in (clip.streams.video[0], dts.streams.audio[0]):
            container.add_stream_from_template(part, opaque=True)
        for stream, part in zip(container.streams, (clip, dts), strict=True):
            for packet in part.demux():
                if packet.dts is not None and packet.dts * packet.time_base < 0.8:
                    packet.stream = stream
                    container.mux(packet)
    summary = infer(source, model, video=out)
    assert summary.notes == [] and sound_of(out) == sound_of(source) != []
