"""The liquid head: chunking, batching, padding, time, statistics and configuration."""

import pytest
import torch
from conftest import build_model

from liquidvision.errors import UsageError
from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig

CELLS = ("ltc", "gated", "conductance", "cfc", "gru", "lstm", "none")


def make(cell: str = "ltc") -> LiquidHead:
    return build_model(cell=cell).head


def stream(head: LiquidHead, *, batch: int = 3, steps: int = 12, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    xs = torch.randn(batch, steps, head.traces.input_size, generator=generator)
    return xs, torch.rand(batch, steps, generator=generator) * 0.3


@pytest.mark.parametrize("cell", CELLS)
def test_any_chunking_gives_the_same_numbers(cell):
    """A stream at once, in unequal chunks or frame by frame gives the same logits and state."""
    head = make(cell)
    xs, dts = stream(head)
    whole = head(xs, dts)
    for cuts in ([5, 4, 3], [1] * 12, [11, 1]):
        state, logits = None, []
        for x, dt in zip(xs.split(cuts, 1), dts.split(cuts, 1), strict=True):
            out = head(x, dt, state)
            state = out.state
            logits.append(out.logits)
        torch.testing.assert_close(torch.cat(logits, 1), whole.logits, rtol=0, atol=1e-5)
        for key, value in whole.state.items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_streams_side_by_side_do_not_mix(cell):
    """Streams with different Δt in one batch give the numbers of each alone, also if batch equals units."""
    head = make(cell)
    xs, dts = stream(head, batch=head.config.units)
    together = head(xs, dts).logits
    for i in range(len(xs)):
        alone = head(xs[i : i + 1], dts[i : i + 1]).logits
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_ignored(cell):
    """Frames beyond a stream's length change neither its outputs nor its state."""
    head = make(cell)
    xs, dts = stream(head)
    lengths = [12, 7, 3]
    padded = head(xs, dts, lengths=lengths)
    for i, length in enumerate(lengths):
        alone = head(xs[i : i + 1, :length], dts[i : i + 1, :length])
        torch.testing.assert_close(padded.logits[i : i + 1, :length], alone.logits, rtol=0, atol=1e-5)
        for key, value in alone.state.items():
            torch.testing.assert_close(padded.state[key][i : i + 1], value, rtol=0, atol=1e-5)


def test_nan_in_the_padding_is_ignored():
    """NaN beyond a stream's length changes neither its outputs nor its state."""
    head = make()
    xs, dts = stream(head)
    clean = head(xs, dts, lengths=[12, 7, 3])
    xs[1, 7:], xs[2, 3:] = torch.nan, torch.inf
    dirty = head(xs, dts, lengths=[12, 7, 3])
    assert torch.equal(dirty.logits[1, :7], clean.logits[1, :7])
    assert all(torch.equal(dirty.state[key], clean.state[key]) for key in clean.state)


def test_one_step_is_a_stream_of_one_frame():
    """`step` returns the logits and state of `forward` for one frame."""
    head = make()
    xs, dts = stream(head, steps=1)
    logits, state = head.step(xs[:, 0], dts[:, 0], head.initial(3))
    whole = head(xs, dts)
    assert torch.equal(logits, whole.logits[:, 0])
    assert all(torch.equal(state[key], whole.state[key]) for key in state)


def test_only_logits_with_memory_depend_on_the_past():
    """After another past, the same last frame has different logits but the same frame logits."""
    head = make()
    xs, dts = stream(head, batch=1)
    other = torch.cat([xs[:, :-1].flip(1), xs[:, -1:]], 1)
    a, b = head(xs, dts), head(other, dts)
    assert (a.logits[:, -1] - b.logits[:, -1]).abs().max() > 1e-3
    torch.testing.assert_close(a.frame_logits[:, -1], b.frame_logits[:, -1])


def test_logits_depend_on_the_elapsed_time():
    """The same frames with other Δt have different logits."""
    head = make()
    xs, dts = stream(head)
    assert (head(xs, dts).logits - head(xs, dts * 8).logits).abs().max() > 1e-3


def test_shape_of_time_constants():
    """Effective time constants are (batch, steps, units), positive and finite."""
    head = make()
    taus = head(*stream(head)).time_constants
    assert taus.shape == (3, 12, head.config.units)
    assert (taus > 0).all()
    assert torch.isfinite(taus).all()


def test_a_step_of_zero_seconds_keeps_the_state():
    """A repeated frame, with Δt = 0, does not change the state."""
    head = make()
    xs, dts = stream(head)
    before = head(xs, dts).state
    after = head(torch.randn_like(xs[:, :1]), 0.0, before).state
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_embeddings_of_a_wrong_width_are_refused():
    """Embeddings of another width raise UsageError with the actual and the expected shape."""
    head = make()
    with pytest.raises(UsageError, match=r"\(1, 2, 3\); expected \(batch, steps, "):
        head(torch.zeros(1, 2, 3), 0.1)


def test_an_unknown_cell_is_refused():
    """An unknown cell raises UsageError with the known cells."""
    with pytest.raises(UsageError, match="'transformer'; expected one of ltc, gated, conductance"):
        LiquidHead(LiquidHeadConfig((Layout(4, 1),), 2, cell="transformer"))


def test_a_configuration_round_trips_through_json():
    """A configuration that is written to JSON and read back is equal."""
    config = LiquidHeadConfig((Layout(4, 1), Layout(2, 9)), 3, taus=(0.2, 0.9))
    assert LiquidHeadConfig.from_json(config.to_json()) == config


def test_frame_share_is_added_in_eval_mode_only():
    """`frame_share` times the frame logits is added in eval mode, and not in training."""
    torch.manual_seed(0)
    head, xs = LiquidHead(LiquidHeadConfig((Layout(4, 1),), 3, components=3, frame_share=0.4)), torch.randn(2, 5, 4)
    learnt, used = head.train()(xs, 0.1), head.eval()(xs, 0.1)
    torch.testing.assert_close(used.logits, learnt.logits + 0.4 * learnt.frame_logits)
    with pytest.raises(UsageError, match="frame_share is nan"):
        LiquidHeadConfig((Layout(4, 1),), 3, frame_share=float("nan"))


def test_statistics_of_fewer_frames_than_components():
    """With fewer training frames than components, the remaining components are 0."""
    torch.manual_seed(0)
    head = LiquidHead(LiquidHeadConfig((Layout(4, 1), Layout(2, 4)), 2, components=10, taus=(0.2,), width=4, units=3))
    clips = torch.randn(2, 3, 12)
    head.fit_statistics(clips, 0.1)
    white = head.perceive(clips, 0.1).features[..., :10]
    assert torch.isfinite(white).all()
    assert (white[..., 6:] == 0).all() and (white[..., :4].abs().amax((0, 1)) > 0.1).all()


def test_statistics_of_clips_without_motion():
    """Clips without motion are whitened by the differences between clips, and later motion stays bounded."""
    torch.manual_seed(0)
    config = LiquidHeadConfig((Layout(4, 1), Layout(2, 4)), 2, components=6, taus=(0.2,), width=4, units=3)
    for steps in (1, 5):
        head = LiquidHead(config)
        clips = torch.randn(9, 1, 12).expand(-1, steps, -1)
        head.fit_statistics(clips, 0.1)
        assert 0.5 < float(head.perceive(clips, 0.1).features[..., :6].std()) / config.appearance < 2
        moving = head.perceive(torch.randn(3, 20, 12), 0.1).features
        assert float(moving.abs().max()) < 50


def test_whitening_of_a_given_readout():
    """With a given readout, the components are its whitened outputs and depend on nothing else."""
    torch.manual_seed(0)
    config = LiquidHeadConfig((Layout(12, 1),), 2, components=3, taus=(0.2,), width=4, units=3)
    head, clips, readout = LiquidHead(config), torch.randn(6, 40, 12) * torch.rand(12) * 5, torch.randn(3, 12)
    head.fit_statistics(clips, 0.1, readout=readout)
    white = head.perceive(clips, 0.1).features[..., :3] / config.appearance
    within = (white - white.mean(1, keepdim=True)).flatten(0, 1)
    torch.testing.assert_close(within.T @ within / len(within), torch.eye(3), atol=1e-3, rtol=0)
    unread = torch.linalg.svd(readout).Vh[3:]  # what no readout sees
    moved = head.perceive(clips + unread.sum(0), 0.1).features[..., :3] / config.appearance
    torch.testing.assert_close(moved, white, atol=1e-4, rtol=0)


def test_straight_traces_are_saved_in_the_configuration():
    """`straight` is written to the configuration only if set, and any chunking gives the same numbers."""
    layouts = (Layout(6, 1), Layout(2, 4))
    held, straight = (LiquidHeadConfig(layouts, 3, components=4, units=5, straight=on) for on in (False, True))
    assert "straight" not in held.to_json() and straight.to_json()["straight"] is True
    for config in (held, straight):
        assert LiquidHeadConfig.from_json(config.to_json()) == config
    torch.manual_seed(0)
    head = LiquidHead(straight).eval()
    other = LiquidHead(held).eval()
    other.load_state_dict(head.state_dict())
    xs, dts = stream(head)
    whole, first = head(xs, dts), head(xs[:, :5], dts[:, :5])
    rest = head(xs[:, 5:], dts[:, 5:], first.state)
    torch.testing.assert_close(torch.cat([first.logits, rest.logits], 1), whole.logits, rtol=0, atol=1e-5)
    assert (other(xs, dts).logits - whole.logits).abs().max() > 1e-3
