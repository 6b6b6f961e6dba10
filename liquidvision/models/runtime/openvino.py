"""Run a backbone on the CPU with OpenVINO instead of torch."""

import hashlib
import logging
import os
import warnings
from functools import cache
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
SETTINGS = {"PERFORMANCE_HINT": "LATENCY"}  # do not wait for a larger batch


def openvino_installed() -> bool:
    """Return whether the package openvino can be imported."""
    return find_spec(OPENVINO) is not None


class OpenVINO:
    """Run a network on pictures (n, 3, h, w) with OpenVINO; it is compiled at first use.

    The converted network is stored in the user's cache folder under a hash of its weights, so that later processes do
    not convert it again.

    Args:
        half: see `Backbone.place`. False computes in float32; the results equal torch's within rounding.

    Raises:
        DependencyError: OpenVINO is not installed.
    """

    def __init__(self, *, half: bool = False) -> None:
        if not openvino_installed():
            raise DependencyError(
                "device openvino needs OpenVINO; install it with pip install 'liquidvision[openvino]'"
            )
        self._half = half
        self._compiled: Any = None
        self._lock = Lock()  # one request at a time; streams that share a model call it from several threads

    def __deepcopy__(self, _: dict[int, Any]) -> "OpenVINO":
        return OpenVINO(half=self._half)  # the copy of a network may get other weights

    def takes(self, pixels: Tensor) -> bool:
        """Return whether these pictures can be run by OpenVINO."""
        return pixels.device.type == "cpu"

    def __call__(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """Return the output of `network`, which must be the same in every call, for these pictures."""
        with self._lock:
            if self._compiled is None:
                self._compiled = compile_network(network, tuple(pixels.shape[2:]), half=self._half)
            # OpenVINO overwrites its output array in the next call.
            return torch.from_numpy(self._compiled(pixels.contiguous().numpy())[0].copy())


@cache
def shared_core() -> Any:
    """Return the one OpenVINO core of this process.

    The CPU plugin of each core sets up a stack for signal handlers and, when the core is destroyed, restores the one
    that it found. With two cores that are destroyed in the order of their creation that is an unmapped one, and the
    next Ctrl-C crashes.
    """
    import openvino

    return openvino.Core()


def compile_network(network: nn.Module, size: tuple[int, ...], *, half: bool) -> Any:
    """Return a network compiled by OpenVINO for pictures of one size (h, w), converted or from the cache."""
    import openvino

    core = shared_core()
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
    settings = {**SETTINGS, **precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    cached = openvino_cache_folder() / f"{network_key(network, size, openvino.__version__)}.xml"
    try:
        if not cached.exists():
            store_network(convert_network(network, size), cached)
        # Read separately: after a failed compile_model(path), OpenVINO's handler of Ctrl-C crashes.
        model = core.read_model(cached)
        core.set_property({"CACHE_DIR": str(cached.parent)})
    except (OSError, RuntimeError) as error:  # disk full, no permission, or a truncated file
        log.info("OpenVINO's cache is not used: %s", error)
        model = convert_network(network, size)
    return core.compile_model(model, "CPU", settings)


def convert_network(network: nn.Module, size: tuple[int, ...]) -> Any:
    """Return OpenVINO's model of a network, for any number of pictures of one size (h, w)."""
    import openvino

    example = torch.zeros(2, 3, *size)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns that shapes become constants, as intended
        traced = torch.jit.trace(network, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[-1, 3, *size])


def store_network(model: Any, path: Path) -> None:
    """Write a converted network so that it appears under its name only when it is complete."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    openvino.save_model(model, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(path.with_suffix(".bin"))
    part.replace(path)


def network_key(network: nn.Module, size: tuple[int, ...], version: str) -> str:
    """Return a hash of a network's weights and structure, its input size, and the converters' versions."""
    digest = hashlib.sha256(f"{version} {torch.__version__} {size} {network}".encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def openvino_cache_folder() -> Path:
    """Return the folder in which converted networks are stored."""
    return Path(platformdirs.user_cache_dir("liquidvision", appauthor=False)) / OPENVINO
