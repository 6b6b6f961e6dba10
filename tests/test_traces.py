"""Traces: exactness in time, first frames, magnitudes, trained time constants, kernels and plain torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from liquids import EXACT, STEPS, both_dtypes, both_paths, case, near, on_path, plain_torch
from torch import Tensor

from liquidvision.errors import UsageError
from liquidvision.liquid.traces import Layout, Magnitudes, Traces

TAUS = (0.05, 0.4, 3.0)
LAYOUTS = (Layout(channels=7, cells=1), Layout(channels=4, cells=9), Layout(channels=2, cells=1))
WIDTH = sum(layout.size for layout in LAYOUTS)
KINDS = {
    "signed": lambda **options: Traces(WIDTH, TAUS, **options),
    "magnitudes": lambda **options: Magnitudes(LAYOUTS, TAUS, groups=3, **options),
    "signed, straight": lambda **options: Traces(WIDTH, TAUS, straight=True, **options),
    "magnitudes, straight": lambda **options: Magnitudes(LAYOUTS, TAUS, groups=3, straight=True, **options),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


def make(kind: str, dtype: torch.dtype, **options) -> Traces:
    return KINDS[kind](**options).to(dtype)


def stream(cell: Traces, batch: int, *, steps: int = STEPS, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, irregular Δt with 0 at the first frame of the second stream, and the initial state."""
    x, dt, _ = case(cell, batch, steps=steps, seed=seed)
    dt[1:2, 0] = 0
    return x, dt, cell.initial(batch)


def pooled(absolute: np.ndarray) -> np.ndarray:
    """Average |d| (..., width) by group, channel and cell of `LAYOUTS`, with at most three groups."""
    parts, start = [], 0
    for layout in LAYOUTS:
        part = absolute[..., start : start + layout.size]
        if layout.cells == 1:
            n, groups = layout.channels, min(3, layout.channels)
            ends = [(g * n // groups, -(-(g + 1) * n // groups)) for g in range(groups)]
            parts.append(np.stack([part[..., a:b].mean(-1) for a, b in ends], -1))
        else:
            grid = part.reshape(*part.shape[:-1], layout.channels, layout.cells)
            parts += [grid.mean(-1), grid.mean(-2)]
        start += layout.size
    return np.concatenate(parts, -1)


def by_hand(kind: str, x: Tensor, dt: Tensor, taus: Tensor) -> Tensor:
    """Compute outputs (batch, steps, n) in float64, stream by stream and frame by frame."""
    outputs, rates = [], 1 / taus.double().numpy()[:, None]
    for frames, steps in zip(x.double().numpy(), dt.double().numpy(), strict=True):
        d, last, rows = np.zeros((len(rates), frames.shape[1])), None, []
        for frame, seconds in zip(frames, steps, strict=True):
            jump, ratio = frame - (frame if last is None else last), seconds * rates
            if kind.endswith("straight"):
                new = now = np.exp(-ratio) * d + (-np.expm1(-ratio) / ratio if seconds > 0 else 1.0) * jump
            else:
                now = d + jump
                new = np.exp(-ratio) * now
            rows.append((now if kind.startswith("signed") else np.log(0.02 + pooled(np.abs(now)))).ravel())
            if seconds > 0:
                d, last = new, frame
        outputs.append(rows)
    return torch.from_numpy(np.array(outputs))


@every_kind
@both_paths
@both_dtypes
def test_traces_are_those_by_hand(kind, path, dtype):
    """Deviations and means of their magnitudes agree with the formulas in numpy."""
    cell = make(kind, dtype)
    x, dt, _ = stream(cell, 3)
    outputs, state, taus = cell(x, dt, return_time_constants=True)
    assert outputs.shape == (3, STEPS, cell.output_size) and state.shape == (3, cell.state_size)
    near(outputs.double(), by_hand(kind, x, dt, cell.taus), 5 * EXACT[dtype])
    near(taus, torch.tensor(TAUS, dtype=dtype).expand(3, STEPS, -1), 0, 1e-6)
    assert torch.equal(state[:, -1], torch.ones(3, dtype=dtype))


@both_paths
@both_dtypes
@few
@given(cuts=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=8))
def test_traces_relax_exactly(path, dtype, cuts):
    """A trace of held input follows exp(-t/τ), for any division of time into steps."""
    cell = Traces(2, [0.5]).to(dtype)
    x = torch.ones(1, len(cuts) + 2, 2, dtype=dtype)
    x[:, 0] = 0
    dt = torch.tensor([[1.0, *cuts, 0.0]], dtype=dtype)
    near(cell(x, dt)[0][0, -1], torch.full((2,), math.exp(-sum(cuts) / float(cell.taus)), dtype=dtype), EXACT[dtype])


@both_paths
@few
@given(cuts=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=8))
def test_a_straight_line_is_the_same_however_it_is_sampled(path, cuts):
    """Straight traces of a linear motion depend on the time of the last frame, not on the number of frames before it.

    They approach τ times the speed. With held input the deviation would grow with Δt.
    """
    speed, times = (
        torch.tensor([2.0, -0.5], dtype=torch.float64),
        torch.tensor([0.0, *cuts], dtype=torch.float64).cumsum(0),
    )
    dt = times.diff(prepend=times[:1])[None]
    dt[0, 0] = 1.0
    for some in (slice(None), [0, -1]):
        at = times[some]
        steps = at.diff(prepend=at[:1])[None]
        steps[0, 0] = 1.0
        deviations = Traces(2, TAUS, straight=True).double()((speed * at[:, None])[None], steps)[0][0, -1]
        taus = torch.tensor(TAUS, dtype=torch.float32).double()[:, None]
        near(deviations.view(len(TAUS), 2), speed * taus * -torch.expm1(-times[-1] / taus), 1e-6)


@every_kind
@both_paths
@both_dtypes
def test_the_first_frame_deviates_from_nothing(kind, path, dtype):
    """A stream is assumed to have shown its first frame for ever; a frame with Δt = 0 is not yet the first."""
    cell = make(kind, dtype)
    x, _, start = stream(cell, 2)
    nothing = 0.0 if kind.startswith("signed") else math.log(0.02)
    outputs, state = cell(x[:, :1], torch.tensor([0.3, 0.0], dtype=dtype))
    near(outputs, torch.full_like(outputs, nothing), EXACT[dtype])
    kept = (
        torch.cat([torch.zeros(len(TAUS) * WIDTH, dtype=dtype), x[0, 0]])
        if cell.straight
        else x[0, 0].repeat(len(TAUS))
    )
    near(state[0, :-1], kept, 0)
    assert state[0, -1] == 1
    assert torch.equal(state[1], start[1])
    outputs, _ = cell(x[:, 1:2], 0.0, state)
    assert (outputs[0] != nothing).any()
    near(outputs[1], torch.full_like(outputs[1], nothing), EXACT[dtype])


@every_kind
@both_paths
@both_dtypes
def test_no_time_changes_nothing(kind, path, dtype):
    """Steps of Δt = 0 leave the traces unchanged, bit by bit."""
    cell = make(kind, dtype)
    x, dt, _ = stream(cell, 3)
    state = cell(x, dt)[1]
    assert torch.equal(cell(x * 1e6, 0.0, state)[1], state)


@every_kind
@both_paths
@both_dtypes
@few
@given(cuts=st.lists(st.integers(1, STEPS - 1), unique=True).map(sorted))
def test_whole_pieces_and_streams_alone_are_the_same(kind, path, dtype, cuts):
    """Whole streams, any pieces of them and a single stream give the same outputs and states."""
    cell = make(kind, dtype)
    x, dt, start = stream(cell, 3)
    outputs, last = cell(x, dt)
    for streams in (slice(None), slice(1, 2)):
        state, pieces = start[streams], []
        for a, b in zip([0, *cuts], [*cuts, STEPS], strict=True):
            output, state = cell(x[streams, a:b], dt[streams, a:b], state)
            pieces.append(output)
        near(torch.cat(pieces, 1), outputs[streams], EXACT[dtype])
        near(state, last[streams], EXACT[dtype])


@every_kind
@both_paths
@both_dtypes
def test_padding_steps_nothing(kind, path, dtype):
    """Padded streams give the results of unpadded ones, down to length 0, whatever the padding contains."""
    cell = make(kind, dtype)
    x, dt, start = stream(cell, 3)
    lengths = [5, 0, 1]
    x = x.masked_fill(torch.arange(STEPS)[:, None] >= torch.tensor(lengths)[:, None, None], math.nan)
    outputs, states = cell(x, dt, lengths=lengths)
    assert torch.equal(states[1], start[1])
    for i in (0, 2):
        output, state = cell(x[i : i + 1, : lengths[i]], dt[i : i + 1, : lengths[i]])
        near(outputs[i : i + 1, : lengths[i]], output, EXACT[dtype])
        near(states[i : i + 1], state, EXACT[dtype])


@every_kind
@both_paths
@pytest.mark.parametrize("frame", [0, 3])
def test_nan_is_not_hidden(kind, path, frame):
    """A NaN input gives NaN from its frame on, in its own place and in means that include it, and nowhere else."""
    cell = make(kind, torch.float32)
    x, _, _ = stream(cell, 2)
    clean = cell(x, 0.1)[0]
    x[0, frame, 1] = math.nan
    outputs = cell(x, 0.1)[0]
    hurt = torch.zeros(1, x.shape[-1])
    hurt[0, 1] = 1
    hurt = (
        (hurt if kind.startswith("signed") else torch.from_numpy(pooled(hurt.numpy())))
        .bool()
        .expand(len(TAUS), -1)
        .ravel()
    )
    assert torch.equal(outputs[0].isnan(), (torch.arange(STEPS)[:, None] >= frame) & hurt)
    near(outputs[1], clean[1], 0)
    near(outputs[0][:, ~hurt], clean[0][:, ~hurt], 0)


@every_kind
@both_dtypes
def test_the_kernel_takes_states_that_lie_across(kind, dtype):
    """Inputs, Δt and a state that are not contiguous give the same results as contiguous ones, and do not change."""
    cell = make(kind, dtype)
    x, dt, _ = stream(cell, 3)
    state = cell(x, dt)[1]
    across = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in (x, dt, state)]
    copy = across[2].clone()
    expected = cell(x, dt, state)
    for got in (cell(*across), cell(x, dt, state.repeat(1, 2)[:, : cell.state_size])):
        near(got[0], expected[0], 0)
        near(got[1], expected[1], 0)
    assert torch.equal(across[2], copy)


@every_kind
@both_paths
def test_learnt_time_constants_have_gradients(kind, path):
    """Gradients with respect to the logarithms of the time constants agree with finite differences."""
    cell = make(kind, torch.float64, learn=True)
    x, dt, _ = stream(cell, 2, steps=5)
    state = cell(*stream(cell, 2, seed=2))[1].detach()

    def outputs(log_taus: Tensor) -> tuple[Tensor, ...]:
        given = {"log_taus": log_taus}
        return tuple(torch.func.functional_call(cell, given, (x, dt, s))[0] for s in (None, state))

    assert torch.autograd.gradcheck(outputs, cell.log_taus.detach().clone().requires_grad_(), fast_mode=True)


@every_kind
@both_paths
def test_the_state_carries_the_gradient_by_learnt_time_constants(kind, path):
    """Over two chunks, the gradient of trained time constants equals that over the whole stream."""
    cell = make(kind, torch.float64, learn=True)
    x, dt, _ = stream(cell, 2)
    totals = []
    for cuts in ([STEPS], [4, STEPS - 4]):
        outputs, state = [], None
        for part, passed in zip(x.split(cuts, 1), dt.split(cuts, 1), strict=True):
            out, state = cell(part, passed, state)
            outputs.append(out)
        (gradient,) = torch.autograd.grad(torch.cat(outputs, 1).square().sum() + state.square().sum(), [cell.log_taus])
        totals.append(gradient)
    near(totals[1], totals[0], 1e-10 * float(totals[0].abs().max()))


@every_kind
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_gradients_are_those_of_plain_torch(kind, dtype, rtol):
    """The kernel's gradients of trained time constants equal those of plain torch."""
    cell = make(kind, dtype, learn=True)
    x, dt, _ = stream(cell, 4, steps=30)
    gradients = []
    for name in ("kernels", "plain"):
        with on_path(name):
            outputs = cell(x, dt)[0]
            weights = torch.linspace(-1, 1, outputs.numel(), dtype=dtype).view_as(outputs)
            gradients += torch.autograd.grad((outputs * weights).sum(), cell.log_taus)
    near(gradients[0], gradients[1], rtol * float(gradients[1].abs().max()))


@every_kind
@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["input", "dt", "state"])
def test_gradients_by_all_else_are_those_of_finite_differences(kind, learn, which):
    """Gradients with respect to input, Δt and state, from plain torch, agree with finite differences."""
    cell = make(kind, torch.float64, learn=learn)
    given = [*stream(cell, 2, steps=4)[:2], cell(*stream(cell, 2, seed=2))[1].detach()]
    given[1] += 0.01
    seen, given[2] = given[2][:, -1:], given[2][:, :-1]  # the flag of a seen frame is not differentiable
    given[which].requires_grad_()

    def results(x: Tensor, dt: Tensor, traces: Tensor) -> tuple[Tensor, ...]:
        return cell(x, dt, torch.cat([traces, seen], 1))

    assert torch.autograd.gradcheck(results, given, fast_mode=True)


def test_time_constants_are_learnt_only_if_asked():
    """Time constants are a parameter only if they are trained; otherwise they are not saved as weights."""
    fixed, learnt = Traces(3, TAUS), Traces(3, TAUS, learn=True)
    assert not list(fixed.parameters()) and not fixed.state_dict()
    assert [name for name, _ in learnt.named_parameters()] == ["log_taus"]
    for cell in (fixed, learnt):
        near(cell.taus.detach(), torch.tensor(TAUS), 0, 1e-6)
    assert not fixed(torch.zeros(1, 2, 3), 0.1)[0].requires_grad
    assert learnt(torch.zeros(1, 2, 3), 0.1)[0].requires_grad


def test_a_layout_tells_its_size():
    """A node's size is channels times cells; outputs hold its channels and cells, or its groups, per trace."""
    assert Layout(4, 9).size == 36
    assert Magnitudes([Layout(4, 9)], TAUS).output_size == 3 * 13
    assert Magnitudes([Layout(100, 1)], TAUS).output_size == 3 * 64
    assert Magnitudes([Layout(9, 1)], TAUS).output_size == 3 * 9
    assert Traces(5, TAUS).output_size == 15


@pytest.mark.parametrize("taus", [(0.0,), (-1.0, 1.0), (math.inf,), (1.0, math.nan)])
def test_impossible_time_constants_are_refused(taus):
    """A time constant that is not a positive number is refused with its value."""
    with pytest.raises(UsageError, match=r"taus is \[.*\]; expected positive time constants"):
        Traces(3, taus)


@every_kind
def test_the_kernel_is_used(kind, monkeypatch):
    """If only the time constants need gradients, no frame is stepped in plain torch."""
    with on_path("kernels"):
        cell = make(kind, torch.float32, learn=not kind.endswith("straight"))
        x, dt, _ = stream(cell, 2)
        with plain_torch():
            expected = cell(x, dt)[0]
        monkeypatch.setattr(Traces, "advance", None)
        near(cell(x, dt)[0], expected, EXACT[torch.float32])


@pytest.mark.parametrize("steps", [1, 40])
def test_no_time_constants_are_no_traces(steps):
    """A bank without time constants has outputs of width 0, in kernels and in plain torch."""
    for cell in (Traces(3, ()), Magnitudes([Layout(3, 1)], ()), Traces(3, (), straight=True)):
        outputs, state = cell(torch.randn(2, steps, 3), 0.1)
        assert outputs.shape == (2, steps, 0) and state.shape == (2, cell.state_size)
