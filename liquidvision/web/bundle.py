"""Packs taught models and examples as zips, and reads uploaded zips, which it does not trust."""

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liquidvision.data.embedding_file import (
    EMBEDDING_SUFFIX,
    ClipEmbeddings,
    backbone_identity,
    encode_embedding_file,
    read_exported_embeddings,
)
from liquidvision.errors import SourceError, UsageError, first_line
from liquidvision.models.folder import CARD_FILE, CONFIG_FILE, MODEL_FORMAT, WEIGHTS_FILE, read_tensors
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.models.model import Model, check_tensor_shapes
from liquidvision.training.few_shot import Example
from liquidvision.web.protocol import RefusedError, parse_label
from liquidvision.web.shared_model import SharedModel
from liquidvision.web.teaching import (
    MAX_CLASSES,
    MAX_EMBEDDING_BYTES,
    MAX_EXAMPLE_SECONDS,
    MAX_EXAMPLES,
    MIN_EXAMPLE_FRAMES,
    seconds_since_start,
)

INDEX_FILE, INDEX_COLUMNS = "index.csv", ["file", "label"]
MODEL_FOLDER, EXAMPLES_FOLDER = "taught", "examples"  # in the zips
MAX_UNPACKED_BYTES = 512 * 2**20
MAX_TEXT_FILE_BYTES = 2**20  # of a JSON or CSV file
MAX_NAME_LENGTH = 100
MAX_HEAD_SIZE = 1024  # of any size in the configuration of an uploaded head
MAX_LAYOUTS, MAX_TAUS, MAX_UNFOLDS = 8, 16, 16  # in that configuration
MAX_EXAMPLE_FRAMES = 10_000
TIME_BASE = Fraction(1, 1_000_000)


def pack_model(model: Model) -> bytes:
    """Return a zip of the model's folder, which `infer -m` reads when it is unpacked."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / MODEL_FOLDER
        model.save_pretrained(folder, card=_model_card(model))
        return make_zip({f"{MODEL_FOLDER}/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())})


def _model_card(model: Model) -> str:
    return (
        f"# {model.name}\n\nA liquidvision model, taught by example in the web page, on {model.backbone.name}.\n\n"
        f"Labels: {', '.join(model.labels)}.\n\nIt was trained on one person's examples in one place and evaluated on "
        "nothing else: do not expect it to work well elsewhere.\n\n    liquidvision infer clip.mp4 -m taught\n"
    )


def pack_examples(examples: Sequence[Example], shared: SharedModel) -> bytes:
    """Return a zip of a folder that `train` reads: embeddings with their times, and an index.csv with the labels."""
    about = backbone_identity(shared.teachable)
    files, rows = {}, [tuple(INDEX_COLUMNS)]
    for number, example in enumerate(examples, 1):
        name = f"{number:04d}{EMBEDDING_SUFFIX}"
        start, ticks = example.lead, (example.times / float(TIME_BASE)).round().long()
        own_ticks = ticks[start:]
        clip = ClipEmbeddings(
            example.embeddings[start:], own_ticks, torch.zeros_like(own_ticks), TIME_BASE, Fraction(0)
        )
        lead = {"lead": example.embeddings[:start], "lead_pts": ticks[:start]}
        files[f"{EXAMPLES_FOLDER}/{name}"] = encode_embedding_file(clip, about, lead)
        rows.append((name, example.label))
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return make_zip({f"{EXAMPLES_FOLDER}/{INDEX_FILE}": text.getvalue().encode(), **files})


def make_zip(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of files by name."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def unpack_zip(archive_path: Path, folder: Path) -> list[str]:
    """Unpack the files of known kinds from a zip into `folder`, without subfolders; return their names.

    Only config.json, model.safetensors, README.md, index.csv and other .safetensors are unpacked. Their folders in the
    zip are ignored, so that no file is written outside `folder`.

    Raises:
        UsageError: not a zip, too large, or the same name twice.
    """
    names: list[str] = []
    try:
        with zipfile.ZipFile(archive_path) as archive:
            entries = [info for info in archive.infolist() if is_expected_file(info.filename)]
            if len(entries) > MAX_EXAMPLES + 1 or sum(info.file_size for info in entries) > MAX_UNPACKED_BYTES:
                raise UsageError(
                    f"the zip is too large; expected at most {MAX_EXAMPLES} examples and {MAX_UNPACKED_BYTES >> 20} MB"
                )
            for info in entries:
                name = info.filename.rpartition("/")[2]
                if name in names:
                    raise UsageError(f"the zip holds {name} twice; expected one folder in it")
                limit = min(
                    MAX_UNPACKED_BYTES if name.endswith(EMBEDDING_SUFFIX) else MAX_TEXT_FILE_BYTES, info.file_size
                )
                with archive.open(info) as file:
                    content = file.read(limit + 1)
                if len(content) > limit:
                    raise UsageError(f"{name} in the zip is larger than allowed")
                (folder / name).write_bytes(content)
                names.append(name)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("the file is no zip, or damaged; expected a zip that this page saved") from error
    return names


def is_expected_file(name: str) -> bool:
    """Return whether a zip entry is of a known kind. Files that systems add (__MACOSX/._config.json) are not."""
    parts = name.split("/")
    hidden = any(part.startswith((".", "__")) for part in parts)
    if hidden or "\\" in name or "\0" in name or len(parts[-1]) > MAX_NAME_LENGTH:
        return False
    return parts[-1] in (CONFIG_FILE, CARD_FILE, INDEX_FILE) or parts[-1].endswith(EMBEDDING_SUFFIX)


def read_examples(folder: Path, shared: SharedModel) -> list[Example]:
    """Read the unpacked files of `pack_examples`.

    Raises:
        UsageError: a malformed index or file, another backbone, or more than allowed.
    """
    examples: list[Example] = []
    size = 0
    try:
        for name, label in _read_index(folder / INDEX_FILE):
            if not is_expected_file(name) or "/" in name or not name.endswith(EMBEDDING_SUFFIX):
                raise UsageError(
                    f"{INDEX_FILE} in the zip names {name!r}; expected a file of the zip, "
                    f"for example 0001{EMBEDDING_SUFFIX}"
                )
            example = _read_example(folder / name, label, shared)
            size += example.embeddings.nbytes
            if size > MAX_EMBEDDING_BYTES:
                raise UsageError(f"the examples take more than {MAX_EMBEDDING_BYTES >> 20} MB")
            examples.append(example)
    except (OSError, csv.Error, UnicodeError, OverflowError, RefusedError) as error:
        reason = str(error).replace(f"{folder}/", "") if isinstance(error, SourceError | RefusedError) else "damaged"
        raise UsageError(f"the examples cannot be read: {reason}") from error
    if not examples or len({example.label for example in examples}) > MAX_CLASSES:
        raise UsageError(
            f"the zip holds {len(examples)} examples; expected at least 1, of at most {MAX_CLASSES} classes"
        )
    return examples


def _read_index(path: Path) -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig")), strict=True))
    if not rows or rows[0] != INDEX_COLUMNS or not all(len(row) == 2 for row in rows if row):
        raise UsageError(f"{INDEX_FILE} in the zip has other columns than {','.join(INDEX_COLUMNS)}")
    return [row for row in rows[1:] if row]


def _read_example(path: Path, label: str, shared: SharedModel) -> Example:
    about, dim = backbone_identity(shared.teachable), shared.teachable.dim
    clip = read_exported_embeddings(path, about, dim)
    times = seconds_since_start(clip.times.tolist())
    lead, lead_times = _read_lead(path, dim)
    if not MIN_EXAMPLE_FRAMES <= len(times) <= MAX_EXAMPLE_FRAMES or not 0 <= times[-1] <= 2 * MAX_EXAMPLE_SECONDS:
        raise UsageError(
            f"{path.name} has {len(times)} frames in {float(times[-1]):g} s; expected {MIN_EXAMPLE_FRAMES} to "
            f"{MAX_EXAMPLE_FRAMES} frames in at most {2 * MAX_EXAMPLE_SECONDS:g} s"
        )
    return Example(parse_label(label), torch.cat([lead, clip.embeddings]), torch.cat([lead_times, times]))


def _read_lead(path: Path, dim: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings (k, dim) of the frames before an example, and their seconds (k,), below 0; k may be 0."""
    tensors, _ = read_tensors(path)
    lead, pts = tensors.get("lead", torch.zeros(0, dim)), tensors.get("lead_pts", torch.zeros(0, dtype=torch.int64))
    kinds = (lead.dtype, pts.dtype, tuple(lead.shape))
    times = pts.double() * float(TIME_BASE)
    bad_times = (times.diff() < 0).any() or (times >= 0).any() or (times < -2 * MAX_EXAMPLE_SECONDS).any()
    if kinds != (torch.float32, torch.int64, (len(pts), dim)) or bad_times or not torch.isfinite(lead).all():
        raise UsageError(f"{path.name} has malformed frames before the example")
    return lead, times


def read_model(folder: Path, shared: SharedModel) -> Model:
    """Read the unpacked files of `pack_model`, or of another model with a trained head on the same backbone.

    Raises:
        UsageError: damaged, on another backbone, or larger than a taught model.
        ModelError: the weights cannot be read or do not fit.
    """
    config = _read_config(folder / CONFIG_FILE)
    labels, backbone = config["labels"], shared.teachable
    tensors, _ = read_tensors(folder / WEIGHTS_FILE)
    weights = {f"backbone.{name}": value.cpu() for name, value in backbone.extractor.state_dict().items()}
    if json.dumps(config["backbone"]) != json.dumps(backbone.to_json()) or not all(
        name in tensors and torch.equal(tensors.pop(name).to(value), value) for name, value in weights.items()
    ):
        raise UsageError("the zip's model has another backbone than the loaded one; start with it: --web -m FOLDER")
    # Not with `Model.from_pretrained`: no backbone may be built while other threads compute.
    try:
        head = LiquidHead(LiquidHeadConfig.from_json(config["head"]))
        head_tensors = {name.removeprefix("head."): value for name, value in tensors.items()}
        check_tensor_shapes(Path(WEIGHTS_FILE), "head.", head.state_dict(), head_tensors)
        head.load_state_dict(head_tensors)
        model = Model(backbone, head, labels, name="taught", first_dt=float(config["first_dt"]))
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"the zip's model does not fit its config.json: {first_line(error)}") from error
    if not all(bool(torch.isfinite(value).all()) for value in head.state_dict().values()):
        raise UsageError(f"{WEIGHTS_FILE} in the zip contains NaN or infinity")
    return model


def _read_config(path: Path) -> dict[str, Any]:
    """Return the checked config.json of an uploaded model."""
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        head, labels = config["head"], [parse_label(label) for label in config["labels"]]
        fits = all(is_allowed_size(name, head[name]) for name in head)
        kind, _ = config["format"], config["backbone"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RefusedError) as error:
        raise UsageError("the zip's config.json is not that of a model with a trained head") from error
    if kind != MODEL_FORMAT or not isinstance(head, dict) or "layouts" not in head or not fits:
        raise UsageError("the zip's model has no trained head, or one that is larger than a taught one")
    if len(set(labels)) < len(labels) or not 2 <= len(labels) <= MAX_CLASSES:
        raise UsageError(f"the zip's model has {len(labels)} labels; expected 2 to {MAX_CLASSES}, all different")
    return config | {"labels": labels}


def is_allowed_size(name: str, value: Any) -> bool:
    """Return whether one value of an uploaded head's configuration costs at most as much as a taught head's."""
    if name == "layouts":
        return isinstance(value, list) and len(value) <= MAX_LAYOUTS
    if name == "taus":
        return isinstance(value, list | tuple) and len(value) <= MAX_TAUS
    if name == "max_step":
        return value is None
    if name == "unfolds":
        return isinstance(value, int) and value <= MAX_UNFOLDS
    return not isinstance(value, int) or value <= MAX_HEAD_SIZE
