"""Restarts at cuts: cells that start again in the middle of a batch, the detector, and heads that use both."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from liquids import both_paths, near, on_path
from torch import Tensor

from liquidvision.liquid.traces import Layout, Magnitudes, Traces
from liquidvision.models.heads.cuts import CutDetector
from liquidvision.models.heads.liquid_head import (
    GRUS,
    LIQUID_CELLS,
    OTHER_CELLS,
    LiquidHead,
    LiquidHeadConfig,
    make_cell,
)

LAYOUTS = (Layout(4, 1), Layout(2, 4))
WIDTH = sum(layout.size for layout in LAYOUTS)
CELLS = (*LIQUID_CELLS, "cfc", *GRUS, *OTHER_CELLS, "mixed", "traces", "magnitudes", "straight")


@pytest.fixture
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


def make_any_cell(name: str):
    torch.manual_seed(0)
    if name == "magnitudes":
        return Magnitudes(LAYOUTS, (0.1, 1.0), groups=2)
    if name in ("traces", "straight"):
        return Traces(WIDTH, (0.1, 1.0), straight=name == "straight")
    cell = "gated" if name == "mixed" else name
    return make_cell(LiquidHeadConfig(LAYOUTS, 2, width=WIDTH, units=5, cell=cell, mixed_memory=name == "mixed"))


def streams(batch: int, steps: int, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return inputs and irregular Δt with a repeated frame."""
    generator = torch.Generator().manual_seed(seed)
    dt = torch.rand(batch, steps, generator=generator) * 0.3 + 0.01
    dt[:, 2] = 0
    return torch.randn(batch, steps, WIDTH, generator=generator), dt


@both_paths
@pytest.mark.parametrize("name", CELLS)
def test_a_restarted_cell_equals_new_streams(path, name):
    """Between restarts a cell gives the outputs, states and time constants of streams of their own."""
    cell = make_any_cell(name)
    x, dt = streams(3, 40)
    state = torch.rand(3, cell.state_size)
    restart = torch.zeros(3, 40, dtype=torch.bool)
    restart[0, [0, 1, 5, 38]] = True
    restart[2, 20] = True
    outputs, last, taus = cell(x, dt, state, restart=restart, return_time_constants=True)
    for row in range(3):
        edges = sorted({0, *restart[row].nonzero()[:, 0].tolist(), 40})
        own = state[row : row + 1]
        for start, end in pairwise(edges):
            part, own = slice(start, end), cell.initial(1) if restart[row, start] else own
            seen, own, tau = cell(x[row : row + 1, part], dt[row : row + 1, part], own, return_time_constants=True)
            near(outputs[row : row + 1, part], seen, 1e-5)
            near(taus[row : row + 1, part], tau, 1e-5, rtol=1e-4)
        near(last[row : row + 1], own, 1e-5)


@both_paths
def test_gradients_pass_through_restarts_and_no_further(path):
    """The gradient of a frame reaches inputs since the last restart, and none before it."""
    cell = make_any_cell("gated")
    x, dt = streams(2, 12)
    x.requires_grad_()
    restart = torch.zeros(2, 12, dtype=torch.bool)
    restart[0, 6] = True
    outputs, _ = cell(x, dt, restart=restart)
    outputs[:, -1].square().sum().backward()
    assert x.grad is not None
    assert (x.grad[0, :6] == 0).all()
    assert (x.grad[0, 6:].abs().sum(-1) > 0).sum() == 6
    assert (x.grad[1].abs().sum(-1) > 0).sum() == 11  # all but the repeated frame


def scenes(*lengths: int, rows: int = 1, seed: int = 0) -> Tensor:
    """Return streams (rows, steps, WIDTH) of scenes that wander slowly, each far from the one before."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for length in lengths:
        walk = 0.05 * torch.randn(rows, length, WIDTH, generator=generator).cumsum(1)
        parts.append(3 * torch.randn(rows, 1, WIDTH, generator=generator) + walk)
    return torch.cat(parts, 1)


def fitted() -> CutDetector:
    """Return a detector that has been fitted on scenes without cuts at 25 frames a second."""
    detector = CutDetector(WIDTH)
    detector.fit(scenes(200, rows=20), torch.full((20, 200), 0.04), [200] * 20)
    return detector


def test_cuts_are_found_and_changes_within_scenes_are_not():
    """A fitted detector finds the frames at which scenes change, at full rate and where most frames are left out."""
    detector, z = fitted(), scenes(30, 50, 40, seed=5)
    for step in (1, 4, 10):
        cut, _, _ = detector(z[:, ::step], torch.full((1, len(z[0, ::step])), 0.04 * step), detector.initial(1))
        assert (cut[0].nonzero()[:, 0] * step).tolist() == [-(-30 // step) * step, -(-80 // step) * step]


def test_an_unfitted_detector_finds_nothing():
    """Before `fit`, and after a fit on clips of one frame, no frame is a cut."""
    detector, z = CutDetector(WIDTH), scenes(5, 5)
    assert not detector(z, torch.full((1, 10), 0.04), detector.initial(1))[0].any()
    detector.fit(z, torch.full((1, 10), 0.04), [1])
    assert not detector(z, torch.full((1, 10), 0.04), detector.initial(1))[0].any()


def test_a_cut_restarts_with_the_first_step_of_the_stream():
    """At a cut Δt is that of the stream's first frame, which the state carries; elsewhere it is unchanged."""
    detector, z = fitted(), scenes(4, 4)
    dt = torch.tensor([[0.7, *[0.04] * 7]])
    _, seconds, state = detector(z[:, :3], dt[:, :3], detector.initial(1))
    assert seconds.tolist() == dt[:, :3].tolist()
    cut, seconds, _ = detector(z[:, 3:], dt[:, 3:], state)
    assert cut[0].tolist() == [False, True, False, False, False]
    assert seconds[0, 1] == dt[0, 0]
    assert (seconds[0, [0, 2, 3, 4]] == dt[0, 1]).all()


def test_repeated_frames_are_no_cuts():
    """A frame with Δt = 0 is no cut whatever it shows, and the next frame is compared with the one before it."""
    detector, z = fitted(), scenes(3, 1, 3)
    z[:, 4:] += z[:, 2:3] - z[:, 4:5]  # the first scene goes on
    dt = torch.full((1, 7), 0.04)
    assert detector(z, dt, detector.initial(1))[0].nonzero()[:, 1].tolist() == [3, 4]
    dt[0, 3] = 0
    assert not detector(z, dt, detector.initial(1))[0].any()
    first = torch.tensor([[0.0, 0.0, *[0.04] * 5]])  # nothing has been seen before the third frame
    assert detector(z, first, detector.initial(1))[0].nonzero()[:, 1].tolist() == [3, 4]


def head_with_restarts(cell: str = "gated", **options) -> LiquidHead:
    torch.manual_seed(0)
    config = LiquidHeadConfig(LAYOUTS, 3, components=6, units=5, cell=cell, restart_at_cuts=True, **options)
    head = LiquidHead(config).eval()
    clips = scenes(60, rows=12)
    dts = torch.full((12, 60), 0.04)
    dts[:, 0] = 1.0
    head.fit_statistics(clips, dts)
    return head


def mixed_streams() -> tuple[Tensor, Tensor]:
    """Return three streams of 60 frames with cuts at different places, irregular Δt and repeated frames."""
    xs = torch.cat([scenes(20, 25, 15, seed=1), scenes(60, seed=2), scenes(31, 1, 28, seed=3)])
    dts = torch.rand(3, 60, generator=torch.Generator().manual_seed(4)) * 0.05 + 0.02
    dts[:, 0], dts[0, 21], dts[2, 40] = 1.0, 0.0, 0.0
    return xs, dts


@both_paths
@pytest.mark.parametrize(
    "options", [{}, {"straight": True}, {"cell": "gru"}, {"cell": "lstm"}, {"cell": "none"}], ids=str
)
def test_whole_chunked_single_frames_and_alone_are_equal(path, options):
    """Streams with cuts give the same logits and state at once, in chunks, frame by frame and each alone."""
    head, (xs, dts) = head_with_restarts(**options), mixed_streams()
    whole = head(xs, dts)
    for sizes in ([7, 30, 23], [20, 1, 39], [1] * 60):
        state, logits = None, []
        for x, dt in zip(xs.split(sizes, 1), dts.split(sizes, 1), strict=True):
            out = head(x, dt, state)
            state = out.state
            logits.append(out.logits)
        near(torch.cat(logits, 1), whole.logits, 1e-5)
        for name, value in whole.state.items():
            near(state[name], value, 1e-5)
    for row in range(3):
        alone = head(xs[row : row + 1], dts[row : row + 1])
        near(whole.logits[row : row + 1], alone.logits, 1e-5)


def test_padding_is_ignored_at_cuts():
    """Frames beyond a stream's length are no cuts, and change neither its outputs nor its state."""
    head, (xs, dts) = head_with_restarts(), mixed_streams()
    lengths = [45, 30, 32]
    xs[2, 32:] = torch.nan
    padded = head(xs, dts, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = head(xs[row : row + 1, :length], dts[row : row + 1, :length])
        near(padded.logits[row : row + 1, :length], alone.logits, 1e-5)
        for name, value in alone.state.items():
            near(padded.state[name][row : row + 1], value, 1e-5)


def test_what_follows_a_cut_equals_a_new_stream():
    """After a cut the logits are those of a stream that begins there."""
    head = head_with_restarts()
    xs, dts = scenes(20, 15, seed=1), torch.full((1, 35), 0.04)
    dts[0, 0] = 1.0
    after, new = head(xs, dts).logits[:, 20:], head(xs[:, 20:], dts[:, :15]).logits
    near(after, new, 1e-5)
    without = LiquidHead(replace(head.config, restart_at_cuts=False))
    without.load_state_dict({k: v for k, v in head.state_dict().items() if not k.startswith("cuts.")})
    assert (without.eval()(xs, dts).logits[:, 20:] - new).abs().max() > 1e-3


def test_training_sees_the_same_cuts():
    """With gradients, in training mode without dropout, a head gives the logits that it gives in use."""
    head, (xs, dts) = head_with_restarts(), mixed_streams()
    used = head(xs, dts)
    learnt = head.train()(xs, dts)
    near(learnt.logits, used.logits, 1e-5)
    learnt.logits.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in head.parameters())


def test_heads_without_restarts_are_as_before():
    """The field is written only if set, and a head without it has no tensors of a detector."""
    config = LiquidHeadConfig(LAYOUTS, 3)
    assert "restart_at_cuts" not in config.to_json()
    head = LiquidHead(config)
    assert not any("cuts" in name for name in (*head.state_dict(), *head.initial(1)))
    on = LiquidHead(LiquidHeadConfig(LAYOUTS, 3, restart_at_cuts=True))
    assert LiquidHeadConfig.from_json(on.config.to_json()) == on.config
    assert "cuts.limit" in on.state_dict()
