"""Session: true times, gaps, repeated frames, saved states and errors."""

import logging
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import build_model, picture_frames

from liquidvision import Frame, Session
from liquidvision.errors import ModelError, UsageError


def scores(predictions) -> np.ndarray:
    return np.stack([p.scores for p in predictions])


def at(frame: Frame, time: float) -> Frame:
    return replace(frame, pts=round(time * 1000), time_base=Fraction(1, 1000))


def test_any_chunking_gives_the_same_predictions(model):
    """A stream pushed at once, in chunks or frame by frame gives the same predictions."""
    frames = picture_frames(12)
    whole = scores(Session(model).push_many(frames))
    session = Session(model)
    chunked = [p for i in range(0, 12, 5) for p in session.push_many(frames[i : i + 5])]
    session = Session(model)
    one_by_one = [session.push(frame) for frame in frames]
    np.testing.assert_allclose(scores(chunked), whole, atol=1e-5)
    np.testing.assert_allclose(scores(one_by_one), whole, atol=1e-5)


def test_streams_do_not_share_a_memory(model):
    """Two sessions of one model, pushed alternately, give the predictions that each gives alone."""
    a, b = picture_frames(6), picture_frames(6)[::-1]
    b = [at(frame, 0.04 * i) for i, frame in enumerate(b)]
    alone = scores(Session(model).push_many(a)), scores(Session(model).push_many(b))
    first, second = Session(model), Session(model)
    pairs = [(first.push(x), second.push(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(scores([p for p, _ in pairs]), alone[0], atol=1e-5)
    np.testing.assert_allclose(scores([p for _, p in pairs]), alone[1], atol=1e-5)


def test_predictions_have_true_times_and_probabilities(model):
    """A prediction has its frame's index and time, the elapsed seconds, and scores that sum to 1."""
    frames = [at(frame, t) for frame, t in zip(picture_frames(4), (0.0, 0.1, 0.5, 0.53), strict=True)]
    predictions = Session(model).push_many(frames)
    assert [p.index for p in predictions] == [0, 1, 2, 3]
    np.testing.assert_allclose([p.time for p in predictions], [0.0, 0.1, 0.5, 0.53])
    np.testing.assert_allclose([p.dt for p in predictions], [model.first_dt, 0.1, 0.4, 0.03], atol=1e-9)
    np.testing.assert_allclose(scores(predictions).sum(1), 1, atol=1e-5)
    assert predictions[0].top(2)[0] == (predictions[0].label, pytest.approx(predictions[0].score))
    assert predictions[0].time_constants.shape == predictions[0].hidden_state.shape == (6,)
    assert predictions[0].time_constants.dtype == predictions[0].hidden_state.dtype == np.float32


def test_predictions_have_their_own_hidden_state(model):
    """Each prediction has its own hidden state; the last one equals the session's state."""
    session = Session(model)
    predictions = session.push_many(picture_frames(5))
    np.testing.assert_allclose(predictions[-1].hidden_state, session.state_dict()["cell"][0], atol=1e-6)
    assert not np.allclose(predictions[0].hidden_state, predictions[-1].hidden_state, atol=1e-3)


@pytest.mark.parametrize("cell", ["gru", "none"])
def test_a_cell_without_time_constants(cell):
    """With a cell without time constants, a prediction has a hidden state only."""
    prediction = Session(build_model(cell=cell)).push(picture_frames(1)[0])
    assert prediction.time_constants is None and prediction.hidden_state.shape == (6,)


def test_a_head_without_a_hidden_state(model, monkeypatch):
    """If the cell has no outputs, `hidden_state` is None."""
    forward = type(model.head).forward

    def without(head, *arguments):
        out = forward(head, *arguments)
        return replace(out, hidden=out.hidden[..., :0])

    monkeypatch.setattr(type(model.head), "forward", without)
    assert Session(model).push(picture_frames(1)[0]).hidden_state is None


def test_a_repeated_frame_does_not_step_the_memory(model):
    """A repeated frame does not change later predictions and is counted."""
    frames = picture_frames(6)
    plain = scores(Session(model).push_many(frames))
    session = Session(model)
    repeated = session.push_many([*frames[:3], frames[2], frames[2], *frames[3:]])
    assert session.repeated == 2
    assert [p.dt for p in repeated[3:5]] == [0.0, 0.0]
    np.testing.assert_allclose(scores(repeated[:4] + repeated[6:])[[0, 1, 2, 4, 5]], plain[[0, 1, 2, 4, 5]], atol=1e-5)


def test_a_clock_that_steps_back_steps_by_zero_and_warns_once(model, caplog):
    """When the clock steps back, the step is 0, the new time counts from there, and one warning is logged."""
    times = (0.0, 0.1, 5.0, 0.2, 0.3, 0.1)
    session = Session(model, max_gap=10)
    with caplog.at_level(logging.WARNING):
        predictions = session.push_many([at(f, t) for f, t in zip(picture_frames(6), times, strict=True)])
    np.testing.assert_allclose([p.dt for p in predictions[1:]], [0.1, 4.9, 0.0, 0.1, 0.0], atol=1e-9)
    assert session.backwards == 2
    assert [r.message for r in caplog.records] == ["the clock steps back at frame 3: 0.200 s after 5.000 s"]


@pytest.mark.parametrize(("policy", "dt"), [("decay", 20.0), ("carry", 2.0), ("reset", 1.0)])
def test_gaps_follow_the_policy(model, policy, dt):
    """A gap is counted, and steps by its true length, by at most max_gap, or resets the memory."""
    frames = [at(f, t) for f, t in zip(picture_frames(4), (0.0, 0.04, 20.04, 20.08), strict=True)]
    session = Session(model, max_gap=2.0, gap_policy=policy)
    predictions = session.push_many(frames)
    assert session.gaps == 1
    assert predictions[2].dt == pytest.approx(dt)
    fresh = scores(Session(model).push_many(frames[2:]))
    same_as_fresh = np.allclose(scores(predictions[2:]), fresh, atol=1e-5)
    assert same_as_fresh == (policy == "reset")


@pytest.mark.parametrize("clock", ["goes on", "starts again"])
def test_segments_give_the_predictions_of_the_whole(model, tmp_path, clock):
    """Segments of a feed give the predictions of the whole if the state is saved and loaded between them."""
    base = Fraction(1, 1000)
    frames = [replace(f, time_base=base, duration=40) for f in picture_frames(10)]
    whole = scores(Session(model).push_many(frames))
    first = Session(model)
    predictions = first.push_many(frames[:6])
    first.save(tmp_path / "state.safetensors")
    second = Session(model)
    second.load(tmp_path / "state.safetensors")
    rest = frames[6:] if clock == "goes on" else [at(f, 0.04 * i) for i, f in enumerate(frames[6:])]
    predictions += second.push_many(rest)
    np.testing.assert_allclose(scores(predictions), whole, atol=1e-5)
    assert second.backwards == 0


def test_a_state_of_another_model_is_refused(model, tmp_path):
    """A state saved with another model raises ModelError."""
    Session(model).save(tmp_path / "state")
    with pytest.raises(ModelError, match="was written with another model"):
        Session(build_model(seed=1)).load(tmp_path / "state")


def test_a_damaged_or_foreign_state_is_refused(model, tmp_path):
    """A state that is missing, truncated, or another kind of file raises ModelError."""
    with pytest.raises(ModelError, match="missing or cut short"):
        Session(model).load(tmp_path / "nowhere")
    Session(model).save(tmp_path / "state")
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-5])
    with pytest.raises(ModelError, match="missing or cut short"):
        Session(model).load(tmp_path / "state")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ModelError, match="is not a saved state"):
        Session(model).load(tmp_path / "other")
    with pytest.raises(ModelError, match="does not fit this model: traces"):
        Session(model).load_state_dict({})


def test_reset_starts_from_scratch(model):
    """After a reset, predictions are those of a new session."""
    frames = picture_frames(5)
    session = Session(model)
    first = scores(session.push_many(frames))
    session.reset()
    np.testing.assert_allclose(scores(session.push_many(frames)), first, atol=1e-6)


@pytest.mark.parametrize("options", [{"max_gap": 0}, {"max_gap": float("nan")}, {"gap_policy": "forget"}])
def test_impossible_options_are_refused(model, options):
    """A max_gap that is not positive or an unknown policy raises UsageError."""
    with pytest.raises(UsageError, match="expected"):
        Session(model, **options)


def test_no_frames_give_no_predictions(model):
    """Pushing no frames returns an empty list."""
    assert Session(model).push_many([]) == []


def test_no_embeddings_give_no_predictions(model):
    """Pushing no embeddings returns an empty list."""
    assert Session(model).push_embeddings([], torch.zeros(0, model.backbone.dim)) == []
