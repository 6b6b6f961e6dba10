"""Embeddings of whole videos: made once by a frozen backbone, and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.data.embedding_file import (
    EMBEDDED,
    EMPTY,
    ClipEmbeddings,
    backbone_identity,
    encode_embedding_file,
    read_embedding_bytes,
    read_embedding_file,
)
from liquidvision.data.views import PLAIN_VIEW, make_view
from liquidvision.errors import ModelError, SinkError, SourceError, UsageError
from liquidvision.files import write_atomic as write
from liquidvision.models.backbone import Backbone
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.video.frame import Frame
from liquidvision.video.read.open import open_video


class EmbeddingStore:
    """Embeds each video once and keeps the result. Several processes may share a folder.

    An entry is found by the content of the video, the backbone's weights, nodes, preprocessing and kind of device,
    by which frames are taken, and by the view: it is never another's. What is cut short or stale is made again.

    Args:
        backbone: what embeds; its weights do not change any more.
        folder: where entries are kept; None: see `default_cache_folder`.
        stride: every how-manieth frame is taken.
        max_frames: how many of them at most; None: all.
        batch: pictures embedded at once; None: 4 on a CPU, whose caches hold no more at full speed, else 32.

    Attributes:
        about: what entries hang on beside video and view: backbone, nodes, weights' hash, stride, ...

    Raises:
        UsageError: a stride, number of frames or batch below 1.
        SinkError: the folder cannot be made.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        folder: Path | None = None,
        stride: int = 1,
        max_frames: int | None = None,
        batch: int | None = None,
    ) -> None:
        for name, value in (("stride", stride), ("max_frames", max_frames), ("batch", batch)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected 1 or more")
        self.backbone, self.folder = backbone, folder or default_cache_folder()
        self.stride, self.max_frames = stride, max_frames
        self.batch = batch or (4 if backbone.device.type == "cpu" else 32)
        self.about = {
            **backbone_identity(backbone),
            "device": backbone.device.type,
            "stride": str(stride),
            "max_frames": str(max_frames),
        }
        self._contents: dict[tuple[str | int, ...], str] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the cache folder {self.folder}: {error.strerror or error}") from error

    def get(self, path: Path, view: str = PLAIN_VIEW, *, on_frame: Callable[[], None] = lambda: None) -> ClipEmbeddings:
        """The features of a video: from disk, or embedded now and kept.

        Args:
            path: of the video, or of embeddings that the web page exported.
            view: see `views.view`.
            on_frame: called for each picture that is embedded.

        Raises:
            SourceError: the video cannot be read to its end, or was changed meanwhile.
            SinkError: the entry cannot be written.
            UsageError: no such view.
        """
        return self._read(path, view) or self._make(path, [view], on_frame)[0]

    def again(self, path: Path, change: Callable[[Iterable[Frame]], Iterable[Frame]]) -> ClipEmbeddings:
        """The features of a video of which other frames are seen; not kept.

        Args:
            path: of the video.
            change: from the video's frames to those that are seen.

        Raises:
            SourceError: the video cannot be read to its end, or there are embeddings of it only.
        """
        if path.suffix == EMBEDDED:
            raise SourceError(f"{path} holds embeddings, of which no other frames can be seen")
        with naming_source(path):
            return self._embed(path, [PLAIN_VIEW], lambda: None, change)[0]

    def has(self, path: Path, view: str = PLAIN_VIEW) -> bool:
        """Whether a whole entry of this video is kept; False also where the video cannot be read."""
        try:
            return self._read(path, view) is not None
        except SourceError:
            return False

    def fill(
        self,
        paths: Iterable[Path],
        views: Sequence[str] = (PLAIN_VIEW,),
        *,
        on_frame: Callable[[], None] = lambda: None,
        on_video: Callable[[Path, str, bool], None] = lambda path, view, new: None,
    ) -> dict[Path, SourceError]:
        """Embed what is not kept yet; each video is decoded once for all its views.

        Args:
            paths: of the videos; one that cannot be read is passed over.
            views: of each video.
            on_frame: called for each picture that is embedded.
            on_video: called when a video's view is done: its path, the view, and whether it was embedded now.

        Returns:
            The videos that could not be read, with what was wrong.

        Raises:
            SinkError: an entry cannot be written.
            UsageError: no such view.
        """
        for name in views:
            make_view(name)  # a wrong name is told before anything is read
        failed: dict[Path, SourceError] = {}
        for path in dict.fromkeys(paths):
            missing = [name for name in dict.fromkeys(views) if not self.has(path, name)]
            try:
                if missing:
                    self._make(path, missing, on_frame)
            except SourceError as error:
                failed[path] = error
                continue
            for name in dict.fromkeys(views):
                on_video(path, name, name in missing)
        return failed

    def content(self, path: Path) -> str:
        """A hash of a file's bytes; remembered while its size and times stay.

        Raises:
            SourceError: the file cannot be read.
        """
        try:
            stat = path.stat()
            known = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if known not in self._contents:
                with path.open("rb") as file:
                    self._contents[known] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        return self._contents[known]

    def _make(self, path: Path, views: Sequence[str], on_frame: Callable[[], None]) -> list[ClipEmbeddings]:
        """Embed a video in several views, and keep them."""
        if path.suffix == EMBEDDED:
            return [self._given(path, name) for name in views]
        told = [self._provenance(path, name) for name in views]
        with naming_source(path):
            made = self._embed(path, views, on_frame)
        if self.content(path) != told[0]["content"]:
            raise SourceError(f"{path} was changed while it was read; try again when it is finished")
        for about, features in zip(told, made, strict=True):
            more = {"source": path.name, "liquidvision": version("liquidvision")}
            place = self._place(about)
            try:
                place.parent.mkdir(exist_ok=True)
                write(place, encode_embedding_file(features, {**about, **more}))
            except OSError as error:
                raise SinkError(
                    f"cannot keep embeddings in {self.folder}: {error.strerror or error}; make room, or choose "
                    "another folder (--cache)"
                ) from error
        return made

    @torch.no_grad()  # not inference mode: heads are trained on what comes out
    def _embed(
        self,
        path: Path,
        views: Sequence[str],
        on_frame: Callable[[], None],
        change: Callable[[Iterable[Frame]], Iterable[Frame]] = iter,
    ) -> list[ClipEmbeddings]:
        looks = [None if name == PLAIN_VIEW else make_view(name) for name in views]
        gazes = [MotionCrop(self.backbone) for _ in views]
        size = max(1, self.batch // len(views))
        embeddings: list[Tensor] = []
        shown: list[Frame] = []
        with open_video(path, stride=self.stride) as reader:

            def prepared() -> Iterator[tuple[Frame, Tensor]]:
                for frame in change(islice(reader, self.max_frames)):
                    seen = (look(frame.image, frame.index) if look else frame.pixels for look in looks)
                    shows = (replace(frame, pixels=pixels) for pixels in seen)
                    # Some views' are made on the backbone's device, others' on the CPU.
                    inputs = [
                        gaze.prepare(show).to(self.backbone.device) for gaze, show in zip(gazes, shows, strict=True)
                    ]
                    yield replace(frame, pixels=EMPTY), torch.cat(inputs)

            # The network's input is made in the reading thread too: the backbone never waits for what is small.
            with Prefetcher(prepared(), 2 * size) as items:
                rest = iter(items)
                while chunk := list(islice(rest, size)):
                    found = self.backbone(torch.cat([inputs for _, inputs in chunk])).cpu()
                    embeddings.append(found.unflatten(0, (len(chunk), len(views))))
                    shown += [frame for frame, _ in chunk]
                    for _ in found:
                        on_frame()
            begin, damaged = reader.start_time, reader.counts.damaged
        every = torch.cat(embeddings)
        pts = torch.tensor([frame.pts for frame in shown])
        durations = torch.tensor([frame.duration or 0 for frame in shown])
        base = shown[0].time_base
        return [
            ClipEmbeddings(every[:, i].contiguous(), pts, durations, base, begin, damaged) for i in range(len(views))
        ]

    def _read(self, path: Path, view: str) -> ClipEmbeddings | None:
        """The entry of a video; None where it is missing, cut short or stale."""
        if path.suffix == EMBEDDED:
            return self._given(path, view)
        about = self._provenance(path, view)
        try:
            return read_embedding_file(self._place(about), about, self.backbone.dim)
        except ModelError:
            return None

    def _given(self, path: Path, view: str) -> ClipEmbeddings:
        """A clip that is embedded already."""
        if view != PLAIN_VIEW or self.stride != 1 or self.max_frames is not None:
            raise SourceError(f"{path} holds embeddings, of which no views and no fewer frames can be taken")
        return read_embedding_bytes(path, self.about, self.backbone.dim)

    def _provenance(self, path: Path, view: str) -> dict[str, str]:
        """What an entry must say of itself to be the one of this video and view."""
        return {**self.about, "content": self.content(path), "view": view}

    def _place(self, about: Mapping[str, str]) -> Path:
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"


@contextmanager
def naming_source(path: Path) -> Iterator[None]:
    """Name the file where an error does not."""
    try:
        yield
    except SourceError as error:
        raise error if path.name in str(error) else SourceError(f"{path}: {error}") from error


def default_cache_folder() -> Path:
    """Where embeddings are kept: $LIQUIDVISION_CACHE, or `features` in the user's cache folder of this system."""
    given = os.environ.get("LIQUIDVISION_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("liquidvision", appauthor=False)) / "features"
