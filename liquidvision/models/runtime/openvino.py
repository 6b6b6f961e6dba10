"""Quicker ways to run a backbone: OpenVINO in torch's place on the CPU, recorded graphs of kernels on CUDA GPUs."""

import hashlib
import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import platformdirs
import torch
from torch import Tensor, nn

from liquidvision.errors import DependencyError

log = logging.getLogger(__name__)
OPENVINO = "openvino"
SETTINGS = {"PERFORMANCE_HINT": "LATENCY"}  # no wait for a fuller batch


def openvino_installed() -> bool:
    return find_spec(OPENVINO) is not None


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
        if not openvino_installed():
            raise DependencyError("device openvino needs OpenVINO: pip install 'liquidvision[openvino]'")
        self._half = half
        self._compiled: Any = None
        self._lock = Lock()  # one request at a time: streams that share a model call it from their own threads

    def __deepcopy__(self, _: dict[int, Any]) -> "OpenVINO":
        return OpenVINO(half=self._half)  # a copy of a network may get other weights

    def takes(self, pixels: Tensor) -> bool:
        return pixels.device.type == "cpu"

    def __call__(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """What `network` gives for these pictures; the same network in every call."""
        with self._lock:
            if self._compiled is None:
                self._compiled = compile_network(network, tuple(pixels.shape[2:]), half=self._half)
            # The array belongs to OpenVINO, which overwrites it in its next call.
            return torch.from_numpy(self._compiled(pixels.contiguous().numpy())[0].copy())


def compile_network(network: nn.Module, size: tuple[int, ...], *, half: bool) -> Any:
    """OpenVINO's compiled model of a network for pictures of one size."""
    import openvino

    core = openvino.Core()
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
    settings = {**SETTINGS, **precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    kept = openvino_cache_folder() / f"{network_key(network, size, openvino.__version__)}.xml"
    try:
        if not kept.exists():
            store_network(convert_network(network, size), kept)
        # Read by itself: a failure within compile_model leaves a handler of Ctrl-C behind that crashes.
        model = core.read_model(kept)
        core.set_property({"CACHE_DIR": str(kept.parent)})
    except (OSError, RuntimeError) as error:  # no room, no right to write, or a file cut short
        log.info("OpenVINO's cache is not used: %s", error)
        model = convert_network(network, size)
    return core.compile_model(model, "CPU", settings)


def convert_network(network: nn.Module, size: tuple[int, ...]) -> Any:
    import openvino

    example = torch.zeros(2, 3, *size)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracing says of shapes that they are constants, as is meant
        traced = torch.jit.trace(network, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[-1, 3, *size])


def store_network(model: Any, path: Path) -> None:
    """Write a converted network; under its name only when it is whole."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    openvino.save_model(model, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(path.with_suffix(".bin"))
    part.replace(path)


def network_key(network: nn.Module, size: tuple[int, ...], version: str) -> str:
    """A name for a network's weights and structure, the pictures' size, and what converts it."""
    digest = hashlib.sha256(f"{version} {torch.__version__} {size} {network}".encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def openvino_cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("liquidvision", appauthor=False)) / OPENVINO
