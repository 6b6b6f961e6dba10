"""File objects and bytes as sources: what `open()`, `io.BytesIO`, sockets and remote file systems give."""

import os
import threading
from io import BytesIO, TextIOBase
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable
from urllib.parse import urlsplit

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.read.local_files import PIPE_HINT
from liquidvision.video.read.names import JPEG_SUFFIXES

SMALLEST_VIDEO = 4096  # bytes; where fewer cannot be opened, they may be meant as a path


@runtime_checkable
class BinaryFile(Protocol):
    """An object that is open for reading bytes. With `seek` and `tell`, it can be read more than once."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


def is_file_object(source: object) -> TypeGuard[BinaryFile | bytes]:
    """Return whether a source is a file object, or the content of a file."""
    return isinstance(source, bytes | bytearray | memoryview) or callable(getattr(source, "read", None))


class FileSource:
    """A file object, or a file's content, as a source. It is read from its beginning, and is not closed.

    Args:
        given: an object with `read`, or bytes.

    Attributes:
        name: for display.
        path: the local file that the object reads; None for others.
        read_once: whether its data can be read once only, as that of a pipe.
        failure: the error that the object raised, if it did since it was opened last.

    Raises:
        UsageError: it is closed, not open for reading, or open as text.
    """

    def __init__(self, given: BinaryFile | bytes) -> None:
        file: Any = BytesIO(given) if isinstance(given, bytes | bytearray | memoryview) else given
        self.name = display_name(given)
        check_binary(file, self.name)
        self.path = path_of_file(file)
        self.read_once = not is_seekable(file)
        self.failure: SourceError | None = None
        self._file, self._lock = file, threading.Lock()
        # Of a pipe, what is there is taken at once.
        self._read = getattr(file, "read1", file.read) if self.read_once else file.read
        self._rest = b""  # of a pipe: what was delivered beyond what was asked for

    def __str__(self) -> str:
        return self.name

    @property
    def hint(self) -> str:
        """What to try where it cannot be opened; empty if there is nothing to say."""
        if isinstance(self._file, BytesIO) and self.name == "bytes" and len(self._file.getbuffer()) < SMALLEST_VIDEO:
            return "; bytes are a file's content, and a path is a str"
        return PIPE_HINT if self.read_once else ""

    def open(self) -> "FileView":
        """Return a view of the content for one reader."""
        self.failure = None
        return FileView(self) if self.read_once else SeekableView(self)

    def read_at(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes; of a source that cannot seek, the next ones.

        Raises:
            SourceError: the object raises an error, or returns no bytes.
        """
        with self._lock:
            try:
                if not self.read_once:
                    self._file.seek(position)
                data = self._rest or self._read(size)
                data = bytes(data)  # raises where it is None or text
            except Exception as error:
                self.failure = SourceError(f"{self.name} broke off: {error or type(error).__name__}")
                raise self.failure from error
            self._rest = data[size:] if self.read_once else b""
            return data[:size]

    def seek_end(self, offset: int) -> int:
        """Return the position `offset` bytes after the end."""
        with self._lock:
            self._file.seek(offset, os.SEEK_END)
            return int(self._file.tell())


class FileView:
    """What PyAV reads: the content in order."""

    def __init__(self, source: FileSource) -> None:
        self._source, self._position = source, 0
        # FFmpeg recognises some formats by the file's name. A JPEG's it would take for a pattern of several files.
        jpeg = Path(source.name).suffix.lower() in JPEG_SUFFIXES
        self.name = "file" if jpeg else source.name

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        data = self._source.read_at(self._position, size)
        self._position += len(data)
        return data


class SeekableView(FileView):
    """A view with a position of its own."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, and return it."""
        if whence == os.SEEK_END:
            self._position = self._source.seek_end(offset)
        else:
            self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


def display_name(given: object) -> str:
    """Return a name for display: that of the file, without folders, user, password and query; else the type's."""
    name = getattr(given, "name", None) or getattr(given, "path", None)
    if not isinstance(name, str | Path):
        return type(given).__name__
    path = urlsplit(str(name)).path if "://" in str(name) else str(name)
    return Path(path).name or type(given).__name__


def check_binary(file: Any, name: str) -> None:
    """Raise UsageError where an object is closed, not open for reading, or open as text."""
    if getattr(file, "closed", False) is True:
        raise UsageError(f"{name} is closed; expected a file that is open for reading")
    readable = getattr(file, "readable", None)
    if callable(readable) and not readable():
        raise UsageError(f"{name} is not open for reading; open it with mode rb")
    if isinstance(file, TextIOBase) or getattr(file, "encoding", None) is not None:
        raise UsageError(f"{name} is open as text; open it with mode rb")


def is_seekable(file: Any) -> bool:
    """Return whether an object can be read more than once."""
    if not all(callable(getattr(file, name, None)) for name in ("seek", "tell")):
        return False
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else True


def path_of_file(file: Any) -> Path | None:
    """Return the local file that an object reads; None where it is none, or has been replaced."""
    name = getattr(file, "name", None)
    if not isinstance(name, str | Path):
        return None
    try:
        return Path(name) if os.path.samestat(os.fstat(file.fileno()), os.stat(name)) else None
    except (OSError, ValueError, AttributeError):
        return None
