"""Intervals of a run in the format of an annotation tool, by the file's ending."""

import json
from contextlib import suppress
from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo, to_frames
from liquidvision.annotation.formats import format_to_write
from liquidvision.annotation.interval import Interval
from liquidvision.errors import LiquidVisionError, SinkError, UsageError
from liquidvision.inference.interval_records import IntervalRecordSink, IntervalSink, relative_to_folder
from liquidvision.workflows.convert import read_timeline


class AnnotationSink(IntervalSink):
    """Write the intervals of one recording in any format that `convert` writes, when the recording has ended.

    Until then they are in a file of JSON Lines next to it, flushed to the disk one by one, see `IntervalRecordSink`.

    Args:
        path: the file to write; its ending chooses the format.
        source: the path of the recording, or the name of a stream.

    Raises:
        UsageError: the ending stands for no format, or the format counts frames and the source is no file.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, source: str) -> None:
        self._format = format_to_write(Path(path))
        if self._format.needs_video and not Path(source).is_file():
            raise UsageError(f"{self._format.title} counts frames, and {source} is no file; write .csv or .jsonl")
        super().__init__(path, source)
        self._kept = IntervalRecordSink(self.part.with_suffix(".jsonl"), source)

    def write(self, interval: Interval) -> None:
        """Keep an interval, and wait until it is on the disk."""
        self._kept.write(interval)

    def _finish(self) -> None:
        lines = self._kept.part.read_text(encoding="utf-8").splitlines()
        intervals = sorted(
            (
                Interval(row["start"], row["end"], row["label"], score=None if row["score"] == "" else row["score"])
                for row in map(json.loads, lines)
            ),
            key=lambda interval: (interval.start, interval.end, interval.label),
        )
        video = AnnotatedVideo(relative_to_folder(self.source, self.path.parent), tuple(intervals))
        if self._format.needs_video:
            try:
                timeline = read_timeline(Path(self.source))
            except LiquidVisionError as error:
                raise SinkError(
                    f"cannot write {self.path}: the frames of {self.source} are not readable: {error}"
                ) from error
            frames = to_frames(intervals, timeline) if self._format.in_frames else ()
            video = AnnotatedVideo(video.file, () if frames else video.intervals, frames, timeline=timeline)
        if self._format.write_many is not None:
            content = self._format.write_many([video])
        else:
            assert self._format.write_one is not None
            content = self._format.write_one(video)
        self.part.write_bytes(content)
        self._kept.discard()  # not before: where this fails, the intervals stay on the disk

    def _release(self) -> None:
        with suppress(SinkError):
            self._kept.keep()

    def discard(self) -> None:
        self._kept.discard()
        super().discard()
