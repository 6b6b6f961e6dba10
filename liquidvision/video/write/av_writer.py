"""Writes video files with PyAV: every frame at its own time, with the source's sound and subtitles."""

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from liquidvision.concurrency.cores import restore_priority
from liquidvision.errors import SinkError
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.pixels import Pixels, Planes
from liquidvision.video.read.reader import SideTracks
from liquidvision.video.write.codecs import check_codec, container_suffix
from liquidvision.video.write.copied_tracks import MAX_REPEATS, MAX_STEP_TICKS, to_ticks
from liquidvision.video.write.side_tracks import SideTrackWriter, is_file_fault
from liquidvision.video.write.sink import STDOUT, StdoutMixin, VideoSink

log = logging.getLogger(__name__)
SMALL_SIDE = 64  # pixels; some encoders refuse smaller pictures
# Write packets to disk at once instead of in blocks of 32 KiB, which small pictures take a minute to fill. Fragments
# and clusters last half a second, and no track waits longer than that for the packets of another.
FLUSH_OPTIONS = {"flush_packets": "1", "max_interleave_delta": "500000"}
MATROSKA_OPTIONS = {"cluster_time_limit": "500"}
# swscale's matrices by their numbers in ISO/IEC 23091-2 (H.273); any other matrix becomes BT.601.
SWSCALE_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}


class AVVideoSink(VideoSink):
    """Writes H.264 (or another of `CODECS`) at the frames' own times, exact to the tick.

    While an MP4 is being written it is fragmented, so that the part on disk plays even after a crash.

    Args:
        path: the file; its suffix chooses the container.
        info: the source's pixel aspect and mean rate.
        start_time: time on the source's clock, in seconds, that becomes 0 in the output.
        codec: one of `CODECS`.
        side_tracks: sound, subtitles, chapters and tags to copy, or None.
        sound: whether to copy the sound of `side_tracks`.

    Raises:
        UsageError: an unknown codec, or a codec that the container cannot hold.
        SinkError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        *,
        start_time: Fraction = Fraction(0),
        codec: str = "h264",
        side_tracks: SideTracks | None = None,
        sound: bool = True,
    ) -> None:
        self._codec = check_codec(Path(path), codec)
        super().__init__(path)
        self.notes: list[str] = []
        self._info, self._start_time, self._side_tracks, self._sound = info, start_time, side_tracks, sound
        try:
            self._container = self._open()
        except OSError as error:
            raise self.sink_error(error) from error
        self._reformatter = VideoReformatter()  # reused: setting one up costs as much as a conversion
        self._stream: av.VideoStream | None = None
        self._side_track_writer: SideTrackWriter | None = None
        self._color_tags = self._codec.color_tags  # of the encoded pictures
        self._last_pts: int | None = None
        self._last_source_pts = self._offset = self._last_duration = 0
        self._last_picture: av.VideoFrame | None = None  # where it may have to be repeated
        self._max_step = MAX_STEP_TICKS  # ticks of the pictures between two of them
        self._limited_steps = container_suffix(self.path) in (".mp4", ".mov")
        self._frames = 0
        self._end = 0.0  # seconds on the source's clock at which the last frame ends

    def _open(self) -> av.container.OutputContainer:
        # Fragments play after a crash. The delayed header can state where each track begins (edit lists), to 1/90000 s.
        fragments = {
            "movflags": "hybrid_fragmented+delay_moov",
            "frag_duration": "500000",
            "movie_timescale": "90000",
        }
        options = {
            **FLUSH_OPTIONS,
            **(fragments if container_suffix(self.path) in (".mp4", ".mov") else MATROSKA_OPTIONS),
        }
        return av.open(f"file:{self.part}", "w", options=options)

    def _open_streams(self, frame: Frame) -> av.VideoStream:
        planes = self._planes_of(frame)
        height, width = frame.image.shape[:2] if planes is None else planes.y.shape
        rate = self._info.rate or Fraction(30)
        stream = self._container.add_stream(self._codec.encoder, rate=rate, options=self._codec.options)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        # 4:2:0 chroma needs even sides: an odd side is padded with one row or column.
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt = self._codec.pixels
        context.gop_size = max(1, round(2 * rate))  # a key frame every two seconds, for seeking and recovery
        context.time_base = stream.time_base = frame.time_base
        context.sample_aspect_ratio = self._info.pixel_aspect
        matrix, span, primaries, transfer = self._color_tags = (
            self._codec.color_tags if planes is None else planes.color_tags
        )
        context.colorspace, context.color_range = matrix, int(ColorRange.JPEG if span else ColorRange.MPEG)
        context.color_primaries, context.color_trc = primaries, transfer
        if self._codec.tag:
            context.codec_tag = self._codec.tag
        if self._side_tracks is not None:
            self._side_track_writer = SideTrackWriter(
                self._container,
                self._side_tracks,
                self._start_time,
                container_suffix(self.path),
                piped=self.path == STDOUT,
                sound=self._sound,
            )
            self.notes = self._side_track_writer.notes
        with restore_priority():  # the encoder's threads begin here
            self._container.start_encoding()
        # The container may have finer ticks than the pictures.
        self._max_step = max(1, int(MAX_STEP_TICKS * (stream.time_base or frame.time_base) / frame.time_base))
        return stream

    def _begin(self, frame: Frame) -> av.VideoStream:
        """Open the streams; without side tracks, if the container cannot be begun with them."""
        try:
            return self._open_streams(frame)
        except (av.error.FFmpegError, ValueError) as error:
            if self._side_tracks is None or is_file_fault(error):
                raise
            log.info("cannot write the side tracks: %s", error)
            self._release()
            self._container, self._side_tracks, self._side_track_writer = self._open(), None, None
            stream = self._open_streams(frame)
            why = getattr(error, "strerror", None) or error
            self.notes = [f"sound, subtitles, chapters and tags left out: {self.path.suffix} cannot hold them ({why})"]
            return stream

    def write(self, frame: Frame) -> None:
        try:
            if self._stream is None:
                self._stream = self._begin(frame)
            context = self._stream.codec_context
            picture = self._picture(frame, context.width, context.height)
            pts = self._next_pts(to_ticks(frame.time_base * frame.pts - self._start_time, context.time_base))
            picture.duration = self._last_duration = to_ticks(
                (frame.duration or 0) * frame.time_base, context.time_base
            )
            picture.time_base, picture.pict_type = context.time_base, 0
            if self._side_track_writer is not None:
                self._side_track_writer.write(frame.time)
            self._encode(picture, pts)
            self._end = frame.time + (frame.duration_seconds or 0.0)
        except (OSError, av.error.FFmpegError) as error:
            height, width = frame.image.shape[:2]
            if self._stream is None and min(height, width) < SMALL_SIDE and not is_file_fault(error):
                raise SinkError(
                    f"cannot write {self.path}: {self._codec.encoder} encodes no pictures as small as "
                    f"{width} x {height}; choose codec h264"
                ) from error
            raise self.sink_error(error) from error

    def _encode(self, picture: av.VideoFrame, pts: int) -> None:
        """Encode and write a picture, after as many repetitions of the picture before it as its distance needs."""
        assert self._stream is not None
        before, self._last_picture = self._last_picture, picture if self._limited_steps else None
        if before is not None and before.pts is not None:
            for stamp in range(before.pts + self._max_step, pts, self._max_step):
                before.pts = stamp
                self._mux(self._stream.encode(before))
                self._frames += 1
        picture.pts = pts
        self._mux(self._stream.encode(picture))
        self._frames += 1

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        """Write packets of pictures. A packet of a side track that waited until now and fails does not end the run."""
        for packet in packets:
            try:
                self._container.mux(packet)
            except (av.error.FFmpegError, ValueError) as error:
                if self._side_track_writer is None or not self._side_track_writer.take_blame(error):
                    raise

    def _planes_of(self, frame: Frame) -> Planes | None:
        """Return a frame's own planes if the encoder can use them, otherwise None."""
        if self._codec.pixels != "yuv420p" or not isinstance(frame.pixels, Pixels):
            return None
        return frame.pixels.planes()

    def _picture(self, frame: Frame, width: int, height: int) -> av.VideoFrame:
        planes = self._planes_of(frame)
        if planes is not None and planes.color_tags == self._color_tags and planes.y.shape == (height, width):
            picture = av.VideoFrame(width, height, "yuv420p")
            for plane, pixels in zip(picture.planes, (planes.y, planes.u, planes.v), strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
                rows[:, : pixels.shape[1]] = pixels
            return picture
        matrix, span, *_ = self._color_tags
        picture = av.VideoFrame.from_ndarray(pad_even(frame.image), format="rgb24")
        return self._reformatter.reformat(
            picture,
            width,
            height,
            self._codec.pixels,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=SWSCALE_MATRICES.get(matrix, Colorspace.ITU601),
            dst_color_range=ColorRange.JPEG if span else ColorRange.MPEG,
            threads=1,
        )

    def _next_pts(self, source_pts: int) -> int:
        """Return the output's pts of the next picture, and take note of a gap that the container cannot hold."""
        last, pts = self._last_pts, self._output_pts(source_pts)
        if not self._limited_steps or last is None or pts - last <= MAX_REPEATS * self._max_step:
            return pts
        assert self._stream is not None
        seconds = float((pts - last) * self._stream.codec_context.time_base)
        self.notes.append(f"a gap of {seconds:,.0f} s is left out: {self.path.suffix} cannot hold it, .mkv can")
        self._last_pts = last + max(1, self._last_duration)
        self._offset += self._last_pts - pts
        return self._last_pts

    def _output_pts(self, source_pts: int) -> int:
        """Return the output's pts: the source's own, made to increase, as containers require."""
        pts = source_pts + self._offset
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
            if source_pts < self._last_source_pts:  # the clock restarted: later frames keep their distances
                self._offset = pts - source_pts
        self._last_pts, self._last_source_pts = pts, source_pts
        return pts

    def finish_side_tracks(self, *, whole: bool) -> None:
        if self._side_track_writer is None:
            return
        try:
            self._end = float("inf") if whole else self._end
            self._side_track_writer.write(self._end)
        except (OSError, av.error.FFmpegError) as error:
            raise self.sink_error(error) from error

    def _finish(self) -> None:
        if self._stream is None:
            self._container.close()
            raise SinkError(f"{self.path} was not written: there was no frame")
        try:
            packets = self._stream.encode(None)
            if packets and self._last_pts is not None and packets[-1].pts is not None:
                # FFmpeg's edit list ends with the last packet, which may not belong to the last picture.
                step = to_ticks(1 / (self._info.rate or Fraction(30)), self._stream.codec_context.time_base)
                step = max(1, min(self._last_duration or step, self._max_step))
                packets[-1].duration = self._last_pts - packets[-1].pts + step
            for packet in packets:
                if self._frames <= 2:  # for so few frames libx265 leaves the dts undefined
                    packet.dts = packet.pts
                self._mux([packet])
            if self._side_track_writer is not None:
                self._side_track_writer.finish(self._end)
            self._container.close()
        except av.error.FFmpegError as error:
            raise self.sink_error(error) from error

    def _release(self) -> None:
        try:
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            log.info("closing %s: %s", self.path, error)


class StdoutVideoSink(StdoutMixin, AVVideoSink):
    """Streams Matroska to standard output; nothing else may be written there. There is no file to rename or keep."""

    def __init__(
        self,
        info: VideoInfo,
        *,
        start_time: Fraction = Fraction(0),
        codec: str = "h264",
        side_tracks: SideTracks | None = None,
        sound: bool = True,
    ) -> None:
        super().__init__(STDOUT, info, start_time=start_time, codec=codec, side_tracks=side_tracks, sound=sound)

    def _open(self) -> av.container.OutputContainer:
        return av.open("pipe:1", "w", format="matroska", options={**FLUSH_OPTIONS, **MATROSKA_OPTIONS})


def pad_even(image: np.ndarray) -> np.ndarray:
    """Return the picture with even sides; an odd side is padded by repeating the last row or column."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else image
