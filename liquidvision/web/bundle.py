"""Models and examples as zips: out to the person, and in again, looked at like any other stranger's file."""

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
from liquidvision.web.protocol import RefusedError, label_field
from liquidvision.web.sight import SharedModel
from liquidvision.web.teach import LONGEST, MOST_BYTES, MOST_CLASSES, MOST_EXAMPLES, SHORTEST, never_falling

INDEX = "index.csv"
MOST_UNPACKED = 512 * 2**20  # bytes
MOST_TEXT = 2**20  # bytes of a JSON or CSV
WIDEST = 1024  # of any size in an uploaded head's configuration
MOST_FRAMES = 10_000  # of an example
MICRO = Fraction(1, 1_000_000)


def pack_model(model: Model) -> bytes:
    """A zip of the model's folder, which `infer -m` takes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "taught"
        model.save_pretrained(folder, card=bundle_card(model))
        return zipped({f"taught/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())})


def bundle_card(model: Model) -> str:
    return (
        f"# {model.name}\n\nA liquidvision model, taught by showing in the web page, on {model.backbone.name}.\n\n"
        f"Labels: {', '.join(model.labels)}.\n\nIt knows one person's examples in one place, and was judged by nothing "
        "else: expect little of it elsewhere.\n\n    liquidvision infer clip.mp4 -m taught\n"
    )


def pack_examples(examples: Sequence[Example], sight: SharedModel) -> bytes:
    """A zip of a folder that `train` takes: embeddings with their times, and an index.csv with their labels."""
    about = backbone_identity(sight.teachable)
    files, rows = {}, [("file", "label")]
    for number, example in enumerate(examples, 1):
        name = f"{number:04d}{EMBEDDING_SUFFIX}"
        start, ticks = example.lead, (example.times / float(MICRO)).round().long()
        shown = ticks[start:]
        features = ClipEmbeddings(example.embeddings[start:], shown, torch.zeros_like(shown), MICRO, Fraction(0))
        before = {"lead": example.embeddings[:start], "lead_pts": ticks[:start]}
        files[f"examples/{name}"] = encode_embedding_file(features, about, before)
        rows.append((name, example.label))
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return zipped({f"examples/{INDEX}": text.getvalue().encode(), **files})


def zipped(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def unpack(archive_path: Path, folder: Path) -> list[str]:
    """Write a zip's files of known kinds flat into `folder`, by their last names, and give these.

    Only config.json, model.safetensors, README.md, index.csv and other .safetensors are taken; where in the zip they
    lie makes no difference, so that no name leads out of the folder.

    Raises:
        UsageError: it is no zip, or larger than it may be, or holds a name twice.
    """
    names: list[str] = []
    try:
        with zipfile.ZipFile(archive_path) as archive:
            taken = [info for info in archive.infolist() if required_entry(info.filename)]
            if len(taken) > MOST_EXAMPLES + 1 or sum(info.file_size for info in taken) > MOST_UNPACKED:
                raise UsageError(f"the zip holds more than {MOST_EXAMPLES} examples, or {MOST_UNPACKED >> 20} MB")
            for info in taken:
                name = info.filename.rpartition("/")[2]
                if name in names:
                    raise UsageError(f"the zip holds {name} twice; expected one folder in it")
                most = MOST_UNPACKED if name.endswith(EMBEDDING_SUFFIX) else MOST_TEXT
                with archive.open(info) as file:
                    content = file.read(min(most, info.file_size) + 1)
                if len(content) > min(most, info.file_size):
                    raise UsageError(f"{name} in the zip is larger than it may be")
                (folder / name).write_bytes(content)
                names.append(name)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("this is no zip that can be read; expected one that the page exported") from error
    return names


def required_entry(name: str) -> bool:
    """Whether a file in a zip is one of ours; what systems add by themselves (__MACOSX/._config.json) is not."""
    parts = name.split("/")
    if any(part.startswith((".", "__")) for part in parts) or "\\" in name or "\0" in name or len(parts[-1]) > 100:
        return False
    return parts[-1] in (CONFIG_FILE, CARD_FILE, INDEX) or parts[-1].endswith(EMBEDDING_SUFFIX)


def read_examples(folder: Path, sight: SharedModel) -> list[Example]:
    """Examples that `pack_examples` packed.

    Raises:
        UsageError: an index or a file that is none, or of another backbone, or more than there may be.
    """
    about, dim = backbone_identity(sight.teachable), sight.teachable.dim
    found: list[Example] = []
    size = 0
    try:
        rows = list(csv.reader(io.StringIO((folder / INDEX).read_bytes().decode("utf-8-sig")), strict=True))
        if not rows or rows[0] != ["file", "label"] or not all(len(row) == 2 for row in rows if row):
            raise UsageError(f"{INDEX} in the zip has other columns than file,label")
        for name, label in filter(None, rows[1:]):
            if not required_entry(name) or "/" in name or not name.endswith(EMBEDDING_SUFFIX):
                raise UsageError(
                    f"{INDEX} in the zip names {name!r}; expected a file of the zip, as 0001{EMBEDDING_SUFFIX}"
                )
            features = read_exported_embeddings(folder / name, about, dim)
            times = never_falling(features.times.tolist())
            lead, lead_times = lead_of(folder / name, dim)
            if not SHORTEST <= len(times) <= MOST_FRAMES or not 0 <= float(times[-1]) <= 2 * LONGEST:
                raise UsageError(f"{name} has {len(times)} frames in {float(times[-1]):g} s, which is no example")
            every = torch.cat([lead, features.embeddings])
            size += every.nbytes
            if size > MOST_BYTES:
                raise UsageError(f"the examples take more than {MOST_BYTES >> 20} MB")
            found.append(Example(label_field(label), every, torch.cat([lead_times, times])))
    except (OSError, csv.Error, UnicodeError, OverflowError, RefusedError) as error:
        told = str(error).replace(f"{folder}/", "") if isinstance(error, SourceError | RefusedError) else "damaged"
        raise UsageError(f"the examples cannot be read: {told}") from error
    if not found or len({example.label for example in found}) > MOST_CLASSES:
        raise UsageError(f"the zip shows {len(found)} examples; expected some, of {MOST_CLASSES} classes at most")
    return found


def lead_of(path: Path, dim: int) -> tuple[Tensor, Tensor]:
    """Embeddings (k, dim) of what was seen before an example, and seconds (k,) below 0; none where there are none."""
    tensors, _ = read_tensors(path)
    lead, pts = tensors.get("lead", torch.zeros(0, dim)), tensors.get("lead_pts", torch.zeros(0, dtype=torch.int64))
    kinds = (lead.dtype, pts.dtype, tuple(lead.shape))
    times = pts.double() * float(MICRO)
    falling = bool((times.diff() < 0).any()) or bool((times >= 0).any()) or bool((times < -2 * LONGEST).any())
    if kinds != (torch.float32, torch.int64, (len(pts), dim)) or falling or not bool(torch.isfinite(lead).all()):
        raise UsageError(f"{path.name} has a lead that is none")
    return lead, times


def read_model(folder: Path, sight: SharedModel) -> Model:
    """A model that `pack_model` packed, or another folder with a trained head on the same backbone.

    Raises:
        UsageError, ModelError: it is damaged, on another backbone, or larger than a taught one is.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        head, labels, spec = config["head"], [label_field(label) for label in config["labels"]], config["backbone"]
        kind, fits = config["format"], all(fitting(name, head[name]) for name in head)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RefusedError) as error:
        raise UsageError("the zip's config.json is not that of a model with a trained head") from error
    if kind != MODEL_FORMAT or not isinstance(head, dict) or "layouts" not in head or not fits:
        raise UsageError("the zip's model is no trained head, or larger than one that is taught")
    if len(set(labels)) < len(labels) or not 2 <= len(labels) <= MOST_CLASSES:
        raise UsageError(f"the zip's model has {len(labels)} labels; expected 2 to {MOST_CLASSES}, all different")
    own = sight.teachable
    tensors, _ = read_tensors(folder / WEIGHTS_FILE)
    weights = {f"backbone.{name}": value.cpu() for name, value in own.extractor.state_dict().items()}
    if json.dumps(spec) != json.dumps(own.to_json()) or not all(
        name in tensors and torch.equal(tensors.pop(name).to(value), value) for name, value in weights.items()
    ):
        raise UsageError("the zip's model has another backbone than the loaded one; start with it: --web -m FOLDER")
    # Not by `Model.from_pretrained`: building a backbone is nothing to do while others compute.
    try:
        made = LiquidHead(LiquidHeadConfig.from_json(head))
        own_tensors = {name.removeprefix("head."): value for name, value in tensors.items()}
        check_tensor_shapes(Path(WEIGHTS_FILE), "head.", made.state_dict(), own_tensors)
        made.load_state_dict(own_tensors)
        model = Model(own, made, labels, name="taught", first_dt=float(config["first_dt"]))
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"the zip's model does not fit its config.json: {first_line(error)}") from error
    if not all(bool(torch.isfinite(value).all()) for value in made.state_dict().values()):
        raise UsageError(f"{WEIGHTS_FILE} in the zip holds numbers that are none")
    return model


def fitting(name: str, value: Any) -> bool:
    """Whether one of an uploaded head's numbers is such that it costs no more than a taught head does."""
    if name == "layouts":
        return isinstance(value, list) and len(value) <= 8
    if name == "taus":
        return isinstance(value, list | tuple) and len(value) <= 16
    if name == "max_step":
        return value is None
    if name == "unfolds":
        return isinstance(value, int) and value <= 16
    return not isinstance(value, int) or value <= WIDEST
