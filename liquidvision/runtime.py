"""Quicker ways to run a backbone: OpenVINO in torch's place on the CPU, recorded graphs of kernels on CUDA GPUs."""

import hashlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import platformdirs
import torch
from torch import Tensor, nn

from liquidvision.errors import DependencyError, first_line

log = logging.getLogger(__name__)
NAME = "openvino"
SETTINGS = {"PERFORMANCE_HINT": "LATENCY"}  # no wait for a fuller batch
MOST_GRAPHED = 64  # pictures in a batch, above which launching its kernels one by one costs little beside them
LEAST_GRAPHED = 8  # take hardly longer than one, while a recording of a new size holds a live stream up for a second
MOST_GRAPHS = 16  # kept; each holds what its kernels write


def installed() -> bool:
    return find_spec(NAME) is not None


class OpenVINO:
    """Runs a network of pictures (n, 3, h, w) to embeddings (n, dim), compiled at its first use.

    The converted network is kept in the user's cache folder, by its weights, so that the next process
    need not convert it again.

    Args:
        half: see `Backbone.place`. Without, it is float32 throughout: the numbers are torch's but for rounding.

    Raises:
        DependencyError: OpenVINO is not installed.
    """

    def __init__(self, *, half: bool = False) -> None:
        if not installed():
            raise DependencyError("device openvino needs OpenVINO: pip install 'liquidvision[openvino]'")
        self._half = half
        self._compiled: Any = None

    def __deepcopy__(self, _: dict[int, Any]) -> "OpenVINO":
        return OpenVINO(half=self._half)  # a copy of a network may get other weights

    def takes(self, pixels: Tensor) -> bool:
        return pixels.device.type == "cpu"

    def __call__(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """What `network` gives for these pictures; the same network in every call."""
        if self._compiled is None:
            self._compiled = compiled(network, tuple(pixels.shape[2:]), half=self._half)
        # The array belongs to OpenVINO, which fills it anew in its next call.
        return torch.from_numpy(self._compiled(pixels.contiguous().numpy())[0].copy())


def compiled(network: nn.Module, size: tuple[int, ...], *, half: bool) -> Any:
    """OpenVINO's compiled model of a network for pictures of one size."""
    import openvino

    core = openvino.Core()
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
    settings = {**SETTINGS, **precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    kept = cache_folder() / f"{key_of(network, size, openvino.__version__)}.xml"
    try:
        if not kept.exists():
            keep(converted(network, size), kept)
        # Read by itself: a failure within compile_model leaves a handler of Ctrl-C behind that crashes.
        model = core.read_model(kept)
        core.set_property({"CACHE_DIR": str(kept.parent)})
    except (OSError, RuntimeError) as error:  # no room, no right to write, or a file cut short
        log.info("OpenVINO's cache is not used: %s", error)
        model = converted(network, size)
    return core.compile_model(model, "CPU", settings)


def converted(network: nn.Module, size: tuple[int, ...]) -> Any:
    import openvino

    example = torch.zeros(2, 3, *size)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracing says of shapes that they are constants, as is meant
        traced = torch.jit.trace(network, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[-1, 3, *size])


def keep(model: Any, path: Path) -> None:
    """Write a converted network; under its name only when it is whole."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    openvino.save_model(model, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(path.with_suffix(".bin"))
    part.replace(path)


def key_of(network: nn.Module, size: tuple[int, ...], version: str) -> str:
    """A name for a network's weights and structure, the pictures' size, and what converts it."""
    digest = hashlib.sha256(f"{version} {torch.__version__} {size} {network}".encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("liquidvision", appauthor=False)) / NAME


class Network(Protocol):
    """What can be run as recorded: its `plain` computes, kernel by kernel."""

    def parameters(self) -> Iterator[Tensor]: ...

    def plain(self, pixels: Tensor) -> Tensor: ...


class CUDAGraphs:
    """Runs a network of pictures (n, 3, h, w) on a CUDA GPU: what it launches is recorded once and then replayed.

    A replay costs one launch instead of hundreds, and works from any thread, where cuDNN makes its plans anew in each,
    and each clip has a thread of its own. Batches are filled up to a power of two, `LEAST_GRAPHED` or more, so that few
    recordings do for all of them. Calls are to come on one CUDA stream, as they do unless the caller makes others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: dict[tuple[object, ...], Callable[[Tensor], Tensor]] = {}
        self._pool: Any = None
        self._works = True

    def __deepcopy__(self, _: dict[int, Any]) -> "CUDAGraphs":
        return CUDAGraphs()  # a recording belongs to the weights where they lie in memory

    def takes(self, pixels: Tensor) -> bool:
        return pixels.is_cuda and len(pixels) <= MOST_GRAPHED and not pixels.requires_grad

    def __call__(self, network: "Network", pixels: Tensor) -> Tensor:
        """What `network` gives for these pictures; the same network in every call."""
        filled = max(LEAST_GRAPHED, 1 << (len(pixels) - 1).bit_length())
        # Weights that were moved elsewhere in memory are not those that a recording reads.
        key = (filled, *pixels.shape[1:], pixels.dtype, next(network.parameters()).data_ptr())
        with self._lock:  # the buffers are one call's at a time; the stream keeps their order
            replay = self._recorded.get(key)
            if replay is None and self._works and len(self._recorded) < MOST_GRAPHS:
                try:
                    replay = self._recorded[key] = self._record(network, pixels, filled)
                except RuntimeError as error:
                    log.warning("CUDA graphs are not used: %s", first_line(error))
                    self._works = False
            if replay is not None:
                return replay(pixels)
        return network.plain(pixels)

    def _record(self, network: "Network", pixels: Tensor, count: int) -> Callable[[Tensor], Tensor]:
        """A function that does what the network does, with batches of such pictures of up to `count`."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(pixels.device)
        with torch.cuda.device(pixels.device), torch.inference_mode(False), torch.no_grad():
            inputs = torch.zeros((count, *pixels.shape[1:]), dtype=pixels.dtype, device=pixels.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # what is chosen and kept at a first call must not be recorded
                for _ in range(2):
                    network.plain(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            # Other threads may use the GPU meanwhile: only this one's calls are watched.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = network.plain(inputs)

        def replay(pixels: Tensor) -> Tensor:
            inputs[: len(pixels)].copy_(pixels)
            graph.replay()
            return outputs[: len(pixels)].clone()

        return replay
