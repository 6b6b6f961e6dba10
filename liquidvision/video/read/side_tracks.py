"""Reads the sound, subtitles, chapters and tags of a file, without decoding them."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av

from liquidvision.errors import SourceError
from liquidvision.video.frame import Chapter
from liquidvision.video.read.container import belongs_to
from liquidvision.video.read.reader import ReadWindow, SideTracks

log = logging.getLogger(__name__)

# Tags that describe the file, not its content; they are wrong for a file written from it.
FILE_TAGS = {"encoder", "software", "major_brand", "minor_version", "compatible_brands", "duration"}


class AVSideTracks(SideTracks):
    """The side tracks of a file, read through a container of their own. Packets keep their own time base.

    Of a transport stream with several programs they are those of the video's program.
    """

    def __init__(
        self, container: av.container.InputContainer, window: ReadWindow, start_time: Fraction, video_index: int
    ) -> None:
        self._container = container
        video = container.streams[video_index]
        assert isinstance(video, av.VideoStream)
        self.streams = [
            stream
            for stream in container.streams
            if stream.type in ("audio", "subtitle") and belongs_to(container, stream, video)
        ]
        self.tags = {key: value for key, value in container.metadata.items() if key.lower() not in FILE_TAGS}
        self.picture_tags = video.metadata
        self._has_start, self._start = window.start > 0, start_time + Fraction(window.start)
        self._stop = None if window.stop is None else start_time + Fraction(window.stop)
        self.chapters = list(self._chapters())
        if window.start > 0:
            with suppress(av.error.FFmpegError):  # not seekable: earlier packets are skipped below
                self._container.seek(int(self._start * av.time_base), backward=True)
        self._packets = self._read()
        self._next: av.Packet | None = next(self._packets, None)

    def _chapters(self) -> Iterator[Chapter]:
        for chapter in self._container.chapters():
            second = 1 / (chapter["time_base"] or Fraction(1))
            start, stop = chapter["start"] / second, chapter["end"] / second
            if self._has_start:
                start = max(start, self._start)
            if self._stop is not None:
                stop = min(stop, self._stop)
            if start < stop:
                yield Chapter(start, stop, chapter["metadata"])

    def _read(self) -> Iterator[av.Packet]:
        if not self.streams:
            return
        # Sound is continuous: once all sound tracks have passed the end of the window, nothing more follows.
        running = {s.index for s in self.streams if s.type == "audio"} or {s.index for s in self.streams}
        try:
            for packet in self._container.demux(self.streams):
                if not packet.size:  # marks the end of a stream
                    continue
                if packet.stream.type == "subtitle":
                    self._cut(packet)
                seconds = packet_time(packet)
                if self._has_start and seconds < self._start:  # without a start, no packet is too early
                    continue
                if self._stop is not None and seconds >= self._stop:
                    running.discard(packet.stream_index)
                    if not running:
                        return
                    continue
                yield packet
        except (av.error.FFmpegError, SourceError) as error:
            log.warning("sound and subtitles broke off: %s", error.strerror or error)

    def _cut(self, packet: av.Packet) -> None:
        """Shorten a subtitle that crosses an edge of the window to the part inside it."""
        start = packet_time(packet)
        stop = start + (packet.duration or 0) * packet.time_base
        if self._has_start and start < self._start < stop:
            start = self._start
            packet.pts = packet.dts = round(start / packet.time_base)
        if packet.duration and stop > start:
            stop = stop if self._stop is None else min(stop, max(start, self._stop))
            packet.duration = round((stop - start) / packet.time_base)

    def packets_until(self, seconds: float) -> Iterator[av.Packet]:
        while self._next is not None and packet_time(self._next) <= seconds:
            packet, self._next = self._next, next(self._packets, None)
            yield packet

    def close(self) -> None:
        # Nothing is read from the closed container, and the generator, which refers to this object, is freed now.
        self._next, self._packets = None, iter(())
        self._container.close()


def packet_time(packet: av.Packet) -> Fraction:
    """Return the time in seconds at which a packet is played, on the source's clock."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return (stamp or 0) * packet.time_base
