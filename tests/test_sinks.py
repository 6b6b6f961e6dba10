"""Outputs: the frames' own times, copied sound, kept colours, and a final name only when they are complete."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import picture, picture_frames

from liquidvision import Frame, Prediction, RecordSink, VideoInfo, open_video
from liquidvision.concurrency.cores import native_thread_ids
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.video.write import codecs
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.video.write.codecs import CODECS, available_codecs, check_codec
from liquidvision.video.write.opencv_writer import OpenCVVideoSink

MakeVideo = Callable[..., Path]
INFO = VideoInfo("clip", 64, 48, rate=Fraction(25))
TICK = Fraction(1, 12800)
VARIABLE = (0, 512, 1500, 1600, 5000, 5512, 9999)
BT709, LIMITED = 1, 1


def frames_at(pts: Sequence[int], time_base: Fraction = TICK, size: tuple[int, int] = (64, 48)) -> list[Frame]:
    return [Frame(picture(i, *size), i, tick, time_base) for i, tick in enumerate(pts)]


def write(path: Path, frames: Sequence[Frame], info: VideoInfo = INFO, **options) -> Path:
    with AVVideoSink(path, info, **options) as sink:
        for frame in frames:
            sink.write(frame)
        sink.finish_side_tracks(whole=True)
    return path


def times_of(path: Path) -> list[Fraction]:
    """Return the presentation times of the pictures, as PyAV reads them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    """Return the time and content of each packet of sound."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(float((p.pts or 0) * p.time_base), bytes(p)) for p in packets if p.size]


@pytest.mark.parametrize("pts", [range(0, 20 * 512, 512), VARIABLE], ids=["constant", "variable"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_are_kept(tmp_path: Path, pts: Sequence[int], suffix: str) -> None:
    """The output has exactly the frames' times, to the tick; in Matroska to the millisecond."""
    times = times_of(write(tmp_path / f"out{suffix}", frames_at(pts)))
    if suffix == ".mkv":
        assert [float(t) for t in times] == pytest.approx([float(p * TICK) for p in pts], abs=0.00051)
    else:
        assert times == [p * TICK for p in pts]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_the_last_picture_is_kept_wherever_a_fragment_ends(tmp_path: Path, codec: str) -> None:
    """The last of a few distant pictures can be read again, although others were coded after it."""
    for count in (3, 4, 5, 7, 12):
        pts = [6000 * i for i in range(count)]
        assert times_of(write(tmp_path / "out.mp4", frames_at(pts), codec=codec)) == [tick * TICK for tick in pts]


def test_a_clock_that_does_not_begin_at_zero(tmp_path: Path) -> None:
    """`start_time` becomes 0 in the output; the frames keep their distances."""
    frames = frames_at([6400 + p for p in VARIABLE])
    assert times_of(write(tmp_path / "out.mp4", frames, start_time=Fraction(1, 2))) == [p * TICK for p in VARIABLE]
    late = times_of(write(tmp_path / "late.mp4", frames, start_time=Fraction(1, 4)))
    assert late == [Fraction(1, 4) + p * TICK for p in VARIABLE]


@pytest.mark.parametrize("base", [Fraction(1, 1_000_000), Fraction(1, 90_000), Fraction(1001, 30_000), Fraction(1, 25)])
def test_any_time_base(tmp_path: Path, base: Fraction) -> None:
    """Times in any time base are kept to the tick."""
    step = max(1, round(Fraction(1, 25) / base))
    times = times_of(write(tmp_path / "out.mp4", frames_at([i * step for i in range(10)], base)))
    assert times == [i * step * base for i in range(10)]


def test_two_pictures_at_one_time(tmp_path: Path) -> None:
    """A repeated time, which no container accepts, moves by one tick; no picture is lost."""
    assert times_of(write(tmp_path / "out.mp4", frames_at([0, 512, 512, 1024]))) == [
        t * TICK for t in (0, 512, 513, 1024)
    ]


@pytest.mark.parametrize("size", [(63, 47), (33, 48), (64, 35)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    """An odd side is padded by one pixel; the picture stays in its place."""
    width, height = size
    path = write(tmp_path / "out.mp4", frames_at(range(0, 5 * 512, 512), size=size))
    with open_video(path) as video:
        frame = next(iter(video))
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frame.image[:height, :width].astype(int) - picture(0, width, height)).mean() < 12


@pytest.mark.parametrize(
    ("codec", "suffix"), [(name, suffix) for name, codec in CODECS.items() for suffix in codec.suffixes]
)
def test_codecs(tmp_path: Path, codec: str, suffix: str) -> None:
    """Every codec writes every frame, at its time and with the right picture, into each of its containers."""
    if codec not in {name for name, _, here in available_codecs() if here}:
        pytest.skip(f"this build of PyAV has no encoder for {codec}")
    pts = [0, 512, 1500, 1600, 5000]
    path = write(tmp_path / f"out{suffix}", frames_at(pts, size=(98, 67)), codec=codec)
    with open_video(path) as video:
        frames = list(video)
        names = {"h265": {"hevc"}, "av1": {"libdav1d", "av1"}}
        assert video.info.codec in names.get(codec, {codec})
    assert [frame.time for frame in frames] == pytest.approx([float(p * TICK) for p in pts], abs=0.0011)
    assert all(np.abs(f.image[:67].astype(int) - picture(i, 98, 67)).mean() < 15 for i, f in enumerate(frames))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports how threads are scheduled")
@pytest.mark.parametrize("codec", CODECS)
def test_no_encoder_takes_the_machine_for_itself(tmp_path: Path, codec: str) -> None:
    """Writing a video does not change the scheduling of threads; as root, libsvtav1 would make them real-time."""
    if codec not in {name for name, _, here in available_codecs() if here}:
        pytest.skip(f"this build of PyAV has no encoder for {codec}")

    def policies() -> set[int]:
        return {os.sched_getscheduler(task) for task in native_thread_ids()}

    usual, seen = policies(), []
    with AVVideoSink(tmp_path / f"out{CODECS[codec].suffixes[0]}", INFO, codec=codec) as sink:
        for frame in frames_at(range(0, 5 * 512, 512)):
            sink.write(frame)
            seen.append(policies())
    assert [*seen, policies()] == [usual] * 6


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_frame_or_two(tmp_path: Path, codec: str, count: int) -> None:
    """A video of one or two frames is written."""
    if codec not in {name for name, _, here in available_codecs() if here}:
        pytest.skip(f"this build of PyAV has no encoder for {codec}")
    name = f"out{CODECS[codec].suffixes[0]}"
    path = write(tmp_path / name, frames_at(range(0, count * 512, 512)), codec=codec)
    assert times_of(path) == [i * 512 * TICK for i in range(count)]


def test_a_picture_that_the_encoder_refuses(tmp_path: Path) -> None:
    """A picture that the encoder refuses raises one SinkError and leaves no part."""
    with pytest.raises(SinkError) as error:
        write(tmp_path / "out.mp4", frames_at([0], size=(1, 1)), codec="h265")
    assert "\n" not in str(error.value) and "out.mp4" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_in_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hardware encoder that opens is used; encoders that the build or machine lacks are skipped."""
    candidates = {"no_such_encoder": {}, "libx264": {"preset": "ultrafast"}}  # the second replaces a GPU's
    monkeypatch.setitem(codecs.HARDWARE_ENCODERS, "h264", candidates)
    path = write(tmp_path / "out.mp4", frames_at(VARIABLE), codec="h264-hardware")
    assert times_of(path) == [tick * TICK for tick in VARIABLE]
    monkeypatch.setitem(codecs.HARDWARE_ENCODERS, "h264", {"no_such_encoder": {}})
    with pytest.raises(UsageError, match="no_such_encoder") as error:
        check_codec(Path("out.mp4"), "h264-hardware")
    assert "--codec h264" in str(error.value) and "\n" not in str(error.value)
    for codec in ("vp9-hardware", "h264-software"):
        with pytest.raises(UsageError, match="av1-hardware"):
            check_codec(Path("out.mp4"), codec)


def test_apple_tag(tmp_path: Path) -> None:
    """HEVC in MP4 is tagged hvc1, which Apple's players require."""
    with av.open(str(write(tmp_path / "out.mp4", frames_at([0, 512]), codec="h265"))) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("begin", [0.0, 0.2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_copied(tmp_path: Path, make_video: MakeVideo, suffix: str, begin: float) -> None:
    """Sound packets are copied unchanged: the same number and bytes, in sync with the pictures."""
    source = make_video("in.mp4", sound=True)
    with open_video(source, start=begin) as video:
        tracks = video.side_tracks()
        assert tracks is not None
        out = tmp_path / f"out{suffix}"
        write(out, list(video), video.info, start_time=Fraction(begin), side_tracks=tracks)
        tracks.close()
        tracks.close()
    # Matroska begins with the sound, AAC's priming comes before 0: what counts is the distance to the pictures.
    begin -= float(times_of(out)[0])
    before = [(t - begin, payload) for t, payload in sound_of(source) if t >= begin or begin <= 0]
    after = sound_of(out)
    assert len(after) == len(before) > 5
    assert [payload for _, payload in after] == [payload for _, payload in before]
    assert [t for t, _ in after] == pytest.approx([t for t, _ in before], abs=0.0011)


def test_final_name_only_when_whole(tmp_path: Path) -> None:
    """While a video is written only its part exists; at the end only the file itself."""
    out, part = tmp_path / "out.mp4", tmp_path / "out.part.mp4"
    with AVVideoSink(out, INFO) as sink:
        for frame in picture_frames(10):
            sink.write(frame)
            assert not out.exists()
        assert part.exists()
    assert out.exists() and not part.exists()
    assert len(times_of(out)) == 10


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    """An exception that is not one of liquidvision's leaves neither the file nor its part."""
    with pytest.raises(error), AVVideoSink(tmp_path / "new" / "out.mp4", INFO) as sink:
        sink.write(picture_frames(1)[0])
        raise error
    assert list((tmp_path / "new").iterdir()) == []


def test_the_part_is_kept_where_the_source_broke_off(tmp_path: Path) -> None:
    """After one of liquidvision's own errors the part remains and plays; the final name does not appear."""
    with pytest.raises(SourceError), AVVideoSink(tmp_path / "out.mp4", INFO) as sink:
        for frame in picture_frames(10):
            sink.write(frame)
        raise SourceError("broken off")
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.mp4"]
    assert len(times_of(tmp_path / "out.part.mp4")) == 10


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """An older file of that name is unchanged if writing fails, and replaced if it succeeds."""
    out = write(tmp_path / "out.mp4", picture_frames(3))
    before = out.read_bytes()
    with pytest.raises(ValueError, match="no"), AVVideoSink(out, INFO) as sink:
        sink.write(picture_frames(1)[0])
        raise ValueError("no")
    assert out.read_bytes() == before
    assert len(times_of(write(out, picture_frames(5)))) == 5


@pytest.mark.parametrize("kind", [AVVideoSink, OpenCVVideoSink])
def test_no_frame_at_all(tmp_path: Path, kind: type[AVVideoSink]) -> None:
    """Without a frame no file is written, and the error is one line."""
    with pytest.raises(SinkError) as error, kind(tmp_path / "out.mp4", INFO):
        pass
    assert str(error.value).count("out.mp4") == 1 and "no frame" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)])
def test_colors_round_trip(tmp_path: Path, color: tuple[int, int, int]) -> None:
    """A plain colour is read back as it was, by this package and by OpenCV, and the file has the right tags."""
    image = np.full((48, 64, 3), color, np.uint8)
    path = write(tmp_path / "out.mp4", [Frame(image, i, i * 512, TICK) for i in range(3)])
    with open_video(path) as video:
        assert np.abs(next(iter(video)).image.astype(int) - color).max() <= 5
    _, bgr = cv2.VideoCapture(str(path)).read()
    assert np.abs(bgr[..., ::-1].astype(int) - color).max() <= 8
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (BT709, BT709, BT709)
        assert context.color_range == LIMITED and context.pix_fmt == "yuv420p"


def test_pixel_aspect(tmp_path: Path) -> None:
    """The aspect of pixels that are not square is kept."""
    info = VideoInfo("clip", 64, 48, rate=Fraction(25), pixel_aspect=Fraction(4, 3))
    with open_video(write(tmp_path / "out.mp4", picture_frames(3), info)) as video:
        assert video.info.pixel_aspect == Fraction(4, 3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("out.webm", "h264"),
        ("out.avi", "h264"),
        ("out.mov", "vp9"),
        ("out", "h264"),
        ("out.mp4", "mpeg9"),
        ("o.gif", "av1"),
    ],
)
def test_refused_containers(tmp_path: Path, name: str, codec: str) -> None:
    """A codec that the container cannot hold is refused in one line, and nothing is written."""
    with pytest.raises(UsageError) as error:
        AVVideoSink(tmp_path / name, INFO, codec=codec)
    assert "\n" not in str(error.value) and (codec in str(error.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [AVVideoSink, lambda path, info: RecordSink(path.with_suffix(".csv"))])
def test_a_folder_that_cannot_be_written(tmp_path: Path, make: Callable) -> None:
    """A folder that cannot be created or written is reported in one line."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SinkError) as error:
        make(tmp_path / "file" / "out.mp4", INFO)
    assert "\n" not in str(error.value) and "file" in str(error.value)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        make(tmp_path / "folder.mp4", INFO)


@pytest.mark.skipif(os.geteuid() == 0 or os.name == "nt", reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    """A read-only folder raises a SinkError."""
    (tmp_path / "folder").mkdir(mode=0o555)
    with pytest.raises(SinkError):
        AVVideoSink(tmp_path / "folder" / "out.mp4", INFO)


needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def full_part(path: Path) -> Path:
    """Return a part on a full disk."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    part.symlink_to("/dev/full")
    return part


def test_a_part_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """A file that already has the part's usual name is left unchanged."""
    (tmp_path / "out.part.jsonl").write_text("precious")
    with RecordSink(tmp_path / "out.jsonl") as sink, RecordSink(tmp_path / "out.jsonl") as other:
        assert len({sink.part, other.part, tmp_path / "out.part.jsonl"}) == 3
    assert (tmp_path / "out.part.jsonl").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.part.jsonl"]


def test_a_clock_that_starts_anew_keeps_its_distances(tmp_path: Path) -> None:
    """If the source's times step back, the output continues after them, with the same distances from there on."""
    frames = [Frame(picture(i), i, pts, Fraction(1, 1000)) for i, pts in enumerate((0, 40, 80, 10, 50, 50, 90))]
    out = write(tmp_path / "out.mkv", frames)
    np.testing.assert_allclose(np.array(times_of(out), float), [0, 0.04, 0.08, 0.081, 0.121, 0.122, 0.161], atol=1e-6)


@needs_full_disk
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk raises one SinkError that names the file."""
    monkeypatch.setattr("liquidvision.video.write.sink.create_part_file", full_part)
    with pytest.raises(SinkError) as error, RecordSink(tmp_path / "out.jsonl") as sink:
        for i in range(200):
            sink.write(prediction(i))
    assert "out.jsonl" in str(error.value) and "No space" in str(error.value)
    assert not (tmp_path / "out.jsonl").exists()


@needs_full_disk
def test_a_disk_that_fills_up_under_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk raises one SinkError that names the video."""
    monkeypatch.setattr("liquidvision.video.write.sink.create_part_file", full_part)
    rng = np.random.default_rng(0)
    with pytest.raises(SinkError) as error, AVVideoSink(tmp_path / "out.mkv", INFO) as sink:
        for i in range(60):
            sink.write(Frame(rng.integers(0, 255, (96, 128, 3), np.uint8), i, i * 512, TICK))
    assert "out.mkv" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("kind", [AVVideoSink, OpenCVVideoSink])
def test_frames_of_another_size(tmp_path: Path, kind: type[AVVideoSink]) -> None:
    """Frames that differ in size from the first are resized to it, and none is dropped."""
    frames = [Frame(picture(i, *size), i, i * 512, TICK) for i, size in enumerate([(64, 48), (128, 96), (31, 23)] * 3)]
    with kind(tmp_path / "out.mp4", INFO) as sink:
        for frame in frames:
            sink.write(frame)
    with open_video(tmp_path / "out.mp4") as video:
        assert [frame.image.shape for frame in video] == [(48, 64, 3)] * 9


def test_a_killed_writer(tmp_path: Path) -> None:
    """The part that a killed process was writing plays up to its last fragment."""
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from itertools import count
        from fractions import Fraction
        from conftest import picture
        from liquidvision import Frame, VideoInfo
        from liquidvision.video.write.av_writer import AVVideoSink
        sink = AVVideoSink(sys.argv[2], VideoInfo("clip", 64, 48, rate=Fraction(25)))
        pictures = [picture(i) for i in range(25)]
        for i in count():
            sink.write(Frame(pictures[i % 25], i, i * 512, Fraction(1, 12800)))
            if i == 500:
                print("ready", flush=True)
    """)
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.kill()
        assert child.wait(timeout=20) == -signal.SIGKILL
    assert not out.exists()
    part = tmp_path / "out.part.mp4"
    times: list[float] = []
    with open_video(part) as video:
        times = [frame.time for frame in video]
    assert len(times) > 450
    # At the end a picture may be present without earlier ones that would have been coded after it.
    assert times[:-3] == pytest.approx([0.04 * i for i in range(len(times) - 3)], abs=1e-6)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
def test_opencv_writer(tmp_path: Path, suffix: str) -> None:
    """OpenCV's writer loses no frame, and its notes state what it does lose."""
    out = tmp_path / f"out{suffix}"
    with OpenCVVideoSink(out, INFO) as sink:
        for frame in picture_frames(12):
            sink.write(frame)
            assert not out.exists()
    with open_video(out) as video:
        frames = list(video)
    assert len(frames) == 12
    assert np.abs(frames[5].image.astype(int) - picture(5)).mean() < 15
    assert "no sound" in sink.notes[0] and "25 frames per second" in sink.notes[0]


def test_opencv_writer_refuses(tmp_path: Path) -> None:
    """A suffix that OpenCV cannot write is refused in one line."""
    with pytest.raises(UsageError, match=r"\.mp4, \.avi, \.webm"):
        OpenCVVideoSink(tmp_path / "out.mkv", INFO)


def prediction(i: int) -> Prediction:
    scores = np.array([0.7, 0.1, 0.2], np.float32) if i % 2 == 0 else np.array([0.25, 0.6, 0.15], np.float32)
    alone = np.array([0.1, 0.1, 0.8], np.float32)
    labels = ("red", 'grün, "x"', "blue")
    taus, hidden = np.array([0.5, 2.0], np.float32), np.array([-0.25, 0.0, 0.75], np.float32)
    return Prediction(i, i * 0.04, 0.04, labels, scores, alone, taus, hidden)


def record(path: Path, **options) -> str:
    with RecordSink(path, **options) as sink:
        for i in range(4):
            sink.write(prediction(i))
            assert not path.exists() and sink.part.exists()
    assert not sink.part.exists()
    return path.read_text(encoding="utf-8")


def test_json_lines(tmp_path: Path) -> None:
    """A JSON line holds index, time, Δt and the top labels; everything else only on request."""
    lines = [json.loads(line) for line in record(tmp_path / "out.jsonl", top_k=2).splitlines()]
    assert len(lines) == 4
    assert lines[1] == {
        "index": 1,
        "time": 0.04,
        "dt": 0.04,
        "top": [{"label": 'grün, "x"', "score": 0.6}, {"label": "red", "score": 0.25}],
    }
    full = json.loads(record(tmp_path / "full.jsonl", per_frame=True, time_constants=True).splitlines()[0])
    assert full["frame_top"][0] == {"label": "blue", "score": 0.8} and len(full["top"]) == 3
    assert full["time_constants"] == [0.5, 2.0] and "hidden_state" not in full
    inner = json.loads(record(tmp_path / "inner.jsonl", hidden_state=True).splitlines()[0])
    assert inner["hidden_state"] == [-0.25, 0.0, 0.75] and "time_constants" not in inner


def test_csv(tmp_path: Path) -> None:
    """A CSV file has a header and one row per frame, with the same values."""
    inside = {"time_constants": True, "hidden_state": True}
    rows = list(csv.DictReader(record(tmp_path / "out.csv", top_k=2, per_frame=True, **inside).splitlines()))
    assert len(rows) == 4
    assert rows[1] == {
        **{"index": "1", "time": "0.04", "dt": "0.04", "label_1": 'grün, "x"', "score_1": "0.6"},
        **{"label_2": "red", "score_2": "0.25", "frame_label_1": "blue", "frame_score_1": "0.8"},
        **{"frame_label_2": "red", "frame_score_2": "0.1", "tau_1": "0.5", "tau_2": "2.0"},
        **{"h_1": "-0.25", "h_2": "0.0", "h_3": "0.75"},
    }
    assert next(csv.DictReader(record(tmp_path / "few.csv", top_k=99).splitlines()))["label_2"] == "blue"


def test_conf(tmp_path: Path) -> None:
    """Labels below the minimum probability are left out of JSON, and empty in CSV."""
    line = json.loads(record(tmp_path / "out.jsonl", conf=0.2).splitlines()[0])
    assert [best["label"] for best in line["top"]] == ["red", "blue"]
    rows = list(csv.DictReader(record(tmp_path / "out.csv", conf=0.5).splitlines()))
    assert [(row["label_1"], row["label_2"], row["score_2"]) for row in rows[:2]] == [
        ("red", "", ""),
        ('grün, "x"', "", ""),
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_records_that_broke_off(tmp_path: Path, suffix: str) -> None:
    """Records are kept as a part after liquidvision's own errors, and deleted after any other."""
    for error, left in ((ValueError, []), (SourceError, [f"out.part{suffix}"])):
        with pytest.raises(error), RecordSink(tmp_path / f"out{suffix}") as sink:
            sink.write(prediction(0))
            raise error("no")
        assert [path.name for path in tmp_path.iterdir()] == left
        for path in tmp_path.iterdir():
            assert "red" in path.read_text(encoding="utf-8")
    with pytest.raises(SourceError), RecordSink(tmp_path / f"none{suffix}"):
        raise SourceError("not even opened")
    assert [path.name for path in tmp_path.iterdir()] == left
