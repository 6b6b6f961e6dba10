"""The viewer with a fake window: what it shows, how it plays, and what each key does."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from live import segment, station

from liquidvision import LiveOptions, Model, Prediction, Session, Summary, open_video
from liquidvision.errors import SinkError, SourceError
from liquidvision.rendering.window import ESCAPE, StatusLine
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read.playback import Playback
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader
from liquidvision.workflows.viewer import ALONE, BOTH, MEMORY, Viewer

TICKS = 512  # 1/25 s in ticks of 1/12800 s, as `make_video` takes them


class FakeWindow:
    """A fake window: presses keys after a given number of pictures, and records what was shown.

    Args:
        keys: by the number of pictures shown before, the key to press or the exception to raise.
        closed_at: the number of pictures after which it is closed.
    """

    def __init__(self, keys: Mapping[int, str | BaseException] | None = None, closed_at: int | None = None) -> None:
        self.keys, self.closed_at = dict(keys or {}), closed_at
        self.images: list[np.ndarray] = []
        self.statuses: list[StatusLine] = []

    @property
    def closed(self) -> bool:
        return self.closed_at is not None and len(self.images) >= self.closed_at

    def show(self, image: np.ndarray, status: StatusLine) -> None:
        self.images.append(image)
        self.statuses.append(status)

    def read_key(self, seconds: float) -> str:
        threading.Event().wait(seconds)
        number = min(self.keys, default=None)
        if number is None or len(self.images) < number:
            return ""
        key = self.keys.pop(number)
        if isinstance(key, BaseException):
            raise key
        return key


class RecordingSession(Session):
    """A session that keeps its predictions."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.predictions: list[Prediction] = []

    def push_embeddings(self, frames, embeddings, crop=None):
        predictions = super().push_embeddings(frames, embeddings, crop)
        self.predictions += predictions
        return predictions


Watch = Callable[..., Summary]


@pytest.fixture
def watch(model: Model, tmp_path: Path) -> Watch:
    """Plays a source in a fake window; recordings are tmp_path/rec0.mp4 and so on."""

    def watch(
        source: Path | str, window: FakeWindow, *, session: Session | None = None, live: LiveOptions | None = None
    ) -> Summary:
        paths = (tmp_path / f"rec{number}.mp4" for number in range(9))
        with open_video(source, live=live) as reader:
            summary = Viewer(reader, session or Session(model), window, lambda: next(paths)).run()
        assert "liquidvision-prefetch" not in {thread.name for thread in threading.enumerate()}
        return summary

    return watch


def test_a_file_plays_at_its_own_pace(watch: Watch, make_video) -> None:
    """A file plays at its own speed on any machine; each frame is shown or counted as dropped."""
    ticks = [*range(0, 10 * TICKS, TICKS), *range(10 * TICKS, 20 * TICKS, 2 * TICKS)]
    window = FakeWindow()
    summary = watch(make_video(pts=ticks), window)
    assert summary.wall_seconds >= 0.04 * 18
    assert summary.frames + summary.dropped == 15
    assert window.images[0].shape == (48, 64, 3)
    assert window.statuses[0] == StatusLine(MEMORY, "h: help") and not summary.outputs


def test_pausing_stops_a_file(watch: Watch, make_video) -> None:
    """While it is paused, no frame is lost and none is predicted; then it continues where it was."""
    window = FakeWindow({5: " ", 7: " "})
    summary = watch(make_video(), window)
    paused = [number for number, status in enumerate(window.statuses) if status.left.endswith("paused")]
    assert paused == [5, 6]  # at once, and again after a while
    assert np.array_equal(window.images[4], window.images[6])
    assert summary.wall_seconds >= 0.04 * 19 + 0.5
    assert summary.frames + summary.dropped == 20


def test_resetting_forgets(watch: Watch, make_video, model: Model) -> None:
    """After a reset, the predictions are those of a stream that begins there."""
    session, path = RecordingSession(model), make_video()
    watch(path, FakeWindow({6: "r"}), session=session)
    seen = [prediction.index for prediction in session.predictions]
    with open_video(path) as video:
        frames = [frame for frame in video if frame.index in seen]
    place = next(i for i, prediction in enumerate(session.predictions) if i and prediction.dt == model.first_dt)
    fresh = Session(model)
    for prediction, frame in zip(session.predictions[place:], frames[place:], strict=True):
        wanted = fresh.push(frame)
        assert prediction.dt == wanted.dt
        np.testing.assert_allclose(prediction.scores, wanted.scores, atol=1e-5)


def test_switching_to_each_frame_alone(watch: Watch, make_video) -> None:
    """c switches between the answer with memory, that of each frame alone, and both."""
    window = FakeWindow({4: "c", 8: "c", 12: "c"})
    watch(make_video(pts=range(0, 30 * TICKS, TICKS), size=(320, 240)), window)
    assert [status.left.split(" · ")[0] for status in window.statuses[3:15:4]] == [MEMORY, ALONE, BOTH]
    assert window.statuses[-1].left.startswith(f"{MEMORY} · ")
    before, after = window.images[3], window.images[4]
    assert not np.array_equal(before, after)  # the current frame is drawn again


def test_help_lists_the_keys(watch: Watch, make_video) -> None:
    """h shows and hides the list of keys over the picture."""
    window = FakeWindow({3: "h", 6: "?"})
    watch(make_video(), window)
    listed = [bool(status.keys) for status in window.statuses]
    assert listed[:7] == [False] * 3 + [True] * 3 + [False]
    assert {"space", "r", "c", "v", "h", "q"} == {key for key, _ in window.statuses[4].keys}


def test_recording(watch: Watch, make_video, tmp_path: Path, model: Model) -> None:
    """v records what is shown at the frames' own times, starting at 0; the next recording is another file."""
    session, window = RecordingSession(model), FakeWindow({3: "v", 9: "v", 12: "v"})
    summary = watch(make_video(), window, session=session)
    assert summary.outputs == [tmp_path / "rec0.mp4", tmp_path / "rec1.mp4"]
    times = [prediction.time for prediction in session.predictions]
    written = []
    for path in summary.outputs:
        with open_video(path) as video:
            written.append([frame.time for frame in video])
    parts = [times[i : i + len(written[0])] for i in range(len(times))]
    assert any(written[0] == pytest.approx([time - part[0] for time in part]) for part in parts)
    assert len(written[0]) >= 4 and len(written[1]) >= 1
    assert any(status.recording and status.right == "rec0.mp4 0:00" for status in window.statuses)
    assert any(status.right == "rec0.mp4 is saved · h: help" for status in window.statuses)


@pytest.mark.parametrize("end", ["q", ESCAPE, None, KeyboardInterrupt()], ids=["q", "Esc", "closed", "Ctrl-C"])
def test_the_end(watch: Watch, make_video, end: str | BaseException | None) -> None:
    """q, Esc, the window's own button and Ctrl-C end it at once, and finish the recording."""
    window = FakeWindow({1: "v"} if end is None else {1: "v", 6: end}, closed_at=6 if end is None else None)
    summary = watch(make_video(pts=range(0, 100 * TICKS, TICKS)), window)
    assert summary.frames < 50 and summary.interrupted == isinstance(end, KeyboardInterrupt)
    with open_video(summary.outputs[0]) as video:
        assert len(list(video)) == summary.frames - 1


def test_a_silent_stream_leaves_the_window_alive(watch: Watch) -> None:
    """While no frame comes, the window says so and its keys work."""
    with station() as server:
        server.pieces = segment(40, (64, 48))

        class SilencingWindow(FakeWindow):
            def show(self, image: np.ndarray, status: StatusLine) -> None:
                super().show(image, status)
                server.pace = 8.0 if len(self.images) > 5 else server.pace
                if "no picture for 2 s" in status.left:
                    self.keys[0] = "q"

        window = SilencingWindow()
        summary = watch(server.url, window, live=LiveOptions(reconnect=0, timeout=3.5))
    assert summary.frames < 40
    assert any("frames/s · delay" in status.left for status in window.statuses)
    assert "no picture for 2 s" in window.statuses[-1].left


def test_a_source_that_breaks_off(watch: Watch, tmp_path: Path) -> None:
    """When the source is lost, the recording is finished and the error is raised."""
    with station() as server, pytest.raises(SourceError):
        server.pieces = segment(30, (64, 48))
        watch(server.url, FakeWindow({2: "v"}), live=LiveOptions(reconnect=0, timeout=5.0))
        server.hang_up()
    with open_video(tmp_path / "rec0.mp4") as video:
        assert len(list(video)) > 2


def test_a_recording_that_cannot_be_written(watch: Watch, make_video, tmp_path: Path) -> None:
    """A recording that cannot be written ends the viewer with an error of one line."""
    (tmp_path / "rec0.mp4").mkdir()
    with pytest.raises(SinkError, match="folder") as error:
        watch(make_video(), FakeWindow({2: "v"}))
    assert "\n" not in str(error.value)


class Played(VideoReader):
    """A file with pictures at these milliseconds."""

    def __init__(self, *times: int) -> None:
        super().__init__(ReadWindow())
        self.times, self.info = times, VideoInfo("played", 48, 48)

    def pictures(self) -> Iterator[DecodedPicture]:
        for milliseconds in self.times:
            yield DecodedPicture(milliseconds, Fraction(1, 1000), None, lambda: np.zeros((48, 48, 3), np.uint8))

    def close(self) -> None:
        pass


def test_a_clock_that_runs_backwards_is_played_on() -> None:
    """After a jump back in time, pictures play at their own pace, neither at once nor after the length of the jump."""
    began = time.monotonic()
    with Playback(Played(3_600_000, 3_600_040, 0, 40, 80)) as play:
        assert len(list(play.pictures())) == 5
    assert 0.12 <= time.monotonic() - began < 60


@pytest.mark.parametrize("held", [False, True])
def test_a_closed_file_is_waited_for_no_more(held: bool) -> None:
    """Closing ends the wait for a picture that is not due yet, also while playback is paused."""
    play = Playback(Played(0, 3_600_000))
    pictures = play.pictures()
    next(pictures)
    play.set_paused(held)
    closer = threading.Timer(0.1, play.close)
    closer.start()
    assert not list(pictures)
    closer.join()
