"""Embeddings of whole videos, computed once by a frozen backbone and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import Tensor

from liquidvision import checkpoint
from liquidvision.backbone import Backbone
from liquidvision.errors import ModelError, SinkError, SourceError
from liquidvision.frame import Frame
from liquidvision.learn.views import PLAIN, View
from liquidvision.sources.ahead import Ahead
from liquidvision.sources.open import open_video

VERSION = 1  # of what is kept; another one is embedded again
BATCH = 16
AHEAD_FRAMES = 32  # decoded pictures that may wait
EMPTY = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A video as the backbone sees it.

    Attributes:
        embeddings: (n, d) float32.
        pts: (n,) int64 ticks of `time_base`.
        durations: (n,) int64 ticks; 0 where the source does not say.
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
        """The frames without their pixels, to hand to `Session.push_embeddings`."""
        ticks = zip(self.pts.tolist(), self.durations.tolist(), strict=True)
        return [Frame(EMPTY, i, pts, self.time_base, duration or None) for i, (pts, duration) in enumerate(ticks)]


class FeatureStore:
    """Embeds each video once and keeps the result; several processes may share one folder.

    An entry is found by the content of the video, the backbone's weights, nodes and preprocessing, the
    stride and the view, so it is never another's; what is cut short or does not match is embedded again.

    Args:
        backbone: what embeds.
        folder: where entries are kept; None: see `default_folder`.
        stride: every how-manieth frame is embedded.
    """

    def __init__(self, backbone: Backbone, *, folder: Path | None = None, stride: int = 1) -> None:
        self.backbone, self.folder, self.stride = backbone, folder or default_folder(), stride
        self.about = {
            "version": str(VERSION),
            "backbone": backbone.name,
            "nodes": json.dumps(backbone.nodes),
            "preprocessing": json.dumps(backbone.preprocessing.to_json()),
            "weights": fingerprint(backbone),
            "stride": str(stride),
        }
        self._contents: dict[tuple[str, int, int], str] = {}

    def provenance(self, path: Path, view: str) -> dict[str, str]:
        """What an entry must say of itself to be the one of this video and view."""
        return {**self.about, "content": self.content(path), "view": view}

    def place(self, path: Path, view: str = PLAIN) -> Path:
        """Where the entry of a video is, or is to be.

        Raises:
            SourceError: the video cannot be read.
        """
        told = json.dumps(self.provenance(path, view), sort_keys=True)
        key = hashlib.sha256(told.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def content(self, path: Path) -> str:
        """A hash of a file's bytes; remembered in this process while its size and time stay."""
        try:
            stat = path.stat()
            known = (str(path), stat.st_size, stat.st_mtime_ns)
            if known not in self._contents:
                with path.open("rb") as file:
                    self._contents[known] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        return self._contents[known]

    def has(self, path: Path, view: str = PLAIN) -> bool:
        """Whether a whole entry of this video is kept."""
        return self.read(path, view) is not None

    def get(self, path: Path, view: str = PLAIN, *, on_frame: Callable[[], None] = lambda: None) -> Features:
        """The features of a video: from disk, or embedded now and kept.

        Args:
            path: of the video.
            view: see `View`.
            on_frame: called for each frame that is embedded.

        Raises:
            SourceError: the video cannot be read, or has no frame.
            SinkError: the entry cannot be written.
            UsageError: no such view.
        """
        kept = self.read(path, view)
        if kept is not None:
            return kept
        features = embed(self.backbone, path, View(view), self.stride, on_frame)
        place = self.place(path, view)
        tensors = {"embeddings": features.embeddings, "pts": features.pts, "durations": features.durations}
        clock = {"time_base": str(features.time_base), "begin": str(features.begin), "damaged": str(features.damaged)}
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_tensors(place, tensors, {**self.provenance(path, view), **clock, "source": path.name})
        except OSError as error:
            raise SinkError(
                f"cannot keep embeddings in {self.folder}: {error.strerror or error}; make room, or choose another "
                "folder (--cache)"
            ) from error
        return features

    def read(self, path: Path, view: str) -> Features | None:
        """The entry of a video; None where it is missing, cut short or stale."""
        place = self.place(path, view)
        if not place.is_file():
            return None
        try:
            return read_entry(place, self.provenance(path, view))
        except ModelError:
            return None

    def fill(
        self,
        paths: Iterable[Path],
        views: Sequence[str] = (PLAIN,),
        *,
        on_frame: Callable[[], None] = lambda: None,
        on_video: Callable[[Path, str, bool], None] = lambda path, view, new: None,
    ) -> dict[Path, SourceError]:
        """Embed what is not kept yet; a video that cannot be read is passed over.

        Args:
            paths: of the videos.
            views: of each video.
            on_frame: called for each frame that is embedded.
            on_video: called when a video's view is done: its path, the view, and whether it was embedded now.

        Returns:
            The videos that could not be read, with what was wrong.

        Raises:
            SinkError: an entry cannot be written.
            UsageError: no such view.
        """
        failed: dict[Path, SourceError] = {}
        for path in paths:
            try:
                for view in views:
                    new = not self.has(path, view)
                    if new:
                        self.get(path, view, on_frame=on_frame)
                    on_video(path, view, new)
            except SourceError as error:
                failed[path] = error
        return failed


def read_entry(place: Path, wanted: Mapping[str, str]) -> Features:
    """A kept entry.

    Raises:
        ModelError: it is cut short, or is not what its place promises.
    """
    tensors, told = checkpoint.read_tensors(place)
    if any(told.get(name) != value for name, value in wanted.items()):
        raise ModelError(f"{place} is stale: it was made of something else")
    try:
        return Features(
            tensors["embeddings"],
            tensors["pts"],
            tensors["durations"],
            Fraction(told["time_base"]),
            Fraction(told["begin"]),
            int(told["damaged"]),
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{place} is damaged: {error}") from error


@torch.no_grad()
def embed(
    backbone: Backbone, path: Path, view: View, stride: int, on_frame: Callable[[], None] = lambda: None
) -> Features:
    """Embed every `stride`-th frame of a video; a thread decodes and prepares ahead of the backbone."""
    inputs: list[Tensor] = []
    embeddings: list[Tensor] = []
    ticks: list[tuple[int, int]] = []
    base = Fraction(1)
    with open_video(path, stride=stride) as reader:
        # The network's input is made in the reading thread: it is small, and the backbone need not wait for it.
        def prepared(frame: Frame) -> tuple[Frame, Tensor]:
            small = backbone.prepare(np.ascontiguousarray(view(frame.image, frame.index)))
            return replace(frame, image=EMPTY), small

        with Ahead(map(prepared, reader), AHEAD_FRAMES) as frames:
            for frame, pixels in frames:
                ticks.append((frame.pts, frame.duration or 0))
                base = frame.time_base
                inputs.append(pixels)
                if len(inputs) == BATCH:
                    embeddings.append(backbone(torch.cat(inputs)).cpu())
                    inputs.clear()
                on_frame()
        if inputs:
            embeddings.append(backbone(torch.cat(inputs)).cpu())
        if not embeddings:
            raise SourceError(f"{path} has no frame")
        pts, durations = torch.tensor(ticks, dtype=torch.int64).T.contiguous()
        return Features(torch.cat(embeddings), pts, durations, base, reader.begin, reader.damaged)


def fingerprint(backbone: Backbone) -> str:
    """A hash of a backbone's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.extractor.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def default_folder() -> Path:
    """Where embeddings are kept: LIQUIDVISION_CACHE, or the user's cache folder of this system."""
    given: Any = os.environ.get("LIQUIDVISION_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("liquidvision")) / "features"
