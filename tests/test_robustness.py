"""What robustness curves claim: which frames are left, at which times, and what is judged against what."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from conftest import build_model
from hypothesis import given
from hypothesis import strategies as st

from liquidvision import open_video
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_dataset
from liquidvision.errors import SourceError
from liquidvision.evaluation.evaluate import count_passes, evaluate_model, run_clip
from liquidvision.evaluation.robustness import (
    BURST,
    KeptFrames,
    black_out,
    degradation_curves,
    drop,
    evenly_spaced,
    keep_frames,
    keep_pictures,
    thin,
)
from liquidvision.inference.session import Session
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.models.preprocessing import image_size

BLACK = torch.full((4,), -7.0)


def features_at(pts: list[int], *, dim: int = 4) -> ClipEmbeddings:
    """Frames at these milliseconds; the embedding of each is its own number."""
    numbers = torch.arange(float(len(pts)))[:, None].repeat(1, dim)
    return ClipEmbeddings(
        numbers, torch.tensor(pts), torch.zeros(len(pts), dtype=torch.int64), Fraction(1, 1000), Fraction()
    )


def steady(count: int, *, dim: int = 4) -> ClipEmbeddings:
    return features_at(list(range(0, 40 * count, 40)), dim=dim)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_drop_leaves_out_the_share_it_names(share):
    """About so many frames are gone, and the others have their own pictures and true times."""
    whole = steady(2000)
    left = keep_frames(whole, drop(share, whole.times, np.random.default_rng(0)), BLACK)
    assert len(left.pts) / 2000 == pytest.approx(1 - share, abs=0.03)
    numbers = left.embeddings[:, 0].long()
    assert (numbers.diff() > 0).all() and torch.equal(left.pts, whole.pts[numbers])


def test_a_frame_is_always_left():
    """However short the clip and however much is dropped, something is left to judge."""
    assert all(len(drop(1.0, steady(3).times, np.random.default_rng(seed)).places) == 1 for seed in range(20))
    assert len(thin(4, steady(1).times, np.random.default_rng(0)).places) == 1


@pytest.mark.parametrize("every", [2, 3, 4])
def test_thin_takes_one_frame_in_so_many(every):
    """The frames left are so many apart, at their true times, and begin with any of the first."""
    whole = steady(40)
    begun = set()
    for seed in range(30):
        left = keep_frames(whole, thin(every, whole.times, np.random.default_rng(seed)), BLACK)
        numbers = left.embeddings[:, 0].long()
        assert (numbers.diff() == every).all() and torch.equal(left.pts, whole.pts[numbers])
        begun.add(int(numbers[0]))
    assert begun == set(range(every))


def test_without_dt_times_are_even():
    """Frames of which some are missing, and those of a rate that varies, come at the clip's usual step."""
    whole = features_at([100, 140, 180, 700, 740, 780, 820])
    left = keep_frames(whole, drop(0.5, whole.times, np.random.default_rng(1)), BLACK)
    assert 1 < len(left.pts) < 7
    told = evenly_spaced(left, whole)
    assert told.pts.tolist() == [100 + 40 * i for i in range(len(left.pts))]
    assert torch.equal(told.embeddings, left.embeddings)
    assert evenly_spaced(features_at([100]), features_at([100])).pts.tolist() == [100]


@given(st.lists(st.sampled_from([10, 40, 100]), min_size=100, max_size=300), st.sampled_from([0.1, 0.25, 0.5]))
def test_blackouts_cover_the_share_of_time_they_name(steps, share):
    """So much of the time is black, up to a frame's length, whatever the rate; the other frames are as they were."""
    whole = features_at(np.cumsum(steps).tolist())
    after = keep_frames(whole, black_out(share, whole.times, np.random.default_rng(0)), BLACK)
    black = (after.embeddings == BLACK).all(1).numpy()
    lasting = np.append(np.diff(whole.times), np.median(np.diff(whole.times)))
    assert -1e-9 <= lasting[black].sum() - share * lasting.sum() <= 0.1 + 1e-9
    assert torch.equal(after.embeddings[~black], whole.embeddings[~black]) and torch.equal(after.pts, whole.pts)


def test_blackouts_come_in_bursts():
    """A long clip's black frames are runs of the burst's length, but for where bursts meet."""
    black = black_out(0.1, steady(3000).times, np.random.default_rng(0)).black
    edges = np.flatnonzero(np.diff(np.concatenate(([0], black, [0]))))
    runs = edges[1::2] - edges[::2]
    assert np.median(runs) == BURST / 0.04 and len(runs) > 15


def test_the_first_level_is_the_clip_as_it_is():
    """Every curve begins with the untouched clip, and no other level is untouched."""
    for levels in degradation_curves(look="whole", degrade=True).values():
        assert [level.untouched for level in levels] == [True, False, False, False]
    assert list(degradation_curves(look="whole", degrade=False)) == ["drop", "rate", "blackout"]


@pytest.fixture
def intervals(make_video, tmp_path):
    """Two clips, the second half of which is green."""
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    (tmp_path / "data.csv").write_text("file,start,end,label\na.mp4,0.4,9,green\nb.mp4,0.4,9,green\n")
    return read_dataset(tmp_path / "data.csv", background="red")


def test_who_follows_what_moves_is_judged_by_pictures_that_are_left(intervals, tmp_path):
    """Where it looks hangs on the frames before, so frames that are lost are lost to that too, as in a stream."""
    model = build_model(labels=("red", "green"))
    model.backbone.look_at("moving")
    store = EmbeddingStore(model.backbone, folder=tmp_path / "cache")
    assert not evaluate_model(model, intervals, store)["robustness"] and count_passes(model, degrade=False) == 1
    with open_video(tmp_path / "a.mp4") as reader:
        frames = list(reader)
    left = KeptFrames(np.array([1, 4, 5]), np.array([False, False, True]))
    dark = replace(frames[5], pixels=np.zeros((*image_size(frames[5].pixels), 3), np.uint8))
    again = store.again(tmp_path / "a.mp4", partial(keep_pictures, left=left))
    expected = MotionCrop(model.backbone).embed([frames[1], frames[4], dark])
    torch.testing.assert_close(again.embeddings, expected)
    assert again.pts.tolist() == [frames[i].pts for i in left.places]
    with pytest.raises(SourceError, match="holds embeddings, of which no other frames can be seen"):
        store.again(tmp_path / "clip.safetensors", iter)
    calls: list[str] = []
    told = evaluate_model(model, intervals, store, degrade=True, on_clip=calls.append)
    assert list(told["robustness"]) == ["drop", "rate", "blackout", "noise", "blur", "dark"]
    assert len(calls) == 2 * count_passes(model, degrade=True)


def test_truth_is_of_the_true_times(model, intervals):
    """The model is told other times, and says what it says at those; what is true of a frame stays."""
    whole = steady(20, dim=model.backbone.dim)
    left = keep_frames(whole, thin(4, whole.times, np.random.default_rng(0)), BLACK[:1])
    told = evenly_spaced(left, whole)
    seen = run_clip(model, intervals.only(["a.mp4"]), intervals.clips[0], left, told=told)
    assert seen.memory.truth.tolist() == [intervals.labels.index("green" if t >= 0.4 else "red") for t in left.times]
    assert seen.memory.times.tolist() == left.times.tolist()
    said = Session(model).push_embeddings(told.frames(), told.embeddings)
    np.testing.assert_array_equal(seen.memory.scores, np.stack([p.scores for p in said]))


def test_who_does_not_look_loses_nothing_without_dt(intervals, tmp_path):
    """A model that always says the same is exactly as right without Δt, at every level; all passes are announced."""
    model = build_model(labels=("red", "green"))
    model.head.readout.weight.data.zero_()
    model.head.readout.bias.data = torch.tensor([0.0, 1.0])
    calls: list[str] = []
    told = evaluate_model(
        model, intervals, EmbeddingStore(model.backbone, folder=tmp_path / "cache"), on_clip=calls.append
    )
    for name in ("drop", "rate"):
        assert all(row["memory_without_dt"] == row["memory"] > 0 for row in told["robustness"][name])
    assert len(calls) == 2 * count_passes(model, degrade=False)
