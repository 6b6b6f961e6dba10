"""Record a backbone's CUDA kernels once and replay them."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from liquidvision.errors import first_line

log = logging.getLogger(__name__)

MAX_GRAPH_BATCH = 64  # pictures in a batch, above which launching its kernels one by one costs little beside them


MIN_GRAPH_BATCH = 8  # take hardly longer than one, while a recording of a new size holds a live stream up for a second


MAX_GRAPHS = 16  # kept; each holds what its kernels write


class RecordableNetwork(Protocol):
    """What can be run as recorded: its `run_torch` computes, kernel by kernel."""

    def parameters(self) -> Iterator[Tensor]: ...

    def run_torch(self, pixels: Tensor) -> Tensor: ...


class CUDAGraphs:
    """Runs a network of pictures (n, 3, h, w) on a CUDA GPU: what it launches is recorded once and then replayed.

    A replay costs one launch instead of hundreds, and works from any thread, where cuDNN makes its plans anew in each,
    and each clip has a thread of its own. Batches are padded to a power of two, at least `MIN_GRAPH_BATCH`, so that few
    recordings serve all sizes. Calls are to come on one CUDA stream, as they do unless the caller makes others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: dict[tuple[object, ...], Callable[[Tensor], Tensor]] = {}
        self._pool: Any = None
        self._works = True

    def __deepcopy__(self, _: dict[int, Any]) -> "CUDAGraphs":
        return CUDAGraphs()  # a recording belongs to the weights where they lie in memory

    def takes(self, pixels: Tensor) -> bool:
        return pixels.is_cuda and len(pixels) <= MAX_GRAPH_BATCH and not pixels.requires_grad

    def __call__(self, network: "RecordableNetwork", pixels: Tensor) -> Tensor:
        """What `network` gives for these pictures; the same network in every call."""
        filled = max(MIN_GRAPH_BATCH, 1 << (len(pixels) - 1).bit_length())
        # Weights that were moved elsewhere in memory are not those that a recording reads.
        key = (filled, *pixels.shape[1:], pixels.dtype, next(network.parameters()).data_ptr())
        with self._lock:  # the buffers are one call's at a time; the stream keeps their order
            replay = self._recorded.get(key)
            if replay is None and self._works and len(self._recorded) < MAX_GRAPHS:
                try:
                    replay = self._recorded[key] = self._record(network, pixels, filled)
                except RuntimeError as error:
                    log.warning("CUDA graphs are not used: %s", first_line(error))
                    self._works = False
            if replay is not None:
                return replay(pixels)
        return network.run_torch(pixels)

    def _record(self, network: "RecordableNetwork", pixels: Tensor, count: int) -> Callable[[Tensor], Tensor]:
        """A function that does what the network does, with batches of such pictures of up to `count`."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(pixels.device)
        with torch.cuda.device(pixels.device), torch.inference_mode(False), torch.no_grad():
            inputs = torch.zeros((count, *pixels.shape[1:]), dtype=pixels.dtype, device=pixels.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # what is chosen and kept at a first call must not be recorded
                for _ in range(2):
                    network.run_torch(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            # Other threads may use the GPU meanwhile: only this one's calls are watched.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = network.run_torch(inputs)

        def replay(pixels: Tensor) -> Tensor:
            inputs[: len(pixels)].copy_(pixels)
            graph.replay()
            return outputs[: len(pixels)].clone()

        return replay
