"""Annotation formats: what is read, what is refused, and which class a frame has."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquidvision.data.dataset import Clip, Interval
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
        ("place,label\na,b\n", "no column file; expected file,label[,group] or"),
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
    """A CSV that is not UTF-8 is refused."""
    (tmp_path / "data.csv").write_bytes("file,label\nä.mp4,x\n".encode("latin-1"))
    with pytest.raises(UsageError, match="UTF-8"):
        read_dataset(tmp_path / "data.csv")


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
    for text in ("{", "[1]", "[" * 100_000):
        with pytest.raises(UsageError, match="ActivityNet"):
            read_dataset(table(tmp_path, text, "data.json"))


def test_paths_that_are_no_dataset(tmp_path):
    """A missing path, another kind of file, a folder without classes and a nameless background are refused."""
    touch(tmp_path, "one.txt", "flat/a.mp4", "alone/run/a.mp4", "parts/Train/a.mp4", "parts/val/x/b.mp4")
    for path, told in (
        ("none", "no data at"),
        ("one.txt", "neither a folder nor"),
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
