"""The overlay as subtitles: the source's packets stay as they are, and what is shown follows the predictions."""

import hashlib
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from commands import one_line

from liquidvision import Overlay, Prediction, SinkError, SourceError, SubtitleSink, UsageError, infer, open_video
from liquidvision.rendering.ass_page import AssPage, rounded_rectangle
from liquidvision.rendering.primitives import Box, Scale, draw_bar, draw_card, draw_text
from liquidvision.rendering.subtitle_overlay import MAX_EVENT, REFRESH, SubtitleOverlay
from liquidvision.rendering.subtitle_sink import read_clock_time

LABELS = ("red", "green", "blue")


def prediction(index: int, label: int, score: float = 0.9, *, time: float | None = None, labels=LABELS) -> Prediction:
    """A prediction, by default at 25 frames a second."""
    scores = np.full(len(labels), (1 - score) / (len(labels) - 1), np.float32)
    scores[label] = score
    return Prediction(index, index / 25 if time is None else time, 1 / 25, labels, scores, scores)


def packets(path, kind: str) -> list[tuple[str, Fraction, Fraction]]:
    """The content and the times of a track's packets."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (hashlib.sha256(bytes(p)).hexdigest(), round(p.pts * p.time_base, 3), p.size)
            for p in container.demux(stream)
            if p.size
        ]


def shown_at(text: str, time: float) -> str:
    """The texts of an ASS file that are shown at a time, without styles."""
    found = []
    for line in text.splitlines():
        if line.startswith("Dialogue: "):
            _, start, end, *_, content = line.split(",", 9)
            if read_clock_time(start) <= time < read_clock_time(end) and "\\p1" not in content:
                found.append(re.sub(r"\{[^}]*\}", "", content))
    return " ".join(found)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_packets_are_copied_bit_for_bit(suffix, model, make_video, tmp_path):
    """Pictures and sound have the source's own packets at their times, and a track of subtitles is added."""
    source = make_video(sound=True)
    out = tmp_path / f"out{suffix}"
    with open_video(source) as reader:
        infer(reader, model, records=[SubtitleSink(out, reader)])
    # Matroska has no negative times, so that all tracks move where the sound begins before the pictures.
    origins = [packets(path, "video")[0][1] for path in (out, source)]
    for kind in ("video", "audio"):
        ours, theirs = packets(out, kind), packets(source, kind)
        assert [p[::2] for p in ours] == [p[::2] for p in theirs]
        times = [[float(p[1] - origin) for p in side] for side, origin in zip((ours, theirs), origins, strict=True)]
        assert times[0] == pytest.approx(times[1], abs=0.002)
    assert packets(out, "subtitle")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, out.name])


def test_webm_holds_plain_text(model, make_video, tmp_path):
    """A VP9 source goes into WebM with a track of plain text."""
    source = make_video("clip.webm", codec="libvpx-vp9", time_base=Fraction(1, 1000), pts=range(0, 800, 40))
    with open_video(source) as reader:
        infer(reader, model, records=[SubtitleSink(tmp_path / "out.webm", reader)])
    assert packets(tmp_path / "out.webm", "subtitle")


def test_each_frame_shows_its_own_label(make_video, tmp_path):
    """At the time of every frame the label shown is that of its prediction, also at a variable rate."""
    times = [*(n / 25 for n in range(20)), *(0.8 + n / 29.97 for n in range(30)), 3.0, 20.0, 20.011]
    labels = {time: number // 3 % 3 for number, time in enumerate(times)}
    with (
        open_video(make_video(size=(320, 240))) as reader,
        SubtitleSink(tmp_path / "out.ass", reader, Overlay(["label"])) as sink,
    ):
        for number, (time, label) in enumerate(labels.items()):
            sink.write(prediction(number, label, time=time))
    text = (tmp_path / "out.ass").read_text(encoding="utf-8")
    for time, label in labels.items():
        assert sorted(shown_at(text, time).split()) == sorted([LABELS[label], "90%"]), time


def test_what_does_not_change_needs_no_event():
    """A minute of the same prediction is a few events; none is longer than the limit that keeps them in order."""
    overlay = SubtitleOverlay(Overlay(["label", "bars"]), 360, 640, drawn=True)
    events = [event for n in range(1500) for event in overlay.see(prediction(n, 0), n / 25)]
    events += overlay.finish()
    assert len(events) <= 20 * 60 / MAX_EVENT
    assert max(event.end - event.start for event in events) <= MAX_EVENT + REFRESH
    moving = SubtitleOverlay(Overlay(), 360, 640, drawn=True)
    events = [event for n in range(1500) for event in moving.see(prediction(n, n // 7 % 3, 0.5), n / 25)]
    assert len(events) < 60 * 700


def test_plain_text_names_label_and_score():
    """The text track has the label and its score; a comparison has a line for each side; unsure is a dash."""
    overlay = SubtitleOverlay(Overlay(compare=True, conf=0.6), 360, 640, drawn=False)
    events = [*overlay.see(prediction(0, 0), 0.0), *overlay.see(prediction(1, 1, 0.5), 0.04), *overlay.finish()]
    assert [event.text for event in events] == [
        "each frame alone: red 90%\nwith memory: red 90%",
        "each frame alone: –\nwith memory: –",
    ]
    assert [(event.start, event.end) for event in events] == [(0.0, 0.04), (0.04, pytest.approx(0.08))]


def test_labels_cannot_become_commands():
    """Braces and backslashes of a label are shown, and never read as styles."""
    page = AssPage(360, 640)
    draw_text(page, r"a{\b1}b\N", 10, 20, 12, (1, 2, 3))
    (item,) = page.items
    assert item.count("{") == 1
    assert item.endswith("}a❴⧵b1❵b⧵N")


def test_shapes_of_the_page():
    """Cards are translucent and rounded, bars are clipped to their box, shapes of one style share an event."""
    page = AssPage(360, 640)
    draw_card(page, Box(0, 0, 100, 50), Scale.for_picture(360, 640), (255, 0, 0))
    assert "\\1a&H40&" in page.items[0] and " b " in page.items[0]
    assert "\\1c&H0000FF&" in page.items[1]
    page.items.clear()
    draw_bar(page, Box(0, 0, 100, 10), 0.0, (0, 255, 0))
    assert len(page.items) == 1
    page.items.clear()
    page.box(Box(0, 0, 2, 2), (1, 1, 1), 1.0)
    page.box(Box(4, 0, 6, 2), (1, 1, 1), 1.0)
    assert len(page.items) == 1 and page.items[0].count("m ") == 2
    assert rounded_rectangle(Box(0, 0, 4, 4), [0, 0, 0, 0]).count("b") == 0


def test_refused_before_the_work(run, model_folder, make_video, tmp_path):
    """Another suffix, standard output, and a container that cannot hold the video are refused before anything runs."""
    source = make_video()
    for arguments, said in (
        (("-o", tmp_path / "out.avi"), "expected .mkv"),
        (("-o", "-"), "needs a file"),
        (("-o", tmp_path / "out.webm"), ".webm cannot hold h264"),
        (("--annotate", "painted"), "expected drawn or subtitles"),
    ):
        ran = run("infer", source, "-m", model_folder, "--annotate", "subtitles", *arguments)
        assert ran.code != 0
        assert said in one_line(ran)
    with open_video(source) as reader:
        reader.path = None
        with pytest.raises(UsageError, match="no file whose packets can be copied"):
            SubtitleSink(tmp_path / "x.mkv", reader)
        SubtitleSink(tmp_path / "x.ass", reader).discard()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [source.name]


def test_a_source_that_breaks_off(make_video, tmp_path):
    """What was shown until a source breaks off is kept under the temporary name, playable; an error deletes it."""
    source = make_video()
    for error, kept in (
        (SourceError("gone"), ["out.part.mkv"]),
        (RuntimeError("bug"), []),
        (SinkError("full"), ["out.part2.mkv"]),
    ):
        with (
            pytest.raises(type(error)),
            open_video(source) as reader,
            SubtitleSink(tmp_path / "out.mkv", reader) as sink,
        ):
            sink.write(prediction(0, 0))
            raise error
        for name in kept:
            assert packets(tmp_path / name, "subtitle")
    assert not (tmp_path / "out.mkv").exists()


def test_the_command_writes_matroska_by_default(run, model_folder, make_video, tmp_path, monkeypatch):
    """`infer --annotate subtitles` writes an .mkv, and plays from its beginning also with --start."""
    monkeypatch.chdir(tmp_path)
    source = make_video(pts=range(1024, 21 * 512 + 512, 512))
    ran = run("infer", source, "-m", model_folder, "--annotate", "subtitles", "--start", "0.4")
    assert ran.code == 0, ran.err
    (out,) = (tmp_path / "runs" / "infer").glob("*.mkv")
    assert len(packets(out, "video")) == len(packets(source, "video"))
    assert float(packets(out, "subtitle")[0][1]) == pytest.approx(0.4, abs=0.01)
