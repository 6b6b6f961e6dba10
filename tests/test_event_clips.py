"""Clips of events: packets of the source, from the key frame before the lead-in, at their own times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from alternating import alternating_model
from conftest import picture

import liquidvision as lv
from liquidvision.triggers.clips import EventClips
from liquidvision.triggers.event import Event
from liquidvision.video.write.packet_copy import copy_part, part_suffix

GROUP = 10  # frames from key frame to key frame


def video_with_groups(path: Path, *, first: int = 0, irregular: bool = False) -> Path:
    """Write 10 s of pictures with a key frame every 10 frames and B-frames between, and a tone."""
    step, base = 512, Fraction(1, 12800)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", GROUP
        stream.time_base = stream.codec_context.time_base = base
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for i in range(250):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = first + i * step + (i % 3) * 100 * irregular, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        tone = (np.sin(np.arange(160000) / 8) * 8000).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 16000, first * 16000 // 12800, Fraction(1, 16000)
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Each frame's time from the beginning of the file, and its picture."""
    with lv.open_video(path, strict=True) as reader:
        return [(frame.time - float(reader.start_time), frame.image) for frame in reader]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".mp4", {}), (".mkv", {}), (".mov", {"irregular": True}), (".ts", {}), (".mp4", {"first": 12800 * 3})],
)
@pytest.mark.parametrize(("start", "stop"), [(3.1, 5.5), (0.0, 0.7), (8.9, 99.0), (0.4, 0.41)])
def test_a_part_is_the_source_s_own(tmp_path, suffix, options, start, stop):
    """Frames and times are those of the source, from the key frame before the start until the end; sound too."""
    source = video_with_groups(tmp_path / f"source{suffix}", **options)
    target = tmp_path / f"part{part_suffix(source)}"
    begin = copy_part(source, target, start, stop)
    whole, part = frames_of(source), frames_of(target)
    assert begin <= max(start, whole[0][0]) + 1e-6 and start - begin < (GROUP + 1) * 0.04
    (offset,) = [number for number, (time, _) in enumerate(whole) if abs(time - begin) < 0.005]
    assert offset % GROUP == 0
    wanted = [(time, image) for time, image in whole[offset:] if time < stop]
    assert len(wanted) <= len(part) <= len(wanted) + 5  # those that others need may follow
    gaps = [(mine - part[0][0]) - (its - begin) for (mine, _), (its, _) in zip(part, wanted, strict=False)]
    assert np.abs(gaps).max() < 0.0015  # Matroska counts milliseconds
    assert all((mine == its).all() for (_, mine), (_, its) in zip(part, wanted, strict=False))
    if stop - start > 0.1:
        with av.open(str(target)) as container:
            sound = [float(frame.time) for frame in container.decode(audio=0)]
        assert abs(max(sound) - (min(stop, 10) - begin)) < 0.2
    assert not list(tmp_path.glob("*.part*"))


def test_what_cannot_be_cut_leaves_no_file(tmp_path, caplog):
    """A file that is no video, and a file in the way of the folder, are one line each."""
    source = video_with_groups(tmp_path / "source.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(lv.SourceError, match="cannot be opened"):
        copy_part(tmp_path / "text.mp4", tmp_path / "a.mp4", 0, 1)
    with pytest.raises(lv.SinkError, match="cannot write"):
        copy_part(source, tmp_path / "source.mp4" / "a.mp4", 0, 1)
    event = Event("id", "end", "a/b", "x", "", None, None, 1, 2, "", "")
    assert EventClips(tmp_path / "clips").cut(event, tmp_path / "text.mp4").clip == ""
    assert "no clip of the event at 1.0 s" in caplog.text and not list((tmp_path / "clips").iterdir())
    with pytest.raises(lv.UsageError, match="clip_lead is -1"):
        EventClips(tmp_path, lead=-1)


def test_infer_cuts_a_clip_of_each_event(run, make_video, tmp_path):
    """The end of an event names its clip; a second run keeps it."""
    alternating_model().save_pretrained(tmp_path / "model")
    clip = make_video("clip.mp4", pts=range(0, 60 * 12800, 12800))
    arguments = ("infer", clip, "-m", tmp_path / "model", "--no-save", "--on", "green > .5", "--resume", "-q")
    arguments = (*arguments, "--event-clips", tmp_path / "clips", "--clip-lead", "2", "--clip-tail", "1")
    ran = run(*arguments, "--event-log", tmp_path / "log.jsonl")
    assert ran.code == 0, ran.err
    rows = [line for line in (tmp_path / "log.jsonl").read_text().splitlines() if '"end"' in line]
    clips = sorted((tmp_path / "clips").iterdir())
    assert len(clips) == len(rows) > 2 and all(any(each.name in row for row in rows) for each in clips)
    before = [each.stat().st_mtime_ns for each in clips]
    assert run(*arguments).code == 0
    assert [each.stat().st_mtime_ns for each in sorted((tmp_path / "clips").iterdir())] == before
