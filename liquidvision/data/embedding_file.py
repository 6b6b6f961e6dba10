"""Embeddings of one video in a file: what the cache keeps, and what the web page exports."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from liquidvision.errors import ModelError, SourceError
from liquidvision.models.backbone import MOTION_CROP_KEY, MOTION_CROP_VALUE, Backbone
from liquidvision.models.folder import encode_safetensors, read_tensors
from liquidvision.video.frame import Frame

FORMAT, VERSION = "liquidvision-features", 2  # with another version, everything is embedded again
EMBEDDED = ".safetensors"  # the ending of a clip that is embedded already
EMPTY = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ClipEmbeddings:
    """A video as a head sees it.

    Attributes:
        embeddings: (n, d) float32.
        pts: (n,) int64 ticks of `time_base` at which the frames are shown.
        durations: (n,) int64 ticks for which they are shown, 0 where the source does not say.
        time_base: seconds per tick.
        begin: seconds on the source's clock at which the file begins.
        damaged: packets that could not be decoded.
    """

    embeddings: Tensor
    pts: Tensor
    durations: Tensor
    time_base: Fraction
    begin: Fraction
    damaged: int = 0

    @property
    def times(self) -> np.ndarray:
        """Seconds from the file's beginning, (n,) float64."""
        return np.array([float(pts * self.time_base - self.begin) for pts in self.pts.tolist()])

    def frames(self) -> list[Frame]:
        """The frames with their exact times and no pixels, to hand to `Session.push_embeddings`."""
        ticks = zip(self.pts.tolist(), self.durations.tolist(), strict=True)
        return [Frame(EMPTY, i, pts, self.time_base, duration or None) for i, (pts, duration) in enumerate(ticks)]


def backbone_identity(backbone: Backbone) -> dict[str, str]:
    """What embeddings hang on, whatever they are of."""
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "backbone": backbone.name,
        "nodes": json.dumps(backbone.nodes),
        "weights": weights_hash(backbone),
        "preprocessing": json.dumps(backbone.preprocessing.to_json()),
        # As in `Backbone.to_json`.
        **({MOTION_CROP_KEY: MOTION_CROP_VALUE} if backbone.motion_crop else {}),
    }


def encode_embedding_file(
    features: ClipEmbeddings, about: Mapping[str, str], more: Mapping[str, Tensor] | None = None
) -> bytes:
    """A file that `read_embedding_file` reads; it passes over `more` tensors."""
    tensors = {**(more or {}), "embeddings": features.embeddings, "pts": features.pts, "durations": features.durations}
    told = {
        "time_base": str(features.time_base),
        "begin": str(features.begin),
        "damaged": str(features.damaged),
        "frames": str(len(features.pts)),
    }
    return encode_safetensors(tensors, {**told, **about})


def read_embedding_file(place: Path, wanted: Mapping[str, str], dim: int) -> ClipEmbeddings:
    """A kept entry.

    Raises:
        ModelError: it is missing or cut short, or is not what its place promises.
    """
    tensors, told = read_tensors(place)
    if any(told.get(name) != value for name, value in wanted.items()):
        raise ModelError(f"{place} is stale: it was made of something else")
    try:
        embeddings, pts, durations = (tensors[name] for name in ("embeddings", "pts", "durations"))
        frames = int(told["frames"])
        kinds = [(tuple(tensor.shape), tensor.dtype) for tensor in (embeddings, pts, durations)]
        if kinds != [((frames, dim), torch.float32), ((frames,), torch.int64), ((frames,), torch.int64)]:
            raise ModelError(f"{place} does not hold {frames} frames of {dim}")
        return ClipEmbeddings(
            embeddings, pts, durations, Fraction(told["time_base"]), Fraction(told["begin"]), int(told["damaged"])
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{place} is damaged: {error}") from error


def weights_hash(backbone: Backbone) -> str:
    """A hash of a backbone's weights by name."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.extractor.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_embedding_bytes(path: Path, about: Mapping[str, str], dim: int) -> ClipEmbeddings:
    """A clip that is embedded already, as the web page exports its examples.

    Args:
        path: of the file.
        about: of the backbone, see `backbone_identity`.
        dim: width of its embeddings.

    Raises:
        SourceError: the file is damaged, empty, or of another backbone.
    """
    names = ("format", "version", "backbone", "nodes", "weights", "preprocessing", "look")
    wanted = {name: about[name] for name in names if name in about}
    try:
        _, told = read_tensors(path)
        if told.get("format") == FORMAT and (other := [name for name in names if told.get(name) != about.get(name)]):
            raise SourceError(
                f"{path} was embedded by another backbone (its {other[0]} differs); give the model that it was "
                "shown to (--backbone MODEL)"
            )
        found = read_embedding_file(path, wanted, dim)
    except ModelError as error:
        raise SourceError(f"{path} holds no embeddings: {error}") from error
    if not len(found.pts) or not bool(torch.isfinite(found.embeddings).all()):
        raise SourceError(f"{path} holds no frames, or numbers that are none")
    return found
