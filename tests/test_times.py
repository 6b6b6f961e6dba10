"""Times that containers state badly: seeks that land too late, storage order, outliers."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import picture

from liquidvision import Frame, Model, VideoInfo, infer, open_video
from liquidvision.concurrency.counts import SourceCounts
from liquidvision.errors import SourceError
from liquidvision.video.read.reader import DecodedPicture
from liquidvision.video.read.timestamps import without_outliers
from liquidvision.video.write.av_writer import AVVideoSink

MILLISECOND = Fraction(1, 1000)


def long_video(path: Path, codec: str = "libx264", seconds: int = 6, form: str | None = None) -> Path:
    """Write a video of 25 frames per second with a key frame every 3 s."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = stream.codec_context.gop_size = 75
        if codec == "libx264":
            stream.options = {"x264-params": "scenecut=0:keyint=75:min-keyint=75"}
        for number in range(25 * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("start", [0.04, 1.0, 3.0, 4.0, 5.9])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("clip.ts", "libx264"), ("clip.mts", "libx264"), ("clip.ts", "mpeg2video"), ("clip.vob", "mpeg2video")),
        *(("clip.mpg", "mpeg1video"), ("clip.h264", "libx264"), ("clip.m4v", "mpeg4"), ("clip.mjpeg", "mjpeg")),
        *(("clip.mkv", "libx264"), ("clip.mp4", "libx264"), ("clip.avi", "mpeg4")),
    ],
)
def test_a_start_anywhere(tmp_path: Path, name: str, codec: str, start: float) -> None:
    """Reading from a start gives the same frames at the same times as reading everything, in every container."""
    path = long_video(tmp_path / name, codec)
    with open_video(path) as video:
        first = video.start_time
        wanted = [frame for frame in video if frame.time - float(first) >= start - 1e-4]
    with open_video(path, start=start) as video:
        frames = list(video)
        assert video.counts.damaged == 0
    assert [frame.time for frame in frames] == pytest.approx([frame.time for frame in wanted], abs=1e-6)
    assert len(frames) == pytest.approx(25 * (6 - start), abs=1.1)
    assert (frames[0].image == wanted[0].image).all() and (frames[-1].image == wanted[-1].image).all()


def test_a_start_after_the_end(tmp_path: Path) -> None:
    """A start after the end of a transport stream gives no frame."""
    with open_video(long_video(tmp_path / "clip.ts"), start=60) as video:
        assert list(video) == []


def without_ctts(path: Path) -> Path:
    """Rename the table of composition offsets in an MP4, so that only its decoding times are left."""
    data = path.read_bytes()
    assert b"ctts" in data
    path.write_bytes(data.replace(b"ctts", b"free").replace(b"edts", b"free"))
    return path


@pytest.mark.parametrize("bframes", [0, 1, 3, 7])
def test_b_frames_without_presentation_times(tmp_path: Path, bframes: int) -> None:
    """Where a container stores only decoding times, frames get them in the order in which they are shown."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": f"bframes={bframes}:b-adapt=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(without_ctts(path) if bframes else path) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([number / 25 for number in range(50)], abs=1e-6)
    errors = [np.abs(frame.image.astype(int) - picture(number)).mean() for number, frame in enumerate(frames)]
    assert max(errors) < 12


def placed(times: Sequence[float]) -> tuple[list[float], int]:
    """Return the times of pictures after outliers were corrected, and how many there were."""
    counts = SourceCounts()
    pictures = [DecodedPicture(round(t * 1000), MILLISECOND, None, lambda: picture(0)) for t in times]
    return [p.pts / 1000 for p in without_outliers(pictures, counts)], counts.outliers


@pytest.mark.parametrize("wrong", [37_600.0, -37_600.0, 0.0, 1.7e9])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_outlier_moves_nothing(wrong: float, count: int) -> None:
    """A few frames with an impossible time get times in between, and all others keep theirs."""
    times = [100 + number * 0.04 for number in range(50)]
    given = [*times[:20], *(wrong + 0.04 * n for n in range(count)), *times[20 + count :]]
    corrected, outliers = placed(given)
    assert corrected == pytest.approx(times, abs=0.001) and outliers == count


@pytest.mark.parametrize("wrong", [37_600.0, -37_600.0, 0.0, 1.7e9])
@pytest.mark.parametrize(("count", "distance"), [(1, 0), (2, 0.04), (4, -900)])
def test_outliers_at_the_end(wrong: float, count: int, distance: float) -> None:
    """Last frames with an impossible time follow the others at their distance."""
    times = [100 + number * 0.04 for number in range(50)]
    corrected, outliers = placed([*times[:-count], *(wrong + distance * n for n in range(count))])
    assert corrected == pytest.approx(times, abs=0.001) and outliers == count


def test_pictures_before_a_source_breaks_off_are_kept() -> None:
    """Where a source breaks off after a jump of its clock, the pictures after the jump are read, then the error."""

    def pictures() -> Iterator[DecodedPicture]:
        for pts in (0, 40, 80, 900_000, 900_040):
            yield DecodedPicture(pts, MILLISECOND, None, lambda: picture(0))
        raise SourceError("the feed broke off")

    seen = []
    with pytest.raises(SourceError, match="broke off"):
        for shown in without_outliers(pictures(), SourceCounts()):
            seen.append(shown.pts)  # noqa: PERF401
    assert seen == [0, 40, 80, 900_000, 900_040]


@pytest.mark.parametrize(
    ("given", "arrivals", "expected", "outliers"),
    [
        pytest.param([0, 1, 2, 37_600, 4, 5], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], 1, id="an outlier"),
        pytest.param([0, 1, 2, 60, 61], [0, 1, 2, 60, 61], [0, 1, 2, 60, 61], 0, id="it was silent for a minute"),
        pytest.param([5, 6, 7, 1e6, 1e6 + 1], [0, 1, 2, 3, 4], [5, 6, 7, 8, 9], 2, id="at the end"),
    ],
)
def test_outliers_of_a_live_source(
    given: list[float], arrivals: list[float], expected: list[float], outliers: int
) -> None:
    """A live source's frames get plausible times too, and none waits for others unless its time is impossible."""
    taken, asked = 0, []

    def pictures() -> Iterator[DecodedPicture]:
        nonlocal taken
        for seconds in given:
            taken += 1
            yield DecodedPicture(round(seconds * 1000), MILLISECOND, None, lambda: picture(0))

    counts, times = SourceCounts(), []
    for shown in without_outliers(pictures(), counts, clock=lambda: arrivals[taken - 1]):
        times.append(shown.pts / 1000)
        asked.append(taken)
    assert times == pytest.approx(expected) and counts.outliers == outliers
    assert asked[:3] == [1, 2, 3]


@pytest.mark.parametrize("wrong", [0.0, 37_600.0])
def test_a_first_frame_on_another_clock(wrong: float) -> None:
    """A first frame at 0 before a clock that counts from 1970, or one hours late, is placed beside the second."""
    times = [1.7e9 + number * 0.04 for number in range(9)] if not wrong else [number * 0.04 for number in range(9)]
    corrected, outliers = placed([wrong, *times])
    assert corrected[1:] == pytest.approx(times, abs=0.001) and outliers == 1
    assert corrected[0] == pytest.approx(times[0], abs=0.1)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([0, 0.04, 0.08, 25_200, 25_200.04, 25_200.08], id="a gap"),
        pytest.param([100, 100.04, 100.08, *(n * 0.04 for n in range(9))], id="another recording"),
        pytest.param([60 * n for n in range(9)], id="one frame a minute"),
        pytest.param([0, 0.5, 1, 1, 1.5, 9], id="repeated, and a long last step"),
        pytest.param([0, 0.04, 0.08, 0.12, 1800], id="half an hour without a change before the last"),
        pytest.param([*(n for n in range(999)), 15_000], id="a long recording and a late last frame"),
        pytest.param([0, 1, 0.5, 1.5, 2], id="a small step back"),
        pytest.param([7], id="one frame"),
        pytest.param([100, 0], id="two frames"),
        pytest.param([], id="no frame"),
    ],
)
def test_what_is_no_outlier(times: list[float]) -> None:
    """Gaps, restarted clocks and slow sources keep their times."""
    if times == [100, 0]:
        assert placed(times)[0][1] == 0
        return
    assert placed(times) == (pytest.approx(times), 0)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov"])
@pytest.mark.parametrize("late", [20, 39])
def test_infer_reports_outliers(tmp_path: Path, model: Model, name: str, late: int) -> None:
    """A video with one impossible time is written with its true length, and the summary counts the frame."""
    source, out = tmp_path / name, tmp_path / "out.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(40):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")):
                packet.pts += round(37_600 / packet.time_base) if number == late else 0
                container.mux(packet)
    summary = infer(source, model, video=out)
    assert summary.outliers == 1 and summary.media_seconds == pytest.approx(1.56, abs=0.01)
    with av.open(str(out)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        length = container.duration / av.time_base
    assert times == pytest.approx([0.04 * number for number in range(40)], abs=0.002)
    assert length == pytest.approx(1.6, abs=0.05)


def frames_at(seconds: Sequence[float], base: Fraction, last: float | None = None) -> list[Frame]:
    """Return frames at these times; the last is shown for `last` seconds."""
    ticks = [round(time / base) for time in seconds]
    durations = [None] * (len(ticks) - 1) + [None if last is None else round(last / base)]
    return [Frame(picture(i), i, tick, base, durations[i]) for i, tick in enumerate(ticks)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(("gap", "base"), [(25_200, Fraction(1, 90_000)), (7_500, Fraction(1, 1_000_000))])
def test_a_long_gap_is_kept(tmp_path: Path, suffix: str, gap: float, base: Fraction) -> None:
    """A gap of more than 2**31 ticks keeps its length; MP4 and MOV repeat the picture before it."""
    times = [0, 0.04, 0.08, gap, gap + 0.04, gap + 0.08]
    path = tmp_path / f"out{suffix}"
    with AVVideoSink(path, VideoInfo("x", 64, 48)) as sink:
        for frame in frames_at(times, base):
            sink.write(frame)
    with av.open(str(path)) as container:
        shown = [(frame.time, frame.to_ndarray(format="rgb24").astype(int)) for frame in container.decode(video=0)]
    extra = [image for time, image in shown if 0.1 < time < gap - 0.1]
    kept = [time for time, _ in shown if not 0.1 < time < gap - 0.1]
    assert kept == pytest.approx(times, abs=0.001)
    assert bool(extra) == (suffix != ".mkv")
    assert all(np.abs(image - picture(2)).mean() < 12 for image in extra)


def test_a_gap_of_years(tmp_path: Path) -> None:
    """A gap that MP4 cannot hold even so is left out, with a note, and what follows keeps its distances."""
    path = tmp_path / "out.mp4"
    with AVVideoSink(path, VideoInfo("x", 64, 48)) as sink:
        for frame in frames_at([0, 0.04, 1.7e9, 1.7e9 + 0.04, 1.7e9 + 0.08], Fraction(1, 90_000)):
            sink.write(frame)
    assert "1,700,000,000 s is left out" in sink.notes[0]
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.04, 0.04, 0.08, 0.12], abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_last_frame_that_is_held(tmp_path: Path, suffix: str, codec: str) -> None:
    """The last frame is shown for as long as the source says."""
    path = tmp_path / f"out{suffix}"
    with AVVideoSink(path, VideoInfo("x", 64, 48, rate=Fraction(2)), codec=codec) as sink:
        for frame in frames_at([0, 0.5, 1, 1.5, 2], MILLISECOND, last=8):
            sink.write(frame)
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("name", ["held.gif", "held.png"])
def test_a_held_last_picture_of_an_animation(tmp_path: Path, model: Model, name: str) -> None:
    """An animation's last picture is written for its own duration."""
    source = tmp_path / name
    with av.open(str(source), "w", format="apng" if name.endswith("png") else None) as container:
        stream = container.add_stream("apng" if name.endswith("png") else "gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24" if name.endswith("png") else "rgb8"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        packets = []
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = 10 * number, Fraction(1, 100)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = round(Fraction(3) / packets[-1].time_base)
        container.mux(packets)
    infer(source, model, video=tmp_path / "out.mp4")
    with open_video(source) as video:
        wanted = list(video)[-1]
    assert wanted.duration_seconds and wanted.duration_seconds > 0.09
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(wanted.time + wanted.duration_seconds, abs=0.02)
