"""The thread that writes a video behind its maker."""

import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from liquidvision import Frame, Model, Overlay, infer, open_video
from liquidvision.concurrency import write_behind as behind_module
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SinkError, SourceError
from liquidvision.prediction import Prediction
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.sink import VideoSink
from liquidvision.workflows import infer_source


class Slow(VideoSink):
    """Remembers what it was given, and fails at a frame if asked to."""

    def __init__(self, fails: int | None = None, seconds: float = 0.0) -> None:
        self.written: list[int] = []
        self._fails, self._seconds = fails, seconds

    def write(self, frame: Frame) -> None:
        time.sleep(self._seconds)
        if frame.index == self._fails:
            raise SinkError("the disk is full")
        self.written.append(frame.index)

    def _finish(self) -> None:
        return

    def _release(self) -> None:
        return


def frames(count: int) -> list[Frame]:
    return [Frame(np.zeros((4, 4, 3), np.uint8), i, i, Fraction(1, 25)) for i in range(count)]


def written(sink: Slow, expected: list[int]) -> list[int]:
    """What was written after a moment, or as soon as it is what was expected."""
    until = time.monotonic() + (5.0 if expected else 0.3)
    while time.monotonic() < until and (sink.written != expected or not expected):
        time.sleep(0.01)
    return list(sink.written)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The thread ends with its context, whatever happened in it."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "liquidvision-write"]


def test_everything_is_written_in_order() -> None:
    """What was given is written, in its order, when flushed; and what waits is written at the end."""
    sink = Slow(seconds=0.001)
    with WriteBehind(sink.write, 6, 3) as behind:
        for frame in frames(40):
            behind.write(frame)
        behind.flush()
        assert sink.written == list(range(40))
        behind.write(frames(41)[40])
    assert sink.written == list(range(41))


def test_few_frames_wait() -> None:
    """A maker that is quicker than the sink waits for it: the queue is bounded."""
    sink = Slow(seconds=0.01)
    with WriteBehind(sink.write, 6, 3) as behind:
        for frame in frames(30):
            behind.write(frame)
            assert frame.index - len(sink.written) <= 6 + 1


def test_files_are_written_in_bursts_and_streams_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file frames wait until there are some of them, of a stream none waits for another."""
    monkeypatch.setattr(behind_module, "MAX_BURST_WAIT_SECONDS", 60.0)
    for burst, early in ((1, [0, 1]), (3, [])):
        sink = Slow()
        with WriteBehind(sink.write, 6, burst) as behind:
            for frame in frames(2):
                behind.write(frame)
            assert written(sink, early) == early
        assert sink.written == [0, 1]


def test_no_frame_waits_long_for_others() -> None:
    """Where frames come slowly they are written one by one: after a crash few are lost."""
    sink = Slow()
    with WriteBehind(sink.write, 16, 8) as behind:
        behind.write(frames(1)[0])
        assert written(sink, [0]) == [0]


@pytest.mark.parametrize("live", [True, False])
def test_large_pictures_have_less_room(live: bool) -> None:
    """So many frames may wait as memory allows, and never fewer than two; no burst is larger than the room."""
    small, large, huge = (queue_limits(3 * side * side // 2, live=live) for side in (640, 4096, 20000))
    assert small[0] > large[0] >= huge[0] == 2
    assert all(1 <= burst <= room for room, burst in (small, large, huge))
    assert not live or small[1] == large[1] == huge[1] == 1


def test_a_failure_is_raised_in_the_maker() -> None:
    """The sink's error comes out of the next write, and nothing is written after it."""
    sink = Slow(fails=3)

    def write() -> None:
        with WriteBehind(sink.write, 6, 3) as behind:
            for frame in frames(100):
                behind.write(frame)

    with pytest.raises(SinkError, match="full"):
        write()
    assert sink.written == [0, 1, 2]
    with WriteBehind(Slow(fails=0).write, 6, 3) as behind:
        behind.write(frames(1)[0])
        with pytest.raises(SinkError, match="full"):
            behind.flush()


@pytest.mark.parametrize(("error", "kept"), [(SourceError("gone"), True), (KeyboardInterrupt(), False)])
def test_what_ends_the_maker(error: BaseException, kept: bool) -> None:
    """Where the source broke off, what waits is still written; where all is to be thrown away, it is not."""
    sink = Slow(seconds=0.02)

    def write() -> None:
        with WriteBehind(sink.write, 6, 3) as behind:
            for frame in frames(5):
                behind.write(frame)
            raise error

    with pytest.raises(type(error)):
        write()
    assert (sink.written == [0, 1, 2, 3, 4]) == kept


@pytest.mark.parametrize("cores", [1, 16])
def test_a_full_disk_in_the_middle(
    make_video, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """An encoder that fails ends `infer` with its one error, and what was written is kept, on any number of cores."""
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
    """On many cores another thread draws, and every picture is the same as on few; at an interrupt none is lost."""
    threads, pictures = set(), []
    draw = Overlay.annotate

    def drawn(self: Overlay, frame: Frame, prediction: Prediction) -> Frame:
        threads.add(threading.current_thread().name)
        return draw(self, frame, prediction)

    def stop(prediction: Prediction) -> None:
        if prediction.index == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Overlay, "annotate", drawn)
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
