"""The contract of every output file: it has its final name only when it is whole."""

from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from liquidvision.errors import SinkError, SourceError
from liquidvision.video.frame import Frame

STDOUT = Path("-")  # as the name of a video: a stream on standard output


class Sink(ABC):
    """An output file, written beside its target as `name.part.suffix` and renamed when it is whole.

    A context manager: leaving it finishes the file. Leaving it because a source broke off or a disk
    is full keeps what was written under the temporary name; leaving it by any other exception
    discards it.

    Attributes:
        path: the target.
        part: where the file is written.

    Raises:
        SinkError: the folder cannot be made, or the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._claim()

    def _claim(self) -> None:
        if self.path.is_dir():
            raise SinkError(f"{self.path} is a folder; expected the name of a file to write")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {self.path.parent}: {error.strerror}") from error
        try:
            self.part = create_part_file(self.path)  # what cannot be written is told before the work, not after it
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error

    def _publish(self) -> None:
        self.part.replace(self.path)

    @abstractmethod
    def _finish(self) -> None:
        """Write what is still held back, and close the file."""

    @abstractmethod
    def _release(self) -> None:
        """Close the file without caring what is in it; harmless when done twice."""

    def close(self) -> None:
        """Finish the file and give it its final name."""
        try:
            self._finish()
            self._publish()
        except SinkError:  # says already what is wrong
            self._release()
            self.remove_empty_part()
            raise
        except OSError as error:
            self._release()
            self.remove_empty_part()
            raise self.sink_error(error) from error
        except BaseException:  # Ctrl-C, impatient
            self.discard()
            raise

    def keep(self) -> None:
        """Finish the file as far as it goes, under its temporary name; an empty one is not worth keeping."""
        try:
            self._finish()
        except OSError:
            self._release()
        self.remove_empty_part()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self._release()
        self.part.unlink(missing_ok=True)

    def remove_empty_part(self) -> None:
        """Remove the temporary file where nothing was ever written to it; harmless at any other time."""
        with suppress(OSError):
            if self.part.stat().st_size == 0:
                self.part.unlink()

    def sink_error(self, error: Exception) -> SinkError:
        """The one line for an output that cannot be written."""
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
    """An empty file beside `path`, under a name that nothing else has: neither a source nor an earlier part."""
    number = 1
    while True:
        part = path.with_name(f"{path.stem}.part{'' if number == 1 else number}{path.suffix}")
        try:
            part.open("xb").close()
            return part
        except FileExistsError:
            number += 1


class VideoSink(Sink):
    """An output video.

    Attributes:
        notes: what the output could not keep of the source, a line each.
    """

    notes: list[str]

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Append a frame at its own time. Frames of another size than the first are fitted to it."""

    def finish_side_tracks(self, *, whole: bool) -> None:
        """Say that the last frame is written; copy the rest of the sound: all of it after the `whole` video."""
        return
