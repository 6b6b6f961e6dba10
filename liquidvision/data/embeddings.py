"""The cache of embeddings: each video is embedded once by a frozen backbone and kept on disk."""

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import platformdirs

from liquidvision.data.clip_embedder import ClipEmbedder
from liquidvision.data.content import hash_content, stamp_content
from liquidvision.data.embedding_file import (
    EMBEDDING_SUFFIX,
    ClipEmbeddings,
    backbone_identity,
    encode_embedding_file,
    read_embedding_file,
    read_exported_embeddings,
)
from liquidvision.data.views import PLAIN_VIEW, make_view
from liquidvision.errors import ModelError, SinkError, SourceError
from liquidvision.files import write_atomic
from liquidvision.models.backbone import Backbone
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_options import FileOptions


class EmbeddingStore:
    """Embeds each video once and keeps the result on disk. Several processes may share a folder.

    The key of an entry covers the content of the video, the backbone's weights, nodes, preprocessing, precision and
    kind of device, how files are read, the selection of frames, and the view. Truncated or stale entries are made
    again.

    Args:
        backbone: frozen; its weights must not change any more.
        folder: where entries are kept; None: see `default_cache_folder`.
        stride: use every Nth frame; times are kept.
        max_frames: use at most the first N of these frames; None: all.
        batch: pictures embedded at once; None: 4 on a CPU, else 32.
        files: how files are read; None: by the defaults.

    Attributes:
        identity: what entries depend on besides video and view, by name.

    Raises:
        UsageError: stride, max_frames or batch is below 1.
        SinkError: the folder cannot be created.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        folder: str | Path | None = None,
        stride: int = 1,
        max_frames: int | None = None,
        batch: int | None = None,
        files: FileOptions | None = None,
    ) -> None:
        self.files = files or FileOptions()
        self.embedder = ClipEmbedder(backbone, stride=stride, max_frames=max_frames, batch=batch, files=self.files)
        self.backbone, self.stride = backbone, stride
        self.folder = Path(folder) if folder is not None else default_cache_folder()
        self._selection = {
            **backbone_identity(backbone),
            "device": backbone.device.type,
            "stride": str(stride),
            "max_frames": str(max_frames),
        }
        self.identity = {**self._selection, **self.files.identity()}
        self._hashes: dict[Hashable, str] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the cache folder {self.folder}: {error.strerror or error}") from error

    def get(self, path: Path, view: str = PLAIN_VIEW, *, on_frame: Callable[[], None] = lambda: None) -> ClipEmbeddings:
        """Return the embeddings of a video: from disk, or computed now and kept.

        Args:
            path: a video, or embeddings that the web page exported.
            view: see `make_view`.
            on_frame: called after each picture is embedded.

        Raises:
            SourceError: the video cannot be read to its end, or changed while it was read.
            SinkError: the entry cannot be written.
            UsageError: no such view.
        """
        return self._read(path, view) or self._embed_and_keep(path, [view], on_frame)[0]

    def embed_changed(self, path: Path, change: Callable[[Iterable[Frame]], Iterable[Frame]]) -> ClipEmbeddings:
        """Embed a video after changing its frames; the result is not kept.

        Args:
            path: the video.
            change: maps the video's frames to those that are embedded.

        Raises:
            SourceError: the video cannot be read to its end, or the file holds embeddings instead of a video.
        """
        if path.suffix == EMBEDDING_SUFFIX:
            raise SourceError(f"{path} holds embeddings; its frames cannot be changed and embedded again")
        return self.embedder.embed(path, change=change)[0]

    def has(self, path: Path, view: str = PLAIN_VIEW) -> bool:
        """Return whether a complete entry of this video exists; False if the video cannot be read."""
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
        """Embed what is not in the cache yet; each video is decoded once for all its views.

        Args:
            paths: the videos; those that cannot be read are skipped.
            views: the views of each video, see `make_view`.
            on_frame: called after each picture is embedded.
            on_video: called when a view of a video is done, with its path, the view, and whether it was embedded now.

        Returns:
            The videos that could not be read, with their errors.

        Raises:
            SinkError: an entry cannot be written.
            UsageError: no such view.
        """
        for name in views:
            make_view(name)  # an unknown name is refused before anything is read
        failed: dict[Path, SourceError] = {}
        for path in dict.fromkeys(paths):
            missing = [name for name in dict.fromkeys(views) if not self.has(path, name)]
            try:
                if missing:
                    self._embed_and_keep(path, missing, on_frame)
            except SourceError as error:
                failed[path] = error
                continue
            for name in dict.fromkeys(views):
                on_video(path, name, name in missing)
        return failed

    def hash_content(self, path: Path) -> str:
        """Return a hash of a clip's bytes; it is remembered while the files' sizes and times stay the same.

        Raises:
            SourceError: a file cannot be read.
        """
        try:
            key = stamp_content(path)
            if key not in self._hashes:
                self._hashes[key] = hash_content(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        return self._hashes[key]

    def _embed_and_keep(self, path: Path, views: Sequence[str], on_frame: Callable[[], None]) -> list[ClipEmbeddings]:
        if path.suffix == EMBEDDING_SUFFIX:
            return [self._read_exported(path, name) for name in views]
        identities = [self._entry_identity(path, name) for name in views]
        clips = self.embedder.embed(path, views, on_frame=on_frame)
        if self.hash_content(path) != identities[0]["content"]:
            raise SourceError(f"{path} changed while it was read; try again when it is finished")
        for identity, clip in zip(identities, clips, strict=True):
            name = path.name.encode(errors="surrogateescape").decode(errors="replace")  # it need not be UTF-8
            origin = {"source": name, "liquidvision": version("liquidvision")}
            entry = self._entry_path(identity)
            try:
                entry.parent.mkdir(exist_ok=True)
                write_atomic(entry, encode_embedding_file(clip, {**identity, **origin}))
            except OSError as error:
                raise SinkError(
                    f"cannot keep embeddings in {self.folder}: {error.strerror or error}; make room, or choose "
                    "another folder (--cache)"
                ) from error
        return clips

    def _read(self, path: Path, view: str) -> ClipEmbeddings | None:
        """Return the entry of a video; None if it is missing, truncated or stale."""
        if path.suffix == EMBEDDING_SUFFIX:
            return self._read_exported(path, view)
        identity = self._entry_identity(path, view)
        try:
            return read_embedding_file(self._entry_path(identity), identity, self.backbone.dim)
        except ModelError:
            return None

    def _read_exported(self, path: Path, view: str) -> ClipEmbeddings:
        if view != PLAIN_VIEW or self.stride != 1 or self.embedder.max_frames is not None:
            raise SourceError(f"{path} holds embeddings; views, a stride or fewer frames need the video")
        return read_exported_embeddings(path, self.identity, self.backbone.dim)

    def _entry_identity(self, path: Path, view: str) -> dict[str, str]:
        """Return the metadata that the entry of this video and view must have."""
        own = self.files.identity(path)
        return {**self._selection, **own, "content": self.hash_content(path), "view": view}

    def _entry_path(self, identity: Mapping[str, str]) -> Path:
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"


def default_cache_folder() -> Path:
    """Return where embeddings are kept: $LIQUIDVISION_CACHE, else `features` in the user's cache folder."""
    given = os.environ.get("LIQUIDVISION_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("liquidvision", appauthor=False)) / "features"
