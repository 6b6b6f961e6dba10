"""CUDA graphs: record the kernels of a backbone once, and replay them."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from liquidvision.errors import first_line

log = logging.getLogger(__name__)

MAX_GRAPH_BATCH = 64  # pictures; for larger batches the cost of launching kernels is small
# A batch of 8 takes hardly longer than one picture, while recording a new size stops a live stream for a second.
MIN_GRAPH_BATCH = 8
MAX_GRAPHS = 16  # recordings to keep; each keeps the memory that its kernels write


class RecordableNetwork(Protocol):
    """A network that can be recorded: `run_torch` computes its outputs with plain torch."""

    def parameters(self) -> Iterator[Tensor]: ...

    def run_torch(self, pixels: Tensor) -> Tensor: ...


class CUDAGraphs:
    """Run a network on pictures (n, 3, h, w) on a CUDA GPU by recording its kernels once and replaying them.

    A replay costs one launch instead of hundreds. It works from any thread, while cuDNN would plan again in each
    thread, and each clip has a thread of its own. Batches are padded to a power of two of at least `MIN_GRAPH_BATCH`,
    so that few recordings serve all sizes. All calls must use the same CUDA stream, which is the default.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: dict[tuple[object, ...], Callable[[Tensor], Tensor]] = {}
        self._pool: Any = None
        self._works = True

    def __deepcopy__(self, _: dict[int, Any]) -> "CUDAGraphs":
        return CUDAGraphs()  # a recording reads the weights at their address in memory

    def takes(self, pixels: Tensor) -> bool:
        """Return whether these pictures can be run by a recording."""
        return pixels.is_cuda and len(pixels) <= MAX_GRAPH_BATCH and not pixels.requires_grad

    def __call__(self, network: "RecordableNetwork", pixels: Tensor) -> Tensor:
        """Return the output of `network`, which must be the same in every call, for these pictures."""
        padded = max(MIN_GRAPH_BATCH, 1 << (len(pixels) - 1).bit_length())
        # A recording reads weights at their old address, so moved weights need a new one.
        key = (padded, *pixels.shape[1:], pixels.dtype, next(network.parameters()).data_ptr())
        with self._lock:  # buffers serve one call at a time; the CUDA stream keeps the order
            replay = self._recorded.get(key)
            if replay is None and self._works and len(self._recorded) < MAX_GRAPHS:
                try:
                    replay = self._recorded[key] = self._record(network, pixels, padded)
                except RuntimeError as error:
                    log.warning("CUDA graphs are not used: %s", first_line(error))
                    self._works = False
            if replay is not None:
                return replay(pixels)
        return network.run_torch(pixels)

    def _record(self, network: "RecordableNetwork", pixels: Tensor, count: int) -> Callable[[Tensor], Tensor]:
        """Record the network for batches of up to `count` pictures like these; return a function that replays it."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(pixels.device)
        with torch.cuda.device(pixels.device), torch.inference_mode(False), torch.no_grad():
            inputs = torch.zeros((count, *pixels.shape[1:]), dtype=pixels.dtype, device=pixels.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # warm up: what the first call sets up must not be recorded
                for _ in range(2):
                    network.run_torch(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            # thread_local: other threads may use the GPU during the recording.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = network.run_torch(inputs)

        def replay(pixels: Tensor) -> Tensor:
            inputs[: len(pixels)].copy_(pixels)
            graph.replay()
            return outputs[: len(pixels)].clone()

        return replay
