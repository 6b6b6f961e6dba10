"""The embeddings of one video, and the file format in which the cache and the web page keep them."""

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

FORMAT, VERSION = "liquidvision-features", 2  # entries of another version are ignored and made again
EMBEDDING_SUFFIX = ".safetensors"  # suffix of a dataset file that holds embeddings instead of a video
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
# Metadata that must match before exported embeddings are used with a backbone. Precision is not among them: training
# takes embeddings of a bfloat16 backbone too.
MATCHED_METADATA = ("format", "version", "backbone", "nodes", "weights", "preprocessing", MOTION_CROP_KEY)


@dataclass(frozen=True, slots=True, eq=False)
class ClipEmbeddings:
    """The embeddings of one video, with the exact times of its frames.

    Attributes:
        embeddings: (n, d) float32, on the CPU.
        pts: (n,) int64 presentation times in ticks of `time_base`.
        durations: (n,) int64 durations in the same ticks; 0 where the source does not say.
        time_base: seconds per tick.
        begin: seconds on the source's clock at which the file begins.
        damaged: number of packets that could not be decoded.
    """

    embeddings: Tensor
    pts: Tensor
    durations: Tensor
    time_base: Fraction
    begin: Fraction
    damaged: int = 0

    def __repr__(self) -> str:
        frames, dim = self.embeddings.shape
        span = f", {self.times[0]:.2f} to {self.times[-1]:.2f} s" if frames else ""
        return f"ClipEmbeddings({frames} frames x {dim}{span})"

    @property
    def times(self) -> np.ndarray:
        """Seconds from the file's beginning, (n,) float64."""
        return np.array([float(pts * self.time_base - self.begin) for pts in self.pts.tolist()])

    def frames(self) -> list[Frame]:
        """Return the frames with their exact times and no pixels, as `Session.push_embeddings` takes them."""
        ticks = zip(self.pts.tolist(), self.durations.tolist(), strict=True)
        return [Frame(NO_PIXELS, i, pts, self.time_base, duration or None) for i, (pts, duration) in enumerate(ticks)]


def backbone_identity(backbone: Backbone) -> dict[str, str]:
    """Return everything about a backbone that its embeddings depend on, as metadata of an embedding file."""
    identity = {
        "format": FORMAT,
        "version": str(VERSION),
        "backbone": backbone.name,
        "nodes": json.dumps(backbone.nodes),
        "weights": hash_weights(backbone),
        "preprocessing": json.dumps(backbone.preprocessing.to_json()),
    }
    # Defaults are left out, so that entries written before these settings existed stay valid.
    if backbone.motion_crop:
        identity[MOTION_CROP_KEY] = MOTION_CROP_VALUE
    if backbone.in_half:
        identity["precision"] = "bfloat16"
    return identity


def hash_weights(backbone: Backbone) -> str:
    """Return a hash of a backbone's weights and their names."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.extractor.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def encode_embedding_file(
    clip: ClipEmbeddings, metadata: Mapping[str, str], extra_tensors: Mapping[str, Tensor] | None = None
) -> bytes:
    """Encode embeddings as a safetensors file that `read_embedding_file` reads; it ignores `extra_tensors`."""
    tensors = {**(extra_tensors or {}), "embeddings": clip.embeddings, "pts": clip.pts, "durations": clip.durations}
    own_metadata = {
        "time_base": str(clip.time_base),
        "begin": str(clip.begin),
        "damaged": str(clip.damaged),
        "frames": str(len(clip.pts)),
    }
    return encode_safetensors(tensors, {**own_metadata, **metadata})


def read_embedding_file(path: Path, expected: Mapping[str, str], dim: int) -> ClipEmbeddings:
    """Read embeddings and verify their metadata.

    Args:
        path: a file written by `encode_embedding_file`.
        expected: metadata that the file must have.
        dim: width of an embedding.

    Raises:
        ModelError: the file is missing, truncated, inconsistent, or has other metadata.
    """
    tensors, metadata = read_tensors(path)
    if any(metadata.get(name) != value for name, value in expected.items()):
        raise ModelError(f"{path} is stale: it was made from other data or with another backbone")
    try:
        embeddings, pts, durations = (tensors[name] for name in ("embeddings", "pts", "durations"))
        frames = int(metadata["frames"])
        kinds = [(tuple(tensor.shape), tensor.dtype) for tensor in (embeddings, pts, durations)]
        if kinds != [((frames, dim), torch.float32), ((frames,), torch.int64), ((frames,), torch.int64)]:
            raise ModelError(f"{path} does not hold {frames} frames of width {dim}")
        time_base, begin = Fraction(metadata["time_base"]), Fraction(metadata["begin"])
        return ClipEmbeddings(embeddings, pts, durations, time_base, begin, int(metadata["damaged"]))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def read_exported_embeddings(path: Path, identity: Mapping[str, str], dim: int) -> ClipEmbeddings:
    """Read a clip that the web page exported as embeddings.

    Args:
        path: the file.
        identity: see `backbone_identity`.
        dim: width of the backbone's embeddings.

    Raises:
        SourceError: the file is damaged, empty, or was made with another backbone.
    """
    expected = {name: identity[name] for name in MATCHED_METADATA if name in identity}
    try:
        _, metadata = read_tensors(path)
        different = [name for name in MATCHED_METADATA if metadata.get(name) != identity.get(name)]
        if metadata.get("format") == FORMAT and different:
            raise SourceError(
                f"{path} was embedded by another backbone (its {different[0]} differs); give the model that was loaded "
                "when the examples were recorded (--backbone MODEL)"
            )
        clip = read_embedding_file(path, expected, dim)
    except ModelError as error:
        raise SourceError(f"{path} holds no embeddings: {error}") from error
    if not len(clip.pts) or not bool(torch.isfinite(clip.embeddings).all()):
        raise SourceError(f"{path} holds no frames, or values that are not finite")
    return clip
