"""`liquidvision info`: what a video is."""

import json
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import typer

from liquidvision.cli.command import DONE, FAILED, SOME_FAILED, Messages, Option, job_command
from liquidvision.cli.options import OUTPUT, SHARED
from liquidvision.errors import SourceError
from liquidvision.video.read.names import check_rate
from liquidvision.workflows import io_paths

if TYPE_CHECKING:
    from liquidvision.video.frame import VideoInfo


@dataclass(frozen=True, slots=True)
class InfoOptions:
    """The options of `info`.

    Attributes:
        sources: files, folders, globs, lists, URLs and camera indices.
        as_json: print JSON.
        rate, reader: see `open_video`.
    """

    sources: list[str]
    as_json: bool = False
    rate: float | None = None
    reader: str = "auto"


OPTIONS = {
    "sources": SHARED["sources"],
    "rate": SHARED["rate"],
    "reader": SHARED["reader"],
    "as_json": Option("Print JSON, one object per line and source.", OUTPUT, ("--json",)),
}


@job_command(InfoOptions, OPTIONS)
def info_command(options: InfoOptions, messages: Messages) -> int:
    """Print what a video is: size, frame rate, length, codecs, rotation."""
    from liquidvision.video.read.file_options import FileOptions

    names, failed = io_paths.expand_sources(options.sources, pictures=options.rate is not None), 0
    check_rate(names, options.rate, " ".join(options.sources))
    files = FileOptions(options.rate)
    for name in names:
        try:
            with files.open(name, reader=options.reader) as reader:
                info = reader.info
        except SourceError as error:
            if messages.debug or len(names) == 1:
                raise
            failed += 1
            print(f"liquidvision: {error}", file=sys.stderr)
            continue
        typer.echo(encode_info(info) if options.as_json else describe_info(info))
    if not failed:
        return DONE
    return FAILED if failed == len(names) else SOME_FAILED


def encode_info(info: "VideoInfo") -> str:
    """Return the facts as a JSON object."""
    return json.dumps(asdict(info), default=lambda value: float(value) if isinstance(value, Fraction) else str(value))


def describe_info(info: "VideoInfo") -> str:
    """Return the facts in words, a few lines."""
    rate = f"{float(info.rate):.3f} frames/s on average" if info.rate else "frame rate unknown"
    length = f"{info.duration:.3f} s" if info.duration is not None else "length unknown"
    frames = f", {info.num_frames_from_header} frames according to its header" if info.num_frames_from_header else ""
    turned = [f"rotated by {info.rotation}°"] if info.rotation else []
    turned += ["mirrored"] if info.mirrored else []
    upright = f", {' and '.join(turned)} to be upright" if turned else ""
    aspect = f", pixel aspect {info.pixel_aspect}" if info.pixel_aspect != 1 else ""
    fields = ", interlaced" if info.interlaced else ""
    lines = [
        f"{info.name}: {length}{frames}",
        f"  video  {info.codec} {info.pixel_format} {info.width}x{info.height}{aspect}{upright}{fields}",
        f"         {rate}{', live' if info.live else ''}",
        *describe_tracks(info),
        f"  sound  {info.audio_codec or ('yes' if info.has_audio else 'none')}",
    ]
    return "\n".join([*lines, *([f"  file   {info.container}"] if info.container else [])])


def describe_tracks(info: "VideoInfo") -> list[str]:
    """Return a line for each video track if there are several."""
    if len(info.video_tracks) < 2:
        return []
    lines = []
    for number, track in enumerate(info.video_tracks):
        marks = [*(["default"] if track.default else []), *(["read"] if track.chosen else [])]
        marked = f" ({', '.join(marks)})" if marks else ""
        lines.append(f"  track  {number}: {track.codec} {track.width}x{track.height}{marked}")
    return lines
