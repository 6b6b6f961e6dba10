"""Decoding by a GPU, where that is asked for and there is one."""

from functools import cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from liquidvision.errors import UsageError

AUTO = "auto"
PROBE_CODECS = ("h264", "hevc", "av1")  # a kind of device that decodes none of them is of no use
PLANAR_FORMATS = {"nv12": "yuv420p", "p010le": "yuv420p10le"}  # what GPUs hand out, and the same as decoders here do


@cache
def find_accelerator(name: str) -> HWAccel | None:
    """What opens a container with the GPU's decoder; what the GPU cannot decode is then decoded without it.

    Args:
        name: of a kind of device, as FFmpeg has them (cuda, vaapi, videotoolbox, ...), or "auto": the first
            kind that works here, None where none does.

    Raises:
        UsageError: FFmpeg was built without this kind, or there is no such device.
    """
    built = hwdevices_available()
    if name == AUTO:
        return next((HWAccel(kind) for kind in built if device_works(kind)), None)
    if name not in built:
        raise UsageError(f"hwaccel is {name!r}; this build of FFmpeg knows {', '.join([*built, AUTO])}")
    if not device_works(name):
        others = ", ".join(working_devices()) or "none"
        raise UsageError(f"hwaccel is {name!r}, and no such device works here; those that do: {others}")
    return HWAccel(name)


def working_devices() -> list[str]:
    """The kinds of devices that decode video on this machine."""
    return [kind for kind in hwdevices_available() if device_works(kind)]


@cache
def device_works(kind: str) -> bool:
    """Whether a device of this kind can be opened to decode with."""
    for codec in PROBE_CODECS:
        try:
            HWAccel(kind).create(av.Codec(codec, "r"))
        except (NotImplementedError, OSError, ValueError):  # not for this codec; no device; no such decoder
            continue
        return True
    return False


def to_planar(frame: av.VideoFrame) -> av.VideoFrame:
    """A picture that a GPU decoded as decoders here give it: luma and chroma in planes of their own."""
    form = PLANAR_FORMATS.get(frame.format.name)
    return frame if form is None else frame.reformat(format=form)
