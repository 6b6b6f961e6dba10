"""Stills of an evaluation: which clips have one, of which frame, and how large."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import picture

from liquidvision.data.dataset import Clip
from liquidvision.evaluation.evaluate import MAX_STILLS, ClipResult, video_rows
from liquidvision.metrics.classification import ClipScores
from liquidvision.video.read.file_options import FileOptions
from liquidvision.video.write.images import encode_data_uri

FRAMES = 20


def pixels(uri: str) -> np.ndarray:
    """Return the RGB picture in a data URI."""
    start, content = uri.split(",")
    assert start == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def watched(path: Path, *, sure: float, at: int = 7, name: str = "clip.mp4") -> ClipResult:
    """Return the result of a clip of class 0 that scores class 1 at 0.6, and at frame `at` as `sure`."""
    wrong = np.full(FRAMES, 0.6)
    wrong[at] = sure
    scores = np.stack([1 - wrong, wrong], 1)
    track = ClipScores(np.zeros(FRAMES, np.int64), scores, 0.04 * np.arange(FRAMES))
    return ClipResult(Clip(path, name, name, "calm"), track, track)


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (241, 3)])
def test_a_still_is_small(size):
    """A picture of any shape is shrunk to at most 240 pixels; a small one is not enlarged."""
    small = pixels(encode_data_uri(picture(0, *size)))
    assert max(small.shape) == 240 and min(small.shape[:2]) == max(1, round(min(size) * 240 / max(size)))
    assert pixels(encode_data_uri(picture(0, 64, 48))).shape == (48, 64, 3)


@pytest.mark.parametrize("at", [0, 7, FRAMES - 1])
def test_a_still_is_of_the_frame_at_which_the_wrong_label_was_surest(make_video, at):
    """The still shows the frame with the highest wrong score, with its time, label and score."""
    (row,) = video_rows([watched(make_video(), sure=0.9, at=at)], FileOptions())
    assert (row["still_time"], row["still_prediction"], row["still_score"]) == (round(0.04 * at, 4), 1, 0.9)
    shown = pixels(row["still"]).astype(int)
    distances = [np.abs(shown - picture(i)).mean() for i in range(FRAMES)]
    assert int(np.argmin(distances)) == at and distances[at] < 8


def test_only_the_worst_that_went_wrong_have_stills(make_video):
    """Only the wrong clips with the highest scores have stills; a right clip and a missing file have none."""
    path = make_video()
    every = [watched(path, sure=0.61 + i / 100, name=f"{i}") for i in range(MAX_STILLS + 2)]
    every.append(watched(path, sure=1e-3, name="right"))
    every[-1].memory.scores[:] = (0.9, 0.1)
    made = video_rows(every, FileOptions())
    assert [row["name"] for row in made if "still" in row] == [f"{i + 2}" for i in reversed(range(MAX_STILLS))]
    assert made[-1]["name"] == "right" and made[-1]["right"]
    (row,) = video_rows([watched(path.with_name("gone.mp4"), sure=0.9)], FileOptions())
    assert "still" not in row
