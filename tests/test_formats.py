"""Annotation formats: what is read, what is refused, and which class a frame has."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquidvision.annotation.interval import FrameInterval, Interval
from liquidvision.data.dataset import Clip
from liquidvision.data.formats import read_dataset
from liquidvision.errors import UsageError


def touch(root: Path, *names: str) -> Path:
    """Create empty files: reading annotations opens no video."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(root: Path, text: str, name: str = "data.csv") -> Path:
    path = root / name
    path.write_bytes(text.encode())
    return path


def database(root: Path, entries: object) -> Path:
    return table(root, json.dumps({"database": entries}), "data.json")


def test_class_folders(tmp_path):
    """Videos at any depth below a class folder have its class; other files and hidden files are ignored."""
    touch(tmp_path, "run/b.mp4", "jump/x/y/c.MKV", "run/a.avi", "run/notes.txt", "run/._a.avi", ".git/z/d.mp4")
    touch(tmp_path, ".top.mp4", "run/.cache/e.mp4")
    data = read_dataset(tmp_path)
    assert [(clip.name, clip.label, clip.group) for clip in data.clips] == [
        ("jump/x/y/c.MKV", "jump", "jump/x/y/c.MKV"),
        ("run/a.avi", "run", "run/a.avi"),
        ("run/b.mp4", "run", "run/b.mp4"),
    ]
    assert all(clip.path.is_file() for clip in data.clips)
    assert (data.labels, data.background, data.grouped, data.whole_clip) == (("jump", "run"), None, False, True)
    assert data.notes == ()


def test_a_folder_without_videos_is_no_class(tmp_path):
    """A folder without videos is left out with a note."""
    touch(tmp_path, "run/a.mp4", "jump/a.mp4", "docs/readme.md")
    data = read_dataset(tmp_path)
    assert data.labels == ("jump", "run")
    assert len(data.notes) == 1 and "docs" in data.notes[0]


def test_videos_beside_class_folders_are_left_out(tmp_path):
    """Videos in no class folder are left out with a note."""
    touch(tmp_path, "run/a.mp4", "jump/a.mp4", "loose.mp4")
    data = read_dataset(tmp_path)
    assert len(data.clips) == 2
    assert data.notes == (f"{tmp_path / 'loose.mp4'} is in no class folder, and was left out",)
    touch(tmp_path, "more.avi", "z.mkv")
    assert read_dataset(tmp_path).notes == (
        f"{tmp_path / 'loose.mp4'} and 2 more are in no class folder, and were left out",
    )


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    """A dataset at "." is named after its folder."""
    monkeypatch.chdir(touch(tmp_path / "moves", "run/a.mp4", "jump/a.mp4"))
    table(Path(), "file,label\nrun/a.mp4,x\njump/a.mp4,y\n")
    for path in (".", "run/..", "data.csv"):
        assert read_dataset(path).root.name == "moves"


def test_a_folder_with_an_index_is_that_index(tmp_path):
    """A folder with an index.csv is read from that file."""
    touch(tmp_path, "run/a.mp4", "jump/b.mp4")
    table(tmp_path, "file,label\nrun/a.mp4,x\njump/b.mp4,y\n", "index.csv")
    assert read_dataset(tmp_path).labels == ("x", "y")
    assert read_dataset(tmp_path) == read_dataset(tmp_path / "index.csv")


@pytest.mark.parametrize(
    "text",
    [
        "file,label,group\nb.mp4,run,p1\na.mp4,jump,p2\n",
        "\ufefffile,label,group\r\nb.mp4,run,p1\r\na.mp4,jump,p2\r\n",
        "File; Label ;GROUP\nb.mp4;run;p1\n a.mp4 ; jump ; p2 \n",
        "group\tfile\tlabel\np1\tb.mp4\trun\np2\ta.mp4\tjump",
        'note,file,label,group\n"one, ""two""\nthree",b.mp4,run,p1\n,,,\n\n,./x/../a.mp4,jump,p2,,\n',
    ],
)
def test_a_label_for_each_file(tmp_path, text):
    """Separators, line ends, a byte-order mark, spaces, empty rows and other columns do not matter."""
    data = read_dataset(table(tmp_path, text))
    assert data.clips == (
        Clip(tmp_path / "a.mp4", "a.mp4", "p2", "jump"),
        Clip(tmp_path / "b.mp4", "b.mp4", "p1", "run"),
    )
    assert (data.labels, data.background, data.grouped) == (("jump", "run"), None, True)


def test_without_groups_each_file_is_its_own(tmp_path):
    """Without groups, each file's name is its group."""
    data = read_dataset(table(tmp_path, "file,label\na.mp4,x\nb.mp4,y\n"))
    assert [clip.group for clip in data.clips] == ["a.mp4", "b.mp4"]
    assert not data.grouped


@pytest.mark.parametrize(
    "text",
    [
        "file,start,end,label,group\na.mp4,2.5,3,run,p\nb.mp4,,,,q\na.mp4,0,1,jump,p\n",
        "file;start;end;label;group\na.mp4;2,5;3,0;run;p\nb.mp4;;;;q\na.mp4;0;1;jump;p\n",
    ],
)
def test_intervals(tmp_path, text):
    """Intervals are sorted by start; a row with only a file says that it shows only background."""
    data = read_dataset(table(tmp_path, text), background=" idle ")
    assert data.clips == (
        Clip(tmp_path / "a.mp4", "a.mp4", "p", None, (Interval(0, 1, "jump"), Interval(2.5, 3, "run"))),
        Clip(tmp_path / "b.mp4", "b.mp4", "q", None),
    )
    assert (data.labels, data.background, data.grouped, data.whole_clip) == (
        ("idle", "jump", "run"),
        "idle",
        True,
        False,
    )


def test_the_background_may_be_named_in_intervals(tmp_path):
    """An interval of the background class adds no class."""
    data = read_dataset(table(tmp_path, "file,start,end,label\na.mp4,0,1,background\na.mp4,1,2,act\n"))
    assert data.labels == ("background", "act")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found nothing"),
        ("file,label\n", "lists no video"),
        ("place,label\na,b\n", "no column file; expected file,label[,group][,split] or"),
        ("a.mp4,run\n", "no column file and no column label"),
        ("file,start,label\na,0,b\n", "no column end"),
        ("file,label,label\na,b,c\n", "two columns label"),
        ("file,label\na,x\nb,\n", "line 3: label is empty"),
        ("file,label\n\na,x\n,y\n", "line 4: file is empty"),
        ("file,label\na,x\nb\n", "line 3: label is empty"),
        ("file,label,group\na,x,\n", "line 2: group is empty"),
        ("file,label\na,b.mp4,x\n", "line 2: more values than columns"),
        ("file,label\na,x\na,y\n", "line 3: a is y, but an earlier row says x"),
        ("file,label\na,x\n./a,x\n", "line 3: a is x, but an earlier row says x"),
        ("file,label\na,x\nb,x\n", "only one class, x"),
        ('file,label\na,x\n"b,y\n', "line 3: unexpected end of data"),
        ("file,start,end,label,group\na,0,1,x,p\na,1,2,y,q\n", "line 3: a is in group q, but an earlier row says p"),
        ("file,start,end,label\na,0,1,x\na,zero,2,y\n", "line 3: start is 'zero' and end '2'; expected seconds"),
        ("file,start,end,label\na,2,2,x\n", "line 2: the interval goes from 2 to 2 s"),
        ("file,start,end,label\na,-1,2,x\n", "line 2: the interval goes from -1"),
        ("file,start,end,label\na,0,nan,x\n", "line 2: the interval goes from 0 to nan"),
        ("file,start,end,label\na,0,inf,x\n", "line 2: the interval goes from 0 to inf"),
        ("file,start,end,label\na,0,1,\n", "line 2: label is empty"),
        ("file,start,end,label\na,,1,x\n", "line 2: start is empty"),
        ("file,start,end,label\na,,,\n", "only one class, background"),
    ],
)
def test_invalid_csv_files(tmp_path, text, told):
    """An invalid CSV is refused in one line that names the file, and the row if there is one."""
    with pytest.raises(UsageError) as caught:
        read_dataset(table(tmp_path, text))
    said = str(caught.value)
    assert told in said and "data.csv" in said and "\n" not in said


def test_a_csv_in_another_encoding(tmp_path):
    """A CSV that is neither UTF-8 nor UTF-16 is refused with the line, the byte and how to convert it."""
    (tmp_path / "data.csv").write_bytes("file,label\na.mp4,x\nä.mp4,x\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"not in UTF-8: line 3 has the byte 0xE4; .*iconv -f CP1252 -t UTF-8"):
        read_dataset(tmp_path / "data.csv")
    (tmp_path / "data.csv").write_bytes("file,label\n".encode("utf-16")[:-1])
    with pytest.raises(UsageError, match="UTF-16"):
        read_dataset(tmp_path / "data.csv")


@pytest.mark.parametrize(
    "header",
    [
        "file,label,group",
        "filename,class,person",
        "File Name,Class Name,Subject ID",
        "videoPath,activity,cameraId",
        "clip_path,category,participant_id",
    ],
)
def test_usual_column_names(tmp_path, header):
    """Columns are recognised by their usual names, in any case and with any punctuation."""
    data = read_dataset(table(tmp_path, f"{header}\na.mp4,x,p1\nb.mp4,y,p2\n"))
    assert [(clip.name, clip.label, clip.group) for clip in data.clips] == [("a.mp4", "x", "p1"), ("b.mp4", "y", "p2")]
    assert data.grouped and data.notes == ()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("file,path,label", "file and path, and each could be the file"),
        ("file,label,class", "label and class, and each could be the label"),
        ("file,label,person,camera", "person and camera, and each could be the group"),
        ("file,label,split,subset", "split and subset, and each could be the split"),
        ("file,label,start,end,start_frame,end_frame", "in more than one way, start,start_frame,end,end_frame"),
        ("file,label,start,end_frame", "start and end_frame, which have different units"),
        ("file,label,start_frame", "no column end_frame"),
        ("file,label,stop_sec", "no column start"),
        ("file,label,duration,end", "no column start"),
        ("file,label,frame", "labels of single frames are not read"),
        ("file,label,Timestamp", "labels of single frames are not read"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(tmp_path, header, told):
    """Two columns for the same thing, half an interval and labels of single frames are refused in one line."""
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(UsageError) as caught:
        read_dataset(table(tmp_path, f"{header}\n{row}\n"))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_columns_that_are_not_read_are_named(tmp_path):
    """Each column that is not read gives a note."""
    data = read_dataset(table(tmp_path, "file,label,comment,fps\na.mp4,x,nice,25\nb.mp4,y,,25\n"))
    assert data.notes == tuple(f"{tmp_path / 'data.csv'}: not read: the column {name}" for name in ("comment", "fps"))


@pytest.mark.parametrize(
    "text",
    [
        "file,label,start_sec,end_sec\na.mp4,x,61.5,3723\nb.mp4,y,0,1\n",
        "file,label,start,end\na.mp4,x,1:01.5,1:02:03\nb.mp4,y,0:00,0:01\n",
        'file,label,Start (s),Stop (s)\na.mp4,x,"00:01:01,500",01:02:03\nb.mp4,y,0,00:00:01.000\n',
        "file;label;from;to\na.mp4;x;61,5;3723,0\nb.mp4;y;0;1\n",
        "file,label,start_ms,end_ms\na.mp4,x,61500,3723000\nb.mp4,y,0,1000\n",
        "file,label,begin,duration\na.mp4,x,61.5,3661.5\nb.mp4,y,0,1\n",
    ],
)
def test_times(tmp_path, text):
    """Intervals in seconds, milliseconds, m:ss or h:mm:ss, or with a duration, are read."""
    a, b = read_dataset(table(tmp_path, text)).clips
    assert a.intervals == (Interval(61.5, 3723, "x"),) and b.intervals == (Interval(0, 1, "y"),)


@pytest.mark.parametrize("time", ["1:60", "1:60:00", "0:00:01:12", "x:01", "1:", "1:-5", "-1:00", "1:nan", "1:2:3:4:5"])
def test_invalid_times(tmp_path, time):
    """What is no time is refused with the line."""
    with pytest.raises(UsageError, match=r"line 2: .* expected"):
        read_dataset(table(tmp_path, f"file,start,end,label\na.mp4,{time},999999,x\n"))


def test_frame_numbers(tmp_path):
    """Intervals by frame numbers begin at 0; the end is not part of them, but a last frame is."""
    rows = "a.mp4,x,0,10\na.mp4,y,10.0,20\n"
    data = read_dataset(table(tmp_path, f"file,label,start_frame,stop_frame\n{rows}"))
    assert data.clips[0].frame_intervals == (FrameInterval(0, 10, "x"), FrameInterval(10, 20, "y"))
    assert data.clips[0].intervals == () and data.labels == ("background", "x", "y")
    data = read_dataset(table(tmp_path, "file,label,first frame,last frame\na.mp4,x,0,9\n"))
    assert data.clips[0].frame_intervals == (FrameInterval(0, 10, "x"),)
    for numbers in ("1.5,3", "one,3", "3,3", "-1,3", "0,inf", "nan,3"):
        with pytest.raises(UsageError, match=r"line 2: .*frame"):
            read_dataset(table(tmp_path, f"file,label,start_frame,stop_frame\na.mp4,x,{numbers}\n"))


@pytest.mark.parametrize("column", ["split", "Subset", "part", "set", "partition"])
def test_a_split_column(tmp_path, column):
    """A column with train, validation and test, in their usual names, is the split."""
    rows = "a.mp4,x,Train\nb.mp4,y,training\nc.mp4,x,val\nd.mp4,y,valid\ne.mp4,x,TEST\n"
    data = read_dataset(table(tmp_path, f"file,label,{column}\n{rows}"))
    assert [clip.part for clip in data.clips] == ["train", "train", "validation", "validation", "test"]
    assert data.notes == ()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a.mp4,0,1,x,train\nb.mp4,0,1,y,\n", "line 3: split is empty"),
        ("a.mp4,0,1,x,train\nb.mp4,0,1,y,3\n", "line 3: the split is '3'; expected train, validation or test"),
        ("a.mp4,0,1,x,train\na.mp4,1,2,y,test\n", "line 3: a.mp4 is in the part test, but an earlier row says train"),
    ],
)
def test_invalid_splits(tmp_path, rows, told):
    """A part that is missing, unknown or contradicts an earlier row is refused with the line."""
    with pytest.raises(UsageError) as caught:
        read_dataset(table(tmp_path, f"file,start,end,label,split\n{rows}"))
    assert told in str(caught.value)


def test_a_fold_column_is_no_split(tmp_path):
    """A column of fold numbers is refused, since it would not be used."""
    with pytest.raises(UsageError, match="the split is '0'; expected train"):
        read_dataset(table(tmp_path, "file,label,fold\na.mp4,x,0\nb.mp4,y,1\n"))


def test_a_group_in_two_parts_is_a_note(tmp_path):
    """A given split that divides a group gives a note."""
    rows = "a.mp4,x,train,p\nb.mp4,y,test,p\nc.mp4,y,validation,q\n"
    (note,) = read_dataset(table(tmp_path, f"file,label,split,group\n{rows}")).notes
    assert "group p in more than one part" in note


@pytest.mark.parametrize("form", ["{part}/{label}/{name}", "{label}/{part}/{name}"])
def test_folders_of_a_split(tmp_path, form):
    """Folders named after the parts of a split, outside or inside of class folders, are the split."""
    for part in ("Train", "val", "test_set"):
        touch(tmp_path, *(form.format(part=part, label=label, name=f"{part}.mp4") for label in ("run", "jump")))
    data = read_dataset(tmp_path)
    parts = {"Train.mp4": "train", "val.mp4": "validation", "test_set.mp4": "test"}
    assert len(data.clips) == 6 and data.labels == ("jump", "run") and data.notes == ()
    for clip in data.clips:
        assert clip.label in clip.name.split("/") and clip.part == parts[clip.path.name]


def test_folders_that_mix_parts_and_classes(tmp_path):
    """Folders of which only some are parts of a split are refused; one class named like a part is a class."""
    touch(tmp_path, "one/train/x/a.mp4", "one/test/x/b.mp4", "one/extra/x/c.mp4", "two/train/a.mp4", "two/bus/b.mp4")
    touch(tmp_path, "three/run/train/a.mp4", "three/run/test/b.mp4", "three/jump/c.mp4")
    touch(tmp_path, "four/run/train/a.mp4", "four/jump/b.mp4")
    with pytest.raises(UsageError, match="test and train, which are parts of a split, and extra, which is not"):
        read_dataset(tmp_path / "one")
    with pytest.raises(UsageError, match="in a folder named after a part of a split"):
        read_dataset(tmp_path / "three")
    assert read_dataset(tmp_path / "two").labels == ("bus", "train")
    assert {clip.part for clip in read_dataset(tmp_path / "four").clips} == {None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_of_a_json(tmp_path, encoding):
    """A JSON in UTF-8 or UTF-16 is read."""
    text = '{"database": {"a": {"annotations": [{"segment": [0, 1], "label": "öffnen"}]}}}'
    (tmp_path / "data.json").write_bytes(text.encode(encoding))
    assert read_dataset(tmp_path / "data.json").labels == ("background", "öffnen")


def test_activitynet_with_some_subsets(tmp_path):
    """In a JSON, either all videos have a subset, or none; an unknown subset is refused."""
    entry = {"annotations": [{"segment": [0, 1], "label": "x"}]}
    with pytest.raises(UsageError, match='has no "subset", but other videos have'):
        read_dataset(database(tmp_path, {"a": entry, "b": entry | {"subset": "training"}}))
    with pytest.raises(UsageError, match="the split is 'some'"):
        read_dataset(database(tmp_path, {"a": entry, "b": entry | {"subset": "some"}}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("head", ["", "sep=,\r\n", '"sep=,"\n', "SEP=,,,\n"])
def test_encodings_and_the_separator_line(tmp_path, encoding, head):
    """UTF-8, UTF-16 and UTF-32 are read, also with Excel's line that names the separator."""
    path = tmp_path / "data.csv"
    path.write_bytes(f"{head}file,label\r\na.mp4,öffnen\r\nb.mp4,Schließen\r\n".encode(encoding))
    assert read_dataset(path).labels == ("Schließen", "öffnen")


def test_the_separator_line_decides(tmp_path):
    """The separator is the one that the first line names; rows keep their line numbers in messages."""
    assert read_dataset(table(tmp_path, "sep=;\nfile;label\na,1.mp4;x\nb.mp4;y\n")).clips[0].name == "a,1.mp4"
    with pytest.raises(UsageError, match="line 4: label is empty"):
        read_dataset(table(tmp_path, "sep=;\nfile;label\na.mp4;x\nb.mp4;\n"))


def test_labels_that_look_alike(tmp_path):
    """Labels and groups that differ only in case, spaces, hyphens or Unicode form give a note each."""
    labels = ["Walk", "walk", "caf\u00e9", "cafe\u0301", "two steps", "two-steps", "run", "Stra\u00dfe", "strasse"]
    rows = "".join(f"{i}.mp4,{label},p{i % 2}\n" for i, label in enumerate(labels)) + "x.mp4,run,P1\n"
    notes = read_dataset(table(tmp_path, f"file,label,group\n{rows}")).notes
    assert [note.partition(" differ")[0] for note in notes] == [
        "the labels 'Stra\u00dfe' and 'strasse'",
        "the labels 'Walk' and 'walk'",
        "the labels 'cafe\\u0301' and 'caf\\xe9'",
        "the labels 'two steps' and 'two-steps'",
        "the groups 'P1' and 'p1'",
    ]


def test_labels_are_one_line(tmp_path):
    """Line breaks and control characters in a label are read as a space, with a note of one line."""
    data = read_dataset(table(tmp_path, 'file,label\na.mp4,"run \n fast"\nb.mp4,"jump\u2028\x1b[1mup"\n'))
    assert data.labels == ("jump [1mup", "run fast")
    assert len(data.notes) == 2 and all(len(note.splitlines()) == 1 for note in data.notes)
    data = read_dataset(database(tmp_path, {"a": {"annotations": [{"segment": [0, 1], "label": "run\r\nfast"}]}}))
    assert data.labels == ("background", "run fast")


def test_names_do_not_depend_on_the_folder(tmp_path):
    """Relative, absolute and Windows paths of the same file give the same name, relative to the CSV."""
    touch(tmp_path, "videos/x/a.mp4", "lists/b.mp4")
    named = []
    for first in ("../videos/x/a.mp4", tmp_path / "videos/x/a.mp4", "..\\videos\\x\\a.mp4"):
        data = read_dataset(table(tmp_path / "lists", f"file,label\n{first},x\nb.mp4,y\n"))
        assert all(clip.path.is_file() for clip in data.clips)
        named.append([clip.name for clip in data.clips])
    assert named == [["../videos/x/a.mp4", "b.mp4"]] * 3


def test_activitynet(tmp_path):
    """Videos are found by name at any depth; unannotated videos of a test subset are left out with a note."""
    touch(tmp_path, "v_one.mp4", "sub/two.webm", "two.txt")
    entries = {
        "two": {
            "subset": "training",
            "annotations": [{"segment": [1, 2.5], "label": "run"}, {"segment": [0, 1], "label": " jump "}],
        },
        "one": {"subset": "training", "annotations": []},
        "three": {"subset": "validation", "annotations": [{"segment": ["0", "1"], "label": 7}]},
        "four": {"subset": "testing", "annotations": []},
        "five": {"subset": "test"},
    }
    data = read_dataset(database(tmp_path, entries))
    assert data.clips == (
        Clip(tmp_path / "sub/two.webm", "sub/two.webm", "sub/two.webm", None, data.clips[0].intervals, part="train"),
        Clip(tmp_path / "three", "three", "three", None, (Interval(0, 1, "7"),), part="validation"),
        Clip(tmp_path / "v_one.mp4", "v_one.mp4", "v_one.mp4", None, part="train"),
    )
    assert data.clips[0].intervals == (Interval(0, 1, "jump"), Interval(1, 2.5, "run"))
    assert data.labels == ("background", "7", "jump", "run")
    assert data.notes[0].startswith("2 videos") and "a split without a part test" in data.notes[1]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "not in ActivityNet's form"),
        ({"a": 3}, "not in ActivityNet's form"),
        ({"a": {"annotations": None}}, '"annotations" is None'),
        ({"a": {"annotations": [{"segment": [0, 1]}]}}, "expected {"),
        ({"a": {"annotations": [{"segment": [0, 1, 2], "label": "x"}]}}, "expected {"),
        ({"a": {"annotations": ["x"]}}, "expected {"),
        ({"a": {"annotations": [{"segment": [0, 1], "label": None}]}}, "label is None"),
        ({"a": {"annotations": [{"segment": [0, "one"], "label": "x"}]}}, "expected seconds"),
        ({"a": {"annotations": [{"segment": [3, 1], "label": "x"}]}}, "from 3 to 1 s"),
        ({"same": {"annotations": [{"segment": [0, 1], "label": "x"}]}}, "expected one video"),
        ({"x/same": {"annotations": []}, "x/same.mp4": {"annotations": []}}, "occurs twice"),
        ({}, "lists no video"),
    ],
)
def test_invalid_json_files(tmp_path, entries, told):
    """An invalid JSON is refused in one line that names the file."""
    touch(tmp_path, "x/same.mp4", "y/same.mp4")
    with pytest.raises(UsageError) as caught:
        read_dataset(database(tmp_path, entries))
    said = str(caught.value)
    assert told in said and "data.json" in said and "\n" not in said


def test_a_broken_json(tmp_path):
    """A file that is no JSON, or is nested too deeply, is refused."""
    for text, told in (("{", "is no JSON"), ("[1]", "ActivityNet"), ("[" * 100_000, "is no JSON")):
        with pytest.raises(UsageError, match=told):
            read_dataset(table(tmp_path, text, "data.json"))


def test_paths_that_are_no_dataset(tmp_path):
    """A missing path, another kind of file, a folder without classes and a nameless background are refused."""
    touch(tmp_path, "one.dat", "flat/a.mp4", "alone/run/a.mp4", "parts/Train/a.mp4", "parts/val/x/b.mp4")
    for path, told in (
        ("none", "no data at"),
        ("one.dat", "in no format that is read"),
        ("flat", "no class folders"),
        ("alone", "only one class, run"),
        ("parts", "Train holds no class folders"),
    ):
        with pytest.raises(UsageError, match=told):
            read_dataset(tmp_path / path)
    with pytest.raises(UsageError, match="background has no name"):
        read_dataset(tmp_path / "alone", background=" ")


def test_select_some_clips(tmp_path):
    """A part of a dataset keeps all labels."""
    data = read_dataset(table(tmp_path, "file,label\na,x\nb,y\nc,z\n"))
    part = data.select(["c", "a", "none"])
    assert [clip.name for clip in part.clips] == ["a", "c"]
    assert part.labels == ("x", "y", "z")


def test_targets_of_a_whole_file():
    """Every frame of a file with one label has its class."""
    targets = Clip(Path("a"), "a", "a", "y").targets(np.array([0.0, 9.0]), ("x", "y"), None)
    assert targets.dtype == np.int64
    assert targets.tolist() == [1, 1]


def test_targets_of_intervals(tmp_path):
    """An interval includes its start and excludes its end; an inner interval applies within an outer one."""
    rows = "a,1,3,x\na,2,2.5,y\na,5,6,x\na,5,5.5,y\n"
    data = read_dataset(table(tmp_path, f"file,start,end,label\n{rows}"))
    times = np.array([0.99, 1, 2, 2.49, 2.5, 2.99, 3, 5, 5.4, 5.5, 6])
    targets = data.clips[0].targets(times, data.labels, data.background)
    assert targets.dtype == np.int64
    assert [data.labels[i][0] for i in targets] == [*"bxyyxxbyyxb"]


tenths = st.integers(0, 40).map(lambda n: n / 10)


@given(st.lists(st.tuples(tenths, tenths, st.sampled_from("xyz")), min_size=1), st.lists(tenths, unique=True))
def test_each_frame_is_of_the_interval_that_began_last(tmp_path_factory, drawn, times):
    """Of the intervals that cover a frame, the one with the latest start applies; of these, the shortest."""
    intervals = [Interval(start, end, label) for start, end, label in drawn if start < end]
    rows = [f"a,{i.start},{i.end},{i.label}\n" for i in intervals] + ["b,0,1,x\n"]
    data = read_dataset(table(tmp_path_factory.getbasetemp(), "file,start,end,label\n" + "".join(rows)))
    clip = next((clip for clip in data.clips if clip.name == "a"), None)
    if clip is None:
        return
    for time, target in zip(times, clip.targets(np.array(times), data.labels, data.background), strict=True):
        covering = [i for i in intervals if i.start <= time < i.end]
        expected = max(covering, key=lambda i: (i.start, -i.end, i.label)).label if covering else "background"
        assert data.labels[target] == expected
