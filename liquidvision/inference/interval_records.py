"""Files of intervals: a row for each, on disk the moment the interval is certain."""

import csv
import io
import json
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

from liquidvision.annotation.interval import Interval
from liquidvision.errors import SinkError
from liquidvision.video.write.sink import Sink

COLUMNS = ("file", "start", "end", "label", "score")


class IntervalSink(Sink):
    """Base class of output files for intervals. Subclass it to write your own format with `infer`.

    A subclass writes to `part` and implements `write`, `_finish` and `_release`, see `Sink`.

    Args:
        path: the file to write.
        source: the recording; its name is that of intervals without a `file`.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        super().__init__(path)
        self.source = source

    @abstractmethod
    def write(self, interval: Interval) -> None:
        """Append an interval. They come by the time at which they are certain, not by their start."""


class IntervalRecordSink(IntervalSink):
    """Write a row for each interval, as CSV, or as JSON Lines if the suffix is .jsonl.

    The columns are file, start, end, label and score; times are seconds from the beginning of the file. `train` reads
    this CSV. A file name is relative to the folder of the CSV. A recording without intervals gets a row with its name
    only, which `train` reads as nothing but background. Each row is flushed to the disk before `write` returns, so that
    a crash or a power cut loses none.

    Args:
        path: the file to write.
        source: the path of the recording, or the name of a stream.

    Raises:
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        super().__init__(path, source)
        self._json = self.path.suffix.lower() == ".jsonl"
        self._rows = 0
        try:
            self._file = self.part.open("wb", buffering=0)
        except OSError as error:
            raise self.sink_error(error) from error

    def write(self, interval: Interval) -> None:
        """Append an interval, and wait until it is on the disk."""
        file = interval.file or self.source
        self._write(
            {
                "file": relative_to_folder(file, self.path.parent),
                "start": round(interval.start, 6),
                "end": round(interval.end, 6),
                "label": interval.label,
                "score": "" if interval.score is None else round(interval.score, 5),
            }
        )

    def _write(self, row: dict[str, Any]) -> None:
        if self._json:
            content = json.dumps(row, ensure_ascii=False) + "\n"
        else:
            text = io.StringIO(newline="")
            table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            if not self._rows:
                table.writeheader()
            table.writerow(row)
            content = text.getvalue()
        try:
            data = memoryview(content.encode("utf-8", "surrogateescape"))
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self.sink_error(error) from error
        self._rows += 1

    def _finish(self) -> None:
        self._file.close()

    def close(self) -> None:
        """Finish the file and give it its final name."""
        if not self._rows and not self._json:
            self._write({"file": relative_to_folder(self.source, self.path.parent)})
        super().close()

    def _release(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error


def relative_to_folder(file: str, folder: Path) -> str:
    """Return the path of a file relative to a folder, with forward slashes; another name, such as a URL, as it is."""
    if not os.path.isabs(file):
        return file
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another of Windows' drives
        return Path(file).as_posix()
