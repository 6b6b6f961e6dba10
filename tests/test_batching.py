"""Batching: streams that share a model, and live frames that wait."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from conftest import count_calls, picture, picture_frames

from liquidvision import LiveOptions, Model, Prediction, VideoInfo, infer, predict
from liquidvision.inference.batching import BatchedHead, batched_model
from liquidvision.video.read.reader import DecodedPicture, ReadWindow, VideoReader


def test_streams_share_a_model(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams in different threads that share a model give the numbers that each gives alone."""
    streams = [picture_frames(15, start=k, step=0.03 + k / 100) for k in range(4)]
    alone = [[p for _, p in predict(frames, model)] for frames in streams]
    calls = count_calls(model, monkeypatch)
    found: dict[int, list[Prediction]] = {}
    with batched_model(model) as shared:

        def work(k: int) -> None:
            found[k] = [p for _, p in predict(streams[k], shared)]

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(calls) == 60
    for k in range(4):
        for name in ("scores", "frame_scores", "hidden_state", "time_constants"):
            ours, theirs = ([getattr(p, name) for p in each[k]] for each in (found, alone))
            assert np.allclose(ours, theirs, atol=1e-5), name
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"liquidvision-backbone", "liquidvision-head"}


@pytest.mark.parametrize("name", ["actions", "objects"])
def test_streams_step_in_one_batch(name: str) -> None:
    """Streams with one, three and two frames step as one batch and give the numbers of each alone."""
    model = Model.from_pretrained(name, device="cpu")
    draw = torch.Generator().manual_seed(0)
    items = []
    for steps in (1, 3, 2):
        warm = model.head(torch.randn(1, 4, model.head.input_size, generator=draw), 0.1).state
        xs = torch.randn(1, steps, model.head.input_size, generator=draw)
        items.append((xs, torch.rand(1, steps, generator=draw), warm))
    with torch.inference_mode():
        for ours, item in zip(BatchedHead(model.head).step(items), items, strict=True):
            alone = model.head(*item)
            for part in ("logits", "frame_logits", "hidden", "time_constants"):
                torch.testing.assert_close(getattr(ours, part), getattr(alone, part), atol=1e-4, rtol=1e-4)
            assert ours.state.keys() == alone.state.keys()
            for key, value in alone.state.items():
                torch.testing.assert_close(ours.state[key], value, atol=1e-4, rtol=1e-4)


class Burst(VideoReader):
    """A live source whose frames arrive all at once."""

    info = VideoInfo("burst", 64, 48, live=True)

    def __init__(self, count: int, live: LiveOptions) -> None:
        super().__init__(ReadWindow())
        self.live_options, self._count = live, count
        self.read = threading.Event()

    def pictures(self) -> Iterator[DecodedPicture]:
        for i in range(self._count):
            if i == 12:  # fewer than the queue holds
                self.read.set()
            yield DecodedPicture(i, Fraction(1, 25), None, partial(picture, i * 7))

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("live", "together"), [(LiveOptions("wait"), True), (LiveOptions("wait", max_staleness=60.0), False)]
)
def test_live_frames_that_wait_are_embedded_together(
    model: Model, monkeypatch: pytest.MonkeyPatch, live: LiveOptions, together: bool
) -> None:
    """Waiting live frames are embedded in batches, with the same numbers, unless frames may become stale."""
    plain = [prediction.scores for _, prediction in predict(Burst(24, LiveOptions("wait")), model)]
    calls = count_calls(model, monkeypatch)
    seen: list[np.ndarray] = []

    source = Burst(24, live)

    def slow(prediction: Prediction) -> None:
        seen.append(prediction.scores)
        assert source.read.wait(60)  # a dozen frames are read before the first callback returns

    summary = infer(source, model, on_frame=slow)
    assert summary.frames == sum(calls) == 24 and (max(calls) > 1) == together and max(calls) <= 8
    assert np.allclose(plain, seen, atol=1e-5)


def test_a_failure_is_raised_in_the_waiting_stream(model: Model) -> None:
    """An error of the backbone is raised in the caller, and later calls work."""
    with batched_model(model) as shared:
        with pytest.raises(RuntimeError):
            shared.backbone(torch.zeros(1, 5, 64, 64))
        assert shared.backbone(torch.zeros(2, 3, 64, 64)).shape == (2, model.backbone.dim)
    with pytest.raises(RuntimeError, match="closed"):
        shared.backbone(torch.zeros(1, 3, 64, 64))
