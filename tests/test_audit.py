"""The audit of annotated videos: what it counts and finds, and what the command prints and exits with."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from commands import one_line
from conftest import picture

from liquidvision.annotation.interval import Interval
from liquidvision.data.audit import AuditReport, ClassExtent, audit_dataset
from liquidvision.data.dataset import Dataset
from liquidvision.data.formats import read_dataset
from liquidvision.data.frame_times import FrameTimes
from liquidvision.data.splits import split_dataset

Build = Callable[..., Path]
STEP = 512  # ticks of a frame, of 12800 a second: 0.04 s


@pytest.fixture
def build(make_video, tmp_path) -> Build:
    """Writes a CSV, and a video with a number of frames for each named file; returns the CSV's path."""

    def build(text: str, **frames: int) -> Path:
        for name, count in frames.items():
            make_video(f"{name}.mp4", pts=range(0, count * STEP, STEP), first=1000 * ord(name[0]))
        path = tmp_path / "data.csv"
        path.write_text(text)
        return path

    return build


def texts(report: AuditReport) -> list[tuple[str, str]]:
    """The problems of single clips, as (name, text)."""
    return [(problem.name, problem.text) for problem in report.problems if problem.name]


def of_whole(report: AuditReport) -> str:
    """The problems of the data as a whole."""
    return "; ".join(problem.text for problem in report.problems if not problem.name)


def labelled(rows: str) -> str:
    """A CSV of `file:label[:group]` rows."""
    lines = [row.split(":") for row in rows.split()]
    header = ["file", "label", "group"][: len(lines[0])]
    return "\n".join([",".join(header), *(",".join([f"{file}.mp4", *more]) for file, *more in lines)])


def test_correct_data(build):
    """Correct data has no problems; clips, groups, frames and seconds are counted by class."""
    path = build(labelled("a:x:p b:y:p c:x:q d:y:q e:x:r f:y:r"), a=5, b=10, c=6, d=11, e=7, f=12)
    data, read = read_dataset(path), []
    report = audit_dataset(data, on_file=read.append)
    assert (report.problems, report.errors, report.copies, report.usable) == ((), (), (), data)
    assert read == [clip.name for clip in data.clips]
    assert report.frames == {"a.mp4": 5, "b.mp4": 10, "c.mp4": 6, "d.mp4": 11, "e.mp4": 7, "f.mp4": 12}
    assert report.seconds == pytest.approx({name: count * 0.04 for name, count in report.frames.items()})
    assert report.classes == {
        "x": ClassExtent(3, 3, 18, pytest.approx(0.72)),
        "y": ClassExtent(3, 3, 33, pytest.approx(1.32)),
    }


def test_seconds_are_those_that_passed(make_video, tmp_path):
    """Frames at irregular times count for as long as they are shown."""
    make_video("a.mp4", pts=[0, 100, 1000, 1100], time_base=Fraction(1, 1000))
    make_video("b.mp4", pts=[500, 1500], time_base=Fraction(1, 1000))
    (tmp_path / "data.csv").write_text("file,start,end,label\na.mp4,0.1,1,x\nb.mp4,0,9,y\n")
    report = audit_dataset(read_dataset(tmp_path / "data.csv"))
    assert report.classes["x"] == ClassExtent(1, 1, 1, pytest.approx(0.9))
    assert report.classes["background"].frames == 3
    assert report.seconds["a.mp4"] == pytest.approx(report.classes["background"].seconds + 0.9)


def test_files_that_cannot_be_used(build, make_video, tmp_path):
    """A missing, empty, foreign or sound-only file, or a folder, is an error and left out; the rest is used."""
    path = build(labelled("a:x b:y none:x empty:x text:y folder:y sound:x"), a=5, b=6)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        samples.planes[0].update(bytes(4096))
        samples.sample_rate, samples.pts = 16000, 0
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    data = read_dataset(path)
    report = audit_dataset(data)
    assert report.usable == data.select(["a.mp4", "b.mp4"])
    assert set(report.frames) == set(report.seconds) == {"a.mp4", "b.mp4"}
    assert [problem.name for problem in report.errors] == [
        "empty.mp4",
        "folder.mp4",
        "none.mp4",
        "sound.mp4",
        "text.mp4",
    ]
    told = {problem.name: problem.text for problem in report.errors}
    assert "no such file" in told["none.mp4"] and "no video" in told["sound.mp4"]
    assert "cannot be opened" in told["text.mp4"] and "cannot be opened" in told["empty.mp4"]
    assert report.problems[: len(report.errors)] == report.errors


def test_no_usable_file(build):
    """If no file can be read, there are only errors, and no clip is usable."""
    report = audit_dataset(read_dataset(build(labelled("a:x b:y"))))
    assert len(report.errors) == len(report.problems) == 2
    assert report.usable.clips == ()


def test_a_camera_is_no_file(tmp_path, monkeypatch):
    """A missing file whose name is a number is not taken for a camera index."""
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("file,label\n0,x\n1,y\n")
    assert [problem.text for problem in audit_dataset(read_dataset("data.csv")).errors] == [
        "no such file: 0",
        "no such file: 1",
    ]


def test_damaged_packets(tmp_path, make_video, build):
    """Packets that cannot be decoded are a warning; the file is used without them."""
    path = build(labelled("a:x b:y"), b=9)
    clip = make_video("a.mp4")
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][3]
        start, size = packet.pos, packet.size
    content = bytearray(clip.read_bytes())
    content[start : start + size] = bytes(size)
    clip.write_bytes(content)
    report = audit_dataset(read_dataset(path))
    assert not report.errors
    assert texts(report) == [("a.mp4", "1 damaged packets; their frames are missing")]
    assert report.frames["a.mp4"] == 19


def test_intervals_beyond_the_end(build):
    """An interval that ends after its video is cut, with a warning beyond rounding; one without frames is left out."""
    rows = ["a.mp4,0,0.2,x", "a.mp4,0.6,0.9,y", "b.mp4,0.2,5,x", "b.mp4,5,6,y", "b.mp4,7,8,y", "c.mp4,0.081,0.082,x"]
    report = audit_dataset(read_dataset(build("\n".join(["file,start,end,label", *rows]), a=20, b=21, c=22)))
    assert texts(report) == [
        ("b.mp4", "y 5–6 s (and 1 more): after the video's end at 0.84 s; left out"),
        ("b.mp4", "x 0.2–5 s: beyond the video's end at 0.84 s; cut there"),
        ("c.mp4", "x 0.081–0.082 s: between two frames; left out"),
    ]
    a, b, c = report.usable.clips
    assert a.intervals == (Interval(0, 0.2, "x"), Interval(0.6, pytest.approx(0.8), "y"))
    assert b.intervals == (Interval(0.2, pytest.approx(0.84), "x"),)
    assert c.intervals == ()


def test_frame_numbers_are_mapped_by_the_frames_times(make_video, tmp_path):
    """Intervals by frame numbers get the times of these frames, however irregular they are."""
    make_video("a.mp4", pts=[0, 100, 1000, 1100, 1150], time_base=Fraction(1, 1000))
    make_video("b.mp4", pts=[500, 1500], time_base=Fraction(1, 1000))
    rows = "a.mp4,x,1,3\na.mp4,y,3,5\nb.mp4,y,1,99\nb.mp4,x,7,8\n"
    (tmp_path / "data.csv").write_text(f"file,label,start_frame,stop_frame\n{rows}")
    report = audit_dataset(read_dataset(tmp_path / "data.csv"))
    a, b = report.usable.clips
    assert [(i.label, i.start) for i in a.intervals] == [("x", pytest.approx(0.1)), ("y", pytest.approx(1.1))]
    assert a.intervals[0].end == pytest.approx(1.1) and a.intervals[1].end > 1.15
    assert [(i.label, i.start) for i in b.intervals] == [("y", pytest.approx(1))]
    assert (report.classes["x"].frames, report.classes["y"].frames, report.classes["background"].frames) == (2, 3, 2)
    told = [text for name, text in texts(report) if name == "b.mp4"]
    assert len(told) == 2 and "left out" in told[0] and "cut there" in told[1]


def test_frame_numbers_of_every_nth_frame():
    """Where only every Nth frame is known, a frame number stands for the first known frame that is not before it."""
    frames = FrameTimes(np.arange(7) * 0.16, np.full(7, 0.16), 0, stride=4)  # frames 0, 4, ... 24 of 25 a second
    assert [frames.start_of(number) for number in (0, 1, 4, 5, 24)] == pytest.approx([0, 0.16, 0.16, 0.32, 0.96])
    assert frames.start_of(25) == frames.start_of(28) == frames.end
    assert frames.start_of(53) == pytest.approx(frames.end + 1)


def test_overlaps(build):
    """Overlapping intervals of different labels are a warning; of one label, or end to end, they are not."""
    rows = [
        "a.mp4,0,0.4,x",
        "a.mp4,0.2,0.6,y",
        "a.mp4,0.3,0.5,x",
        "b.mp4,0,0.4,x",
        "b.mp4,0.2,0.4,x",
        "b.mp4,0.4,0.6,y",
    ]
    report = audit_dataset(read_dataset(build("\n".join(["file,start,end,label", *rows]), a=20, b=26)))
    assert texts(report) == [
        ("a.mp4", "y 0.2–0.6 s overlaps x 0–0.4 s (and 1 more): the one that begins later applies")
    ]


def test_the_same_content(build, tmp_path):
    """The same content in two groups or classes is a warning; within one group and class it is no leak."""
    path = build(labelled("a:x:p b:x:q c:y:p d:x:r e:y:s f:y:s g:y:p"), a=5, c=6, e=7, g=8)
    for copy, original in (("b", "a"), ("d", "c"), ("f", "e")):
        (tmp_path / f"{copy}.mp4").write_bytes((tmp_path / f"{original}.mp4").read_bytes())
    report = audit_dataset(read_dataset(path))
    assert report.copies == (("a.mp4", "b.mp4"), ("c.mp4", "d.mp4"))
    assert texts(report) == [
        ("a.mp4", "the same content as b.mp4: training and test may share it; use one group"),
        ("c.mp4", "the same content as d.mp4: here it is y, there x"),
    ]


def test_the_same_content_with_other_intervals(build, tmp_path):
    """The same content with two annotations is a warning."""
    path = build("file,start,end,label,group\na.mp4,0,0.1,x,p\nb.mp4,0.1,0.2,x,p\nc.mp4,0,0.1,y,p\n", a=5, c=6)
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    assert texts(audit_dataset(read_dataset(path))) == [
        ("a.mp4", "the same content as b.mp4, which is annotated differently")
    ]


def encode_again(source: Path, target: Path, *, size: tuple[int, int], codec: str, rate: int = 25) -> None:
    """Write a worse copy of a video in another size, codec and container, at another frame rate."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream = output.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 200_000
        shown = -1
        for frame in container.decode(video=0):
            number = int(frame.time * rate + 0.5)
            if number == shown:
                continue
            small = frame.reformat(*size, format="yuv420p")
            small.pts, small.time_base, shown = number, Fraction(1, rate), number
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("copy.mp4", {"codec": "libx264", "size": (64, 48)}),
        ("copy.mkv", {"codec": "libx264", "size": (32, 24)}),
        ("copy.avi", {"codec": "mpeg4", "size": (96, 72)}),
        ("copy.mkv", {"codec": "libx264", "size": (64, 48), "rate": 24}),
    ],
)
def test_copies_that_were_encoded_again(build, tmp_path, name, options):
    """A copy in another encoding, size, container or frame rate is a warning, if classes or groups differ."""
    path = build(labelled("a:x:p b:x:p c:y:q d:y:r"), a=50, b=50, c=50, d=50)
    assert audit_dataset(read_dataset(path)).copies == ()
    encode_again(tmp_path / "a.mp4", tmp_path / name, **options)
    path.write_text(f"{path.read_text()}\n{name},y,p")
    report = audit_dataset(read_dataset(path))
    assert report.copies == (("a.mp4", name),)
    assert texts(report) == [("a.mp4", f"looks the same as {name}: here it is x, there y")]
    path.write_text(path.read_text().replace(f"{name},y,p", f"{name},x,z"))
    assert texts(audit_dataset(read_dataset(path))) == [
        ("a.mp4", f"looks the same as {name}: training and test may share it; use one group")
    ]
    path.write_text(path.read_text().replace(f"{name},x,z", f"{name},x,p"))
    assert texts(audit_dataset(read_dataset(path))) == []


def test_a_remuxed_copy(build, tmp_path):
    """The same packets in another container are a warning; an exact copy of the copy is named with it."""
    path = build(labelled("a:x b:y c:y"), a=50, b=50, c=50)
    with av.open(str(tmp_path / "a.mp4")) as container, av.open(str(tmp_path / "b.mkv"), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    path.write_text(path.read_text().replace("b.mp4", "b.mkv"))
    assert audit_dataset(read_dataset(path)).copies == (("a.mp4", "b.mkv"),)
    (tmp_path / "c.mp4").write_bytes((tmp_path / "b.mkv").read_bytes())
    assert audit_dataset(read_dataset(path)).copies == (("b.mkv", "c.mp4"), ("a.mp4", "b.mkv", "c.mp4"))


def test_a_copy_in_another_part(build, tmp_path):
    """A copy in another part of a given split is a warning, also within one group."""
    path = build("file,label,group,split\na.mp4,x,p,train\nb.mp4,x,p,test\nc.mp4,y,q,train\n", a=50, c=50)
    encode_again(tmp_path / "a.mp4", tmp_path / "b.mp4", size=(64, 48), codec="libx264")
    assert texts(audit_dataset(read_dataset(path))) == [
        ("a.mp4", "looks the same as b.mp4, and the split has it in test and train; use one part")
    ]


def write_images(path: Path, images: Iterable[np.ndarray]) -> None:
    """Write a video of 25 frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_similar_videos_are_no_copies(tmp_path):
    """Videos with other movement in one place, of other colours, and of other moments are no copies."""

    def square(place: int) -> np.ndarray:
        image = picture(7).copy()
        image[20:26, place : place + 6] = 255
        return image

    write_images(tmp_path / "a.mp4", (square(2 * number) for number in range(25)))
    write_images(tmp_path / "b.mp4", (square(48 - 2 * number) for number in range(25)))
    write_images(tmp_path / "c.mp4", (square(2 * number)[..., ::-1] for number in range(25)))
    write_images(tmp_path / "d.mp4", map(picture, range(25)))
    write_images(tmp_path / "e.mp4", map(picture, range(25, 50)))
    write_images(tmp_path / "f.mp4", [picture(7)] * 25)
    write_images(tmp_path / "g.mp4", [picture(8)] * 25)
    (tmp_path / "data.csv").write_text(labelled("a:x b:y c:x d:y e:x f:y g:x"))
    assert audit_dataset(read_dataset(tmp_path / "data.csv")).copies == ()


def test_copies_of_a_still_picture(tmp_path):
    """A copy of a video in which nothing moves is recognised."""
    write_images(tmp_path / "a.mp4", [picture(7)] * 25)
    encode_again(tmp_path / "a.mp4", tmp_path / "b.mkv", size=(64, 48), codec="libx264")
    (tmp_path / "data.csv").write_text("file,label\na.mp4,x\nb.mkv,y")
    assert audit_dataset(read_dataset(tmp_path / "data.csv")).copies == (("a.mp4", "b.mkv"),)


def test_a_class_that_is_lost(build):
    """A class with only unreadable files is a warning and stays among the labels; so is a single class left."""
    report = audit_dataset(read_dataset(build(labelled("a:x b:y c:z"), a=5, b=6)))
    assert report.usable.labels == ("x", "y", "z")
    assert report.classes["z"] == ClassExtent(0, 0, 0, 0)
    assert "no usable video shows z" in of_whole(report) and "only one class" not in of_whole(report)
    report = audit_dataset(read_dataset(build(labelled("a:x c:z"))))
    assert "only one class is left, x" in of_whole(report)


def test_small_classes(build):
    """Classes in fewer groups than a split has parts are a warning with their groups."""
    rows = labelled("a:x:p b:y:p c:x:q d:y:q e:x:r f:x:r")
    report = audit_dataset(read_dataset(build(rows, a=5, b=6, c=7, d=8, e=9, f=10)))
    assert "in fewer than 3 groups" in of_whole(report) and "one each: y (2)" in of_whole(report)


def test_unbalanced_classes(build):
    """Five times as many clips or seconds of one class as of another are a warning; the background does not count."""
    many = dict.fromkeys("abcde", 5)
    rows = labelled("a:x b:x c:x d:x e:x f:y")
    assert "unbalanced: 5 clips of x, 1 of y" in of_whole(audit_dataset(read_dataset(build(rows, **many, f=5))))
    rows = labelled("a:x b:x c:x d:x e:y f:y")
    assert "unbalanced" not in of_whole(audit_dataset(read_dataset(build(rows))))
    intervals = "file,start,end,label\na.mp4,0,{},x\na.mp4,4,4.16,y\n"
    assert "unbalanced: 1 seconds of x, 0.16 of y" in of_whole(
        audit_dataset(read_dataset(build(intervals.format(1), a=200)))
    )
    assert "unbalanced" not in of_whole(audit_dataset(read_dataset(build(intervals.format(0.4)))))


def test_groups_of_one_class(build):
    """A group of several clips of one class is a warning if others show more: it could give the class away."""
    many = {name: count for count, name in enumerate("abcdef", 5)}
    report = audit_dataset(read_dataset(build(labelled("a:x:p b:y:p c:x:q d:x:q e:y:r f:y:s"), **many)))
    assert "1 of 2 groups of several clips show only one class: q" in of_whole(report)
    report = audit_dataset(read_dataset(build(labelled("a:x:p b:x:p c:y:q d:y:q e:y:r f:x:s"))))
    assert "show only one class" not in of_whole(report)


def test_notes_of_reading_are_problems(make_video, tmp_path):
    """The notes of `read_dataset` are among the problems."""
    for name in ("x/a.mp4", "y/b.mp4", "z/c.mp4"):
        (tmp_path / name).parent.mkdir()
        make_video(name)
    (tmp_path / "z/c.mp4").unlink()
    assert "holds no videos and is not a class" in of_whole(audit_dataset(read_dataset(tmp_path)))


def test_the_command_on_correct_data(run, build):
    """Correct data: classes, counts and lengths, exit code 0."""
    rows = labelled("a:x b:y c:x d:y e:x f:[bold]y")
    ran = run("check", build(rows, a=5, b=10, c=6, d=11, e=7, f=12))
    assert (ran.code, ran.err) == (0, "")
    assert (
        "6 videos, 3 classes" in ran.out and "51 frames, 2.0 s" in ran.out and "0.20–0.48 s, median 0.34 s" in ran.out
    )
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["class", "clips", "frames", "seconds", "share"] in rows
    assert ["x", "3", "18", "0.7", "35%"] in rows and ["[bold]y", "1", "12", "0.5", "24%"] in rows
    assert "0 of 6 files cannot be used; warnings: 1" in ran.out


def test_the_command_on_names_with_line_breaks(run, make_video, tmp_path):
    """Line breaks in class folders and file names break neither the table nor a line of the problems."""
    for number, name in enumerate(("run\nfast/a\nb.mp4", "jump/b.mp4")):
        (tmp_path / name).parent.mkdir()
        make_video("made.mp4", first=50 * number).rename(tmp_path / name)
    (tmp_path / "run\nfast/c\nd.mp4").write_text("no video")
    ran = run("check", tmp_path)
    assert ran.code == 3
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["run", "fast", "1", "20", "0.8", "50%"] in rows
    assert all(line.startswith(("error: ", "warning: ")) for line in ran.out.splitlines()[6:-1]), ran.out
    assert "error: run fast/c d.mp4: " in ran.out


def test_the_command_on_groups_and_intervals(run, build):
    """Groups have a column; the background has the name that the user gives."""
    ran = run("check", build("file,start,end,label,group\na.mp4,0,0.1,x,p\n", a=5), "--background", "idle")
    assert ran.code == 0 and "1 videos in 1 groups, 2 classes" in ran.out
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["class", "clips", "groups", "frames", "seconds", "share"] in rows
    assert ["idle", "1", "1", "2", "0.1", "40%"] in rows


def test_the_command_on_bad_files(run, build, tmp_path):
    """Bad files: listed, exit code 3; only bad files: one line, exit code 1; bad annotations: one line, exit code 2."""
    path = build(labelled("a:x b:y none:x"), a=5, b=6)
    ran = run("check", path)
    assert (ran.code, ran.err) == (3, "")
    assert "error: none.mp4: no such file" in ran.out and "1 of 3 files cannot be used" in ran.out
    path.write_text(labelled("none:x gone:y"))
    ran = run("check", path)
    assert ran.code == 1 and ran.out == ""
    assert "none of the videos of" in one_line(ran) and "(and 1 more)" in ran.err
    for arguments, told in (([tmp_path / "nowhere"], "no data at"), ([path, "--background", ""], "no name")):
        ran = run("check", *arguments)
        assert ran.code == 2 and told in one_line(ran)


def test_help_imports_nothing_slow():
    """The command's help needs neither torch nor PyAV."""
    program = (
        "import sys; sys.argv = ['liquidvision', 'check', '--help']\n"
        "from liquidvision.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'av', 'numpy', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(("name", "clips", "groups"), [("fights", 240, 240), ("gestures", 209, 4)])
def test_real_data(data, name, clips, groups):
    """The shared clips have no problems, and each part of a split of them has all classes."""
    dataset: Dataset = read_dataset(data / "video" / name)
    report = audit_dataset(dataset)
    assert report.problems == () and report.usable == dataset
    assert (len(dataset.clips), len({clip.group for clip in dataset.clips})) == (clips, groups)
    for names in split_dataset(dataset).values():
        assert {clip.label for clip in dataset.select(names).clips} == set(dataset.labels)
