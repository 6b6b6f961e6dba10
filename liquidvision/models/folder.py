"""Model folders on disk: config.json, model.safetensors and README.md. Nothing that is read here can run code."""

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
    """Return the folders of the bundled models by name."""
    inside = Path(__file__).parents[1] / "weights"  # in an installed wheel
    root = inside if inside.is_dir() else Path(__file__).parents[2] / "weights"  # in a checkout
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG_FILE).is_file()}


def find_model(name_or_folder: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        name_or_folder: the name of a bundled model, or the path of a model folder.

    Raises:
        ModelError: there is no such model.
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
    """Return the parsed config.json of a model folder.

    Raises:
        ModelError: the file is missing, truncated, or of another format or version.
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
    """Write a model folder; if that fails, the folder stays as it was.

    Args:
        folder: it is created if it does not exist.
        config: the content of config.json, without format and version.
        tensors: the content of model.safetensors.
        card: the content of README.md.
        more: contents of further files by name.

    Raises:
        SinkError: the folder cannot be written.
    """
    text = json.dumps({"format": MODEL_FORMAT, "version": MODEL_VERSION, **config}, indent=2, ensure_ascii=False)
    files = {
        WEIGHTS_FILE: encode_safetensors({name: to_half_if_exact(tensor) for name, tensor in tensors.items()}, {}),
        CARD_FILE: card.encode("utf-8", "replace"),
        **(more or {}),
        # Last, so that an incomplete folder is not mistaken for a model.
        CONFIG_FILE: text.encode("utf-8", "backslashreplace") + b"\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_all_atomic({folder / name: content for name, content in files.items()})
    except OSError as error:
        raise SinkError(f"cannot write the model folder {folder}: {error.strerror or error}") from error


def to_half_if_exact(tensor: Tensor) -> Tensor:
    """Return the tensor in half precision if that loses nothing, else as it is."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically."""
    write_atomic(path, encode_safetensors(tensors, metadata))


def encode_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file."""
    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return all tensors of a safetensors file, with their stored types, and its metadata.

    Raises:
        ModelError: the file is missing, truncated, or not safetensors.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is missing or cut short ({error}); copy it again") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state dict in float32.

    Args:
        path: a .safetensors file, or a .pth or .pt file that holds only tensors.

    Raises:
        WeightsError: the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; expected a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    except Exception as error:  # both libraries raise many types for a broken file
        raise WeightsError(f"{path} cannot be read as weights: {first_line(error)}") from error
