"""The codecs of written videos: each one's encoder, its settings, and the files that hold it."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av

from liquidvision.errors import UsageError
from liquidvision.video.write.sink import STDOUT


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder, its settings, and the file endings whose containers hold its streams.

    Attributes:
        pixels: FFmpeg's name of the encoded pictures' format.
        color_tags: what of Y'CbCr pictures become that come as RGB, see `Planes.color_tags`.
        tag: the container's name for the codec, where FFmpeg's own choice will not do.
    """

    encoder: str
    suffixes: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    color_tags: tuple[int, bool, int, int] = (1, False, 1, 1)  # BT.709
    tag: str | None = None


# None holds back more than two dozen frames: after a crash they are lost.
CODECS = {
    # As good and as small on busy pictures as preset veryfast at crf 20, and more than twice as quick: what
    # ultrafast leaves out, but for the three that pay. Without B-frames no frame waits for later ones.
    "h264": Codec(
        "libx264",
        (".mp4", ".mov", ".mkv"),
        {"preset": "ultrafast", "crf": "23", "x264-params": "cabac=1:no-deblock=0:subme=1"},
    ),
    # One frame at a time: with two, libx265 (build 216) has waited for ever in its rate control at the flush.
    "h265": Codec(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        {"preset": "veryfast", "crf": "22", "x265-params": "log-level=error:rc-lookahead=10:bframes=3:frame-threads=1"},
        tag="hvc1",  # Apple's players know HEVC by no other
    ),
    "vp9": Codec(
        "libvpx-vp9",
        (".mp4", ".webm", ".mkv"),
        {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "30", "b": "0", "lag-in-frames": "0"},
    ),
    "av1": Codec(
        "libsvtav1",
        (".mp4", ".webm", ".mkv"),
        {"preset": "10", "crf": "32", "svtav1-params": "hierarchical-levels=3:lookahead=0"},
    ),
    "prores": Codec("prores_ks", (".mov", ".mkv"), {"profile": "standard", "vendor": "apl0"}, "yuv422p10le"),
    "mjpeg": Codec(
        "mjpeg",
        (".mov", ".mkv"),
        {"flags": "+qscale", "global_quality": "354", "huffman": "default"},  # 3 of 2 (best) to 31, by 118
        "yuvj420p",
        (6, True, 1, 1),  # BT.601, as JFIF has it: decoders take no tag for another
    ),
}


# Encoders in hardware, with settings of about the same quality; the first that works is taken for CODEC-hardware.
HARDWARE_ENCODERS = {
    "h264": {
        "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "23"},
        "h264_videotoolbox": {"q": "60"},
        "h264_qsv": {"global_quality": "23"},
        "h264_amf": {"rc": "cqp", "qp_i": "22", "qp_p": "24"},
    },
    "h265": {
        "hevc_nvenc": {"preset": "p4", "rc": "vbr", "cq": "25"},
        "hevc_videotoolbox": {"q": "60"},
        "hevc_qsv": {"global_quality": "25"},
        "hevc_amf": {"rc": "cqp", "qp_i": "24", "qp_p": "26"},
    },
    "av1": {"av1_nvenc": {"preset": "p4", "rc": "vbr", "cq": "30"}, "av1_qsv": {"global_quality": "30"}, "av1_amf": {}},
}
HARDWARE_SUFFIX = "-hardware"


def check_codec(path: Path, codec: str) -> Codec:
    """The codec's settings.

    Raises:
        UsageError: an unknown codec, one that the file's container does not hold, or CODEC-hardware where
            no such hardware works.
    """
    name = codec.removesuffix(HARDWARE_SUFFIX)
    if name not in (CODECS if name == codec else HARDWARE_ENCODERS):
        known = [*CODECS, *(f"{name}{HARDWARE_SUFFIX}" for name in HARDWARE_ENCODERS)]
        raise UsageError(f"codec is {codec!r}; expected one of {', '.join(known)}")
    chosen = CODECS[name]
    if container_suffix(path) not in chosen.suffixes:
        ending = path.suffix or "a name without ending"
        raise UsageError(f"{path.name}: {codec} video goes into {', '.join(chosen.suffixes)}, not {ending}")
    return chosen if name == codec else with_hardware_encoder(name, chosen)


def with_hardware_encoder(name: str, codec: Codec) -> Codec:
    """The codec with the first of its hardware encoders that opens on this machine."""
    for encoder, options in HARDWARE_ENCODERS[name].items():
        for pixels in ("yuv420p", "nv12"):
            try:
                trial = av.CodecContext.create(encoder, "w")
                assert isinstance(trial, av.VideoCodecContext)
                trial.width, trial.height, trial.pix_fmt, trial.time_base = 256, 256, pixels, Fraction(1, 25)
                trial.options = options
                trial.open()
            except (ValueError, av.error.FFmpegError):  # not in this build of PyAV, or no such hardware
                continue
            return replace(codec, encoder=encoder, options=options, pixels=pixels)
    raise UsageError(
        f"no hardware encoder of {name} works here ({', '.join(HARDWARE_ENCODERS[name])}); use --codec {name}"
    )


def container_suffix(path: Path) -> str:
    """The ending of the files that hold such a container: the path's own; a stream is Matroska."""
    return ".mkv" if path == STDOUT else path.suffix.lower()


def available_codecs() -> list[tuple[str, str, bool]]:
    """Name, encoder, and whether this build of PyAV has it, for each of `CODECS`."""
    return [(name, codec.encoder, codec.encoder in av.codecs_available) for name, codec in CODECS.items()]
