"""Reads files and URLs with PyAV: exact time stamps, upright pictures, correct colours."""

import logging
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
from av.stream import Disposition

from liquidvision.concurrency.cores import half_of_cores
from liquidvision.errors import SourceError, UsageError
from liquidvision.video.frame import VideoInfo, VideoTrack
from liquidvision.video.read.container import (
    ALWAYS_LIVE,
    DEFAULT_TIMEOUT,
    FORMATS_WITHOUT_TIMES,
    HTTP_SCHEMES,
    belongs_to,
    can_seek,
    check_untiled,
    error_reason,
    is_moving,
    main_video_stream,
    open_container,
    public_name,
    start_time,
    video_streams,
)
from liquidvision.video.read.cropping import WHOLE, Cropper, stated_cropping
from liquidvision.video.read.decoded import DecodedPixels, Scaler
from liquidvision.video.read.deinterlace import Deinterlacer
from liquidvision.video.read.file_objects import FileSource
from liquidvision.video.read.hardware import find_accelerator, to_planar
from liquidvision.video.read.local_files import PIPE_HINT, is_read_once, local_path
from liquidvision.video.read.orientation import AS_STORED, frame_orientation
from liquidvision.video.read.reader import MAX_PIXELS, DecodedPicture, ReadWindow, VideoReader
from liquidvision.video.read.side_tracks import AVSideTracks
from liquidvision.video.read.timestamps import Timestamps, in_display_order, without_outliers
from liquidvision.video.read.webp import MILLISECOND, AnimatedWebP, is_animated_webp

log = logging.getLogger(__name__)

MICROSECOND = Fraction(1, 1_000_000)
MAX_CONSECUTIVE_DAMAGE = 10_000  # broken packets in a row, without a picture between them
PROGRESSIVE = 1  # libavcodec's number of this order of fields; larger ones are interlaced, 0 is unknown
SEEK_MARGINS = (0, 2, 10, 60)  # seconds before the start: where a seek has landed too late, it is repeated earlier


class AVReader(VideoReader):
    """Reads a file or URL with FFmpeg's libraries.

    Args:
        source: a path, a URL, or a file object.
        window: the part to read.
        strict: raise a SourceError if the decoder reports damage. By default damage is counted and reading continues.
        max_pixels: maximum number of pixels of one picture; a larger picture is refused before memory is allocated.
        timeout: seconds without data after which a URL counts as lost and a followed file as ended.
        follow: wait for more data at the end of a file.
        hwaccel: kind of GPU to decode with, see `find_accelerator`; None: decode on the CPU.
        video_track: the video track to read, counted from 0; None: see `main_video_stream`.
        deinterlace: "auto" deinterlaces pictures that are marked as interlaced, "off" none.

    Raises:
        UsageError: a URL scheme that is not supported, a GPU that is not available, or no such track.
        SourceError: the source cannot be opened, has no video, or cannot be decoded.
    """

    def __init__(
        self,
        source: str | Path | FileSource,
        window: ReadWindow | None = None,
        *,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        timeout: float = DEFAULT_TIMEOUT,
        follow: bool = False,
        hwaccel: str | None = None,
        video_track: int | None = None,
        deinterlace: str = "auto",
    ) -> None:
        super().__init__(window or ReadWindow())
        self._video_track, self._deinterlace = video_track, deinterlace == "auto"
        self._source, self._strict, self._max_pixels, self._follow = source, strict, max_pixels, follow
        # FFmpeg crashes if a container is read after or while it is closed.
        self._lock, self._closed = threading.Lock(), False
        self._connect = partial(
            open_container,
            source,
            max_pixels=max_pixels,
            timeout=timeout,
            follow=follow,
            hwaccel=find_accelerator(hwaccel) if hwaccel else None,
        )
        self._container = self._connect()
        if isinstance(source, FileSource):
            self.read_once = source.read_once
        else:
            path = local_path(source)
            self.read_once = path is not None and is_read_once(path)
        self._scaler = Scaler()
        self._orientation = AS_STORED
        self._rotation: int | None = None  # PyAV's, which does not distinguish all orientations
        self._consecutive_damage = 0  # broken packets since the last picture
        self._first_picture: DecodedPicture | None = None
        self._animation: AnimatedWebP | None = None
        self._landing = False  # whether a seek is being tried
        self._begins_with_key: bool | None = None  # whether the first picture decoded after a seek is a key frame
        self._pictures: Iterator[DecodedPicture] = iter(())
        self._packets: Iterator[av.Packet] = iter(())
        try:
            self._start_reading()
        except BaseException:
            self.close()
            raise

    def _start_reading(self) -> None:
        self._prepare_stream()
        if not self._use_arrival_time:
            self.start_time = start_time(self._container, self._stream)
        self._opened = time.monotonic()
        # The first picture shows what the header does not: whether it can be decoded, and its orientation.
        self._first_picture = self._seek() if self.window.start > 0 else self._restart_decoding()
        if self._first_picture is None:
            name = public_name(self._source)
            raise SourceError(f"{name} has no picture that can be decoded; expected a file with intact video")
        if self.counts.outliers and self.window.start == 0:  # the container's start is that of the outlier
            self.start_time = self._first_picture.pts * self._first_picture.time_base
        self.info = self._describe(public_name(self._source))
        if self._video_track is None:
            self._report_choice()

    def _report_choice(self) -> None:
        """Say which video track is read if the file holds several that are no still pictures."""
        tracks = video_streams(self._container)
        if sum(is_moving(track) == is_moving(self._stream) for track in tracks) > 1:
            number = next(number for number, track in enumerate(self._video_tracks) if track.chosen)
            log.warning(
                "%s has %d video tracks; track %d (%d x %d) is read, --video-track reads another",
                *(self.info.name, len(tracks), number, self._stream.width, self._stream.height),
            )

    def _prepare_stream(self) -> None:
        """Choose the container's video stream and set up its decoder."""
        container, name = self._container, public_name(self._source)
        streams = video_streams(container)
        if not streams:
            kinds = {
                "video of an unknown codec" if s.type == "video" and s.codec_context is None else s.type
                for s in container.streams
            }
            found = ", ".join(sorted(kinds)) or "nothing"
            raise SourceError(f"{name} has no video (only {found}); expected a file with a video stream")
        check_untiled(container, name)
        if self._video_track is not None and not self._video_track < len(streams):
            raise UsageError(
                f"video_track is {self._video_track}, and {name} has {len(streams)}, counted from 0; "
                "liquidvision info lists them"
            )
        stream = main_video_stream(streams) if self._video_track is None else streams[self._video_track]
        self._video_tracks = tuple(describe_track(track, chosen=track is stream) for track in streams)
        if stream.width * stream.height > self._max_pixels:
            raise SourceError(self._too_large_message(stream.width, stream.height))
        self._stream = stream
        self._cropper = Cropper(stated_cropping(container, stream))
        stream.codec_context.options = {"max_pixels": str(self._max_pixels)}
        # The other cores run the network and the encoder.
        stream.codec_context.thread_count = half_of_cores()
        url = str(self._source)
        scheme = urlsplit(url).scheme.lower() if "://" in url else ""
        self._live = self._follow or scheme in ALWAYS_LIVE or (scheme in HTTP_SCHEMES and container.duration is None)
        # Frame threads decode several pictures at once, which delays each of them; live sources need each at once.
        stream.thread_type = "SLICE" if self._live else "AUTO"
        # Where FFmpeg would assume a rate, a live source's frames get the times of their arrival.
        self._use_arrival_time = self._live and not self._follow and container.format.name in FORMATS_WITHOUT_TIMES
        self._time_base = MICROSECOND if self._use_arrival_time else stream.time_base or Fraction(1, av.time_base)

    def _restart_decoding(self) -> DecodedPicture | None:
        """Decode from the container's position; return the first picture."""
        # AVI stores no pts: FFmpeg fills in the storage order, and only the dts is evenly spaced.
        by_dts = self._container.format.name == "avi"
        self._timestamps = Timestamps(self._stream.guessed_rate, self._time_base, by_dts=by_dts)
        self._begins_with_key, self._interlaced = None, False
        self._deinterlacer = Deinterlacer() if self._deinterlace else None
        self._pictures = self._decode()
        if not self._live and self._stream.codec_context.reorder_depth and not by_dts:
            self._pictures = in_display_order(
                self._pictures, self._timestamps
            )  # a live source must not wait for others
        if not self._use_arrival_time:
            clock = time.monotonic if self._live else None
            self._pictures = without_outliers(self._pictures, self.counts, clock=clock)
        return next(self._pictures, None)

    def _too_large_message(self, width: int, height: int) -> str:
        return (
            f"{public_name(self._source)} has pictures of {width} x {height}, more than {self._max_pixels:,} pixels; "
            "raise --max-pixels to read it"
        )

    def _seek(self) -> DecodedPicture | None:
        """Seek to the start of the window; return the first picture, which is not after it if there is an earlier one.

        In containers without an index a seek may land between key frames, after which nothing can be decoded up to the
        next one. It is then repeated earlier, and at last everything is decoded from the beginning.
        """
        if self.read_once or not can_seek(self._container.format):
            return self._restart_decoding()
        start = self.start_time + Fraction(self.window.start)
        damaged = self.counts.damaged
        for margin in SEEK_MARGINS:
            if margin >= self.window.start:
                break
            try:
                tick = int((start - margin) / self._time_base)
                self._container.seek(tick, stream=self._stream, backward=True)
            except av.error.FFmpegError:  # not seekable: frames before the start are decoded and skipped
                log.info("cannot seek; reading from the beginning")
                return self._restart_decoding()
            self._landing = not self._live
            first = self._restart_decoding()
            self._landing = False
            landed = first is not None and (first.pts - Fraction(1, 2)) * first.time_base <= start
            if self._live or (landed and self._begins_with_key):
                return first
            self.counts.damaged = damaged
        log.info("cannot seek to %s s; decoding from the beginning", self.window.start)
        self._pictures, self._packets = iter(()), iter(())
        self._container.close()
        self._container = self._connect()
        self._prepare_stream()
        return self._restart_decoding()

    def _describe(self, name: str) -> VideoInfo:
        stream, container = self._stream, self._container
        (width, height), aspect = self._size, stream.sample_aspect_ratio or Fraction(1)
        if self._cropper.cropping != WHOLE and aspect == Fraction(width * stream.height, height * stream.width):
            aspect = Fraction(1)  # of MP4: FFmpeg compares the size of the cropped picture with the stored one
        if self._orientation.swaps_sides:
            width, height, aspect = height, width, 1 / aspect
        duration, rate, count = None, stream.average_rate or stream.guessed_rate, stream.frames or None
        if self._animation is not None:
            duration, count = self._animation.duration / 1000, len(self._animation.parts)
            rate = Fraction(count * 1000, self._animation.duration)
        elif stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif container.duration:
            duration = container.duration / av.time_base
        known = [sound for sound in container.streams.audio if sound.codec_context is not None]
        audio = [sound for sound in known if belongs_to(container, sound, stream)]
        return VideoInfo(
            name=name,
            width=width,
            height=height,
            rate=rate,
            duration=duration,
            live=self._live,
            has_audio=bool(audio),
            pixel_aspect=aspect,
            codec=stream.codec_context.name,
            num_frames_from_header=count,
            rotation=self._orientation.quarter_turns * 90,
            mirrored=self._orientation.mirrored,
            interlaced=self._interlaced or stream.codec_context.field_order > PROGRESSIVE,
            container=container.format.name,
            pixel_format=stream.codec_context.pix_fmt or "",
            video_tracks=self._video_tracks,
            audio_codec=audio[0].codec_context.name if audio else "",
        )

    def pictures(self) -> Iterator[DecodedPicture]:
        if self._first_picture is not None:
            first, self._first_picture = self._first_picture, None
            yield first
        yield from self._pictures

    def _decode(self) -> Iterator[DecodedPicture]:
        self._packets = self._container.demux(self._stream)
        if self._container.format.name == "webp_pipe":
            yield from self._decode_animation()
        while True:
            with self._lock:
                if self._closed:
                    return
                pictures = self._decode_next()
            if pictures is None:
                yield from map(self._picture, self._deinterlacer.flush() if self._deinterlacer else ())
                return
            yield from pictures

    def _decode_animation(self) -> Iterator[DecodedPicture]:
        """Decode an animated WebP, which FFmpeg delivers as one packet; nothing if it is a single picture."""
        with self._lock:
            packet = None if self._closed else next(self._packets, None)
            if packet is None or not is_animated_webp(bytes(packet)):
                self._packets = chain([packet] if packet else [], self._packets)
                return
        name = public_name(self._source)
        animation = self._animation = AnimatedWebP(bytes(packet), name, self._max_pixels)
        self._size = animation.width, animation.height
        for pts, duration, image in animation.pictures(self._count_damage):
            self._consecutive_damage = 0
            yield DecodedPicture(pts, MILLISECOND, duration, partial(np.asarray, image))

    def _decode_next(self) -> list[DecodedPicture] | None:
        """Decode one more packet; return the pictures it completes, None at the end."""
        try:
            packet = next(self._packets, None)
        except av.error.InvalidDataError as error:  # a broken packet in the container: continue after it
            self._count_damage(error)
            self._packets = self._container.demux(self._stream)
            return []
        except (av.error.ExitError, av.error.TimeoutError):  # no data arrived in time
            if not self._follow:
                raise self._source_lost("no data arrived in time") from None
            self._packets = iter(())  # the file has stopped growing; the decoder still holds its last pictures
            return self._upright(self._stream.codec_context.decode(None))
        except av.error.FFmpegError as error:
            raise self._source_lost(error_reason(error)) from None
        if packet is None:
            if isinstance(self._source, FileSource) and self._source.failure is not None:
                raise self._source.failure  # FFmpeg may take it for the end
            return None
        if packet.size:
            self._timestamps.see_packet(packet.pts, packet.dts)
        if packet.is_corrupt:  # the container reports that a part is missing
            self._count_damage(None)
        try:
            return self._upright(packet.decode())
        except (av.error.InvalidDataError, av.error.PermissionError, av.error.ArgumentError) as error:
            self._count_damage(error)
            return []
        except av.error.FFmpegError as error:
            raise self._source_lost(error_reason(error)) from None

    def _upright(self, frames: list[av.VideoFrame]) -> list[DecodedPicture]:
        """Return decoded frames as pictures; where they are deinterlaced, those that are ready."""
        pictures = []
        for frame in frames:
            if self._begins_with_key is None:
                self._begins_with_key = frame.key_frame
            self._interlaced |= frame.interlaced_frame
            ready = [frame] if self._deinterlacer is None else self._deinterlacer.push(to_planar(frame))
            pictures += [self._picture(shown) for shown in ready]
        return pictures

    def _source_lost(self, why: str) -> SourceError:
        """Return the error of a lost source. Raise it from None: PyAV's error contains the URL with its password."""
        return SourceError(f"{public_name(self._source)} broke off: {why}")

    def _picture(self, frame: av.VideoFrame) -> DecodedPicture:
        if frame.width * frame.height > self._max_pixels:
            raise SourceError(self._too_large_message(frame.width, frame.height))
        if frame.is_corrupt:
            self._count_damage(None)
        self._consecutive_damage = 0
        # PyAV's side data and frame refer to each other, and would stay in memory: look only where something changed.
        if frame.rotation != self._rotation:
            self._rotation, self._orientation = frame.rotation, frame_orientation(frame)
        shown = self._cropper.crop(to_planar(frame))
        self._size = shown.width, shown.height
        upright = DecodedPixels(shown, self._orientation, self._scaler)
        if self._use_arrival_time:
            return DecodedPicture(round((time.monotonic() - self._opened) / MICROSECOND), MICROSECOND, None, upright)
        pts = self._timestamps.resolve(frame.pts, frame.dts, frame.duration)
        return DecodedPicture(pts, frame.time_base or self._time_base, frame.duration or None, upright)

    def _count_damage(self, error: Exception | None) -> None:
        """Count a packet or picture that could not be decoded, or (without an error) only in part."""
        self.counts.damaged += 1
        self._consecutive_damage += 1
        what = "a part is missing" if error is None else error_reason(error)
        if self._strict and not self._landing:
            raise SourceError(f"{public_name(self._source)} is damaged: {what}; leave out --strict to skip the damage")
        if self._consecutive_damage > MAX_CONSECUTIVE_DAMAGE:
            raise SourceError(
                f"{public_name(self._source)} is too damaged to read: {MAX_CONSECUTIVE_DAMAGE:,} broken packets"
                f"{PIPE_HINT if self.read_once else ''}"
            )
        log.info("skipped damage: %s", what)

    def side_tracks(self) -> AVSideTracks | None:
        return (
            None
            if self.info.live or self.read_once
            else AVSideTracks(open_container(self._source), self.window, self.start_time, self._stream.index)
        )

    def close(self) -> None:
        with self._lock:
            self._closed = True
            # The generators and this object refer to each other. Drop the references, so that memory is freed at once.
            self._first_picture, self._pictures, self._packets = None, iter(()), iter(())
            self._container.close()


def describe_track(stream: av.VideoStream, *, chosen: bool) -> VideoTrack:
    """Return the description of a video stream."""
    return VideoTrack(
        codec=stream.codec_context.name,
        width=stream.width,
        height=stream.height,
        default=bool(stream.disposition & Disposition.default),
        chosen=chosen,
    )
