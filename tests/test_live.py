"""Live sources: what comes too quickly is left out and counted; what vanishes is opened again, its gap on the clock."""

import logging
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from live import photographs, segment, station

from liquidvision import LiveOptions, Model, Prediction, Session, infer, open_video, predict
from liquidvision.concurrency.counts import SourceCounts
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SourceError, UsageError
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read import live as live_module
from liquidvision.video.read.live import LiveReader
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader

MILLISECOND = Fraction(1, 1000)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "FIRST_RETRY_DELAY", 0.02)


class Feed(VideoReader):
    """A source of `times` milliseconds that breaks off at its end, or just ends."""

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


def connect_to(*feeds: Feed | SourceError):
    """Gives one after the other; an error is raised in its turn."""
    rest = iter(feeds)

    def connect() -> VideoReader:
        following = next(rest, SourceError("nobody answers"))
        if isinstance(following, SourceError):
            raise following
        return following

    return connect


def test_times_go_on_by_the_seconds_that_passed(caplog: pytest.LogCaptureFixture) -> None:
    """After an outage the times go on by the outage's true length, whatever the source's new clock says."""
    first = Feed([100, 140, 180])
    second = Feed([9_000_000, 9_000_040], base=MILLISECOND / 1000, breaks=False)
    connect = connect_to(SourceError("not yet"), second)

    def slowly() -> VideoReader:
        time.sleep(0.1)
        return connect()

    with caplog.at_level(logging.WARNING):
        reader = LiveReader(first, slowly, ReadWindow(), LiveOptions(reconnect=3))
        frames = [(frame.pts, time.monotonic()) for frame in reader]
    pts = [at for at, _ in frames]
    assert pts[:3] == [100, 140, 180] and len(pts) == 5
    assert pts[3] - pts[2] == pytest.approx((frames[3][1] - frames[2][1]) * 1000, abs=20)
    assert pts[3] - pts[2] > 200
    assert pts[4] - pts[3] == 0  # 40 µs, less than a tick
    assert reader.counts.reconnects == 1
    assert first.closed and second.closed
    assert "trying again" in caplog.text and "is back after" in caplog.text


def test_tries_are_counted_from_the_last_picture() -> None:
    """So many tries in a row fail and the loss is raised; a picture in between begins the count anew."""
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


def test_without_tries_a_loss_is_raised_and_an_end_is_an_end() -> None:
    """With reconnect 0, what broke off is raised at once, and what ended has ended."""
    with pytest.raises(SourceError):
        list(LiveReader(Feed([1]), connect_to(Feed([2])), ReadWindow(), LiveOptions(reconnect=0)))
    reader = LiveReader(Feed([1, 2], breaks=False), connect_to(Feed([2])), ReadWindow(), LiveOptions(reconnect=0))
    assert [frame.pts for frame in reader] == [1, 2]


def test_closing_ends_the_waiting_for_a_lost_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waits to try again is closed at once, not after its delay."""
    monkeypatch.setattr(live_module, "FIRST_RETRY_DELAY", 60.0)
    reader = LiveReader(Feed([1]), connect_to(), ReadWindow(), LiveOptions(reconnect=None))
    began = time.monotonic()
    with Prefetcher(reader, 2) as frames:
        assert next(iter(frames)).pts == 1
        time.sleep(0.05)
        reader.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("policy", "stale"), [("wait", None), ("drop-oldest", None), ("latest", None), ("drop-oldest", 0.03)]
)
def test_counts_add_up_with_a_slow_consumer(policy: str, stale: float | None) -> None:
    """What is handed out and what is counted as left out are together what was read, in order, under each policy."""
    read = 60

    def items() -> Iterator[int]:
        for number in range(read):
            time.sleep(0.002)
            yield number

    counts, taken = SourceCounts(), []
    with Prefetcher(items(), 4, policy=policy, max_staleness=stale, counts=counts) as ahead:
        for item in ahead:
            taken.append(item)
            time.sleep(0.015)
    assert taken == sorted(set(taken))
    assert len(taken) + counts.dropped + counts.stale == read
    assert (counts.dropped == 0) == (policy == "wait")
    assert taken[-1] == read - 1 or stale
    assert bool(counts.stale) == bool(stale)


def test_latest_is_the_newest() -> None:
    """Under "latest" a slow consumer is handed what came last, not what waited."""

    def items() -> Iterator[int]:
        for number in range(100):
            yield number
            time.sleep(0.001)

    with Prefetcher(items(), 8, policy="latest") as ahead:
        first = next(iter(ahead))
        time.sleep(0.03)
        assert next(iter(ahead)) - first > 5


@pytest.mark.parametrize(
    "options", [{"policy": "newest"}, {"max_staleness": 0.0}, {"reconnect": -1}, {"timeout": 0.0}], ids=str
)
def test_settings_that_cannot_be(options: dict) -> None:
    """An unknown policy or an impossible number is refused in one line."""
    with pytest.raises(UsageError) as error:
        LiveOptions(**options)
    assert "\n" not in str(error.value)


def test_a_stream_that_vanishes_comes_back_and_changes_its_size(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A real HTTP stream hangs up twice and returns in another size: one video, every gap marked, nothing else lost."""
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
                server.pieces = segment(200, (96, 64), first=40)
                server.hang_up()
                time.sleep(0.4)
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
    """Where nothing comes for `timeout` seconds, the stream counts as lost, and that is told in one line."""
    with station() as server:
        server.pieces = segment(30, (64, 48))
        reader = open_video(server.url, live=LiveOptions(reconnect=0, timeout=0.4))
        began, count = time.monotonic(), 0
        with pytest.raises(SourceError, match="no data arrived in time"):
            for _ in predict(reader, model):
                count += 1
                server.pace = 20.0
        assert 5 <= count <= 30 and time.monotonic() - began < 10


def test_pictures_without_times_carry_their_arrival() -> None:
    """A camera that sends bare JPEG pictures is timed by the clock here, not by a rate that somebody made up."""
    with station() as server:
        server.pieces, server.kind, server.pace = (
            photographs(30, (64, 48)),
            "multipart/x-mixed-replace; boundary=cut",
            0.1,
        )
        with open_video(server.url, live=LiveOptions(reconnect=0)) as video:
            assert video.info.live and video.info.codec == "mjpeg"
            times = [frame.time for frame in islice(video, 25)]
    assert np.median(np.diff(times[5:])) == pytest.approx(0.1, abs=0.03)


def test_a_growing_file_is_followed(make_video, tmp_path: Path) -> None:
    """A file that is being written is read to what is there, then as it grows, until it has grown no more."""
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
        assert 0.5 < time.monotonic() - began < 8
    assert taken == pytest.approx([picture(i).mean() for i in range(40)], abs=6)


def test_only_files_are_followed() -> None:
    """A camera, a URL or OpenCV's reader cannot follow, which is told in one line."""
    for source, reader in (("0", "auto"), ("http://127.0.0.1:9/x.ts", "auto"), ("clip.mp4", "opencv")):
        with pytest.raises(UsageError, match="followed"):
            open_video(source, reader=reader, follow=True)
