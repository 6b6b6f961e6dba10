"""The formats of annotations: written and read back, hand-made files after each specification, broken files."""

import json
import zipfile
from pathlib import Path

import pytest
from commands import one_line
from hypothesis import given
from hypothesis import strategies as st

from liquidvision.annotation.annotated import AnnotatedVideo, Timeline, to_frames, to_seconds
from liquidvision.annotation.formats import BY_ENDING, FORMATS, Format, format_to_write, recognise_format
from liquidvision.annotation.interval import FrameInterval, Interval
from liquidvision.data.formats import read_dataset
from liquidvision.errors import SinkError, UsageError
from liquidvision.workflows.annotation_sink import AnnotationSink
from liquidvision.workflows.convert import read_annotations

# A clock that is not regular: 40 frames at 25 a second, then 60 at 10.
TIMES = tuple(n / 25 for n in range(40)) + tuple(1.6 + n / 10 for n in range(60))
TIMELINE = Timeline(TIMES, 7.6, 64, 48)
BOTH_WAYS = [found for found in FORMATS.values() if found.name not in ("edl",)]
words = (
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: text and text.lower() != "background")
)


def write(found: Format, videos: list[AnnotatedVideo], path: Path) -> Path:
    """Write annotations in a format."""
    path.write_bytes(found.write_many(videos) if found.write_many else found.write_one(videos[0]))
    return path


def spans(videos: list[AnnotatedVideo]) -> list[tuple]:
    """Return what was read in a form that compares: the file, the unit, and each interval to a millisecond."""
    return [
        (
            video.file,
            sorted((round(i.start, 3), round(i.end, 3), i.label, i.subject) for i in video.intervals),
            sorted((i.start, i.end, i.label) for i in video.frame_intervals),
        )
        for video in videos
    ]


@st.composite
def annotations(draw: st.DrawFn) -> list[Interval]:
    """Intervals of 1 ms or more with times of whole milliseconds; those of one label do not overlap or touch."""
    found = []
    for label in draw(st.lists(words, min_size=1, max_size=3, unique_by=str.casefold)):
        cuts = sorted(draw(st.lists(st.integers(0, 7600), min_size=2, max_size=6, unique=True)))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False):
            found.append(Interval(start / 1000, end / 1000, label))
    return sorted(found, key=lambda i: (i.start, i.end, i.label))


@pytest.mark.parametrize("found", BOTH_WAYS, ids=lambda found: found.name)
@given(intervals=annotations())
def test_written_and_read_back(found, intervals, tmp_path_factory):
    """What a format writes it reads again, to a millisecond or a frame, whatever the labels."""
    path = tmp_path_factory.mktemp("round") / f"clip{found.ending}"
    if found.name in ("frame-table", "boris-binary"):  # a table has one 1 for stretches that touch
        frames = [n for n in to_frames(intervals, TIMELINE) if n.end - n.start > 0]
        merged: list[FrameInterval] = []
        for n in sorted(frames, key=lambda n: (n.label, n.start)):
            if merged and merged[-1].label == n.label and merged[-1].end >= n.start:
                merged[-1] = FrameInterval(merged[-1].start, max(n.end, merged[-1].end), n.label)
            else:
                merged.append(n)
        video = AnnotatedVideo("clip", frame_intervals=tuple(merged), timeline=TIMELINE)
    elif found.in_frames:
        video = AnnotatedVideo("clip.mp4", frame_intervals=to_frames(intervals, TIMELINE), timeline=TIMELINE)
    else:
        video = AnnotatedVideo("clip.mp4", tuple(intervals), timeline=TIMELINE)
    write(found, [video], path)
    assert recognise_format(path) is found or found.ending not in BY_ENDING
    (again,) = read_annotations(path, found)
    if found.name == "boris-binary":
        expected = spans([AnnotatedVideo("", to_seconds(video.frame_intervals, TIMELINE))])
        last = TIMES[-1] + TIMES[-1] - TIMES[-2]
        assert all(i.end <= last + 1e-6 for i in again.intervals)
    else:
        expected = spans([video])
    (ours,), (theirs,) = expected, spans([again])
    assert theirs[1:] == ours[1:]
    assert theirs[0] in (ours[0], "")


def test_frames_of_a_variable_rate():
    """Seconds become the frames that are shown then, and frames the seconds at which they are shown."""
    (frames,) = to_frames([Interval(1.52, 2.0, "x")], TIMELINE)
    assert (frames.start, frames.end) == (38, 44)
    (seconds,) = to_seconds([frames], TIMELINE)
    assert (seconds.start, seconds.end) == pytest.approx((1.52, 2.0))
    (last,) = to_seconds([FrameInterval(98, 100, "x")], TIMELINE)
    assert last.end == pytest.approx(7.6)
    (short,) = to_frames([Interval(2.01, 2.02, "x")], TIMELINE)
    assert (short.start, short.end) == (45, 46)


def test_two_subjects_keep_their_intervals_apart(tmp_path):
    """Overlapping intervals of two subjects survive in the formats that hold subjects."""
    video = AnnotatedVideo(
        "clip.mp4",
        (Interval(0.5, 2.0, "walk", "Ann"), Interval(1.0, 3.0, "walk", "Bo & Co"), Interval(1.5, 1.9, "sit", "Ann")),
    )
    for found in FORMATS.values():
        if found.subjects and found.name != "csv":
            path = write(found, [video], tmp_path / f"{found.name}{found.ending}")
            assert spans(read_annotations(path, found))[0][1] == spans([video])[0][1], found.name


ELAN_FILE = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2020-01-01T00:00:00+01:00" FORMAT="3.0" VERSION="3.0">
 <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
  <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/a/clip%201.mp4" MIME_TYPE="video/mp4"/></HEADER>
 <TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/>
  <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1250"/></TIME_ORDER>
 <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="nod" PARTICIPANT="Ann"><ANNOTATION>
  <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
   <ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""
TEXTGRID_SHORT = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2.5\n<exists>\n2\n"IntervalTier"\n"Ann"\n0\n2.5\n2\n'
    '0\n1.25\n""\n1.25\n2.5\n"say ""yes"""\n"TextTier"\n"bell"\n0\n2.5\n1\n1.0\n"ding"\n'
)
VTT_FILE = (
    "\ufeffWEBVTT - a title\n\nNOTE\nnot a cue\n\n1\n"
    + "00:01.500 --> 01:00:02.250 align:start\n<v Ann>nod &amp; <i>smile</i></v>\n"
)
SRT_FILE = "1\r\n00:00:01,500 --> 00:00:02,250\r\n{\\an8}<b>nod</b>\r\nagain\r\n\r\n"
CVAT_FILE = """<?xml version="1.0"?><annotations><version>1.1</version><meta><task><stop_frame>99</stop_frame>
<frame_filter>step=2</frame_filter></task><source>clip.mp4</source></meta>
<track id="0" label="person"><box frame="10" outside="0" keyframe="1" xtl="0" ytl="0" xbr="9" ybr="9"/>
<box frame="20" outside="1" keyframe="1" xtl="0" ytl="0" xbr="9" ybr="9"/>
<box frame="30" outside="0" keyframe="1" xtl="0" ytl="0" xbr="9" ybr="9">
<attribute name="Action">run</attribute></box></track>
</annotations>"""
LABEL_STUDIO_FILE = [
    {
        "id": 7,
        "data": {"video": "/data/upload/3/0a1b2c3d-clip%201.mp4"},
        "annotations": [
            {"was_cancelled": True, "result": [{"type": "timelinelabels", "value": {}}]},
            {
                "result": [
                    {
                        "id": "r1",
                        "type": "timelinelabels",
                        "value": {"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["nod"]},
                    },
                    {
                        "id": "r2",
                        "type": "videorectangle",
                        "value": {
                            "framesCount": 90,
                            "labels": ["dog"],
                            "sequence": [{"frame": 5, "enabled": True}, {"frame": 9, "enabled": False}, {"frame": 40}],
                        },
                    },
                ]
            },
        ],
    }
]
VIA_FILE = {
    "project": {},
    "attribute": {"1": {"aname": "act", "type": 4, "options": {"0": "nod", "1": "sit"}}},
    "file": {"1": {"fid": "1", "fname": "clip.mp4"}},
    "metadata": {
        "1_a": {"vid": "1", "z": [0.5, 1.25], "xy": [], "av": {"1": "1"}},
        "1_b": {"vid": "1", "z": [2.0], "xy": [2, 1, 1, 5, 5], "av": {"1": "0"}},
    },
    "view": {"1": {"fid_list": ["1"]}},
}
BORIS_FILE = {
    "behaviors_conf": {
        "0": {"type": "State event", "code": "groom"},
        "1": {"type": "Point event", "code": "squeak"},
    },
    "observations": {
        "one": {
            "type": "MEDIA",
            "file": {"1": ["/data/a.mp4", "/data/b.mp4"], "2": []},
            "media_info": {"length": {"/data/a.mp4": 10.0, "/data/b.mp4": 20.0}},
            "events": [[2.0, "Rat", "groom", "", ""], [3.0, "Rat", "squeak", "", ""], [12.5, "Rat", "groom", "", ""]],
        }
    },
}
AGGREGATED_FILE = (
    "Observation id\tSubject\tBehavior\tBehavior type\tStart (s)\tStop (s)\tMedia file name\n"
    "one\tNo focal subject\tgroom\tSTATE\t0.5\t1.25\tclip.mp4\none\tRat\tsqueak\tPOINT\t1\t1\tclip.mp4\n"
)
TABULAR_FILE = (
    "Observation id,Subject,Behavior,Behavior type,Time,Media file name\n"
    "one,Rat,groom,START,0.5,clip.mp4\none,Rat,groom,STOP,1.25,clip.mp4\n"
)
HAND_MADE = {
    "clip.eaf": (ELAN_FILE, [("clip 1.mp4", [(0.5, 1.25, "nod", "Ann")], [])]),
    "clip.TextGrid": (TEXTGRID_SHORT, [("", [(1.25, 2.5, 'say "yes"', "Ann")], [])]),
    "clip.vtt": (VTT_FILE, [("", [(1.5, 3602.25, "nod & smile", "Ann")], [])]),
    "clip.srt": (SRT_FILE, [("", [(1.5, 2.25, "nod again", "")], [])]),
    "clip.txt": ("0,5\t1,25\tnod\n\\\t100.0\t200.0\n2.0\t2.0\tpoint\n", [("", [(0.5, 1.25, "nod", "")], [])]),
    "clip.xml": (CVAT_FILE, [("clip.mp4", [], [(10, 20, "person"), (30, 100, "run")])]),
    "tasks.json": (
        json.dumps(LABEL_STUDIO_FILE),
        [("clip 1.mp4", [], [(0, 25, "nod"), (4, 9, "dog"), (39, 90, "dog")])],
    ),
    "via.json": (json.dumps(VIA_FILE), [("clip.mp4", [(0.5, 1.25, "sit", "")], [])]),
    "p.boris": (
        json.dumps(BORIS_FILE),
        [("/data/a.mp4", [(2.0, 10.0, "groom", "Rat")], []), ("/data/b.mp4", [(0.0, 2.5, "groom", "Rat")], [])],
    ),
    "aggregated.tsv": (AGGREGATED_FILE, [("clip.mp4", [(0.5, 1.25, "groom", "")], [])]),
    "tabular.csv": (TABULAR_FILE, [("clip.mp4", [(0.5, 1.25, "groom", "Rat")], [])]),
    "binary.csv": (
        "time,groom,sit\n0.0,0,1\n0.5,1,1\n1.0,1,0\n",
        [("", [(0.5, 1.5, "groom", ""), (0.0, 1.0, "sit", "")], [])],
    ),
    "clip_labels.csv": (",background,dig\n0,1,0\n1,0,1\n2,0,1\n3,-1,-1\n", [("clip", [], [(1, 3, "dig")])]),
    "create.json": (
        json.dumps([{"videoPath": "a.mov", "label": "jump", "startTime": 0.5, "endTime": 1.25}]),
        [("a.mov", [(0.5, 1.25, "jump", "")], [])],
    ),
    "i.jsonl": (
        '{"file": "a.mp4", "start": 0.5, "end": 1.25, "label": "x", "score": 0.9}\n\n',
        [("a.mp4", [(0.5, 1.25, "x", "")], [])],
    ),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_files_as_other_tools_write_them(name, tmp_path):
    """A file made after a tool's own specification is recognised and read."""
    text, expected = HAND_MADE[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    found = spans(read_annotations(path, None))
    if name == "clip.eaf":  # the whole path of another machine; the video is found by its last part
        found = [(file.rsplit("/", 1)[-1], *rest) for file, *rest in found]
    assert found == [(file, sorted(seconds), sorted(frames)) for file, seconds, frames in expected]


@pytest.mark.parametrize("name", HAND_MADE)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.97])
def test_truncated_files(name, share, tmp_path):
    """A file cut short is read as far as it is valid, or refused in one line that names it; never another error."""
    text, _ = HAND_MADE[name]
    path = tmp_path / name
    path.write_text(text[: int(share * len(text))], encoding="utf-8", newline="")
    said = name
    try:
        read_annotations(path, None)
    except UsageError as error:
        said = str(error)
    assert name in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.eaf", ELAN_FILE.replace(' TIME_VALUE="500"', ""), "annotation a1 has no time"),
        ("a.eaf", ELAN_FILE.replace("1250", "250"), "from 0.5 to 0.25"),
        ("a.eaf", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "entities"),
        ("a.TextGrid", TEXTGRID_SHORT.replace("1.25\n2.5", "2.5\n1.25"), "from 2.5 to 1.25"),
        ("a.vtt", "WEBVTT\n\n00:03.000 --> 00:02.000\nx\n", "line 3"),
        ("a.vtt", "WEBVTT\n\n00:0x.000 --> 00:02.000\nx\n", "line 3"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n<b></b>\n", "no text"),
        ("a.txt", "0.5 1.0 nod\n", "line 1"),
        ("a.txt", "2.0\t1.0\tnod\n", "line 1"),
        ("a.xml", CVAT_FILE.replace('frame="20"', 'frame="x"'), "track 0"),
        ("a.xml", CVAT_FILE.replace(' label="person"', ""), "track 0 has no label"),
        ("a.xml", "<annotations><image/></annotations>", "CVAT for video 1.1"),
        ("a.json", json.dumps(LABEL_STUDIO_FILE).replace('"start": 1', '"start": 0'), "from frame 0 to 25"),
        ("a.json", json.dumps(VIA_FILE).replace('"av": {"1": "1"}', '"av": {}'), "1_a has no label"),
        ("a.json", '[{"label": "x"}]', "no file and no start and no end"),
        ("a.json", '{"some": 1}', "no JSON format that is known"),
        (
            "a.boris",
            json.dumps(BORIS_FILE).replace('[12.5, "Rat", "groom", "", ""]', '[9, "R", "squeak"]'),
            "never stops",
        ),
        ("a.tsv", AGGREGATED_FILE.replace("0.5", "x"), "line 2"),
        ("a.csv", "time,groom\n0.0,0\n0.0,1\n", "line 3"),
        ("a.csv", ",background,dig\n0,1,0\n2,0,1\n", "line 3"),
        ("a.csv", ",background,dig\n0,1,0\n1,0,2\n", "line 3"),
        ("a.jsonl", '{"file": "a", "start": 0, "end": 1, "label": "x"}\n{', "line 2"),
    ],
)
def test_broken_files(name, text, said, tmp_path):
    """A broken file is refused in one line that says what and where."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(UsageError) as caught:
        read_annotations(path, None)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_of_cvat(tmp_path):
    """The ZIP that CVAT exports is read as the XML in it; a damaged one is refused."""
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.xml", CVAT_FILE)
    assert len(read_annotations(path, None)[0].frame_intervals) == 2
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match="damaged ZIP"):
        read_annotations(path, None)


def test_train_reads_annotations_of_other_tools(make_video, tmp_path):
    """A file, or a folder of files, of another tool is a dataset; subjects become groups where each file has one."""
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    for name, subject in (("a", "Ann"), ("b", "Bo")):
        video = AnnotatedVideo(f"{name}.mp4", (Interval(0.1, 0.5, "nod", subject),))
        write(FORMATS["elan"], [video], tmp_path / f"{name}.eaf")
    data = read_dataset(tmp_path)
    assert data.grouped
    assert [(clip.name, clip.group) for clip in data.clips] == [("a.mp4", "Ann"), ("b.mp4", "Bo")]
    assert data.labels == ("background", "nod")
    write(
        FORMATS["cvat"],
        [AnnotatedVideo("a.mp4", (), (FrameInterval(2, 9, "nod"),), timeline=TIMELINE)],
        tmp_path / "x.xml",
    )
    one = read_dataset(tmp_path / "x.xml")
    assert one.clips[0].frame_intervals == (FrameInterval(2, 9, "nod"),)
    with pytest.raises(UsageError, match="annotated twice"):
        read_dataset(tmp_path)


def test_annotations_without_a_video(tmp_path):
    """Annotations that name no video belong to the one of their own name; without it, they are refused."""
    (tmp_path / "lone.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nnod\n")
    with pytest.raises(UsageError, match="names no video"):
        read_dataset(tmp_path / "lone.vtt")


def test_the_default_format_of_an_ending():
    """An ending that stands for several formats asks for --to."""
    assert format_to_write(Path("a.EAF")).name == "elan"
    with pytest.raises(UsageError, match="boris-tabular"):
        format_to_write(Path("a.tsv"))


def test_convert_by_the_times_of_the_frames(run, make_video, tmp_path):
    """Frames of a video with a variable rate become the seconds at which they are shown, and back."""
    make_video("clip.mp4", pts=[*range(0, 10 * 512, 512), *range(10 * 512, 40 * 512, 2048)])
    (tmp_path / "clip.xml").write_text(CVAT_FILE.replace('frame="10"', 'frame="4"').replace('frame="20"', 'frame="12"'))
    ran = run("convert", tmp_path / "clip.xml", tmp_path / "out.csv")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out.csv").read_text().splitlines()[:2] == ["file,start,end,label", "clip.mp4,0.16,0.72,person"]
    ran = run("convert", tmp_path / "out.csv", tmp_path / "back.xml")
    assert ran.code == 0, ran.err
    (back,) = read_annotations(tmp_path / "back.xml", None)
    assert back.frame_intervals[0] == FrameInterval(4, 12, "person")


def test_convert_many_videos(run, make_video, tmp_path):
    """A format of one video gets a file for each in a folder; into one file it is refused."""
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    (tmp_path / "i.csv").write_text("file,start,end,label\na.mp4,0,0.4,nod\nb.mp4,0.2,0.4,sit\n")
    ran = run("convert", tmp_path / "i.csv", tmp_path / "out", "--to", "elan")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.eaf", "b.eaf"]
    ran = run("convert", tmp_path / "out", tmp_path / "again.jsonl", "--video", tmp_path)
    assert ran.code == 0, ran.err
    assert [json.loads(line)["file"] for line in (tmp_path / "again.jsonl").read_text().splitlines()] == [
        "a.mp4",
        "b.mp4",
    ]
    refused = run("convert", tmp_path / "i.csv", tmp_path / "one.eaf")
    assert refused.code == 2
    assert "expected a folder" in one_line(refused)


def test_convert_refuses(run, tmp_path):
    """A missing video, an existing output, an unknown format and one that is only written are one line each."""
    (tmp_path / "i.csv").write_text("file,start,end,label\na.mp4,0,0.4,nod\n")
    for arguments, said in (
        (("i.csv", "x.xml"), "give it with --video"),
        (("i.csv", "i.csv"), "already exists"),
        (("i.csv", "x.csv", "--from", "nonsense"), "no format nonsense"),
        (("i.csv", "x.csv", "--from", "edl"), "only written"),
        (("none.csv", "x.csv"), "no such file"),
    ):
        ran = run("convert", *(tmp_path / a if "." in a else a for a in arguments))
        assert ran.code != 0
        assert said in one_line(ran)


def test_convert_whole_files_and_cuts(run, make_video, tmp_path):
    """A label of a whole file lasts as long as the video; an edit decision list counts its frames."""
    make_video("a.mp4")
    (tmp_path / "i.csv").write_text("file,label\na.mp4,nod\n")
    ran = run("convert", tmp_path / "i.csv", tmp_path / "out.edl")
    assert ran.code == 0, ran.err
    assert (
        "001  AX       V     C        00:00:00:00 00:00:00:20 00:00:00:00 00:00:00:20"
        in (tmp_path / "out.edl").read_text()
    )


def test_the_commands_of_the_guide(run, make_video, tmp_path, monkeypatch):
    """Every command of the guide on formats runs, in its order."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    videos = [
        AnnotatedVideo("a.mp4", (Interval(0.1, 0.5, "walk", "Ann"),)),
        AnnotatedVideo("b.mp4", (Interval(0.2, 0.6, "sit", "Bo"),)),
    ]
    write(FORMATS["boris"], videos, tmp_path / "walks.boris")
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "formats.md").read_text(encoding="utf-8")
    commands = guide.partition("```sh\n")[2].partition("```")[0].splitlines()
    assert len(commands) > 5
    for command in commands:
        ran = run(*command.split()[1:])
        assert ran.code == 0, f"{command}: {ran.err}"
    assert (tmp_path / "walks.csv").read_text().splitlines()[0] == "file,start,end,label,group"


def test_intervals_of_a_run_in_a_tool_s_format(run, model_folder, make_video, tmp_path):
    """`infer --save-intervals` writes the format of the ending: the same intervals as in a CSV, to a frame."""
    source = make_video()
    names = ("out.csv", "out.eaf", "out.xml", "out.boris", "out.edl")
    for name in names:
        ran = run(
            "infer",
            source,
            "-m",
            model_folder,
            "--no-save",
            "--save-intervals",
            tmp_path / name,
            "--enter",
            "0.1",
            "--leave",
            "0.05",
            "--min-duration",
            "0",
        )
        assert ran.code == 0, ran.err
    expected = read_annotations(tmp_path / "out.csv", None)
    assert expected[0].intervals
    for name in ("out.eaf", "out.boris"):
        assert spans(read_annotations(tmp_path / name, None))[0][:2] == spans(expected)[0][:2]
    (frames,) = read_annotations(tmp_path / "out.xml", None)
    assert [i.label for i in frames.frame_intervals] == [i.label for i in expected[0].intervals]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted([source.name, *names])


def test_frames_cannot_be_written_for_a_pipe(tmp_path):
    """A format that counts frames needs a file to count them in."""
    with pytest.raises(UsageError, match="is no file"):
        AnnotationSink(tmp_path / "out.xml", "udp://somewhere")
    assert not list(tmp_path.iterdir())


def test_intervals_stay_where_their_format_cannot_be_written(make_video, tmp_path):
    """If the frames can no longer be read at the end, the intervals are kept as JSON Lines."""
    source = make_video()
    with pytest.raises(SinkError, match="not readable"), AnnotationSink(tmp_path / "out.xml", str(source)) as sink:
        sink.write(Interval(0.1, 0.5, "nod", score=0.0))
        source.unlink()
    (kept,) = tmp_path.glob("*.jsonl")
    assert json.loads(kept.read_text())["label"] == "nod"
    assert not (tmp_path / "out.xml").exists()
