"""Segment metrics on examples worked by hand, and compared with direct implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquidvision.metrics import segments

CLASSES = st.lists(st.integers(0, 3), min_size=2, max_size=24)
OVERLAPS = (0.1, 0.25, 0.5)
few = settings(max_examples=60, deadline=None)


def frames_of(word: str) -> np.ndarray:
    """Return thirty frames: two per letter, one of background (class 0) between letters, and background at the end."""
    return np.array([k for letter in word.ljust(10, "\0") for k in (ord(letter), ord(letter), 0)])


def video(first: list[int], second: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes of both lists, as many as the shorter one has, and irregular times."""
    n = min(len(first), len(second))
    return np.array(first[:n]), np.array(second[:n]), np.cumsum(1 + np.arange(n) % 3) * 0.1


def reference_distance(a: list[int], b: list[int]) -> int:
    """Return the Levenshtein distance by its recursive definition."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return table[len(a), len(b)]


def reference_matches(truth: np.ndarray, predicted: np.ndarray, times: np.ndarray, overlap: float) -> int:
    """Return the number of matched segments, going through the predicted ones in order."""
    taken, matched = set(), 0
    true_ones = list(zip(*segments.find_segments(truth, times), strict=True))
    for label, start, end in zip(*segments.find_segments(predicted, times), strict=True):
        best, found = 0.0, None
        for number, (true_label, true_start, true_end) in enumerate(true_ones):
            shared = min(end, true_end) - max(start, true_start)
            if label == true_label and shared > 0:
                iou = round(shared / (end - start + true_end - true_start - shared), 9)
                best, found = max((best, found), (iou, number), key=lambda pair: pair[0])
        if found is not None and best >= overlap and found not in taken:
            taken.add(found)
            matched += 1
    return matched


def test_segments_last_until_the_next_frame() -> None:
    """A segment ends where the next one starts, the last one a median step after its last frame."""
    labels, starts, ends = segments.find_segments(np.array([2, 2, 0, 1, 1]), np.array([0.0, 0.1, 0.5, 0.6, 0.9]))
    assert labels.tolist() == [2, 0, 1]
    assert starts.tolist() == [0.0, 0.5, 0.6]
    assert ends.tolist() == pytest.approx([0.5, 0.6, 1.1])
    labels, starts, ends = segments.find_segments(np.array([2, 2, 0, 2]), np.arange(4.0), background=0)
    assert (labels.tolist(), starts.tolist(), ends.tolist()) == ([2, 2], [0, 3], [2, 4])


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("kitten", "sitting", 3), ("saturday", "sunday", 3), ("abc", "abc", 0), ("abc", "xyz", 3)]
)
def test_edit_score_of_known_words(a: str, b: str, distance: int) -> None:
    """The edit score of well-known pairs of words follows from their distance, in either order."""
    expected = 100 * (1 - distance / max(len(a), len(b)))
    assert segments.edit_score(frames_of(a), frames_of(b), background=0) == pytest.approx(expected)
    assert segments.edit_score(frames_of(b), frames_of(a), background=0) == pytest.approx(expected)


def test_edit_score_depends_on_order_only() -> None:
    """Shifted segments score 100, an extra segment costs its share, and no segments on both sides score 100."""
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    assert segments.edit_score(truth, np.array([0, 1, 1, 1, 1, 1, 1, 2])) == 100
    assert segments.edit_score(truth, np.array([0, 0, 2, 0, 1, 1, 2, 2])) == pytest.approx(100 * (1 - 2 / 5))
    assert segments.edit_score(np.zeros(3), np.zeros(3), background=0) == 100
    assert segments.edit_score(np.zeros(3), np.ones(3), background=0) == 0


@few
@given(CLASSES, CLASSES)
def test_edit_score_equals_its_definition(first: list[int], second: list[int]) -> None:
    """The edit score follows from the recursive definition of the distance."""
    a, b, times = video(first, second)
    runs = [segments.find_segments(classes, times)[0].tolist() for classes in (a, b)]
    expected = 100 * (1 - reference_distance(*runs) / max(map(len, runs)))
    assert segments.edit_score(a, b) == pytest.approx(expected)


def test_matches_by_hand() -> None:
    """Of ten frames, 0000011111 predicted as 0011011111 has overlaps 2/5, 0 and 1: by hand two, two and one match.

    The second segment of class 0 overlaps the true one by 1/5 and finds it taken, the first of class 1 overlaps none.
    """
    truth, predicted = np.repeat([0, 1], 5), np.array([0, 0, 1, 1, 0, 1, 1, 1, 1, 1])
    matched, predicted_count, true_count = segments.match_segments(truth, predicted, np.arange(10.0), OVERLAPS)
    assert (matched.tolist(), predicted_count, true_count) == ([2, 2, 1], 4, 2)


def test_a_true_segment_is_matched_once() -> None:
    """If a prediction splits a true segment in three, one part matches and two are false positives."""
    truth, predicted = np.ones(9, int), np.array([1, 1, 0, 1, 1, 0, 1, 1, 1])
    matched, predicted_count, true_count = segments.match_segments(
        truth, predicted, np.arange(9.0), OVERLAPS, background=0
    )
    assert (matched.tolist(), predicted_count, true_count) == ([1, 1, 0], 3, 1)


def test_overlap_counts_seconds() -> None:
    """Overlap is measured in seconds: one long wrong frame weighs more than three short ones."""
    truth, predicted = np.array([1, 1, 1, 1, 0]), np.array([1, 1, 1, 0, 0])
    even, late = np.arange(5.0), np.array([0, 1, 2, 3, 99])
    assert segments.match_segments(truth, predicted, even, (0.5,), background=0)[0].tolist() == [1]
    assert segments.match_segments(truth, predicted, late, (0.5,), background=0)[0].tolist() == [0]


def test_an_overlap_of_exactly_the_threshold_counts() -> None:
    """An overlap of exactly one half reaches the threshold at any frame rate."""
    truth, predicted = np.array([1] * 6 + [0] * 4), np.array([1] * 3 + [0] * 7)
    for step in (1 / 25, 1001 / 30000, 0.1, 1 / 3):
        times = 0.7 + np.arange(10) * step
        assert segments.match_segments(truth, predicted, times, (0.5,), background=0)[0].tolist() == [1], step


def test_a_video_of_one_frame() -> None:
    """The only segment of a one-frame video matches if its class is correct."""
    times = np.array([3.0])
    assert segments.match_segments(np.array([1]), np.array([1]), times, (0.5,)) == (1, 1, 1)
    assert segments.match_segments(np.array([1]), np.array([2]), times, (0.5,)) == (0, 1, 1)
    assert segments.match_segments(np.array([1]), np.array([0]), times, (0.5,), background=0) == (0, 0, 1)


@few
@given(CLASSES, CLASSES)
def test_matches_equal_the_reference(first: list[int], second: list[int]) -> None:
    """Matching all segments at once equals matching them in order."""
    truth, predicted, times = video(first, second)
    matched, _, _ = segments.match_segments(truth, predicted, times, OVERLAPS)
    assert matched.tolist() == [reference_matches(truth, predicted, times, overlap) for overlap in OVERLAPS]


def test_flips_beyond_those_of_the_truth() -> None:
    """Flips are changes beyond those of the truth; a calmer prediction has none."""
    truth = np.array([0, 0, 1, 1, 1])
    assert segments.count_excess_flips(truth, np.array([0, 1, 0, 1, 2])) == 3
    assert segments.count_excess_flips(truth, truth) == 0
    assert segments.count_excess_flips(truth, np.zeros(5, int)) == 0


def test_onset_delays_by_hand() -> None:
    """An onset is late by the seconds until the first correct frame of its segment, or missed."""
    times = np.array([0.0, 0.1, 0.4, 0.5, 0.7, 0.8, 1.0, 1.5])
    truth = np.array([1, 2, 2, 2, 0, 1, 1, 2])
    predicted = np.array([1, 1, 1, 2, 1, 1, 2, 1])
    assert segments.onset_delays(truth, predicted, times).tolist() == pytest.approx(
        [0.4, np.nan, 0.0, np.nan], nan_ok=True
    )
    assert segments.onset_delays(truth, predicted, times, background=0).tolist() == pytest.approx(
        [0.4, 0.0, np.nan], nan_ok=True
    )
    assert segments.onset_delays(np.ones(3), np.ones(3), np.arange(3.0)).shape == (0,)
