"""The codecs of written videos: encoders, their settings, and the containers that hold them."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av

from liquidvision.errors import UsageError
from liquidvision.video.write.sink import STDOUT


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoder with its settings.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        suffixes: file suffixes of the containers that can hold its streams.
        options: options of the encoder.
        pixels: FFmpeg's name of the pixel format to encode.
        color_tags: the kind of Y'CbCr that RGB pictures are converted to, see `Planes.color_tags`.
        tag: the container's name of the codec, where FFmpeg's choice is not suitable.
    """

    encoder: str
    suffixes: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    color_tags: tuple[int, bool, int, int] = (1, False, 1, 1)  # BT.709
    tag: str | None = None


# No encoder holds back more than 24 frames: those are lost after a crash.
CODECS = {
    # Preset ultrafast plus the three tools that pay off. On busy pictures it matches preset veryfast at crf 20 in
    # quality and size, at more than twice the speed. Without B-frames no frame waits for later ones.
    "h264": Codec(
        "libx264",
        (".mp4", ".mov", ".mkv"),
        {"preset": "ultrafast", "crf": "23", "x264-params": "cabac=1:no-deblock=0:subme=1"},
    ),
    # One frame thread: with two, libx265 (build 216) has hung in its rate control at the flush.
    "h265": Codec(
        "libx265",
        (".mp4", ".mov", ".mkv"),
        {"preset": "veryfast", "crf": "22", "x265-params": "log-level=error:rc-lookahead=10:bframes=3:frame-threads=1"},
        tag="hvc1",  # the only HEVC tag that Apple's players accept
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
        # Quantiser 3, of 2 (best) to 31, times FFmpeg's FF_QP2LAMBDA, 118.
        {"flags": "+qscale", "global_quality": "354", "huffman": "default"},
        "yuvj420p",
        (6, True, 1, 1),  # BT.601, as in JFIF: decoders ignore tags for another
    ),
}


# Hardware encoders, with settings of about the same quality. CODEC-hardware uses the first that works.
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
    """Return the settings of a codec for a file.

    Raises:
        UsageError: an unknown codec, a codec that the file's container cannot hold, or CODEC-hardware where no
            hardware encoder works.
    """
    name = codec.removesuffix(HARDWARE_SUFFIX)
    if name not in (CODECS if name == codec else HARDWARE_ENCODERS):
        known = [*CODECS, *(f"{name}{HARDWARE_SUFFIX}" for name in HARDWARE_ENCODERS)]
        raise UsageError(f"codec is {codec!r}; expected one of {', '.join(known)}")
    chosen = CODECS[name]
    if container_suffix(path) not in chosen.suffixes:
        suffix = path.suffix or "a name without suffix"
        raise UsageError(f"{path.name}: {codec} video needs {', '.join(chosen.suffixes)}, not {suffix}")
    return chosen if name == codec else with_hardware_encoder(name, chosen)


def with_hardware_encoder(name: str, codec: Codec) -> Codec:
    """Return the codec with the first hardware encoder that opens on this machine; raise UsageError if none does."""
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
    tried = ", ".join(HARDWARE_ENCODERS[name])
    raise UsageError(f"no hardware encoder for {name} works on this machine ({tried}); use --codec {name}")


def container_suffix(path: Path) -> str:
    """Return the suffix that names the container: that of the path; standard output streams Matroska."""
    return ".mkv" if path == STDOUT else path.suffix.lower()


def available_codecs() -> list[tuple[str, str, bool]]:
    """Return (name, encoder, whether this build of PyAV has the encoder) for each of `CODECS`."""
    return [(name, codec.encoder, codec.encoder in av.codecs_available) for name, codec in CODECS.items()]
