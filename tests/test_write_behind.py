"""The thread that draws and encodes frames behind the thread that produces them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from liquidvision import Frame, Model, infer, open_video
from liquidvision.concurrency import write_behind
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SinkError, SourceError
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import StreamOverlay
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.sink import VideoSink
from liquidvision.workflows import infer_source


class Recorder(VideoSink):
    """Records the frames it is given; calls `before` with each, and fails at frame `fails`."""

    def __init__(self, fails: int | None = None, before: Callable[[Frame], object] = lambda _: None) -> None:
        self.written: list[int] = []
        self._fails, self._before = fails, before

    def write(self, frame: Frame) -> None:
        self._before(frame)
        if frame.index == self._fails:
            raise SinkError("the disk is full")
        self.written.append(frame.index)

    def _finish(self) -> None:
        return

    def _release(self) -> None:
        return


def frames(count: int) -> list[Frame]:
    return [Frame(np.zeros((4, 4, 3), np.uint8), i, i, Fraction(1, 25)) for i in range(count)]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another thread has made a condition true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The thread ends with its context, whatever happened in it."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "liquidvision-write"]


def test_everything_is_written_in_order() -> None:
    """`flush` waits until all frames are written, in order; leaving the context writes the rest."""
    sink = Recorder()
    with WriteBehind(sink.write, 6, 3) as behind:
        for frame in frames(40):
            behind.write(frame)
        behind.flush()
        assert sink.written == list(range(40))
        behind.write(frames(41)[40])
    assert sink.written == list(range(41))


def test_the_queue_is_bounded() -> None:
    """A producer that is faster than the sink waits for it, at most `capacity` frames and the one in work ahead."""
    go_on, given, ahead = threading.Event(), [], []

    def wait(_: Frame) -> None:
        assert go_on.wait(60)
        ahead.append(len(given) - len(sink.written))

    sink = Recorder(before=wait)

    def produce() -> None:
        for frame in frames(30):
            behind.write(frame)
            given.append(frame.index)

    with WriteBehind(sink.write, 6, 3) as behind, ThreadPoolExecutor(1) as pool:
        done = pool.submit(produce)
        wait_until(lambda: len(given) >= 6)
        time.sleep(0.2)  # time for a producer that does not wait to make this test fail
        assert len(given) in (6, 7)
        go_on.set()
        done.result(60)
    assert sink.written == list(range(30)) and max(ahead) in (6, 7)


def test_frames_of_a_live_source_are_written_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a burst of 1 no frame waits for another."""
    monkeypatch.setattr(write_behind, "MAX_BURST_WAIT_SECONDS", 86_400.0)
    sink = Recorder()
    with WriteBehind(sink.write, 6, 1) as behind:
        for frame in frames(3):
            behind.write(frame)
            wait_until(lambda frame=frame: sink.written == list(range(frame.index + 1)))


def test_frames_of_a_file_are_written_in_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a burst of 3 frames wait until there are three of them, or until the end."""
    monkeypatch.setattr(write_behind, "MAX_BURST_WAIT_SECONDS", 86_400.0)
    given: list[int] = []
    given_at_write: list[int] = []
    sink = Recorder(before=lambda _: given_at_write.append(len(given)))
    with WriteBehind(sink.write, 6, 3) as behind:
        for frame in frames(5):
            given.append(frame.index)
            behind.write(frame)
            if frame.index == 1:
                time.sleep(0.2)  # time for a thread that does not wait to make this test fail
                assert sink.written == []
            if frame.index == 2:
                wait_until(lambda: sink.written == [0, 1, 2])
        time.sleep(0.2)
        assert sink.written == [0, 1, 2]
    assert sink.written == [0, 1, 2, 3, 4]
    assert given_at_write == [3, 3, 3, 5, 5]


def test_no_frame_waits_long_for_others() -> None:
    """Frames that come slowly are written one by one, so that few are lost after a crash."""
    sink = Recorder()
    with WriteBehind(sink.write, 16, 8) as behind:
        behind.write(frames(1)[0])
        wait_until(lambda: sink.written == [0])


@pytest.mark.parametrize("live", [True, False])
def test_queues_of_large_pictures_are_short(live: bool) -> None:
    """The queue holds as many frames as memory allows, at least two; a burst is half of it, or 1 for live sources."""
    small, large, huge = (queue_limits(3 * side * side // 2, live=live) for side in (640, 4096, 20000))
    assert small[0] > large[0] >= huge[0] == 2
    assert [burst for _, burst in (small, large, huge)] == [
        1 if live else room // 2 for room, _ in (small, large, huge)
    ]


def test_a_failure_is_raised_in_the_producer() -> None:
    """The sink's error is raised by the next write or flush, and nothing is written after it."""
    sink = Recorder(fails=3)

    def write() -> None:
        with WriteBehind(sink.write, 6, 3) as behind:
            for frame in frames(100):
                behind.write(frame)

    with pytest.raises(SinkError, match="full"):
        write()
    assert sink.written == [0, 1, 2]
    with WriteBehind(Recorder(fails=0).write, 6, 3) as behind:
        behind.write(frames(1)[0])
        with pytest.raises(SinkError, match="full"):
            behind.flush()


@pytest.mark.parametrize(
    ("error", "expected"),
    [(SourceError("gone"), [0, 1, 2, 3, 4]), (KeyboardInterrupt(), [0])],
    ids=["kept", "discarded"],
)
def test_queued_frames_after_an_error(error: BaseException, expected: list[int]) -> None:
    """If the source broke off, queued frames are still written; if the output is discarded, they are not."""
    started = threading.Event()

    def wait(_: Frame) -> None:
        started.set()
        wait_until(lambda: behind._ended)  # so that every frame is written after the error

    sink = Recorder(before=wait)

    def write() -> None:
        with behind:
            for frame in frames(5):
                behind.write(frame)
            assert started.wait(60)
            raise error

    behind = WriteBehind(sink.write, 6, 3)
    with pytest.raises(type(error)):
        write()
    assert sink.written == expected


@pytest.mark.parametrize("cores", [1, 16])
def test_a_full_disk_in_the_middle(
    make_video, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """A failing encoder ends `infer` with its own error, and what was written is kept, on any number of cores."""
    write = AVVideoSink.write
    monkeypatch.setattr(infer_source, "available_cores", lambda: cores)

    def fails(self: AVVideoSink, frame: Frame) -> None:
        if frame.index == 12:
            raise self.sink_error(OSError(28, "No space left on device"))
        write(self, frame)

    monkeypatch.setattr(AVVideoSink, "write", fails)
    with pytest.raises(SinkError, match="No space left"):
        infer(make_video(pts=range(0, 60 * 512, 512)), model, video=tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.glob("out*")] == ["out.part.mp4"]


def test_many_cores_draw_the_same(make_video, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On many cores a thread of its own draws the same pictures as on few; an interrupt loses none of them."""
    threads, pictures = set(), []
    draw = StreamOverlay.annotate

    def drawn(self: StreamOverlay, frame: Frame, prediction: Prediction) -> Frame:
        threads.add(threading.current_thread().name)
        return draw(self, frame, prediction)

    def stop(prediction: Prediction) -> None:
        if prediction.index == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(StreamOverlay, "annotate", drawn)
    video = make_video(pts=range(0, 60 * 512, 512))
    for cores, name in ((1, "MainThread"), (16, "liquidvision-write")):
        monkeypatch.setattr(infer_source, "available_cores", lambda cores=cores: cores)
        out, stopped, folder = (tmp_path / f"{name}{kind}" for kind in (".mp4", "stopped.mp4", "frames"))
        infer(video, model, video=out, frames=FrameFolder(folder))
        infer(video, model, video=stopped, on_frame=stop)
        assert threads == {name}
        threads.clear()
        with open_video(stopped) as reader:
            assert len(list(reader)) == 21
        with open_video(out) as reader:
            pictures.append([frame.image for frame in reader])
        assert len(list(folder.iterdir())) == 60
    assert all(np.array_equal(one, other) for one, other in zip(*pictures, strict=True))
