"""Model folders on disk: config.json, model.safetensors and README.md. Nothing read here can run code."""

import glob
import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from liquidvision.errors import ModelError, SinkError, WeightsError, first_line

FORMAT, VERSION = "liquidvision-model", 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
ABANDONED = 24 * 3600  # seconds after which nobody writes at a file any more


def bundled() -> dict[str, Path]:
    """The models that come with the package: name to folder."""
    inside = Path(__file__).parent / "weights"  # in an installed wheel
    root = inside if inside.is_dir() else Path(__file__).parent.parent / "weights"  # in a checkout
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / CONFIG).is_file()}


def find(name_or_folder: str | Path) -> Path:
    """The folder of a model, given by its path or by the name of a bundled one.

    Raises:
        ModelError: neither is there.
    """
    folder = Path(name_or_folder)
    if (folder / CONFIG).is_file():
        return folder
    models = bundled()
    if str(name_or_folder) in models:
        return models[str(name_or_folder)]
    if folder.is_dir():
        raise ModelError(f"{folder} is not a model folder: it has no {CONFIG}")
    raise ModelError(
        f"no model {str(name_or_folder)!r}: it is neither a folder nor bundled (bundled: {', '.join(models) or 'none'})"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of a model folder.

    Raises:
        ModelError: it is missing, cut short, of another format or of a later version.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); copy the model folder again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f'{path} is not a liquidvision model; expected "format": "{FORMAT}"')
    if config.get("version") != VERSION:
        raise ModelError(
            f"{path} has version {config.get('version')!r}; this liquidvision reads version {VERSION}: "
            "upgrade liquidvision, or train the model again"
        )
    return config


def write_folder(
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
    text = json.dumps({"format": FORMAT, "version": VERSION, **config}, indent=2, ensure_ascii=False)
    files = {
        WEIGHTS: encode({name: compact(tensor) for name, tensor in tensors.items()}, {}),
        CARD: card.encode("utf-8", "replace"),
        **(more or {}),
        # Last, so that a folder cut short is not taken for a model.
        CONFIG: text.encode("utf-8", "backslashreplace") + b"\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_all({folder / name: content for name, content in files.items()})
    except OSError as error:
        raise SinkError(f"cannot write the model folder {folder}: {error.strerror or error}") from error


def compact(tensor: Tensor) -> Tensor:
    """In half precision where that loses nothing."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is whole."""
    replace(path, encode(tensors, metadata))


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
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


def replace(path: Path, content: bytes) -> None:
    """Write a file beside `path` and rename it, so that `path` is never half written."""
    replace_all({path: content})


def sweep(path: Path) -> None:
    """Remove what writers of `path` that were killed left behind."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # another's part, gone by now or not ours to remove
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def replace_all(files: Mapping[Path, bytes]) -> None:
    """As `replace`, for several: none is renamed before all are written."""
    # By chance, as processes of several machines, or threads, may write the same file.
    parts = {path: path.with_name(f"{path.name}.{secrets.token_hex(8)}.part") for path in files}
    try:
        for path in files:
            sweep(path)
        for path, content in files.items():
            parts[path].write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


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
