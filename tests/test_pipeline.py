"""predict and infer: lazy reading, equal numbers for any batch, and no leftovers after errors and interrupts."""

import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import count, islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from conftest import build_model, picture, picture_frames

from liquidvision import ArrayReader, Frame, Model, Overlay, Prediction, RecordSink, Session, infer, open_video, predict
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.pipeline import FILE_BATCH
from liquidvision.video.frame import VideoInfo
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader

MakeVideo = Callable[..., Path]
TICK = Fraction(1, 12800)


@pytest.fixture(scope="module")
def model() -> Model:
    """Return the tiny model, with inputs and outputs scaled so that its labels change from picture to picture."""
    model = build_model()
    head = model.head
    with torch.inference_mode():
        xs = model.embed([picture(i) for i in range(20)])
        head.mean.copy_(xs.mean(0))
        head.inverse_std.copy_(1 / (xs.std(0) + 1e-3))
        out = head(xs[None], 0.1)
        for layer, logits in ((head.readout, out.logits[0]), (head.frame_readout, out.frame_logits[0])):
            scale = 3 / logits.std(0).mean()
            layer.bias.sub_(logits.mean(0)).mul_(scale)
            layer.weight.mul_(scale)
    return model


class Faulty(VideoReader):
    """A reader that yields `count` pictures and then raises SourceError."""

    def __init__(self, count: int) -> None:
        super().__init__(ReadWindow())
        self.info = VideoInfo("faulty", 64, 48, rate=Fraction(25))
        self.count, self.closed = count, 0

    def pictures(self) -> Iterator[DecodedPicture]:
        for i in range(self.count):
            yield DecodedPicture(i * 512, TICK, 512, lambda i=i: picture(i))
        raise SourceError("the cable was pulled")

    def close(self) -> None:
        self.closed += 1


class Whole(Faulty):
    """The same reader, but it ends without an error."""

    def pictures(self) -> Iterator[DecodedPicture]:
        for i in range(self.count):
            yield DecodedPicture(i * 512, TICK, 512, lambda i=i: picture(i))


def reading_threads() -> int:
    return sum(thread.name == "liquidvision-prefetch" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Check that no test of this file leaves a reading thread behind."""
    yield
    assert reading_threads() == 0


def scores(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.stack([np.concatenate([p.scores, p.frame_scores, p.time_constants]) for p in predictions])


def same(a: Sequence[Prediction], b: Sequence[Prediction]) -> None:
    assert len(a) == len(b)
    np.testing.assert_allclose(scores(a), scores(b), atol=1e-5, rtol=1e-5)


def times_of(path: Path) -> list[float]:
    with open_video(path) as video:
        return [frame.time for frame in video]


def test_predict_is_lazy_and_keeps_nothing(model: Model) -> None:
    """An endless source is predicted frame by frame, and frames that the user drops are freed."""
    kept: weakref.WeakValueDictionary = weakref.WeakValueDictionary()

    def frames() -> Iterator[Frame]:
        for i in count():
            image = picture(i % 9)
            kept[i] = image
            yield Frame(image, i, i, Fraction(1, 25))

    loop = predict(frames(), model)
    assert len(kept) == 0
    for frame, prediction in islice(loop, 20):
        assert frame.index == prediction.index and frame.time == prediction.time
    del frame
    gc.collect()
    assert len(kept) <= 2


def test_predict_reads_no_further_than_its_queue(model: Model) -> None:
    """At most one queue and one batch of frames are read ahead from a reader."""
    given: list[int] = []

    def pictures() -> Iterator[np.ndarray]:
        for i in range(200):
            given.append(i)
            yield picture(i % 9)

    loop = predict(ArrayReader(pictures(), rate=25), model, batch=2)
    next(loop)
    assert len(given) <= 10
    loop.close()


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_any_batch_gives_the_same(model: Model, make_video: MakeVideo, batch: int) -> None:
    """Predictions are equal for any batch, and for a Session that gets frame by frame."""
    path = make_video(pts=[i * 512 + (i % 3) * 100 for i in range(20)])
    session = Session(model)
    with open_video(path) as video:
        one_by_one = [session.push(frame) for frame in video]
    same([p for _, p in predict(path, model, batch=batch)], one_by_one)
    assert np.ptp(scores(one_by_one), axis=0).max() > 0.05  # the numbers do move


def test_a_batch_below_one_is_refused(model: Model, make_video: MakeVideo) -> None:
    """A batch or a number of frames below 1 raises UsageError."""
    with pytest.raises(UsageError, match="batch"):
        next(predict(make_video(), model, batch=0))
    with pytest.raises(UsageError, match="max_frames"):
        infer(make_video(), model, max_frames=0)


def test_early_stop(model: Model) -> None:
    """Closing the generator closes the source and ends the threads that read and embed."""
    reader = Whole(500)
    loop = predict(reader, model)
    for _ in range(3):
        next(loop)
    assert reading_threads() == 2
    loop.close()
    assert reader.closed and reading_threads() == 0


def test_break_and_a_raising_consumer(model: Model) -> None:
    """The source is closed and threads end when the user's loop breaks or raises."""
    reader = Whole(500)
    for _, prediction in predict(reader, model):
        if prediction.index == 5:
            break
    gc.collect()
    assert reader.closed and reading_threads() == 0
    reader = Whole(500)

    def consume() -> None:
        for _, prediction in predict(reader, model):
            if prediction.index == 5:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    gc.collect()
    assert reader.closed and reading_threads() == 0


def test_an_error_of_the_source_is_raised_after_its_frames(model: Model) -> None:
    """A source that breaks off raises its error after the frames before it."""
    reader, taken = Faulty(20), []
    loop = predict(reader, model, batch=1)
    with pytest.raises(SourceError, match="cable"):
        while True:
            taken.append(next(loop)[1].index)
    assert taken == list(range(20))
    assert reader.closed


def test_summary(model: Model, make_video: MakeVideo, tmp_path: Path) -> None:
    """The summary counts what the records contain."""
    path = make_video(pts=range(0, 60 * 2048, 2048))
    predictions = [prediction for _, prediction in predict(path, model)]
    out, lines = tmp_path / "out" / "clip.mp4", tmp_path / "out" / "clip.jsonl"
    seen: list[int] = []
    summary = infer(path, model, video=out, records=[RecordSink(lines)], on_frame=lambda p: seen.append(p.index))
    assert summary.frames == 60 == len(seen) == len(lines.read_text().splitlines())
    assert summary.flips == sum(a.label != b.label for a, b in pairwise(predictions)) > 0
    assert summary.frame_flips == sum(a.frame_label != b.frame_label for a, b in pairwise(predictions)) > 0
    assert summary.label_frames == {
        label: number for label in model.labels if (number := sum(p.label == label for p in predictions))
    }
    assert summary.outputs == [out, lines] and all(path.is_file() for path in summary.outputs)
    assert summary.media_seconds == pytest.approx(59 * 0.16)
    assert summary.wall_seconds > 0 and not summary.interrupted
    assert (summary.gaps, summary.repeated, summary.backwards, summary.damaged, summary.notes) == (0, 0, 0, 0, [])
    assert times_of(out) == pytest.approx([0.16 * i for i in range(60)], abs=1e-6)


def test_summary_without_outputs(model: Model, make_video: MakeVideo) -> None:
    """Gaps are counted, and no file is written without an output."""
    path = make_video(pts=[0, 512, 512 + 128000, 1024 + 128000])
    before = set(path.parent.iterdir())
    summary = infer(path, model)
    assert (summary.frames, summary.gaps, summary.outputs) == (4, 1, [])
    assert set(path.parent.iterdir()) == before


@pytest.mark.parametrize("most", [1, 7, 20, 99])
def test_max_frames(model: Model, make_video: MakeVideo, tmp_path: Path, most: int) -> None:
    """At most `max_frames` frames are predicted and written."""
    out = tmp_path / "out.mp4"
    summary = infer(make_video(), model, video=out, max_frames=most)
    assert summary.frames == len(times_of(out)) == min(most, 20)


def test_max_frames_and_the_memory(model: Model, make_video: MakeVideo) -> None:
    """With `max_frames` the session sees exactly these frames, for any batch."""
    path, session, other = make_video(), Session(model), Session(model)
    infer(path, model, session=session, max_frames=5, batch=8)
    infer(open_video(path, stop=0.2), model, session=other, batch=1)
    assert session.state_dict()["clock"].equal(other.state_dict()["clock"])
    torch.testing.assert_close(session.state_dict(), other.state_dict(), atol=1e-5, rtol=1e-5)


def test_an_interrupt_waits_for_the_current_batch(model: Model, tmp_path: Path) -> None:
    """After a signal while a frame is written, the rest of its batch is written: every file holds the same frames.

    The handlers return.
    """
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    class Impatient(RecordSink):
        def write(self, prediction: Prediction) -> None:
            super().write(prediction)
            if prediction.index == 6:
                signal.raise_signal(signal.SIGINT)

    sinks = [Impatient(tmp_path / "a.jsonl"), RecordSink(tmp_path / "b.jsonl")]
    summary = infer(Whole(40), model, video=tmp_path / "out.mp4", records=sinks)
    assert summary.interrupted and summary.frames == FILE_BATCH == len(times_of(tmp_path / "out.mp4"))
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("a.jsonl", "b.jsonl")] == 2 * [FILE_BATCH]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_interrupt_while_files_are_finished(model: Model, tmp_path: Path) -> None:
    """A signal after the last frame does not lose the files; a second signal ends at once."""

    class Late(RecordSink):
        signals = 1

        def _finish(self) -> None:
            for _ in range(self.signals):
                signal.raise_signal(signal.SIGINT)
            super()._finish()

    summary = infer(Whole(5), model, records=[Late(tmp_path / "a.jsonl")])
    assert summary.interrupted and len((tmp_path / "a.jsonl").read_text().splitlines()) == 5
    Late.signals = 2
    with pytest.raises(KeyboardInterrupt):
        infer(Whole(5), model, records=[Late(tmp_path / "b.jsonl")])
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_interrupted(model: Model, make_video: MakeVideo, tmp_path: Path, suffix: str) -> None:
    """Ctrl-C completes the files: they have their final names, can be played, and hold the frames so far."""
    out, lines = tmp_path / f"out{suffix}", tmp_path / "out.jsonl"

    def on_frame(prediction: Prediction) -> None:
        if prediction.index == 10:
            raise KeyboardInterrupt

    summary = infer(make_video(sound=True), model, video=out, records=[RecordSink(lines)], on_frame=on_frame)
    assert summary.interrupted and summary.frames == 11
    assert len(times_of(out)) == 11 == len(lines.read_text().splitlines())
    assert not list(tmp_path.glob("*.part*"))
    with av.open(str(out)) as container:  # the sound ends with the pictures
        last = max(float(p.pts * p.time_base) for p in container.demux(container.streams.audio[0]) if p.size)
    assert last < 0.6


def test_a_source_that_breaks_off(model: Model, tmp_path: Path) -> None:
    """If a source breaks off, the error is raised, and the video so far can be played under its temporary name."""
    reader, lines = Faulty(64), tmp_path / "out.jsonl"
    with pytest.raises(SourceError, match="cable"):
        infer(reader, model, video=tmp_path / "out.mp4", records=[RecordSink(lines)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.part.jsonl", "out.part.mp4"]
    assert len(times_of(tmp_path / "out.part.mp4")) == 64
    assert len((tmp_path / "out.part.jsonl").read_text().splitlines()) == 64
    assert reader.closed


def test_a_source_that_breaks_off_within_a_batch(model: Model, tmp_path: Path) -> None:
    """Frames before the break are predicted although their batch is not full."""
    with pytest.raises(SourceError, match="cable"):
        infer(Faulty(13), model, video=tmp_path / "out.mp4", batch=8)
    assert len(times_of(tmp_path / "out.part.mp4")) == 13


def test_on_frame_that_raises(model: Model, make_video: MakeVideo, tmp_path: Path) -> None:
    """An exception in `on_frame` is raised and leaves no file behind."""

    def on_frame(prediction: Prediction) -> None:
        if prediction.index == 10:
            raise ZeroDivisionError

    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        infer(make_video(), model, video=out / "clip.mp4", records=[RecordSink(out / "clip.csv")], on_frame=on_frame)
    assert list(out.iterdir()) == []


def test_no_source_leaves_nothing(model: Model, tmp_path: Path) -> None:
    """No temporary file is left when the source cannot be opened or the output is impossible."""
    with pytest.raises(SourceError):
        infer(tmp_path / "none.mp4", model, video=tmp_path / "out.mp4", records=[RecordSink(tmp_path / "out.csv")])
    with pytest.raises(UsageError):
        infer(Whole(3), model, video=tmp_path / "out.gif", records=[RecordSink(tmp_path / "out.csv")])
    with pytest.raises(UsageError):
        infer(Whole(3), model, video=tmp_path / "out.mp4", writer="ffmpeg")
    assert list(tmp_path.iterdir()) == []


def test_a_window_without_frames(model: Model, make_video: MakeVideo, tmp_path: Path) -> None:
    """A start after the end of the video writes no video and raises an error of one line."""
    with pytest.raises(SourceError) as error:
        infer(open_video(make_video(), start=99), model, video=tmp_path / "out" / "clip.mp4")
    assert "no frame" in str(error.value) and "\n" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.4), (0.2, 0.6), (0.4, None)])
def test_start_and_stop_cut_the_sound_alike(
    model: Model, make_video: MakeVideo, tmp_path: Path, start: float, stop: float | None
) -> None:
    """Pictures and sound are cut at the same times and stay in sync."""
    source, out = make_video(sound=True), tmp_path / "out.mkv"
    infer(open_video(source, start=start, stop=stop), model, video=out)
    expected = [t for t in times_of(source) if t >= start - 1e-6 and (stop is None or t < stop - 1e-6)]

    def sound(path: Path) -> list[tuple[float, bytes]]:
        with av.open(str(path)) as container:
            packets = container.demux(container.streams.audio[0])
            return [(float(p.pts * p.time_base), bytes(p)) for p in packets if p.size]

    wanted = [(t, p) for t, p in sound(source) if (t >= start or start == 0) and (stop is None or t < stop)]
    got, times = sound(out), times_of(out)
    assert [payload for _, payload in got] == [payload for _, payload in wanted] and len(wanted) > 3
    assert [t - times[0] for t in times] == pytest.approx([t - start for t in expected], abs=0.0011)
    assert [t - times[0] for t, _ in got] == pytest.approx([t - start for t, _ in wanted], abs=0.0021)


@pytest.mark.parametrize("clock", ["goes on", "starts anew"])
@pytest.mark.parametrize("step", [0.04, 0.3])
def test_ten_second_segments(model: Model, tmp_path: Path, clock: str, step: float) -> None:
    """A feed in two segments, with the state saved in between, gives the predictions of the whole feed."""
    frames = [
        Frame(f.image, f.index, f.pts, f.time_base, round(step * 1000)) for f in picture_frames(40, step=step, start=7)
    ]
    whole = [p for _, p in predict(frames, model)]
    first, second = frames[:23], frames[23:]
    if clock == "starts anew":
        second = [Frame(f.image, i, f.pts - second[0].pts, f.time_base, f.duration) for i, f in enumerate(second)]
    session = Session(model)
    before = [p for _, p in predict(first, model, session=session, batch=4)]
    session.save(tmp_path / "memory.safetensors")
    later = Session(model)
    later.load(tmp_path / "memory.safetensors")
    after = [p for _, p in predict(second, model, session=later, batch=4)]
    same(before + after, whole)
    assert after[0].dt == pytest.approx(step)
    fresh = [p for _, p in predict(second, model)]
    assert np.abs(scores(fresh)[0] - scores(after)[0]).max() > 1e-3  # the memory matters


@pytest.mark.parametrize("clock", ["goes on", "starts anew"])
def test_ten_second_files(model: Model, make_video: MakeVideo, tmp_path: Path, clock: str) -> None:
    """Video files in two segments, run by `infer` with a saved state, give the predictions of the whole."""
    whole_file = make_video("whole.mkv", pts=range(0, 30 * 512, 512), codec="ffv1")
    base = 15 * 512 if clock == "goes on" else 0
    with av.open(str(whole_file)) as container:
        images = list(container.decode(video=0))
    for name, part, begin in (("a.mkv", images[:15], 0), ("b.mkv", images[15:], base)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.time_base = stream.codec_context.time_base = TICK
            for i, frame in enumerate(part):
                frame.pts, frame.time_base = begin + i * 512, TICK
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with open_video(whole_file) as video, open_video(tmp_path / "a.mkv") as a, open_video(tmp_path / "b.mkv") as b:
        assert all((x.image == y.image).all() for x, y in zip(video, [*a, *b], strict=True))
    whole: list[Prediction] = []
    infer(whole_file, model, on_frame=whole.append)
    parts: list[Prediction] = []
    session = Session(model)
    infer(tmp_path / "a.mkv", model, session=session, on_frame=parts.append)
    session.save(tmp_path / "memory")
    session = Session(model)
    session.load(tmp_path / "memory")
    infer(tmp_path / "b.mkv", model, session=session, on_frame=parts.append)
    same(parts, whole)


def test_the_session_has_seen_the_yielded_frames_only(model: Model) -> None:
    """After an early stop within a batch, the session has seen exactly the frames that were yielded."""
    frames = picture_frames(8)
    session, slow = Session(model), Session(model)
    loop = predict(frames, model, session=session, batch=8)
    next(loop)
    next(loop)
    loop.close()
    slow.push_many(frames[:2])
    for key, value in slow.state_dict().items():
        torch.testing.assert_close(session.state_dict()[key], value, rtol=0, atol=1e-5)


def test_a_session_of_another_model(model: Model) -> None:
    """A session of another model raises UsageError."""
    with pytest.raises(UsageError, match="belongs to another model"):
        next(predict(picture_frames(1), model, session=Session(build_model(seed=5))))


def test_items_that_are_not_frames(model: Model) -> None:
    """Items that are not frames raise UsageError, which names ArrayReader."""
    with pytest.raises(UsageError, match=r"got tuple; expected Frames \(ArrayReader"):
        next(predict([(0.0, picture(0))], model))


def test_summary_and_overlay_count_the_same_flips(model: Model, tmp_path: Path) -> None:
    """Neither the summary nor the overlay counts repeated frames and restarted clocks as flips."""
    times = (0, 40, 40, 80, 120, 10, 50, 90)
    frames = [Frame(picture(i * 7), i, pts, Fraction(1, 1000)) for i, pts in enumerate(times)]

    class Odd(Whole):
        def __iter__(self) -> Iterator[Frame]:
            return iter(frames)

    overlay = Overlay(("label",))
    summary = infer(Odd(8), model, video=tmp_path / "out.mkv", overlay=overlay)
    assert summary.frames == 8
    drawer = overlay.stream()
    for frame, prediction in predict(iter(frames), model):
        drawer.annotate(frame, prediction)
    assert (summary.flips, summary.frame_flips) == (drawer.flips, drawer.frame_flips)


def test_sound_of_a_transport_stream(model: Model, make_video: MakeVideo, tmp_path: Path) -> None:
    """AAC from MPEG-TS is copied packet by packet into MP4 and can be decoded there."""
    source = make_video("clip.ts", sound=True)
    infer(source, model, video=tmp_path / "out.mp4")

    def packets(path: Path) -> int:
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(container.streams.audio[0]) if packet.size)

    assert packets(tmp_path / "out.mp4") == packets(source) > 10
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 15_000


def test_one_overlay_serves_several_streams(model: Model, make_video: MakeVideo, tmp_path: Path) -> None:
    """An overlay that is used for two streams draws the second as a new overlay would."""
    clip, overlay = make_video(), Overlay(("label", "timeline"), compare=True)
    for name in ("first.mkv", "second.mkv"):
        infer(clip, model, video=tmp_path / name, overlay=overlay)
    with open_video(tmp_path / "first.mkv") as first, open_video(tmp_path / "second.mkv") as second:
        for a, b in zip(first, second, strict=True):
            assert (a.image == b.image).all()
