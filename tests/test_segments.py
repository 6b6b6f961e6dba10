"""Segments: edit score, F1 at overlaps, flips and onsets, on examples worked by hand and against the plain way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquidvision.metrics import segments

CLASSES = st.lists(st.integers(0, 3), min_size=2, max_size=24)
OVERLAPS = (0.1, 0.25, 0.5)
few = settings(max_examples=60, deadline=None)


def spelt(word: str) -> np.ndarray:
    """Thirty frames: two for each letter, one of background, class 0, between letters, and background after them."""
    return np.array([k for letter in word.ljust(10, "\0") for k in (ord(letter), ord(letter), 0)])


def video(first: list[int], second: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes for each frame, as many frames as the shorter list has, and irregular times."""
    n = min(len(first), len(second))
    return np.array(first[:n]), np.array(second[:n]), np.cumsum(1 + np.arange(n) % 3) * 0.1


def plain_distance(a: list[int], b: list[int]) -> int:
    """Levenshtein distance by its recursive definition."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return table[len(a), len(b)]


def plain_matches(truth: np.ndarray, predicted: np.ndarray, times: np.ndarray, overlap: float) -> int:
    """The matched segments, by going through the predicted ones one after another."""
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
    """A segment ends where the next one begins, the last one a median step after its last frame."""
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
    """The edit score is 100 less the share of letters in which well-known pairs of words differ, in either order."""
    expected = 100 * (1 - distance / max(len(a), len(b)))
    assert segments.edit_score(spelt(a), spelt(b), background=0) == pytest.approx(expected)
    assert segments.edit_score(spelt(b), spelt(a), background=0) == pytest.approx(expected)


def test_edit_score_of_order_alone() -> None:
    """Segments shifted in time still score 100; one segment too many costs its share; none on both sides is 100."""
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    assert segments.edit_score(truth, np.array([0, 1, 1, 1, 1, 1, 1, 2])) == 100
    assert segments.edit_score(truth, np.array([0, 0, 2, 0, 1, 1, 2, 2])) == pytest.approx(100 * (1 - 2 / 5))
    assert segments.edit_score(np.zeros(3), np.zeros(3), background=0) == 100
    assert segments.edit_score(np.zeros(3), np.ones(3), background=0) == 0


@few
@given(CLASSES, CLASSES)
def test_edit_score_is_levenshteins(first: list[int], second: list[int]) -> None:
    """The edit score follows from the recursive definition of the distance."""
    a, b, times = video(first, second)
    runs = [segments.find_segments(classes, times)[0].tolist() for classes in (a, b)]
    expected = 100 * (1 - plain_distance(*runs) / max(map(len, runs)))
    assert segments.edit_score(a, b) == pytest.approx(expected)


def test_matches_by_hand() -> None:
    """Of ten frames, 0000011111 predicted as 0011011111 has overlaps 2/5, 0 and 1: by hand two, two and one match.

    The second segment of class 0 overlaps the true one by 1/5 and finds it taken, the first of class 1 overlaps none.
    """
    truth, predicted = np.repeat([0, 1], 5), np.array([0, 0, 1, 1, 0, 1, 1, 1, 1, 1])
    matched, predicted_count, true_count = segments.match_segments(truth, predicted, np.arange(10.0), OVERLAPS)
    assert (matched.tolist(), predicted_count, true_count) == ([2, 2, 1], 4, 2)


def test_a_true_segment_is_matched_once() -> None:
    """A true segment that the prediction breaks in three is one match, and the other two pieces are too many."""
    truth, predicted = np.ones(9, int), np.array([1, 1, 0, 1, 1, 0, 1, 1, 1])
    matched, predicted_count, true_count = segments.match_segments(
        truth, predicted, np.arange(9.0), OVERLAPS, background=0
    )
    assert (matched.tolist(), predicted_count, true_count) == ([1, 1, 0], 3, 1)


def test_overlap_counts_seconds() -> None:
    """The same labels overlap by what they last: one long frame wrong is worse than three short ones."""
    truth, predicted = np.array([1, 1, 1, 1, 0]), np.array([1, 1, 1, 0, 0])
    even, late = np.arange(5.0), np.array([0, 1, 2, 3, 99])
    assert segments.match_segments(truth, predicted, even, (0.5,), background=0)[0].tolist() == [1]
    assert segments.match_segments(truth, predicted, late, (0.5,), background=0)[0].tolist() == [0]


def test_an_overlap_of_exactly_the_threshold_counts() -> None:
    """An overlap of one half is one half whatever times a frame rate gives."""
    truth, predicted = np.array([1] * 6 + [0] * 4), np.array([1] * 3 + [0] * 7)
    for step in (1 / 25, 1001 / 30000, 0.1, 1 / 3):
        times = 0.7 + np.arange(10) * step
        assert segments.match_segments(truth, predicted, times, (0.5,), background=0)[0].tolist() == [1], step


def test_a_video_of_one_frame() -> None:
    """The one segment of a video of one frame is matched where its class is right."""
    times = np.array([3.0])
    assert segments.match_segments(np.array([1]), np.array([1]), times, (0.5,)) == (1, 1, 1)
    assert segments.match_segments(np.array([1]), np.array([2]), times, (0.5,)) == (0, 1, 1)
    assert segments.match_segments(np.array([1]), np.array([0]), times, (0.5,), background=0) == (0, 0, 1)


@few
@given(CLASSES, CLASSES)
def test_matches_one_after_another(first: list[int], second: list[int]) -> None:
    """Matching all segments at once is the same as going through them one after another."""
    truth, predicted, times = video(first, second)
    matched, _, _ = segments.match_segments(truth, predicted, times, OVERLAPS)
    assert matched.tolist() == [plain_matches(truth, predicted, times, overlap) for overlap in OVERLAPS]


def test_flips_beyond_the_true_ones() -> None:
    """Flips are the changes beyond the true transitions, and none where the prediction is calmer than the truth."""
    truth = np.array([0, 0, 1, 1, 1])
    assert segments.count_flips(truth, np.array([0, 1, 0, 1, 2])) == 3
    assert segments.count_flips(truth, truth) == 0
    assert segments.count_flips(truth, np.zeros(5, int)) == 0


def test_onset_delays_by_hand() -> None:
    """Each onset is late by the seconds until the prediction is first right in its segment, or is missed."""
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
