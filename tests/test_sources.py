"""Readers: the frames that were written, at their times, upright, in the right colours; and closing."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from conftest import picture

from liquidvision import ArrayReader, LiveOptions, open_video
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SourceError, UsageError
from liquidvision.video.read import opencv_reader
from liquidvision.video.read.container import public_name
from liquidvision.video.read.reader import ReadWindow, VideoReader
from liquidvision.video.read.timestamps import Timestamps

MakeVideo = Callable[..., Path]
TICK = Fraction(1, 12800)
VARIABLE = (0, 512, 1500, 1600, 5000, 5512, 9999)

both = pytest.mark.parametrize("reader", ["av", "opencv"])


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    """Return the message, which must be a single line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message


def plain_video(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (64, 48), frames: int = 5) -> Path:
    """Write a video of one colour."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(frames):
            image = np.full((size[1], size[0], 3), color, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def prefetch_threads() -> int:
    return sum(thread.name == "liquidvision-prefetch" for thread in threading.enumerate())


@both
@pytest.mark.parametrize("pts", [range(0, 20 * 512, 512), VARIABLE], ids=["constant", "variable"])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_times(make_video: MakeVideo, reader: str, pts: tuple[int, ...], name: str) -> None:
    """Every frame is read once, in order, at the time it was written with."""
    with open_video(make_video(name, pts=pts), reader=reader) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == list(range(len(pts)))
    within = 0.0006 if name.endswith("mkv") else 1e-5  # ticks: Matroska 1 ms, OpenCV's clock 1 µs
    assert [frame.time for frame in frames] == pytest.approx([float(p * TICK) for p in pts], abs=within)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_clock_that_does_not_begin_at_zero(make_video: MakeVideo, name: str) -> None:
    """Times are the source's own even if they do not begin at 0; start and stop count from the first frame."""
    path = make_video(name, pts=range(64000, 64000 + 20 * 512, 512))
    with open_video(path) as video:
        times = [frame.time for frame in video]
        assert float(video.start_time) == pytest.approx(5, abs=1e-3)
    assert times == pytest.approx([5 + 0.04 * i for i in range(20)], abs=1e-3)
    with open_video(path, start=0.2, stop=0.4) as video:
        assert [frame.time for frame in video] == pytest.approx(times[5:10], abs=1e-3)


@both
def test_pictures_in_order_and_color(make_video: MakeVideo, reader: str) -> None:
    """The pictures are those that were written, in the same order."""
    with open_video(make_video(size=(128, 96)), reader=reader) as video:
        assert (video.info.width, video.info.height) == (128, 96)
        for number, frame in enumerate(video):
            assert frame.image.shape == (96, 128, 3) and frame.image.dtype == np.uint8
            errors = [np.abs(frame.image.astype(int) - picture(i, 128, 96)).mean() for i in range(20)]
            assert int(np.argmin(errors)) == number and errors[number] < 12


@both
@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_rgb(tmp_path: Path, reader: str, color: tuple[int, int, int]) -> None:
    """Red is the first channel: a picture of one colour is read in that colour."""
    with open_video(plain_video(tmp_path / "plain.mp4", color), reader=reader) as video:
        image = next(iter(video)).image
    assert np.abs(image.astype(int) - color).max() <= 10


@both
def test_upright(data: Path, reader: str) -> None:
    """A clip that was filmed in portrait is read in portrait by both readers."""
    with open_video(data / "testvideos/torchcodec/nasa_13013_rotated.mp4", reader=reader) as video:
        image = next(iter(video)).image
        assert image.shape == (video.info.height, video.info.width, 3)
        assert video.info.height > video.info.width


@both
def test_window(make_video: MakeVideo, reader: str) -> None:
    """start, stop and stride select frames, which keep their own times and are counted from the start."""
    path = make_video()
    with open_video(path, start=0.2, stop=0.6, stride=3, reader=reader) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([0.2, 0.32, 0.44, 0.56], abs=1e-5)
    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    for frame, number in zip(frames, (5, 8, 11, 14), strict=True):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 12
    with open_video(path, stride=7, reader=reader) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 0.28, 0.56], abs=1e-5)
    with open_video(path, start=99, reader=reader) as video:
        assert list(video) == []


@both
@pytest.mark.parametrize(
    "window",
    [{"start": -1}, {"start": float("nan")}, {"start": 2, "stop": 1}, {"start": 1, "stop": 1}, {"stride": 0}],
)
def test_impossible_windows(make_video: MakeVideo, reader: str, window: dict) -> None:
    """An impossible window is refused in one line."""
    with pytest.raises(UsageError) as error:
        open_video(make_video(), reader=reader, **window)
    one_line(error)


@both
def test_early_stop_and_close(make_video: MakeVideo, reader: str) -> None:
    """Reading may stop anywhere; closing twice is harmless, and a closed reader yields no more frames."""
    video = open_video(make_video(), reader=reader)
    frames = iter(video)
    first = [next(frames) for _ in range(3)]
    video.close()
    video.close()
    assert len(list(frames)) < 17  # frames decoded before may still come; nothing crashes
    assert list(video) == []
    assert first[2].image.shape == (48, 64, 3)


@both
def test_close_from_another_thread(make_video: MakeVideo, reader: str) -> None:
    """Closing a reader while another thread reads ends the reading without a crash."""
    path = make_video(pts=range(0, 200 * 512, 512))
    for _ in range(5):
        video = open_video(path, reader=reader)
        with Prefetcher(video, 4) as frames:
            taken = list(islice(frames, 3))
            video.close()
            rest = list(frames)
        assert len(taken) == 3 and len(rest) < 197


@both
@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_no_video(tmp_path: Path, reader: str, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A missing file, a folder and a text file are refused in one line that names them."""
    path = tmp_path / "clip.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    with pytest.raises(SourceError) as error:
        open_video(path, reader=reader)
    message = one_line(error)
    assert "clip.mp4" in message
    assert {"missing": "no such file", "folder": "is a folder", "text": "cannot be opened"}[kind] in message
    if reader == "av":  # the first user of OpenCV's FFmpeg may have enabled its messages
        assert capfd.readouterr() == ("", "")


def test_sound_only(tmp_path: Path) -> None:
    """A file with only sound is refused in one line that names what it contains."""
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.pts = 16000, 0
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError) as error:
        open_video(path)
    assert "no video" in one_line(error) and "audio" in one_line(error)


@both
def test_cut_short_before_its_index(make_video: MakeVideo, reader: str) -> None:
    """An MP4 that was cut off before its index is refused in one line."""
    path = make_video()
    path.write_bytes(path.read_bytes()[:-2500])
    with pytest.raises(SourceError) as error:
        open_video(path, reader=reader)
    assert "clip.mp4" in one_line(error)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts"])
def test_cut_in_the_middle(make_video: MakeVideo, name: str) -> None:
    """A file that was cut off in the middle yields the frames before the cut, without an exception."""
    path = make_video(name, pts=range(0, 100 * 512, 512), size=(128, 96))
    with open_video(path) as video:
        whole = [frame.time for frame in video]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as video:
        part = [frame.time for frame in video]
    assert 10 < len(part) < 90
    assert set(part) <= set(whole) and part == sorted(part)
    assert part[:-3] == whole[: len(part) - 3]  # in the last group some pictures lack their neighbours


@pytest.mark.parametrize("name", ["tagged.mp4", "tagged.mkv"])
def test_tags_in_another_encoding(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    """A file whose tags are not UTF-8 is read like any other, with its sound."""
    path = tmp_path / name
    with av.open(str(make_video(sound=True))) as plain, av.open(str(path), "w") as tagged:
        tagged.metadata["title"] = "Cafe del Mar"
        copied = [tagged.add_stream_from_template(stream) for stream in plain.streams]
        for packet in plain.demux():
            if packet.dts is not None:
                packet.stream = copied[packet.stream_index]
                tagged.mux(packet)
    content = path.read_bytes()
    assert b"Cafe" in content
    path.write_bytes(content.replace(b"Cafe", "Café".encode("latin-1")))
    with open_video(path) as video:
        assert len(list(video)) == 20
        sound = video.side_tracks()
        assert sound is not None and list(sound.packets_until(Fraction(9)))
        sound.close()


def test_unknown_reader(make_video: MakeVideo) -> None:
    """An unknown reader and a reader that does not support the source are refused in one line."""
    for source, reader in ((make_video(), "ffmpeg"), (0, "av")):
        with pytest.raises(UsageError) as error:
            open_video(source, reader=reader)
        one_line(error)


def test_a_url_and_its_password() -> None:
    """A URL's password is shown neither in its public name nor in an error."""
    for url, shown in (
        ("rtsp://user:pa55@cam.example:554/live?token=pa55", "rtsp://cam.example:554/live"),
        ("https://user:p@pa55@host/clip.mp4#pa55", "https://host/clip.mp4"),
        ("/videos/clip.mp4", "clip.mp4"),
    ):
        assert public_name(url) == shown
    url = "http://user:{0}@127.0.0.1:9/clip.mp4?key={0}".format(
        "pa55"
    )  # the password is not in a source line that a traceback shows
    with pytest.raises(SourceError) as error:
        open_video(url)
    assert "pa55" not in one_line(error)
    assert "pa55" not in "".join(traceback.format_exception(error.value))
    with pytest.raises(UsageError) as refused:
        open_video("http://user:pa55@127.0.0.1:9/clip.mp4", reader="opencv")
    assert "pa55" not in one_line(refused)


def test_time_stamps_are_the_files_own() -> None:
    """A missing time stamp becomes the dts or the next frame's time; one that repeats or steps back is kept."""
    stamps = Timestamps(Fraction(25), TICK, by_dts=False)
    assert stamps.resolve(1000, 900, 0) == 1000
    assert stamps.resolve(None, 1100, 0) == 1100  # no pts: the dts
    assert stamps.resolve(None, None, 0) == 1100 + 512  # neither: one frame later, by the rate
    assert stamps.resolve(None, None, 100) == 1612 + 100  # ... by the packet's duration
    assert stamps.resolve(1712, 600, 100) == 1712  # repeated
    assert stamps.resolve(500, 600, 100) == 500  # a step back: the Session decides
    assert stamps.resolve(5000, 0, 0) == 5000
    assert Timestamps(None, TICK, by_dts=False).resolve(None, None, 0) == 0
    by_dts = Timestamps(Fraction(25), TICK, by_dts=True)
    assert [by_dts.resolve(pts, dts, 0) for pts, dts in ((3, 0), (1, 1), (2, None))] == [0, 1, 513]


def test_arrays_in_one_buffer() -> None:
    """A buffer that its owner reuses yields each picture as it was when it was given."""

    def refilled() -> Iterator[tuple[float, np.ndarray]]:
        buffer = np.zeros((4, 4, 3), np.uint8)
        for i in range(6):
            buffer[:] = i
            yield i * 0.04, buffer

    assert [int(frame.image[0, 0, 0]) for frame in list(ArrayReader(refilled()))] == list(range(6))


def test_arrays_with_their_times() -> None:
    """Pairs of seconds and pictures become frames at those times."""
    times = [0.0, 0.04, 0.5, 2.25]
    reader = ArrayReader([(t, picture(i)) for i, t in enumerate(times)])
    assert (reader.info.width, reader.info.height) == (64, 48)
    frames = list(reader)
    assert [frame.time for frame in frames] == times
    assert all((frame.image == picture(i)).all() for i, frame in enumerate(frames))


def test_arrays_at_a_rate() -> None:
    """Pictures at a constant rate are exactly one frame apart, also at 30000/1001."""
    rate = Fraction(30000, 1001)
    frames = list(ArrayReader((picture(i) for i in range(5)), rate=rate))
    assert [frame.pts * frame.time_base for frame in frames] == [i / rate for i in range(5)]
    with open_array(rate=25, window=ReadWindow(start=0.08, stop=0.2, stride=2)) as reader:
        assert [(frame.index, frame.time) for frame in reader] == [(0, 0.08), (2, 0.16)]


def open_array(**options) -> ArrayReader:
    return ArrayReader([picture(i) for i in range(10)], **options)


def test_arrays_of_opencv() -> None:
    """BGR arrays give the same frames as the same pictures in RGB."""
    plain = list(open_array(rate=25))
    reversed_ = list(ArrayReader([picture(i)[..., ::-1] for i in range(10)], rate=25, color="bgr"))
    assert all((a.image == b.image).all() for a, b in zip(plain, reversed_, strict=True))


@pytest.mark.parametrize(
    ("items", "options"),
    [
        ([picture(0)], {}),  # no times
        ([(0.0, picture(0).astype(np.float32))], {}),
        ([(0.0, picture(0)[..., 0])], {}),
        ([(0.0, picture(0).tolist())], {}),
        ([(float("nan"), picture(0))], {}),
        ([picture(0)[..., :2]], {"rate": 25}),
        ([picture(0)], {"rate": 0}),
        ([picture(0)], {"rate": 25, "color": "yuv"}),
    ],
)
def test_arrays_refused(items: list, options: dict) -> None:
    """An item that is not a picture or has no time is refused in one line."""
    with pytest.raises(UsageError) as error:
        ArrayReader(items, **options)
    assert len(one_line(error)) < 200


def test_no_arrays() -> None:
    """An empty iterable is refused as a source."""
    with pytest.raises(SourceError) as error:
        ArrayReader([])
    one_line(error)


def test_a_wrong_array_in_the_middle() -> None:
    """A wrong picture raises its error after the valid pictures before it."""
    frames = iter(ArrayReader([picture(0), picture(1), None], rate=25))
    assert len(list(islice(frames, 2))) == 2
    with pytest.raises(UsageError, match="picture 2 is NoneType"):
        next(frames)


def test_arrays_are_taken_as_they_come() -> None:
    """A generator is consumed lazily; opening the reader takes one picture, to know the size."""
    given: list[int] = []

    def pictures() -> Iterator[np.ndarray]:
        for i in count():
            given.append(i)
            yield picture(i)

    reader = ArrayReader(pictures(), rate=25)
    assert given == [0]
    assert len(list(islice(reader, 4))) == 4
    assert len(given) <= 4
    reader.close()
    reader.close()
    assert list(reader) == []


def test_prefetching_is_bounded() -> None:
    """The thread reads ahead until its queue is full and it holds one more item, and no further."""
    given: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            given.append(i)
            yield i

    with Prefetcher(items(), 4) as prefetcher:
        assert prefetch_threads() == 1
        for taken, item in enumerate(prefetcher, start=1):
            assert item == taken - 1
            deadline = time.monotonic() + 60
            while len(given) < min(50, taken + 5):
                assert time.monotonic() < deadline, "the thread does not read ahead"
                time.sleep(0.001)
            assert len(given) == min(50, taken + 5)
        assert taken == 50
    assert prefetch_threads() == 0


def test_prefetching_in_bursts() -> None:
    """A waiting consumer is woken when a burst is complete, or at the end; all items arrive, in order."""
    begin, more, handed = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        assert begin.wait(10)
        yield from range(3)
        assert more.wait(10)
        yield from range(3, 101)

    def take() -> list[int]:
        rest = iter(prefetcher)
        found = [next(rest)]
        handed.set()
        return [*found, *rest]

    with ThreadPoolExecutor(1) as pool, Prefetcher(items(), 8, burst=4) as prefetcher:
        found = pool.submit(take)
        assert not handed.wait(0.2)
        begin.set()
        assert not handed.wait(0.2)  # three of four
        more.set()
        assert found.result(10) == list(range(101))
    assert prefetch_threads() == 0


def test_prefetching_raises_an_error_in_its_place() -> None:
    """An error of the producer is raised in the consumer after the items before it, and the thread ends."""

    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broken off")

    taken = []
    with pytest.raises(ValueError, match="broken off"), Prefetcher(items(), 2) as prefetcher:
        for item in prefetcher:
            taken.append(item)  # noqa: PERF402
    assert taken == list(range(5))
    assert prefetch_threads() == 0


def test_leaving_prefetching_early() -> None:
    """Leaving early, by break or by an exception, joins the thread, even while it waits for room."""
    with Prefetcher(count(), 3) as prefetcher:
        for item in prefetcher:
            if item == 7:
                break
    assert prefetch_threads() == 0
    with pytest.raises(KeyError), Prefetcher(count(), 3) as prefetcher:
        next(iter(prefetcher))
        raise KeyError
    assert prefetch_threads() == 0


class Camera:
    """Replaces cv2.VideoCapture: a camera with `frames` pictures that is then unplugged."""

    frames = 5
    last: "Camera"

    def __init__(self, source: int) -> None:
        self.read_so_far, self.released = 0, 0
        Camera.last = self

    def isOpened(self) -> bool:  # noqa: N802
        return self.frames >= 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.read_so_far += 1
        return (True, picture(self.read_so_far - 1)[..., ::-1]) if self.read_so_far <= self.frames else (False, None)

    def get(self, what: int) -> float:
        return 30.0 if what == cv2.CAP_PROP_FPS else -1.0

    def getBackendName(self) -> str:  # noqa: N802
        return "V4L2"

    def release(self) -> None:
        self.released += 1


def test_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of a camera's frames are the clock at their capture; a camera that stops is reported in one line."""
    clock = iter([10.0, 10.25, 10.5, 11.5, 11.625, 11.75])
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(opencv_reader, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with open_video("0", live=LiveOptions(reconnect=0)) as camera:
        assert camera.info.live and camera.info.duration is None and camera.info.num_frames_from_header is None
        taken = []
        with pytest.raises(SourceError) as error:
            for frame in camera:
                taken.append(frame)  # noqa: PERF402
    assert "camera 0" in one_line(error)
    assert [frame.time for frame in taken] == [0, 0.25, 0.5, 1.5, 1.625]
    assert all((frame.image == picture(i)).all() for i, frame in enumerate(taken))
    assert Camera.last.released


@pytest.mark.parametrize("frames", [-1, 0])
def test_no_camera(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """A camera that cannot be opened or delivers nothing is reported in one line."""
    monkeypatch.setattr(Camera, "frames", frames)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(SourceError) as error:
        open_video(0)
    assert "camera 0" in one_line(error)


def test_a_camera_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    """A missing camera is reported only by the error; OpenCV prints nothing of its own."""
    with pytest.raises(SourceError, match="camera 9876"):
        open_video(9876)
    assert capfd.readouterr() == ("", "")


def test_a_file_url(make_video: MakeVideo) -> None:
    """A file:// URL is read like the file, with its sound."""
    path = make_video("a clip.mp4", sound=True)
    with open_video(path.as_uri()) as video:
        assert len(list(video)) == 20 and not video.info.live
        sound = video.side_tracks()
        assert sound is not None and list(sound.packets_until(9.0))
        sound.close()


def test_a_name_of_digits(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of digits is a camera, unless a file of that name exists."""
    make_video().rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    with open_video("7") as video:
        assert not video.info.live and len(list(video)) == 20


def test_arrays_have_no_side_tracks() -> None:
    """A source without sound and subtitles has no side tracks."""
    assert VideoReader.side_tracks(open_array(rate=25)) is None
