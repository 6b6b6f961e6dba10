"""Splits and folds: groups stay whole, training has every class, and only names and the seed decide."""

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquidvision.annotation.interval import Interval
from liquidvision.data.dataset import Clip, Dataset
from liquidvision.data.splits import Split, make_folds, read_split, split_as_given, split_dataset
from liquidvision.errors import ModelError, UsageError

PARTS = ("train", "validation", "test")


def dataset(clips: list[tuple[str, str]], *, root: str = "data") -> Dataset:
    """Clips as (group, label)."""
    made = [Clip(Path(root, f"{i}.mp4"), f"{i}.mp4", group, label) for i, (group, label) in enumerate(clips)]
    labels = tuple(sorted({label for _, label in clips}))
    return Dataset(Path(root), tuple(made), labels, None, True)


def videos(**counts: int) -> Dataset:
    """A number of clips of each class, each a group of its own."""
    return dataset([(f"{label}{i}", label) for label, count in counts.items() for i in range(count)])


def table(data: Dataset, names: tuple[str, ...]) -> Counter:
    """The number of these clips by class."""
    labels = {clip.name: clip.label for clip in data.clips}
    return Counter(labels[name] for name in names)


def groups(data: Dataset, names: tuple[str, ...]) -> set[str]:
    return {clip.group for clip in data.clips if clip.name in names}


some_clips = st.lists(
    st.tuples(st.sampled_from([f"p{i}" for i in range(8)]), st.sampled_from("abcd")), min_size=3, max_size=40
)


@given(some_clips, st.integers(0, 3))
def test_a_split_keeps_groups_whole_and_training_complete(clips, seed):
    """Each clip is in one part and no group in two; no part is empty; training has every class."""
    data = dataset(clips)
    names = sorted({group for group, _ in clips})
    labels_by_group = [{label for group, label in clips if group == name} for name in names]
    # Numbers of groups left for validation and test if the others cover every class.
    remaining = (
        len(names) - n
        for n in range(1, len(names) + 1)
        for training in combinations(labels_by_group, n)
        if set().union(*training) == set(data.labels)
    )
    if max(remaining) < 2:
        with pytest.raises(UsageError):
            split_dataset(data, seed=seed)
        return
    parts = split_dataset(data, seed=seed)
    assert tuple(parts) == PARTS and all(parts.values())
    assert Counter(name for names in parts.values() for name in names) == Counter(clip.name for clip in data.clips)
    inside = [groups(data, names) for names in parts.values()]
    assert sum(map(len, inside)) == len(set().union(*inside))
    assert set(table(data, parts["train"])) == set(data.labels)


@given(some_clips, st.integers(2, 5), st.integers(0, 3))
def test_folds_keep_groups_whole(clips, k, seed):
    """Each clip is in one fold and no group in two; no fold is empty; fewer groups than folds are refused."""
    data = dataset(clips)
    if len({clip.group for clip in data.clips}) < k:
        with pytest.raises(UsageError, match="groups"):
            make_folds(data, k, seed=seed)
        return
    parts = make_folds(data, k, seed=seed)
    assert len(parts) == k and all(parts)
    assert Counter(name for names in parts for name in names) == Counter(clip.name for clip in data.clips)
    inside = [groups(data, names) for names in parts]
    assert sum(map(len, inside)) == len(set().union(*inside))


@given(some_clips, st.randoms(use_true_random=False), st.integers(0, 3))
def test_neither_order_nor_place_matters(clips, random, seed):
    """The same clips in another order and another folder are split in the same way."""
    data = dataset(clips)
    elsewhere = [replace(clip, path=Path("/elsewhere") / clip.name) for clip in data.clips]
    random.shuffle(elsewhere)
    other = Dataset(Path("/elsewhere"), tuple(elsewhere), data.labels, None, True)
    for make in (split_dataset, lambda data, seed: make_folds(data, 2, seed=seed)):
        try:
            expected = make(data, seed=seed)
        except UsageError:
            with pytest.raises(UsageError):
                make(other, seed=seed)
        else:
            assert make(other, seed=seed) == expected


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(3, 30), min_size=1))
def test_each_class_of_three_videos_is_in_every_part(counts):
    """A class of three or more videos is in training, validation and test, near their shares."""
    data = videos(**counts)
    parts = split_dataset(data)
    for label, count in counts.items():
        found = [table(data, parts[part])[label] for part in PARTS]
        assert min(found) >= 1
        for share, number in zip((0.7, 0.15, 0.15), found, strict=True):
            assert abs(number - share * count) <= 2, (label, found)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(2, 20), min_size=1), st.integers(2, 6))
def test_folds_of_videos_are_balanced(counts, k):
    """The folds differ by at most one video of each class, and no training part lacks a class."""
    data = videos(**counts)
    if len(data.clips) < k:
        return
    tables = [table(data, names) for names in make_folds(data, k)]
    for label, count in counts.items():
        found = [fold[label] for fold in tables]
        assert max(found) - min(found) <= 1
        assert max(found) < count


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), min_size=4, max_size=20), st.integers(2, 4))
def test_no_fold_takes_a_class_of_two_groups_away(made, k):
    """A class of two groups is in two folds, whatever the sizes of the groups."""
    data = dataset([(f"g{i}", label) for i, (label, count) in enumerate(made) for _ in range(count)])
    counts = Counter(label for label, _ in made)
    tables = [table(data, names) for names in make_folds(data, k)]
    for label, count in counts.items():
        assert sum(label in fold for fold in tables) >= min(count, 2)


def test_many_videos_come_out_even():
    """240 videos of two classes: exact shares, exact folds."""
    data = videos(fight=120, calm=120)
    assert [table(data, names) for names in split_dataset(data).values()] == [
        {"fight": n, "calm": n} for n in (84, 18, 18)
    ]
    assert [table(data, names) for names in make_folds(data, 5)] == [{"fight": 24, "calm": 24}] * 5


def test_groups_of_unequal_size():
    """If every person shows every class, each part has a person, and test gets the larger of the two small ones."""
    counts = {"ann": 40, "bob": 30, "cat": 8, "dan": 1}
    data = dataset([(person, "ab"[i % 2]) for person, count in counts.items() for i in range(count)])
    parts = {part: groups(data, names) for part, names in split_dataset(data).items()}
    assert parts == {"train": {"ann", "dan"}, "validation": {"cat"}, "test": {"bob"}}


def test_a_rare_class_is_in_training_first():
    """A class of one or two videos is in training."""
    data = videos(often=20, twice=2, once=1)
    for seed in range(5):
        parts = split_dataset(data, seed=seed)
        found = {part: table(data, names) for part, names in parts.items()}
        assert found["train"]["once"] == found["train"]["twice"] == 1


def test_seeds_differ():
    """Different seeds give different splits and folds; the same seed gives the same."""
    data = videos(a=20, b=20)
    assert split_dataset(data, seed=1) == split_dataset(data, seed=1) != split_dataset(data, seed=2)
    assert make_folds(data, 4, seed=1) == make_folds(data, 4, seed=1) != make_folds(data, 4, seed=2)


def test_a_split_is_the_same_everywhere():
    """The draw depends on no library's random numbers: the same split is made years later."""
    assert split_dataset(videos(a=4, b=4), seed=7) == {
        "train": ("1.mp4", "2.mp4", "6.mp4", "7.mp4"),
        "validation": ("0.mp4", "5.mp4"),
        "test": ("3.mp4", "4.mp4"),
    }


def test_intervals_count():
    """Clips of several classes are split like those of one label: each part has each class."""
    clips = [
        Clip(Path(f"{i}"), f"{i}", f"{i}", None, (Interval(0, 1, "ab"[i % 2]), Interval(2, 3, "c")) if i % 5 else ())
        for i in range(40)
    ]
    data = Dataset(Path(), tuple(clips), ("rest", "a", "b", "c"), "rest", False)
    by_name = {clip.name: clip for clip in clips}
    for names in (*split_dataset(data).values(), *make_folds(data, 4)):
        shown = {interval.label for name in names for interval in by_name[name].intervals}
        assert shown == {"a", "b", "c"}
        assert any(not by_name[name].intervals for name in names)


def test_other_parts():
    """Other parts and shares are possible if the shares sum to 1."""
    data = videos(a=10, b=10)
    assert {part: len(names) for part, names in split_dataset(data, shares={"x": 0.6, "y": 0.4}).items()} == {
        "x": 12,
        "y": 8,
    }
    for shares in ({"x": 0.6, "y": 0.6}, {"x": 1.0, "y": 0.0}):
        with pytest.raises(UsageError, match="sum to 1"):
            split_dataset(data, shares=shares)


def test_too_little_to_split():
    """Too few groups, or too many needed for training, are refused in one line."""
    for data, message in (
        (videos(a=1, b=1), "there are 2 groups; expected at least 3"),
        (replace(videos(a=1, b=1), grouped=False), "there are 2 videos; expected at least 3"),
        (videos(a=1, b=1, c=2), "training needs 3 of 4 groups to have all 3 classes"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            split_dataset(data)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="folds is 1; expected 2"):
        make_folds(videos(a=3, b=3), 1)
    with pytest.raises(UsageError, match="there are 4 groups; expected at least 5"):
        make_folds(videos(a=2, b=2), 5)


def test_training_takes_no_more_than_it_needs():
    """Three people are enough for three parts if one of them shows every class."""
    data = dataset([("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "a"), ("cat", "b")])
    assert groups(data, split_dataset(data)["train"]) == {"ann"}


def test_a_split_is_kept(tmp_path):
    """A written split is read back equal; the file records how it was made."""
    made = Split(split_dataset(videos(a=5, b=5), seed=3), 3, "video", {"a0.mp4": "0123"})
    path = tmp_path / "split.json"
    path.write_bytes(made.encode())
    assert read_split(path) == made
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert {key: saved[key] for key in ("format", "version", "seed", "by")} == {
        "format": "liquidvision-split",
        "version": 2,
        "seed": 3,
        "by": "video",
    }


def test_a_clip_is_found_by_its_content():
    """Moved clips and copies are found by content; a different file of the same name is not."""
    made = Split({"train": ("a", "b"), "test": ("c", "d")}, 0, "video", {"a": "1", "b": "2", "c": "2", "d": "4"})
    assert made.find_parts({"moved/a": "1", "copy": "2", "d": "9", "new": "5"}) == {
        "moved/a": {"train"},
        "copy": {"train", "test"},
        "d": frozenset(),
        "new": frozenset(),
    }
    assert Split(made.parts, 0, "video").find_parts({"a": "1", "moved/a": "1"}) == {
        "a": {"train"},
        "moved/a": frozenset(),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "split"),
        ("[]", "split"),
        ('{"format": "other", "version": 1, "parts": {}}', "it is other"),
        ('{"format": "liquidvision-split", "version": 3, "parts": {}}', "version 3"),
        ('{"format": "liquidvision-split", "version": 1}', "parts"),
        (
            '{"format": "liquidvision-split", "version": 1, "parts": {"train": ["a"], "test": ["a"]}}',
            "a is in it twice",
        ),
    ],
)
def test_a_damaged_split(tmp_path, text, message):
    """A file that is no split, has another version, or has a clip in two parts is refused in one line."""
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        read_split(path)
    assert "\n" not in str(caught.value)


def test_a_missing_split(tmp_path):
    """A missing split is refused."""
    with pytest.raises(ModelError, match="cannot be read as a split"):
        read_split(tmp_path / "none.json")


def given_split(rows: str, *, grouped: bool = True) -> Dataset:
    """A dataset of `group:label:part` rows, whose parts are as given."""
    cells = [row.split(":") for row in rows.split()]
    clips = [Clip(Path(f"{i}"), f"{i:02d}", g, label, part=part or None) for i, (g, label, part) in enumerate(cells)]
    return Dataset(Path("/data"), tuple(clips), ("x", "y"), None, grouped)


def test_a_given_split_is_taken():
    """The parts that the annotations give are the split, whatever the seed."""
    data = given_split("a:x:train b:y:train c:x:validation d:y:test")
    for seed in range(3):
        parts = split_as_given(data, seed=seed)
        assert parts == {"train": ("00", "01"), "validation": ("02",), "test": ("03",)}
    data = given_split("a:x: b:y: c:x: d:y: e:x: f:y:")
    assert split_as_given(data, seed=1) == split_dataset(data, seed=1)


@pytest.mark.parametrize("given", ["test", "validation"])
def test_a_part_that_is_not_given_is_taken_from_train(given):
    """A part that the annotations do not give is taken from the part train; groups stay whole."""
    rows = [f"{i // 2}:{'xy'[i % 2]}:train" for i in range(20)] + [f"z:x:{given}"]
    data = given_split(" ".join(rows))
    parts = split_as_given(data)
    assert parts[given] == ("20",)
    (other,) = {"test", "validation"} - {given}
    groups = [{clip.group for clip in data.select(parts[part]).clips} for part in ("train", other)]
    assert all(groups) and not groups[0] & groups[1] and len(groups[0] | groups[1]) == 10


def test_a_given_split_needs_every_class_in_train():
    """A given split whose part train lacks a class is refused with the class."""
    with pytest.raises(UsageError, match="no clip of y in the part train"):
        split_as_given(given_split("a:x:train b:x:validation c:y:test"))
    with pytest.raises(UsageError, match="no clip of x, y in the part train"):
        split_as_given(given_split("a:x:validation b:y:test"))
