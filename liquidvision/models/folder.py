"""Model folders on disk: config.json, model.safetensors and README.md. Nothing read here can run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from liquidvision.errors import ModelError, SinkError, WeightsError, first_line
from liquidvision.files import write_all_atomic, write_atomic

MODEL_FORMAT, MODEL_VERSION = "liquidvision-model", 1
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"


def bundled_models() -> dict[str, Path]:
    """The models that come with the package: name to folder."""
    inside = Path(__file__).parents[1] / "weights"  # in an installed wheel
    root = inside if inside.is_dir() else Path(__file__).parents[2] / "weights"  # in a checkout
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG_FILE).is_file()}


def find_model(name_or_folder: str | Path) -> Path:
    """The folder of a model, given by its path or by the name of a bundled one.

    Raises:
        ModelError: neither is there.
    """
    folder = Path(name_or_folder)
    if (folder / CONFIG_FILE).is_file():
        return folder
    models = bundled_models()
    if str(name_or_folder) in models:
        return models[str(name_or_folder)]
    if folder.is_dir():
        raise ModelError(f"{folder} is not a model folder: it has no {CONFIG_FILE}")
    raise ModelError(
        f"no model {str(name_or_folder)!r}: it is neither a folder nor bundled (bundled: {', '.join(models) or 'none'})"
    )


def read_model_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of a model folder.

    Raises:
        ModelError: it is missing, cut short, of another format or of a later version.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); copy the model folder again") from error
    if not isinstance(config, dict) or config.get("format") != MODEL_FORMAT:
        raise ModelError(f'{path} is not a liquidvision model; expected "format": "{MODEL_FORMAT}"')
    if config.get("version") != MODEL_VERSION:
        raise ModelError(
            f"{path} has version {config.get('version')!r}; this liquidvision reads version {MODEL_VERSION}: "
            "upgrade liquidvision, or train the model again"
        )
    return config


def write_model_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    card: str,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model folder, and `more` files by name; where that fails, the folder is as it was.

    Raises:
        SinkError: the folder cannot be written.
    """
    text = json.dumps({"format": MODEL_FORMAT, "version": MODEL_VERSION, **config}, indent=2, ensure_ascii=False)
    files = {
        WEIGHTS_FILE: encode_safetensors({name: to_half_if_exact(tensor) for name, tensor in tensors.items()}, {}),
        CARD_FILE: card.encode("utf-8", "replace"),
        **(more or {}),
        # Last, so that a folder cut short is not taken for a model.
        CONFIG_FILE: text.encode("utf-8", "backslashreplace") + b"\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_all_atomic({folder / name: content for name, content in files.items()})
    except OSError as error:
        raise SinkError(f"cannot write the model folder {folder}: {error.strerror or error}") from error


def to_half_if_exact(tensor: Tensor) -> Tensor:
    """In half precision where that loses nothing."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is whole."""
    write_atomic(path, encode_safetensors(tensors, metadata))


def encode_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file."""
    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, floating point ones as they are, and its metadata.

    Raises:
        ModelError: the file is missing, cut short or not safetensors.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is missing or cut short ({error}); copy it again") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from a .pth or .pt that holds nothing but tensors; float32."""
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; expected a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    except Exception as error:  # both libraries raise many kinds for a broken file
        raise WeightsError(f"{path} cannot be read as weights: {first_line(error)}") from error
