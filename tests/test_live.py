"""Live sources: frames that arrive too fast are dropped and counted; lost sources are reopened, with true gaps."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count, islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import picture
from live import photographs, segment, station

from liquidvision import LiveOptions, Model, Prediction, Session, infer, open_video, predict
from liquidvision.concurrency import prefetch
from liquidvision.concurrency.counts import SourceCounts
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference import pipeline
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read import av_reader
from liquidvision.video.read import live as live_module
from liquidvision.video.read.live import LiveReader
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader

MILLISECOND = Fraction(1, 1000)
PATIENCE = 60.0  # seconds that a test waits for another thread before it fails


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another thread has made a condition true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "FIRST_RETRY_DELAY", 0.02)


class Feed(VideoReader):
    """A source with frames at `times`, in ticks, that breaks off or ends after them."""

    def __init__(self, times: list[int], *, breaks: bool = True, base: Fraction = MILLISECOND, side: int = 48) -> None:
        super().__init__(ReadWindow())
        self.times, self.breaks, self.base, self.closed = times, breaks, base, 0
        self.image = np.full((side, side, 3), 90, np.uint8)
        self.info = VideoInfo("feed", side, side, live=True)

    def pictures(self) -> Iterator[DecodedPicture]:
        for pts in self.times:
            yield DecodedPicture(pts, self.base, None, lambda: self.image)
        if self.breaks:
            raise SourceError("the feed broke off")

    def close(self) -> None:
        self.closed += 1


def connect_to(*feeds: Feed | SourceError) -> Callable[[], VideoReader]:
    """Return a function whose calls return the feeds in turn; errors are raised."""
    rest = iter(feeds)

    def connect() -> VideoReader:
        following = next(rest, SourceError("nobody answers"))
        if isinstance(following, SourceError):
            raise following
        return following

    return connect


def test_times_continue_by_the_seconds_that_passed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage times continue by its true length, whatever the source's new clock shows."""
    first = Feed([100, 140, 180])
    second = Feed([9_000_000, 9_000_040], base=MILLISECOND / 1000, breaks=False)
    connect = connect_to(SourceError("not yet"), second)
    now = 50.0
    monkeypatch.setattr(live_module, "time", SimpleNamespace(monotonic=lambda: now))

    def connect_slowly() -> VideoReader:
        nonlocal now
        now += 1.25
        return connect()

    with caplog.at_level(logging.WARNING):
        reader = LiveReader(first, connect_slowly, ReadWindow(), LiveOptions(reconnect=3))
        pts = [frame.pts for frame in reader]
    # Two attempts of 1.25 s each; the last frame follows after 40 µs, less than a tick.
    assert pts == [100, 140, 180, 2680, 2680]
    assert reader.counts.reconnects == 1
    assert first.closed and second.closed
    assert "trying again" in caplog.text and "is back after 2.5 s" in caplog.text


def test_attempts_are_counted_from_the_last_picture() -> None:
    """The error is raised after `reconnect` failed attempts in a row; a picture in between resets the count."""
    bad = SourceError("nobody answers")
    feeds = [Feed([10 * n, 10 * n + 5]) for n in range(4)]
    connect = connect_to(bad, bad, feeds[1], bad, bad, feeds[2], bad, bad, feeds[3], bad, bad, bad, feeds[0])
    reader = LiveReader(feeds[0], connect, ReadWindow(), LiveOptions(reconnect=3))
    seen = []
    with pytest.raises(SourceError, match="broke off"):
        for frame in reader:
            seen.append(frame.pts)  # noqa: PERF401
    assert len(seen) == 8 and reader.counts.reconnects == 3
    assert all(a < b for a, b in pairwise(seen))


def test_without_attempts_a_loss_is_raised_and_an_end_is_an_end() -> None:
    """With reconnect 0 the error of a lost source is raised at once, and a source that ended has ended."""
    with pytest.raises(SourceError):
        list(LiveReader(Feed([1]), connect_to(Feed([2])), ReadWindow(), LiveOptions(reconnect=0)))
    reader = LiveReader(Feed([1, 2], breaks=False), connect_to(Feed([2])), ReadWindow(), LiveOptions(reconnect=0))
    assert [frame.pts for frame in reader] == [1, 2]


def test_closing_ends_the_wait_for_a_lost_source(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing a reader ends its wait for the next attempt; it does not wait for the rest of the delay."""
    monkeypatch.setattr(live_module, "FIRST_RETRY_DELAY", 86_400.0)  # the test's time limit ends a wait for it
    monkeypatch.setattr(live_module, "MAX_RETRY_DELAY", 86_400.0)
    reader = LiveReader(Feed([1]), connect_to(), ReadWindow(), LiveOptions(reconnect=None))
    with caplog.at_level(logging.WARNING), Prefetcher(reader, 2) as frames:
        rest = iter(frames)
        assert next(rest).pts == 1
        wait_until(lambda: "trying again" in caplog.text)
        reader.close()
        with pytest.raises(SourceError, match="broke off"):
            next(rest)


@pytest.mark.parametrize(
    ("policy", "max_staleness", "expected", "dropped", "stale"),
    [
        ("wait", None, [*range(60)], 0, 0),
        ("drop-oldest", None, [0, 56, 57, 58, 59], 55, 0),
        ("drop-oldest", 0.5, [0], 55, 4),
        ("latest", None, [0, 59], 58, 0),
    ],
)
def test_policies_with_a_slow_consumer(
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    max_staleness: float | None,
    expected: list[int],
    dropped: int,
    stale: int,
) -> None:
    """A consumer that stops for a second gets all items, the last ones, or the newest one, and all others are counted.

    Items that have waited longer than `max_staleness` are dropped, too.
    """
    now = 0.0
    monkeypatch.setattr(prefetch, "time", SimpleNamespace(monotonic=lambda: now))
    stopped, all_read = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert stopped.wait(PATIENCE)
        yield from range(1, 60)
        all_read.set()

    counts = SourceCounts()
    with Prefetcher(items(), 4, policy=policy, max_staleness=max_staleness, counts=counts) as prefetcher:
        rest = iter(prefetcher)
        taken = [next(rest)]
        stopped.set()
        if policy != "wait":  # under "wait" the thread waits for the consumer
            assert all_read.wait(PATIENCE)
        now = 1.0
        taken += rest
    assert taken == expected
    assert (counts.dropped, counts.stale) == (dropped, stale)


@pytest.mark.parametrize(
    "options", [{"policy": "newest"}, {"max_staleness": 0.0}, {"reconnect": -1}, {"timeout": 0.0}], ids=str
)
def test_invalid_options(options: dict) -> None:
    """An unknown policy or a number out of range is refused in one line."""
    with pytest.raises(UsageError) as error:
        LiveOptions(**options)
    assert "\n" not in str(error.value)


def test_a_stream_that_vanishes_comes_back_and_changes_its_size(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HTTP stream is lost twice and returns in another size: the output is one video with two gaps and no loss."""
    monkeypatch.setattr(pipeline, "LIVE_DEPTH", 1000)  # so that reading goes on while a frame's callback waits
    out = tmp_path / "out.mp4"
    with station() as server, caplog.at_level(logging.WARNING):
        server.pieces = segment(200, (64, 48))
        reader = open_video(server.url, live=LiveOptions(policy="wait", reconnect=200, timeout=5))
        assert reader.info.live and "pa55" not in reader.info.name
        session = Session(model, max_gap=0.25)
        times: list[float] = []

        def seen(prediction: Prediction) -> None:
            times.append(prediction.time)
            if len(times) in (20, 50):
                server.pieces, requests = segment(200, (96, 64), first=40), server.requests
                server.hang_up()
                wait_until(lambda: server.requests > requests)  # the reader has noticed
                time.sleep(0.4)  # the gap is at least this long
                server.on = True

        summary = infer(reader, model, video=out, session=session, max_frames=120, on_frame=seen)
    assert summary.frames == 120 and summary.reconnects == 2 == summary.gaps
    assert summary.dropped == summary.stale == 0
    steps = np.diff(times)
    gaps = steps > 0.25
    assert gaps.sum() == 2
    assert steps[~gaps] == pytest.approx(0.04, abs=0.001)
    assert "pa55" not in caplog.text and "127.0.0.1" in caplog.text
    with open_video(out) as written:
        frames = [(frame.time, frame.image.shape[:2]) for frame in written]
    assert {shape for _, shape in frames} == {(48, 64)}
    assert [time for time, _ in frames] == pytest.approx([time - times[0] for time in times], abs=0.002)


def test_a_stream_that_falls_silent_is_lost(model: Model) -> None:
    """A stream that sends nothing for `timeout` seconds counts as lost, after the frames that it has sent."""
    with station() as server:
        server.pieces, server.silent = segment(30, (64, 48)), True
        reader = open_video(server.url, live=LiveOptions(policy="wait", reconnect=0, timeout=3.0))
        frames = 0
        with pytest.raises(SourceError, match="no data arrived in time"):
            for _ in predict(reader, model):
                frames += 1
    assert 28 <= frames <= 30  # the container ends a packet with the beginning of the next one


def test_pictures_without_times_carry_their_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a camera that sends JPEG pictures without times get the local time of arrival, not an assumed rate."""
    clock = count()
    monkeypatch.setattr(av_reader, "time", SimpleNamespace(monotonic=lambda: next(clock) * 0.125))
    with station() as server:
        server.pieces, server.kind = photographs(30, (64, 48)), "multipart/x-mixed-replace; boundary=cut"
        with open_video(server.url, live=LiveOptions(reconnect=0)) as video:
            assert video.info.live and video.info.codec == "mjpeg"
            times = [frame.time for frame in islice(video, 25)]
    assert times == [0.125 * (number + 1) for number in range(25)]


@pytest.mark.parametrize("left_out", ["boundary", "header", "end of a picture", "all headers"])
def test_jpegs_without_a_first_boundary(left_out: str) -> None:
    """Pictures of a camera whose multipart stream does not begin with a boundary line are read, too."""
    parts = photographs(30, (64, 48))
    header, body = parts[0].split(b"\r\n\r\n", 1)
    first = {"boundary": header.removeprefix(b"--cut\r\n") + b"\r\n\r\n" + body, "end of a picture": body[-200:]}
    with station() as server:
        server.pieces = [first.get(left_out, body), *parts[1:]]
        if left_out == "all headers":
            server.pieces = [part.split(b"\r\n\r\n", 1)[1] for part in parts]
        server.kind, server.pace = "multipart/x-mixed-replace; boundary=cut", 0.01
        with open_video(server.url, live=LiveOptions(reconnect=0)) as video:
            assert video.info.live and video.info.codec == "mjpeg"
            frames = list(islice(video, 20))
    skipped = 1 if left_out == "end of a picture" else 0
    for number, frame in enumerate(frames, start=skipped):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 12


def test_no_video_over_http() -> None:
    """A page that is no video is refused in one line, without the URL's password."""
    with station() as server:
        server.pieces, server.kind, server.pace = [b"<html>no camera here</html>" * 400], "text/html", 0
        with pytest.raises(SourceError, match="cannot be opened as video") as error:
            open_video(server.url, live=LiveOptions(reconnect=0, timeout=3))
    assert "\n" not in str(error.value) and "pa55" not in str(error.value)


def test_a_growing_file_is_followed(make_video, tmp_path: Path) -> None:
    """A followed file is read to its end, then as it grows, until it has not grown for `timeout` seconds."""
    whole = make_video("whole.ts", pts=range(0, 40 * 512, 512)).read_bytes()
    path, half = tmp_path / "growing.ts", len(whole) * 3 // 4
    path.write_bytes(whole[:half])
    with open_video(path) as now:
        there = sum(1 for _ in now)
    assert 0 < there < 40
    with open_video(path, follow=True, live=LiveOptions(timeout=1.0)) as growing:
        assert growing.info.live
        frames = iter(growing)
        taken = [next(frames).image.mean() for _ in range(there // 2)]
        with path.open("ab") as file:
            file.write(whole[half:])
        began = time.monotonic()
        taken += [frame.image.mean() for frame in frames]
        assert time.monotonic() - began > 0.9  # it has waited for more
    assert taken == pytest.approx([picture(i).mean() for i in range(40)], abs=6)


def test_only_files_are_followed() -> None:
    """Following a camera, a URL or a file read with OpenCV is refused in one line."""
    for source, reader in (("0", "auto"), ("http://127.0.0.1:9/x.ts", "auto"), ("clip.mp4", "opencv")):
        with pytest.raises(UsageError, match="followed"):
            open_video(source, reader=reader, follow=True)
