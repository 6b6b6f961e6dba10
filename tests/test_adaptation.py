"""Adaptation without labels: the formula, the gate, and the same numbers however a stream is cut and kept."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_model
from made_sequences import WIDTH, rising_and_falling, tiny_head

from liquidvision import Frame, LiquidHead, Model, Session, predict
from liquidvision.errors import UsageError
from liquidvision.inference.batching import batched_model
from liquidvision.inference.look_ahead import LookAhead
from liquidvision.inference.recording import predict_embeddings
from liquidvision.models.heads import adaptation as module
from liquidvision.models.heads.adaptation import GATE, Adaptation
from liquidvision.models.heads.base import ADAPTATION
from liquidvision.models.heads.liquid_head import LiquidHeadConfig
from liquidvision.models.model import share_tensors
from liquidvision.report.conclusion import describe_adapting
from liquidvision.training.optimise import fit_statistics
from liquidvision.training.recipe import default_plan
from liquidvision.web.shared_model import SharedModel

TICK = Fraction(1, 1000)
TIMES = np.random.default_rng(5).choice([0.0, 0.04, 0.3, 2.5], 90).cumsum().round(3).tolist()
SPLIT = next(i for i in range(50, 90) if TIMES[i] > TIMES[i - 1])  # where a saved state continues


def adapting_model(*, seed: int = 0, backward: bool = False) -> Model:
    """A small model with random weights whose head can adapt."""
    model = build_model(seed=seed)
    torch.manual_seed(seed)
    heads = []
    for _ in range(2):
        head = LiquidHead(replace(model.head.config, class_means=True))
        torch.nn.init.normal_(head.whitening, std=0.2)
        torch.nn.init.normal_(head.adaptation.class_means, std=0.3)
        head.readout.weight.data *= 20
        heads.append(head)
    share_tensors(*heads)
    return Model(model.backbone, heads[0], model.labels, name="own", backward_head=heads[1] if backward else None)


@pytest.fixture(scope="module")
def model() -> Model:
    return adapting_model()


def frames_at(times: list[float]) -> list[Frame]:
    return [Frame(np.zeros((0, 0, 3), np.uint8), i, round(t * 1000), TICK) for i, t in enumerate(times)]


def shifted(model: Model, count: int, by: float = 1.5, seed: int = 0) -> torch.Tensor:
    """Embeddings whose mean is not that of training."""
    return torch.randn(count, model.backbone.dim, generator=torch.Generator().manual_seed(seed)) + by


def scores_of(predictions) -> np.ndarray:
    return np.stack([prediction.scores for prediction in predictions])


def by_hand(part: Adaptation, x: np.ndarray, p: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """The corrected values of one stream, from the formula, frame by frame in double precision."""
    m, square, shares, weight, out = np.zeros(x.shape[1]), np.ones(x.shape[1]), np.zeros(p.shape[1]), 30.0, []
    for t, seconds in enumerate(dt):
        seen = min(seconds, 1.0) if t else 0.0
        share, kept = seen / (weight + seen), np.exp(-seconds / 300)
        weight = min(weight + seen, 60.0)
        m = kept * (m + share * (x[t] - m))
        square = 1 + kept * (square + share * (x[t] ** 2 - square) - 1)
        shares = kept * (shares + share * (p[t] - shares))
        rest = m[: part.embedding] - shares @ part.class_means.double().numpy()
        gate = np.clip((np.sqrt((rest**2).mean()) - part.gate) / (0.3 * part.gate), 0, 1)
        spread = np.clip(np.sqrt(np.maximum(square - m**2, 0.25)), 0.5, 2)
        out.append((x[t] - gate * np.clip(m, -2, 2)) / (1 + gate * (spread - 1)))
    return np.stack(out)


def test_the_formula():
    """The correction is the documented one: prior, time constants, gaps that count one second, gate and limits."""
    torch.manual_seed(0)
    part = Adaptation(6, 5, 3)
    part.class_means.normal_(std=0.4)
    x, p = torch.randn(1, 150, 11) * 1.3 + 0.9, torch.randn(1, 150, 3).softmax(-1)
    dt = torch.from_numpy(np.random.default_rng(0).choice([0.04, 0.5, 7.0], (1, 150))).float()
    counted = torch.arange(150)[None] > 0
    z, features, state = part(x[..., :6], x[..., 6:], p, dt, counted, part.initial(1))
    expected = by_hand(part, *(values[0].double().numpy() for values in (x, p, dt)))
    np.testing.assert_allclose(torch.cat([z, features], -1)[0].numpy(), expected, atol=1e-4)
    assert (part.unexplained_shift(state) - part.gate) > 0 and state.shape == (1, part.state_size)


def test_a_closed_gate_changes_nothing(model):
    """As long as the shift is within the gate, predictions are those without adapting, bit for bit."""
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES), by=0.0)
    plain = Session(model).push_embeddings(frames, xs)
    adapted = Session(model, adapt=True).push_embeddings(frames, xs)
    assert np.array_equal(scores_of(plain), scores_of(adapted))
    assert all(a.adapted and not b.adapted for a, b in zip(adapted, plain, strict=True))
    assert not np.allclose(
        scores_of(Session(model).push_embeddings(frames, xs + 1.5)),
        scores_of(Session(model, adapt=True).push_embeddings(frames, xs + 1.5)),
    )


def test_a_class_that_lasts_is_no_shift():
    """A stream of one class has no unexplained shift where its frames are recognised, and else a large one."""
    part = Adaptation(8, 2, 2)
    part.class_means.copy_(torch.tensor([[1.0] * 8, [-1.0] * 8]))
    x, dt, counted = torch.ones(1, 400, 8), torch.full((1, 400), 0.2), torch.ones(1, 400, dtype=torch.bool)
    known = torch.tensor([1.0, 0.0]).expand(1, 400, 2)
    z, _, state = part(x, torch.zeros(1, 400, 2), known, dt, counted, part.initial(1))
    assert torch.equal(z, x) and float(part.unexplained_shift(state)) < 1e-6
    z, _, state = part(x, torch.zeros(1, 400, 2), torch.full_like(known, 0.5), dt, counted, part.initial(1))
    assert float(part.unexplained_shift(state)) > 1.3 * GATE and float(z[0, -1].abs().max()) < 0.5


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_any_chunking_gives_the_same_numbers(model, monkeypatch, chunk):
    """A stream pushed whole, in chunks or frame by frame gives the same predictions and statistics."""
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES))
    whole, parts = Session(model, adapt=True), Session(model, adapt=True)
    expected = scores_of(whole.push_embeddings(frames, xs))
    monkeypatch.setattr(module, "BLOCK_FRAMES", 5)
    found = [
        p for i in range(0, len(frames), chunk) for p in parts.push_embeddings(frames[i : i + chunk], xs[i : i + chunk])
    ]
    np.testing.assert_allclose(scores_of(found), expected, atol=1e-5)
    torch.testing.assert_close(parts.state_dict()[ADAPTATION], whole.state_dict()[ADAPTATION], atol=1e-5, rtol=1e-5)


def test_a_batch_of_streams_gives_the_numbers_of_each_alone(model):
    """Streams of different lengths side by side adapt as each alone; padding and repeated frames change nothing."""
    xs, dts = shifted(model, 3 * 40).view(3, 40, -1), torch.rand(3, 40) * 0.3
    dts[:, 4] = 0
    lengths = [40, 9, 1]
    with torch.inference_mode():
        batch = model.head(xs, dts, model.head.initial(3, adapt=True), lengths)
        for row, length in enumerate(lengths):
            span = slice(row, row + 1), slice(length)
            alone = model.head(xs[span], dts[span], model.head.initial(1, adapt=True))
            torch.testing.assert_close(batch.logits[span], alone.logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(batch.state[ADAPTATION][row], alone.state[ADAPTATION][0], atol=1e-5, rtol=1e-5)


def test_streams_of_a_batched_model_adapt(model):
    """A session of a model that streams in several threads share gives the same numbers."""
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES))
    with batched_model(model) as shared:
        found = Session(shared, adapt=True).push_embeddings(frames, xs)
    np.testing.assert_allclose(
        scores_of(found), scores_of(Session(model, adapt=True).push_embeddings(frames, xs)), atol=1e-5
    )


def test_reset_save_and_resume(model, tmp_path):
    """A saved state continues what was adapted to; a reset forgets it, unless it is to be kept."""
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES))
    whole = scores_of(Session(model, adapt=True).push_embeddings(frames, xs))
    first = Session(model, adapt=True)
    first.push_embeddings(frames[:SPLIT], xs[:SPLIT])
    first.save(tmp_path / "state.safetensors")
    second = Session(model, adapt=True)
    second.load(tmp_path / "state.safetensors")
    np.testing.assert_allclose(scores_of(second.push_embeddings(frames[SPLIT:], xs[SPLIT:])), whole[SPLIT:], atol=1e-5)
    before = first.state_dict()
    first.reset(keep_adaptation=True)
    after = first.state_dict()
    assert torch.equal(after[ADAPTATION], before[ADAPTATION]) and before["cell"].any() and not after["cell"].any()
    first.reset()
    assert not first.state_dict()[ADAPTATION].any()
    np.testing.assert_allclose(scores_of(first.push_embeddings(frames, xs)), whole, atol=1e-5)


def test_states_of_sessions_that_do_not_adapt(model):
    """A state saved without adapting starts to adapt; one saved while adapting continues without."""
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES))
    plain, adapting = Session(model), Session(model, adapt=True)
    for session in (plain, adapting):
        session.push_embeddings(frames[:SPLIT], xs[:SPLIT])
    states = plain.state_dict(), adapting.state_dict()
    assert ADAPTATION not in states[0]
    adapting.load_state_dict(states[0])
    assert not adapting.state_dict()[ADAPTATION].any() and adapting.state_dict()["cell"].any()
    plain.load_state_dict(states[1])
    assert ADAPTATION not in plain.state_dict()


def test_a_gap_that_resets_forgets_the_scene(model):
    """With the gap policy "reset" a stream after a gap is a new one, and goes on adapting."""
    session = Session(model, max_gap=3.0, gap_policy="reset", adapt=True)
    xs = shifted(model, 60)
    session.push_embeddings(frames_at([0.5 * i for i in range(59)]), xs[:59])
    assert session.state_dict()[ADAPTATION].any()
    session.push_embeddings(frames_at([100.0]), xs[59:])
    assert ADAPTATION in session.state_dict() and not session.state_dict()[ADAPTATION].any()


def test_what_is_adapted_to_survives_a_cut():
    """Where the memory starts again at a cut, the statistics stay; the first frame after it does not count."""
    head = tiny_head(restart_at_cuts=True, class_means=True)
    fit_statistics([head], rising_and_falling(8), 1.0)
    head.cuts.limit.copy_(torch.tensor([0.5, 0.0]))
    xs = torch.cat([torch.full((1, 40, WIDTH), 4.0), torch.full((1, 2, WIDTH), -4.0)], 1)
    with torch.inference_mode():
        before = head(xs[:, :40], 0.2, head.initial(1, adapt=True))
        at_cut = head(xs[:, 40:41], 0.2, before.state)
        after = head(xs[:, 41:], 0.2, at_cut.state)
    start, cut, end = (part.state[ADAPTATION] for part in (before, at_cut, after))
    assert start.any() and not torch.equal(cut, end)
    torch.testing.assert_close(cut[:, :-1], start[:, :-1] * float(np.exp(-0.2 / 300)))


def test_class_means_come_from_training():
    """Training sets the mean standardised embedding of each class, from frames that have one."""
    clips = rising_and_falling(8)
    clips[0].targets[:3] = -1
    heads = [tiny_head(class_means=True), tiny_head(seed=1, class_means=True)]
    fit_statistics(heads, clips, 1.0)
    xs, targets = torch.cat([clip.embeddings for clip in clips]), torch.cat([clip.targets for clip in clips])
    z = (xs - heads[0].mean) * heads[0].inverse_std
    expected = torch.stack([z[targets == label].mean(0) for label in (0, 1)])
    for head in heads:
        torch.testing.assert_close(head.adaptation.class_means, expected)
    assert default_plan(100).head["class_means"]


def test_models_without_class_means(tmp_path):
    """An older model is written as before, has the same fingerprint, and says in one line that it cannot adapt."""
    build_model().save_pretrained(tmp_path / "old")
    old = Model.from_pretrained(tmp_path / "old")
    assert "class_means" not in old.config()["head"] and not old.head.adapts
    with pytest.raises(UsageError, match="cannot adapt to a stream: it has no class means; leave out --adapt"):
        Session(old, adapt=True)
    with pytest.raises(UsageError, match="cannot adapt"):
        next(predict(iter(()), old, adapt=True))
    new = adapting_model()
    new.save_pretrained(tmp_path / "new")
    again = Model.from_pretrained(tmp_path / "new")
    assert again.head.adapts and again.fingerprint() == new.fingerprint()
    assert LiquidHeadConfig.from_json(new.head.config.to_json()) == new.head.config


def test_a_session_of_the_caller_must_adapt(model):
    """`predict(adapt=True)` refuses a session that does not adapt."""
    with pytest.raises(UsageError, match=r"Session\(model, adapt=True\)"):
        next(predict(iter(()), model, session=Session(model), adapt=True))


def test_two_passes_and_look_ahead():
    """In two passes both heads adapt, each from its side; a bounded look-ahead refuses to."""
    model = adapting_model(backward=True)
    frames, xs = frames_at(TIMES), shifted(model, len(TIMES))
    predictions = list(predict_embeddings(Session(model, adapt=True), frames, xs, shortest=0))
    assert all(p.adapted for p in predictions)
    back = torch.tensor([1.0, *np.diff(TIMES)[::-1].copy()], dtype=torch.float32)
    with torch.inference_mode():
        logits = model.backward_head(xs.flip(0)[None], back[None], model.backward_head.initial(1, adapt=True)).logits[0]
    causal = scores_of(Session(model, adapt=True).push_embeddings(frames, xs))
    mixed = (np.log(causal) + logits.flip(0).log_softmax(-1).numpy()) / 2
    expected = np.exp(mixed) / np.exp(mixed).sum(-1, keepdims=True)
    np.testing.assert_allclose(scores_of(predictions), expected, atol=1e-4)
    with pytest.raises(UsageError, match="leave out --look-ahead or --adapt"):
        LookAhead(Session(model, adapt=True), 0.5)


def test_heads_of_the_page_adapt_where_they_can(model):
    """On the page of `webcam --adapt`, heads with class means adapt, loaded or taught; without `--adapt`, none does."""
    page = SharedModel(build_model(), adapt=True)
    assert page.new_session(model).adapt and not page.new_session(page.model).adapt
    assert not SharedModel(model).new_session(model).adapt


def test_the_command_line(run, clips, tmp_path, monkeypatch):
    """`train` makes models that adapt; `infer --adapt` and `eval --adapt` say that they do, and what it is worth."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    old = tmp_path / "old"
    build_model().save_pretrained(old)
    assert run("train", clips, "-o", "mine", "--backbone", old, "--epochs", "2").code == 0
    assert "With `--adapt` it adapts" in Path("mine/README.md").read_text(encoding="utf-8")
    clip = clips / "quick" / "0.mp4"
    ran = run("infer", clip, "-m", "mine", "--adapt", "--no-save", "--save-json", "a.jsonl", "--save-csv", "a.csv")
    assert ran.code == 0 and "adapted to the stream" in ran.out
    with open("a.jsonl", encoding="utf-8") as lines:
        assert all(json.loads(line)["adapted"] is True for line in lines)
    with open("a.csv", encoding="utf-8") as lines:
        assert "adapted" in next(lines).split(",")
    plain = run("infer", clip, "-m", "mine", "--no-save", "--save-json", "b.jsonl")
    assert "adapted" not in plain.out
    refused = run("infer", clip, "-m", old, "--adapt", "--no-save")
    assert refused.code == 2 and "cannot adapt to a stream" in refused.err
    ran = run("eval", clips, "-m", "mine", "--part", "all", "--adapt", "--save-json", "e.json", "--report", "e.html")
    assert ran.code == 0 and "adapting, " in ran.out
    with open("e.json", encoding="utf-8") as file:
        figures = json.load(file)
    assert figures["adapted"]["clip_accuracy"] == figures["memory"]["clip_accuracy"]  # seconds are too short for a gate
    with open("e.html", encoding="utf-8") as file:
        assert "Adapting to each group (--adapt) makes no difference here" in file.read()


def test_the_report_says_what_adapting_is_worth():
    """A gain is named with its interval; groups are resampled whole."""
    videos = [
        {"name": str(i), "group": str(i // 2), "times": [0.0], "truth": [0], "memory": [i % 2], "adapted": [0]}
        | {"clip_prediction": i % 2, "adapted_clip_prediction": 0}
        for i in range(40)
    ]
    evaluation = {"memory": {"clip_accuracy": 0.5}, "adapted": {"clip_accuracy": 1.0}, "videos": videos}
    assert str(describe_adapting(evaluation, of_clips=True)).replace("\N{NO-BREAK SPACE}", " ") == (
        "Adapting to each group (--adapt) helps here: 100.0 % are correct with it, 50.0 % without "
        "(95 % interval +50.0 to +50.0 points)."
    )
    assert describe_adapting({"memory": {"clip_accuracy": 0.5}}, of_clips=True) is None
