"""Opens the right writer for an output video."""

from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from liquidvision.errors import UsageError
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.sink import STDOUT, VideoSink

WRITERS = ("av", "opencv")


def open_video_sink(
    path: Path, reader: VideoReader, codec: str, writer: str, stack: ExitStack, *, sound: bool = True
) -> VideoSink:
    """Open a sink for a video made from a reader's frames.

    Args:
        path: the file to write; `STDOUT` streams to standard output.
        reader: the source, whose sound, subtitles, chapters and tags are copied.
        codec: one of `CODECS`.
        writer: one of `WRITERS`.
        stack: closes the reader's side tracks.
        sound: whether to copy the sound, too.

    Raises:
        UsageError: the path, codec and writer do not fit together.
        SinkError: the file cannot be written.
    """
    check_video_output(path, codec, writer)
    if writer == "opencv":
        from liquidvision.video.write.opencv_writer import OpenCVVideoSink

        rate = reader.info.rate and reader.info.rate / reader.window.stride
        return OpenCVVideoSink(path, replace(reader.info, rate=rate))
    from liquidvision.video.write.av_writer import AVVideoSink, StdoutVideoSink

    side_tracks = reader.side_tracks()
    if side_tracks is not None:
        stack.callback(side_tracks.close)
    start_time = reader.start_time + Fraction(reader.window.start)
    sink: AVVideoSink
    if path == STDOUT:
        sink = StdoutVideoSink(reader.info, start_time=start_time, codec=codec, side_tracks=side_tracks, sound=sound)
    else:
        sink = AVVideoSink(path, reader.info, start_time=start_time, codec=codec, side_tracks=side_tracks, sound=sound)
    if reader.read_once and reader.info.has_audio and sound:
        sink.notes.append("sound left out: the source can be read only once; save it to a file to keep the sound")
    return sink


def check_video_output(path: Path, codec: str, writer: str) -> None:
    """Raise UsageError if a video with this codec and writer cannot be written to `path`."""
    if writer not in WRITERS:
        raise UsageError(f"writer is {writer!r}; expected one of {', '.join(WRITERS)}")
    if writer == "opencv":
        from liquidvision.video.write.opencv_writer import check_opencv_suffix

        check_opencv_suffix(path)
    else:
        from liquidvision.video.write.codecs import check_codec

        check_codec(path, codec)
