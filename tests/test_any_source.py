"""`predict` and `infer` take the same sources: paths, readers, and any iterable of frames."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import picture, picture_frames

from liquidvision import ArrayReader, Frame, Model, Prediction, RecordSink, infer, open_video, predict
from liquidvision.errors import SourceError, UsageError
from liquidvision.video.read.frames import FrameReader
from liquidvision.video.read.open import as_reader

MakeSource = Callable[[Path], object]


def generated(path: Path) -> Iterator[Frame]:
    with open_video(path) as video:
        yield from video


SOURCES = {
    "path": lambda path: path,
    "text": str,
    "reader": open_video,
    "frames": lambda path: list(generated(path)),
    "generator": generated,
    "frame reader": lambda path: FrameReader(generated(path)),
    "arrays": lambda path: ArrayReader((frame.time, frame.image) for frame in generated(path)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_predict_and_infer_take_the_same_sources(model: Model, make_video, tmp_path: Path, kind: str) -> None:
    """Any source gives the predictions of the file that it comes from, with `predict` and with `infer`."""
    path = make_video(pts=[i * 512 + (i % 3) * 100 for i in range(20)])
    expected = [prediction for _, prediction in predict(path, model)]
    looped = [prediction for _, prediction in predict(SOURCES[kind](path), model)]
    inferred: list[Prediction] = []
    out = tmp_path / "out.mp4"
    summary = infer(SOURCES[kind](path), model, video=out, on_frame=inferred.append)
    assert summary.frames == 20 and summary.media_seconds == pytest.approx(expected[-1].time - expected[0].time)
    for found in (looped, inferred):
        assert [p.index for p in found] == [p.index for p in expected]
        assert [p.time for p in found] == pytest.approx([p.time for p in expected], abs=1e-6)
        np.testing.assert_allclose([p.scores for p in found], [p.scores for p in expected], atol=1e-5)
    with open_video(out) as video:
        assert [frame.time for frame in video] == pytest.approx([p.time for p in expected], abs=1e-4)


def test_the_caller_keeps_the_iterator(model: Model) -> None:
    """After an early stop, the frames that were not used are still there to be read."""
    frames = iter(picture_frames(10))
    for frame, _ in predict(frames, model):
        if frame.index == 3:
            break
    assert [frame.index for frame in frames] == [4, 5, 6, 7, 8, 9]


def test_frames_keep_their_times_and_pictures() -> None:
    """A reader of frames knows their size and their start, and yields them as they are."""
    frames = picture_frames(3, start=7.0)
    with FrameReader(frames) as reader:
        assert (reader.info.width, reader.info.height) == (64, 48) and reader.start_time == 7
        assert list(reader) == frames
    with FrameReader(frames) as reader:
        pictures = list(reader.pictures())
    assert [p.pts * p.time_base for p in pictures] == [frame.pts * frame.time_base for frame in frames]
    np.testing.assert_array_equal(pictures[1].frame_pixels(), frames[1].image)


def test_no_frames(model: Model, tmp_path: Path) -> None:
    """An empty iterable gives no predictions, and `infer` says that there is no frame and leaves no file."""
    assert list(predict([], model)) == []
    with pytest.raises(SourceError, match="frames has no frame"):
        infer([], model, video=tmp_path / "out.mp4", records=[RecordSink(tmp_path / "out.jsonl")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("items", [[picture(0)], [picture_frames(1)[0], "frame"]])
def test_what_is_not_a_frame(model: Model, items: list[object]) -> None:
    """Items that are not frames are refused wherever they stand, by `predict` and by `infer`."""
    with pytest.raises(UsageError, match="expected Frames"):
        list(predict(items, model))
    with pytest.raises(UsageError, match="expected Frames"):
        infer(items, model)


def test_what_is_not_a_source(model: Model) -> None:
    """A value of another type is refused with the types that are expected."""
    with pytest.raises(UsageError, match="the source is float; expected a path"):
        as_reader(1.5)
