"""Robustness curves: which frames are kept, at which times, and how they are judged."""

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
    BLACKOUT_SECONDS,
    KeptFrames,
    black_out,
    degradation_curves,
    drop_random_frames,
    evenly_spaced,
    keep_every_nth,
    select_embeddings,
    select_frames,
)
from liquidvision.inference.session import Session
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.models.preprocessing import image_size

BLACK = torch.full((4,), -7.0)


def features_at(pts: list[int], *, dim: int = 4) -> ClipEmbeddings:
    """Return frames at these milliseconds; the embedding of each is its number."""
    numbers = torch.arange(float(len(pts)))[:, None].repeat(1, dim)
    return ClipEmbeddings(
        numbers, torch.tensor(pts), torch.zeros(len(pts), dtype=torch.int64), Fraction(1, 1000), Fraction()
    )


def steady(count: int, *, dim: int = 4) -> ClipEmbeddings:
    return features_at(list(range(0, 40 * count, 40)), dim=dim)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_dropping_removes_its_share_of_frames(share):
    """About the named share of frames is dropped; the others keep their embeddings and times."""
    whole = steady(2000)
    kept = select_embeddings(whole, drop_random_frames(share, whole.times, np.random.default_rng(0)), BLACK)
    assert len(kept.pts) / 2000 == pytest.approx(1 - share, abs=0.03)
    numbers = kept.embeddings[:, 0].long()
    assert (numbers.diff() > 0).all() and torch.equal(kept.pts, whole.pts[numbers])


def test_at_least_one_frame_is_kept():
    """At least one frame is kept, however short the clip and however many are dropped."""
    assert all(
        len(drop_random_frames(1.0, steady(3).times, np.random.default_rng(seed)).indices) == 1 for seed in range(20)
    )
    assert len(keep_every_nth(4, steady(1).times, np.random.default_rng(0)).indices) == 1


@pytest.mark.parametrize("every", [2, 3, 4])
def test_keep_every_nth_keeps_times(every):
    """Every nth frame is kept with its time, starting at any of the first n."""
    whole = steady(40)
    begun = set()
    for seed in range(30):
        kept = select_embeddings(whole, keep_every_nth(every, whole.times, np.random.default_rng(seed)), BLACK)
        numbers = kept.embeddings[:, 0].long()
        assert (numbers.diff() == every).all() and torch.equal(kept.pts, whole.pts[numbers])
        begun.add(int(numbers[0]))
    assert begun == set(range(every))


def test_times_without_dt_are_even():
    """Without Δt, frames are as far apart as the median step of the whole clip."""
    whole = features_at([100, 140, 180, 700, 740, 780, 820])
    kept = select_embeddings(whole, drop_random_frames(0.5, whole.times, np.random.default_rng(1)), BLACK)
    assert 1 < len(kept.pts) < 7
    even = evenly_spaced(kept, whole)
    assert even.pts.tolist() == [100 + 40 * i for i in range(len(kept.pts))]
    assert torch.equal(even.embeddings, kept.embeddings)
    assert evenly_spaced(features_at([100]), features_at([100])).pts.tolist() == [100]


@given(st.lists(st.sampled_from([10, 40, 100]), min_size=100, max_size=300), st.sampled_from([0.1, 0.25, 0.5]))
def test_blackouts_cover_their_share_of_time(steps, share):
    """Black frames cover the named share of time, up to one frame, at any rate; other frames are unchanged."""
    whole = features_at(np.cumsum(steps).tolist())
    after = select_embeddings(whole, black_out(share, whole.times, np.random.default_rng(0)), BLACK)
    black = (after.embeddings == BLACK).all(1).numpy()
    lasting = np.append(np.diff(whole.times), np.median(np.diff(whole.times)))
    assert -1e-9 <= lasting[black].sum() - share * lasting.sum() <= 0.1 + 1e-9
    assert torch.equal(after.embeddings[~black], whole.embeddings[~black]) and torch.equal(after.pts, whole.pts)


def test_blackouts_come_in_bursts():
    """Blackouts have the length of one burst unless two meet."""
    black = black_out(0.1, steady(3000).times, np.random.default_rng(0)).black
    edges = np.flatnonzero(np.diff(np.concatenate(([0], black, [0]))))
    runs = edges[1::2] - edges[::2]
    assert np.median(runs) == BLACKOUT_SECONDS / 0.04 and len(runs) > 15


def test_the_first_level_changes_nothing():
    """Only the first level of each curve leaves the clip unchanged."""
    for levels in degradation_curves(motion_crop=False, degrade=True).values():
        assert [level.unchanged for level in levels] == [True, False, False, False]
    assert list(degradation_curves(motion_crop=False, degrade=False)) == ["drop", "rate", "blackout"]


@pytest.fixture
def intervals(make_video, tmp_path):
    """Return two clips whose second half is green."""
    for name in ("a.mp4", "b.mp4"):
        make_video(name)
    (tmp_path / "data.csv").write_text("file,start,end,label\na.mp4,0.4,9,green\nb.mp4,0.4,9,green\n")
    return read_dataset(tmp_path / "data.csv", background="red")


def test_a_motion_crop_sees_only_the_kept_frames(intervals, tmp_path):
    """With a motion crop, lost frames are lost to the crop too, as in a stream, so clips are embedded again."""
    model = build_model(labels=("red", "green"))
    model.backbone.motion_crop = True
    store = EmbeddingStore(model.backbone, folder=tmp_path / "cache")
    assert not evaluate_model(model, intervals, store)["robustness"] and count_passes(model, degrade=False) == 1
    with open_video(tmp_path / "a.mp4") as reader:
        frames = list(reader)
    kept = KeptFrames(np.array([1, 4, 5]), np.array([False, False, True]))
    dark = replace(frames[5], pixels=np.zeros((*image_size(frames[5].pixels), 3), np.uint8))
    again = store.embed_changed(tmp_path / "a.mp4", partial(select_frames, kept=kept))
    expected = MotionCrop(model.backbone).embed([frames[1], frames[4], dark])
    torch.testing.assert_close(again.embeddings, expected)
    assert again.pts.tolist() == [frames[i].pts for i in kept.indices]
    with pytest.raises(SourceError, match="holds embeddings; its frames cannot be changed and embedded again"):
        store.embed_changed(tmp_path / "clip.safetensors", iter)
    calls: list[str] = []
    evaluation = evaluate_model(model, intervals, store, degrade=True, on_clip=calls.append)
    assert list(evaluation["robustness"]) == ["drop", "rate", "blackout", "noise", "blur", "dark"]
    assert len(calls) == 2 * count_passes(model, degrade=True)


def test_the_truth_follows_the_true_times(model, intervals):
    """The model gets other times, and the truth of each frame still follows from its own."""
    whole = steady(20, dim=model.backbone.dim)
    kept = select_embeddings(whole, keep_every_nth(4, whole.times, np.random.default_rng(0)), BLACK[:1])
    even = evenly_spaced(kept, whole)
    seen = run_clip(model, intervals.select(["a.mp4"]), intervals.clips[0], kept, model_times=even)
    assert seen.memory.truth.tolist() == [intervals.labels.index("green" if t >= 0.4 else "red") for t in kept.times]
    assert seen.memory.times.tolist() == kept.times.tolist()
    predictions = Session(model).push_embeddings(even.frames(), even.embeddings)
    np.testing.assert_array_equal(seen.memory.scores, np.stack([p.scores for p in predictions]))


def test_a_constant_model_does_not_depend_on_dt(intervals, tmp_path):
    """A model with a constant answer is equally accurate without Δt at every level, and every pass is reported."""
    model = build_model(labels=("red", "green"))
    model.head.readout.weight.data.zero_()
    model.head.readout.bias.data = torch.tensor([0.0, 1.0])
    calls: list[str] = []
    evaluation = evaluate_model(
        model, intervals, EmbeddingStore(model.backbone, folder=tmp_path / "cache"), on_clip=calls.append
    )
    for name in ("drop", "rate"):
        assert all(row["memory_without_dt"] == row["memory"] > 0 for row in evaluation["robustness"][name])
    assert len(calls) == 2 * count_passes(model, degrade=False)
