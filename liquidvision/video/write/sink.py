"""The interface of output files, which get their final name only when they are complete."""

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from liquidvision.errors import SinkError, SourceError
from liquidvision.video.frame import Frame

MAX_NAME_BYTES = 255  # of a file's name, on nearly all file systems
STDOUT = Path("-")  # the path that stands for standard output


class Sink(ABC):
    """An output file, written next to its target as `name.part.suffix` and renamed when it is complete.

    A context manager: leaving it finishes the file. If the source broke off or the output failed (SourceError,
    SinkError), what was written is kept under the temporary name; after any other exception it is deleted.

    Attributes:
        path: the target.
        part: the temporary file.

    Raises:
        SinkError: the folder cannot be created, or the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._claim()

    def _claim(self) -> None:
        if os.path.isdir(self.path):
            raise SinkError(f"{self.path} is a folder; expected the name of a file to write")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot create the folder {self.path.parent}: {error.strerror}") from error
        try:
            self.part = create_part_file(self.path)  # an output that cannot be written fails now, not after the work
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error

    def _publish(self) -> None:
        self.part.replace(self.path)

    @abstractmethod
    def _finish(self) -> None:
        """Write what is buffered, and close the file."""

    @abstractmethod
    def _release(self) -> None:
        """Close the file without writing what is buffered; harmless when called twice."""

    def close(self) -> None:
        """Finish the file and give it its final name."""
        try:
            self._finish()
            self._publish()
        except SinkError:  # already states what is wrong
            self._release()
            self.remove_empty_part()
            raise
        except OSError as error:
            self._release()
            self.remove_empty_part()
            raise self.sink_error(error) from error
        except BaseException:  # a second Ctrl-C
            self.discard()
            raise

    def keep(self) -> None:
        """Finish the file as far as possible under its temporary name; delete it if it is empty."""
        try:
            self._finish()
        except OSError:
            self._release()
        self.remove_empty_part()

    def discard(self) -> None:
        """Close and delete the temporary file."""
        self._release()
        self.part.unlink(missing_ok=True)

    def remove_empty_part(self) -> None:
        """Delete the temporary file if it is empty."""
        with suppress(OSError):
            if self.part.stat().st_size == 0:
                self.part.unlink()

    def sink_error(self, error: Exception) -> SinkError:
        """Return the SinkError for a failed write."""
        what = getattr(error, "strerror", None) or str(error)
        kept = f"; what was written is in {self.part}" if self.part.is_file() and self.part.stat().st_size else ""
        return SinkError(f"cannot write {self.path}: {what}{kept}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif isinstance(error, SourceError | SinkError):
            self.keep()
        else:
            self.discard()


def create_part_file(path: Path) -> Path:
    """Create an empty file next to `path` with a name of its own, different from any source or earlier part."""
    number, stem = 1, path.stem
    while len(os.fsencode(f"{stem}.part99{path.suffix}")) > MAX_NAME_BYTES and len(stem) > 1:
        stem = stem[:-1]
    while True:
        part = path.with_name(f"{stem}.part{'' if number == 1 else number}{path.suffix}")
        try:
            part.open("xb").close()
            return part
        except FileExistsError:
            number += 1


class StdoutMixin(Sink):
    """Makes a sink write to standard output: there is no file to name, to rename or to remove."""

    def _claim(self) -> None:
        return

    def _publish(self) -> None:
        return

    def discard(self) -> None:
        self._release()

    def remove_empty_part(self) -> None:
        return

    def sink_error(self, error: Exception) -> SinkError:
        return SinkError(f"cannot write to standard output: {getattr(error, 'strerror', None) or error}")


class VideoSink(Sink):
    """An output video.

    Attributes:
        notes: what the output could not keep of the source, one line each.
    """

    notes: list[str]

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Append a frame at its own time. Frames that differ in size from the first are resized to it."""

    def finish_side_tracks(self, *, whole: bool) -> None:
        """Copy the remaining sound and subtitles: after the `whole` video all, otherwise up to the last frame's end."""
        return
