"""Decoding on a GPU: refusals, fallback to the CPU, and conversion of a GPU's pictures."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel, hwdevices_available
from commands import Run, one_line

from liquidvision import open_video
from liquidvision.errors import UsageError
from liquidvision.video.read import av_reader, hardware


def test_a_kind_that_is_not_known(run: Run, make_video, model_folder: Path) -> None:
    """A kind of GPU that FFmpeg was built without is refused, with a list of those it supports."""
    ran = run("infer", make_video(), "-m", model_folder, "--no-save", "--hwaccel", "abacus")
    assert ran.code == 2 and "'abacus'" in one_line(ran)
    assert all(kind in ran.err for kind in [*hwdevices_available(), "auto"])


def test_a_kind_that_is_not_here(make_video, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supported kind of GPU that is not in this machine is refused, with a list of those that work."""
    monkeypatch.setattr(hardware, "device_works", lambda kind: kind == "second")
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["first", "second"])
    hardware.find_accelerator.cache_clear()
    with pytest.raises(UsageError, match="no such device works here; those that do: second"):
        open_video(make_video(), hwaccel="first")


@pytest.mark.parametrize("name", ["auto", "fallback"])
def test_what_a_gpu_does_not_decode(make_video, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """If no GPU works, or the GPU cannot decode the codec, the frames are the same as without a GPU."""
    path = make_video()
    if name == "fallback":  # a device for none of the codecs
        monkeypatch.setattr(av_reader, "find_accelerator", lambda _: HWAccel("drm"))
        if "drm" not in hwdevices_available():
            pytest.skip("this build of FFmpeg has no kind of device that decodes nothing")
    with open_video(path) as plain, open_video(path, hwaccel=name) as asked:
        for one, other in zip(plain, asked, strict=True):
            assert one.time == other.time
            np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("reader", ["opencv", "auto"])
def test_only_av_decodes_on_a_gpu(make_video, reader: str) -> None:
    """A GPU is refused for cameras and for OpenCV's reader."""
    with pytest.raises(UsageError, match="hwaccel"):
        open_video("0" if reader == "auto" else make_video(), reader=reader, hwaccel="auto")


@pytest.mark.parametrize(("given", "form"), [("nv12", "yuv420p"), ("p010le", "yuv420p10le")])
def test_what_a_gpu_hands_out(make_video, given: str, form: str) -> None:
    """A GPU's interleaved chroma is separated exactly; time and colour tags are kept."""
    with av.open(str(make_video())) as container:
        frame = next(container.decode(video=0))
    planes = frame.reformat(format=form)
    frame = hardware.to_planar(planes.reformat(format=given))
    assert frame.format.name == form and frame.pts == planes.pts and frame.colorspace == planes.colorspace
    assert frame.color_range == planes.color_range and frame.color_trc == planes.color_trc
    for one, other in zip(frame.planes, planes.planes, strict=True):
        wide = one.width * (2 if form.endswith("10le") else 1)
        rows = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, :wide] for p in (one, other)]
        np.testing.assert_array_equal(*rows)
