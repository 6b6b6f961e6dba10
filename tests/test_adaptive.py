"""AdaptiveEmbedder: frames that add nothing new are not embedded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run
from conftest import count_calls, frames_of, picture, picture_frames

from liquidvision import Model, Session, infer, predict
from liquidvision.inference.adaptive import MAX_LIMIT, MIN_LIMIT, AdaptiveEmbedder, assign_neighbours, difference_limits


def test_a_still_picture_is_embedded_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a still scene are skipped; the memory steps on, and scores stay close to those without skipping."""
    noise = np.random.default_rng(0)
    still = [np.clip(picture(0) + noise.normal(0, 0.05, (48, 64, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    frames = frames_of([*still, *(picture(40) for _ in range(20))])
    plain = [prediction for _, prediction in predict(frames, model)]
    calls = count_calls(model, monkeypatch)
    adaptive = [prediction for _, prediction in predict(frames, model, adaptive=True)]
    assert len(calls) < 12 and len(adaptive) == 40
    for a, b in zip(plain, adaptive, strict=True):
        assert a.dt == b.dt and np.abs(a.scores - b.scores).max() < 0.05
    assert not (adaptive[0].scores == adaptive[15].scores).all(), "the memory did not step"


def test_every_frame_of_a_changing_scene_is_embedded(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every frame differs, none is skipped, and the scores equal those without `adaptive`."""
    frames = frames_of([np.full((48, 64, 3), (i * 37) % 256, np.uint8) for i in range(12)])
    plain = [prediction.scores for _, prediction in predict(frames, model)]
    calls = count_calls(model, monkeypatch)
    adaptive = [prediction.scores for _, prediction in predict(frames, model, adaptive=True)]
    assert sum(calls) == 12
    assert np.allclose(plain, adaptive, atol=1e-5)


def test_the_command_line_summary(run: Run, make_video, model_folder: Path) -> None:
    """`infer --adaptive` runs and prints the number of frames."""
    clip = make_video(pts=range(0, 512 * 4, 512))
    ran = run("infer", clip, "-m", model_folder, "--no-save", "--adaptive")
    assert ran.code == 0 and "4 frames" in ran.out


@pytest.mark.parametrize("window", [1, 16])
def test_slow_changes_add_up(model: Model, window: int) -> None:
    """Frames are compared with embedded frames, not with the frame before, so slow changes add up."""
    embedder, embedded = AdaptiveEmbedder(Session(model)), list[bool]()
    frames = frames_of([np.full((48, 64, 3), 60 + i // 2, np.uint8) for i in range(160)])
    for i in range(0, 160, window):
        part = frames[i : i + window]
        embeddings, some = embedder.embed(part, torch.cat([model.backbone.prepare(frame.image) for frame in part]))
        assert len(embeddings) == len(some) == len(part)
        embedded += some
    assert embedded[0] and 3 < sum(embedded) < 120


def test_frames_in_between_get_the_embedding_of_a_neighbour(model: Model) -> None:
    """In a steadily changing scene, each skipped frame gets the embedding of an embedded neighbour."""
    images = [(picture(0) * (0.5 + i / 40)).astype(np.uint8) for i in range(17)]
    frames, pixels = frames_of(images), torch.cat([model.backbone.prepare(image) for image in images])
    embedder = AdaptiveEmbedder(Session(model))
    embedder.embed(frames[:1], pixels[:1])
    embeddings, embedded = embedder.embed(frames[1:], pixels[1:])
    own = model.backbone(pixels)
    seen = [0, *(i for i, one in enumerate(embedded, 1) if one)]
    off = torch.cdist(embeddings, own[seen])
    assert 2 <= len(seen) < 12 and off.min(1).values.max() < 1e-4
    stands = [seen[i] for i in off.argmin(1).tolist()]
    assert set(stands) == set(seen)
    for i, k in enumerate(stands, 1):
        assert k in {max(j for j in seen if j <= i), min((j for j in seen if j > i), default=seen[-1])}


def test_more_frames_at_once_skip_more(model: Model, make_video, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deciding on many frames together embeds at most as many as one by one, and keeps the labels."""
    clip = make_video(pts=range(0, 64 * 128, 128))
    plain = [prediction.label for _, prediction in predict(clip, model)]
    calls = count_calls(model, monkeypatch)
    alone = [prediction.label for _, prediction in predict(clip, model, adaptive=True, batch=1)]
    one_by_one = calls.copy()
    calls.clear()
    ahead = [prediction.label for _, prediction in predict(clip, model, adaptive=True)]
    assert sum(calls) <= sum(one_by_one) and max(one_by_one) == 1 < max(calls)
    assert (
        sum(a == b for a, b in zip(plain, ahead, strict=True))
        > 56
        < sum(a == b for a, b in zip(plain, alone, strict=True))
    )


def test_the_session_is_not_modified(model: Model) -> None:
    """Embedding does not change the session whose state was copied."""
    session, frames = Session(model), picture_frames(24)
    session.push_many(frames[:8])
    before = session.state_dict()
    embedder = AdaptiveEmbedder(session)
    embedder.embed(frames[8:], torch.cat([model.backbone.prepare(frame.image) for frame in frames[8:]]))
    after = session.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_limits_grow_with_the_lead_of_the_best_label() -> None:
    """The limit is smaller if the best label leads by less, and largest for a single class."""
    scores = torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.98, 0.01, 0.01]])
    level, near, sure = difference_limits(scores).tolist()
    assert level == pytest.approx(MIN_LIMIT) and MIN_LIMIT < near < MAX_LIMIT and sure == MAX_LIMIT
    assert difference_limits(torch.ones(2, 1)).tolist() == [MAX_LIMIT, MAX_LIMIT]


def test_neighbours_are_assigned_by_position() -> None:
    """The later neighbour is assigned as often as the positions add up to, more often to later frames."""
    low, high = torch.zeros(11, dtype=torch.long), torch.full((11,), 10)
    taken = assign_neighbours(low, high, torch.linspace(0, 0.9, 11))
    assert taken.unique().tolist() == [0, 10]
    assert (taken == 10).sum() == round(float(torch.linspace(0, 0.9, 11).sum()))
    assert (taken[6:] == 10).sum() > (taken[:5] == 10).sum()


def test_infer_counts_skipped_frames(model: Model, make_video) -> None:
    """`Summary.skipped` is 0 without `adaptive`, and the number of skipped frames with it."""
    clip = make_video(pts=range(0, 30 * 512, 512))
    assert infer(clip, model).skipped == 0
    summary = infer(clip, model, adaptive=True)
    assert 0 <= summary.skipped < summary.frames == 30


@pytest.mark.parametrize(("policy", "dt"), [("decay", 60.0), ("carry", 1.0), ("reset", 1.0)])
def test_gaps_follow_the_policy_of_the_session(model: Model, policy: str, dt: float) -> None:
    """The embedder steps over a gap according to the session's policy, so that its state equals the session's."""
    frames = frames_of([picture(0)] * 4)
    frames[2:] = [replace(frame, pts=frame.pts + 60 * frame.time_base.denominator) for frame in frames[2:]]
    options = {"max_gap": 1.0, "gap_policy": policy}
    session = Session(model, **options)
    embedder = AdaptiveEmbedder(session)
    embeddings, _ = embedder.embed(frames, torch.cat([model.backbone.prepare(frame.image) for frame in frames]))
    predictions = session.push_embeddings(frames, embeddings)
    assert predictions[2].dt == pytest.approx(dt, abs=0.1)
    state = session.state_dict()
    for key, value in embedder.state.items():
        torch.testing.assert_close(value, state[key], msg=lambda text, key=key: f"{key}: {text}")
