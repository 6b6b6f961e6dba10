"""Decoding on a GPU."""

from functools import cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from liquidvision.errors import UsageError

AUTO = "auto"
PROBE_CODECS = ("h264", "hevc", "av1")  # a device that decodes none of them is of no use
PLANAR_FORMATS = {"nv12": "yuv420p", "p010le": "yuv420p10le"}  # by the format of a GPU's output


@cache
def find_accelerator(name: str) -> HWAccel | None:
    """Return the accelerator for opening a container with a GPU's decoder.

    Videos that the GPU cannot decode are decoded on the CPU.

    Args:
        name: FFmpeg's name of a kind of device (cuda, vaapi, videotoolbox, ...), or "auto" for the first kind that
            works on this machine.

    Returns:
        The accelerator; None for "auto" if no device works.

    Raises:
        UsageError: FFmpeg was built without this kind of device, or there is no such device.
    """
    built = hwdevices_available()
    if name == AUTO:
        return next((HWAccel(kind) for kind in built if device_works(kind)), None)
    if name not in built:
        raise UsageError(f"hwaccel is {name!r}; this build of FFmpeg supports {', '.join([*built, AUTO])}")
    if not device_works(name):
        others = ", ".join(working_devices()) or "none"
        raise UsageError(f"hwaccel is {name!r}, and no such device works here; those that do: {others}")
    return HWAccel(name)


def working_devices() -> list[str]:
    """Return the kinds of devices that can decode video on this machine."""
    return [kind for kind in hwdevices_available() if device_works(kind)]


@cache
def device_works(kind: str) -> bool:
    """Return whether a device of this kind can be opened for decoding."""
    for codec in PROBE_CODECS:
        try:
            HWAccel(kind).create(av.Codec(codec, "r"))
        except (NotImplementedError, OSError, ValueError):  # unsupported codec, no device, or no such decoder
            continue
        return True
    return False


def to_planar(frame: av.VideoFrame) -> av.VideoFrame:
    """Convert a GPU's picture with interleaved chroma to separate planes; return other pictures unchanged."""
    form = PLANAR_FORMATS.get(frame.format.name)
    return frame if form is None else frame.reformat(format=form)
