"""Decoding on a GPU: refused in one line where there is none; what it leaves to the CPU, and what it hands out."""

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
    """A kind of GPU that FFmpeg was built without is refused, with those that it knows."""
    ran = run("infer", make_video(), "-m", model_folder, "--no-save", "--hwaccel", "abacus")
    assert ran.code == 2 and "'abacus'" in one_line(ran)
    assert all(kind in ran.err for kind in [*hwdevices_available(), "auto"])


def test_a_kind_that_is_not_here(make_video, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that is known but of which no device is here is refused, with those that do work."""
    monkeypatch.setattr(hardware, "device_works", lambda kind: kind == "second")
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["first", "second"])
    hardware.find_accelerator.cache_clear()
    with pytest.raises(UsageError, match="no such device works here; those that do: second"):
        open_video(make_video(), hwaccel="first")


@pytest.mark.parametrize("name", ["auto", "fallback"])
def test_what_a_gpu_does_not_decode(make_video, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where no GPU works, or the GPU at hand does not decode the codec, the frames are the same as without."""
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
    """Cameras and OpenCV's reader know no such thing, which is told."""
    with pytest.raises(UsageError, match="hwaccel"):
        open_video("0" if reader == "auto" else make_video(), reader=reader, hwaccel="auto")


@pytest.mark.parametrize(("given", "form"), [("nv12", "yuv420p"), ("p010le", "yuv420p10le")])
def test_what_a_gpu_hands_out(make_video, given: str, form: str) -> None:
    """Interleaved chroma, as GPUs hand it out, is taken apart bit by bit, with the picture's time and colours."""
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
