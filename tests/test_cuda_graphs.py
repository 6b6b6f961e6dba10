"""CUDA graphs: which recordings are made and reused, and equal numbers on a GPU."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import build_model, picture
from torch import Tensor

from liquidvision import Model, predict
from liquidvision.models.runtime.cuda_graphs import MAX_GRAPH_BATCH, MAX_GRAPHS, CUDAGraphs, RecordableNetwork

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class Net:
    """A network that doubles its pictures, and counts its runs without a recording."""

    def __init__(self) -> None:
        self.weights, self.runs = torch.ones(1), 0

    def parameters(self):
        return iter([self.weights])

    def run_torch(self, pixels: Tensor) -> Tensor:
        self.runs += 1
        return 2 * pixels.flatten(1)


class Recorder(CUDAGraphs):
    """CUDAGraphs without a GPU: a replay computes on the buffer of the recording."""

    def __init__(self, failure: str | None = None) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.tries = 0
        self.failure = failure

    def _record(self, network: RecordableNetwork, pixels: Tensor, count: int) -> Callable[[Tensor], Tensor]:
        self.tries += 1
        if self.failure:
            raise RuntimeError(self.failure)
        self.sizes.append(count)
        inputs = torch.full((count, *pixels.shape[1:]), torch.nan)

        def replay(given: Tensor) -> Tensor:
            inputs[: len(given)] = given
            return 2 * inputs.flatten(1)[: len(given)]

        return replay


def pictures(count: int, side: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side)


def test_few_recordings_serve_all_batches() -> None:
    """Batches of 1 to 32 use three recordings, and each picture gets its own output."""
    recorder, net = Recorder(), Net()
    for count in [*range(1, 33), *range(32, 0, -1)]:
        some = pictures(count)
        assert torch.equal(recorder(net, some), 2 * some.flatten(1))
    assert recorder.sizes == [8, 16, 32]
    assert net.runs == 0


def test_moved_weights_are_recorded_again() -> None:
    """Weights at another address get a new recording."""
    recorder, net = Recorder(), Net()
    recorder(net, pictures(1))
    old, net.weights = net.weights, torch.zeros(1)
    recorder(net, pictures(1))
    assert recorder.sizes == [8, 8]
    assert old.data_ptr() != net.weights.data_ptr()


def test_recordings_are_bounded() -> None:
    """Beyond `MAX_GRAPHS` picture sizes, the network runs without a recording."""
    recorder, net = Recorder(), Net()
    for side in range(1, MAX_GRAPHS + 4):
        some = pictures(1, side)
        assert torch.equal(recorder(net, some), 2 * some.flatten(1))
    assert len(recorder.sizes) == MAX_GRAPHS
    assert net.runs == 3


def test_a_failed_recording_falls_back_to_torch(caplog: pytest.LogCaptureFixture) -> None:
    """If recording fails, the network runs without it; one warning is logged, and recording is not tried again."""
    recorder, net = Recorder("operation not permitted when stream is capturing\nand more"), Net()
    for _ in range(2):
        some = pictures(3)
        assert torch.equal(recorder(net, some), 2 * some.flatten(1))
    assert net.runs == 2
    assert recorder.tries == 1
    assert [r.getMessage() for r in caplog.records] == [
        "CUDA graphs are not used: operation not permitted when stream is capturing"
    ]


def test_pictures_on_the_cpu_are_not_recorded() -> None:
    """A network that was moved back to the CPU runs there without a recording."""
    assert not CUDAGraphs().takes(pictures(1))


@gpu
@pytest.mark.parametrize("half", [False, True])
def test_the_same_numbers_from_any_thread(half: bool) -> None:
    """On a GPU, recordings give the embeddings of plain torch, from any thread and for any batch."""
    backbone = build_model().to("cuda", half=half).backbone
    some = torch.cat([backbone.prepare(picture(i)) for i in range(MAX_GRAPH_BATCH + 1)])
    found: dict[int, Tensor] = {}

    def ask(count: int) -> None:
        with torch.inference_mode():
            found[count] = backbone(some[:count].cuda()).cpu()

    threads = [
        threading.Thread(target=ask, args=(count,)) for count in (1, 3, 8, 8, MAX_GRAPH_BATCH, MAX_GRAPH_BATCH + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.inference_mode():
        plain = backbone.run_torch(some.cuda()).cpu()
    for count, embeddings in found.items():
        # A GPU's convolutions round float32 factors to 10 bits (TF32), each kernel in its own way.
        assert (embeddings - plain[:count]).abs().max() < (3e-2 if half else 1e-3) * plain.abs().max()


@gpu
def test_the_same_predictions_on_a_gpu(make_video) -> None:
    """Predictions for a video on a GPU have the labels of those on the CPU, and probabilities within 0.001."""
    clip = make_video(size=(160, 120))
    here, there = (
        [p for _, p in predict(clip, Model.from_pretrained("objects", device=device))] for device in ("cpu", "cuda")
    )
    for a, b in zip(here, there, strict=True):
        assert a.label == b.label
        assert np.abs(a.scores - b.scores).max() < 1e-3
