"""An annotated video without re-encoding: the source's own packets, and the overlay as a track of subtitles."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from liquidvision.errors import UsageError
from liquidvision.inference.records import PredictionSink
from liquidvision.prediction import Prediction
from liquidvision.rendering.ass_page import ass_header
from liquidvision.rendering.overlay import Overlay
from liquidvision.rendering.subtitle_overlay import MAX_EVENT, SubtitleEvent, SubtitleOverlay
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.remux import TEXT_CODECS, Cue, check_container, in_order, remux_with_subtitles

log = logging.getLogger(__name__)
TITLE = "liquidvision"  # of the track
SUBTITLE_SUFFIXES = (*TEXT_CODECS, ".ass", ".vtt")
DRAWN_SUFFIXES = (".mkv", ".ass")  # the others hold plain text


class SubtitleSink(PredictionSink):
    """Write the overlay as subtitles, which players switch on and off; pictures and sound are copied bit for bit.

    The suffix chooses the form: .mkv holds the drawn overlay (ASS), .mp4, .mov and .webm a track of plain text; .ass
    and .vtt are files of subtitles alone, which players load beside a video of the same name. While it is being
    written, what is shown so far is in a file of subtitles next to it.

    Example:
        >>> with open_video("clip.mp4") as reader:
        ...     infer(reader, model, records=[SubtitleSink("clip.mkv", reader)])

    Args:
        path: the file to write.
        reader: the source, a file.
        overlay: what to show; None takes the default.

    Raises:
        UsageError: another suffix, or a container for a source whose packets cannot be read again.
        SinkError: the file cannot be written, or cannot hold the source's video.
    """

    def __init__(self, path: str | Path, reader: VideoReader, overlay: Overlay | None = None) -> None:
        suffix = Path(path).suffix.lower()
        check_subtitle_suffix(Path(path))
        if suffix in TEXT_CODECS and (reader.path is None or not reader.path.is_file() or reader.live_options):
            raise UsageError(
                f"{reader.info.name} is no file whose packets can be copied; write .ass or .vtt, or --annotate drawn"
            )
        if suffix in TEXT_CODECS and reader.path is not None:
            check_container(reader.path, suffix)
        super().__init__(path)
        self._suffix, self._source, self._start = suffix, reader.path, reader.start_time
        height, width = reader.info.height, reader.info.width
        self._drawn = suffix in DRAWN_SUFFIXES
        self._overlay = SubtitleOverlay(overlay or Overlay(), height, width, drawn=self._drawn)
        self._header = ass_header(height, width) if self._drawn else "WEBVTT\n\n"
        # The events of a container go to a file of their own first.
        alone = suffix not in TEXT_CODECS
        self._events_path = self.part if alone else self.part.with_suffix(".ass" if self._drawn else ".vtt")
        try:
            self._file = self._events_path.open("w", buffering=1, encoding="utf-8", newline="\n")
            self._file.write(self._header)
        except OSError as error:
            raise self.sink_error(error) from error

    def write(self, prediction: Prediction) -> None:
        """Add the prediction of the next frame."""
        self._append(self._overlay.see(prediction, prediction.time - float(self._start)))

    def _append(self, events: Iterator[SubtitleEvent]) -> None:
        try:
            for event in events:
                self._file.write(format_ass(event) if self._drawn else format_vtt(event))
        except OSError as error:
            raise self.sink_error(error) from error

    def _finish(self) -> None:
        if self._file.closed:
            return
        self._append(self._overlay.finish())
        self._file.close()
        if self._suffix not in TEXT_CODECS:
            return
        assert self._source is not None
        header = self._header.encode() if self._drawn else None
        cues = in_order(self._read_cues(), MAX_EVENT + 1)
        notes = remux_with_subtitles(self._source, self.part, self._suffix, header, cues, self._start, TITLE)
        for note in notes:
            log.warning("%s: %s", self.path.name, note)
        self._events_path.unlink(missing_ok=True)

    def _read_cues(self) -> Iterator[Cue]:
        """Yield the events as they were written, for a container."""
        with self._events_path.open(encoding="utf-8", newline="\n") as file:
            if self._drawn:
                yield from read_ass_cues(file)
            else:
                yield from read_vtt_cues(file, mov_text=TEXT_CODECS[self._suffix] == "mov_text")

    def _release(self) -> None:
        self._file.close()

    def discard(self) -> None:
        super().discard()
        with suppress(OSError):
            self._events_path.unlink(missing_ok=True)


def check_subtitle_suffix(path: Path) -> None:
    """Raise UsageError if the overlay cannot be written as subtitles to a file of this suffix."""
    if path.suffix.lower() not in SUBTITLE_SUFFIXES:
        raise UsageError(
            f"{path} cannot hold the overlay as subtitles; expected {', '.join(SUBTITLE_SUFFIXES)}, or --annotate drawn"
        )


def format_ass(event: SubtitleEvent) -> str:
    """Return a line of an ASS file; its times are rounded down to hundredths of a second."""
    start, end = (format_clock_time(time, 100) for time in (event.start, event.end))
    return f"Dialogue: {event.layer},{start},{end},Default,,0,0,0,,{event.text}\n"


def format_vtt(event: SubtitleEvent) -> str:
    """Return a cue of a WebVTT file."""
    text = event.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{format_clock_time(event.start, 1000)} --> {format_clock_time(event.end, 1000)}\n{text}\n\n"


def format_clock_time(seconds: float, parts: int) -> str:
    """Return a time as hours, minutes, seconds and `parts` of a second, 100 or 1000, rounded down."""
    # A time that is a whole number of parts but for its last bit must not lose one.
    whole, rest = divmod(int(max(0.0, seconds) * parts + 1e-4), parts)
    hours = f"{whole // 3600}" if parts == 100 else f"{whole // 3600:02}"
    return f"{hours}:{whole // 60 % 60:02}:{whole % 60:02}.{rest:0{len(str(parts)) - 1}}"


def read_clock_time(text: str) -> float:
    """Return a time as `format_clock_time` writes it, in seconds."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def read_ass_cues(lines: Iterator[str]) -> Iterator[Cue]:
    """Yield the events of an ASS file as packets of Matroska hold them: numbered, and without their times."""
    number = 0
    for line in lines:
        kind, _, rest = line.rstrip("\n").partition(": ")
        if kind == "Dialogue":
            layer, start, end, others = rest.split(",", 3)
            yield Cue(read_clock_time(start), read_clock_time(end), f"{number},{layer},{others}".encode())
            number += 1


def read_vtt_cues(lines: Iterator[str], *, mov_text: bool) -> Iterator[Cue]:
    """Yield the cues of a WebVTT file; for MP4 as plain text after its length."""
    for line in lines:
        start, arrow, end = line.rstrip("\n").partition(" --> ")
        if not arrow:
            continue
        text = "".join(iter(lambda: next(lines, "\n"), "\n")).rstrip("\n")
        data = text.encode()
        if mov_text:
            plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").encode()
            data = len(plain).to_bytes(2, "big") + plain
        yield Cue(read_clock_time(start), read_clock_time(end), data)
