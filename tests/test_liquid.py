"""The liquid cells and traces: bounds, identities, and what published code gives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import as_dt
from liquidvision.liquid.ltc import LTC, ConductanceLTC, GatedLTC, inverse_softplus
from liquidvision.liquid.traces import Layout, Traces

FORMS = {"ltc": LTC, "gated": GatedLTC, "conductance": ConductanceLTC}
every_form = pytest.mark.parametrize("form", FORMS)
every_solver = pytest.mark.parametrize("solver", ["exponential", "fused"])


def make(form: str, *, inputs: int = 5, units: int = 7, seed: int = 0, **options):
    torch.manual_seed(seed)
    return FORMS[form](inputs, units, **options).double()


def bounds(cell, form: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The interval that no state of the cell may leave, by unit."""
    if form == "ltc":
        extremes = torch.stack([torch.zeros(cell.units), cell.equilibrium])
    elif form == "gated":
        extremes = torch.stack([-torch.ones(cell.units), torch.ones(cell.units)])
    else:
        extremes = torch.cat(
            [torch.zeros(1, cell.units), cell.leak_potential[None], cell.sensory_reversal, cell.recurrent_reversal]
        )
    return extremes.amin(0), extremes.amax(0)


@every_form
@every_solver
@settings(max_examples=40, deadline=None)
@given(scale=st.floats(-1e6, 1e6), dt=st.floats(1e-6, 1e6), unfolds=st.integers(1, 8), seed=st.integers(0, 100))
def test_states_stay_within_their_bounds(form, solver, scale, dt, unfolds, seed):
    """Whatever the input and however long the step, no state leaves the interval of its equilibria."""
    cell = make(form, seed=seed, solver=solver, unfolds=unfolds)
    low, high = bounds(cell, form)
    state = cell.initial(3)
    for _ in range(4):
        state = cell(torch.randn(3, 5).double() * scale, state, torch.full((3, 1), dt).double())
        assert torch.isfinite(state).all()
        assert (state >= low - 1e-9).all()
        assert (state <= high + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(-1e4, 1e4), dt=st.floats(0, 100), seed=st.integers(0, 100))
def test_effective_time_constants_lie_between_their_limits(scale, dt, seed):
    """τ_sys lies in [τ / (1 + τ k), τ] for Eq. 1, and in (cm / (g + Σw), cm / g) for the conductance form."""
    x, dt = torch.randn(3, 5).double() * scale, torch.full((3, 1), dt).double()
    for form in ("ltc", "gated"):
        cell = make(form, seed=seed)
        _, taus = cell.advance(cell.prepare(x), cell.initial(3), dt)
        tau, gain = cell.log_tau.exp(), cell.log_gain.exp()
        assert (taus <= tau * (1 + 1e-9)).all()
        assert (taus >= tau / (1 + tau * gain) * (1 - 1e-9)).all()

    cell = make("conductance", seed=seed)
    _, taus = cell.advance(cell.prepare(x), cell.initial(3), dt)
    softplus = torch.nn.functional.softplus
    leak, capacitance = softplus(cell.raw_leak), softplus(cell.raw_capacitance)
    total = leak + softplus(cell.sensory_raw_weight).sum(0) + softplus(cell.recurrent_raw_weight).sum(0)
    assert (taus <= capacitance / leak * (1 + 1e-9)).all()
    assert (taus >= capacitance / total * (1 - 1e-9)).all()


@every_form
@every_solver
def test_no_time_changes_nothing(form, solver):
    """A step of Δt = 0 leaves the state as it is, to the last bit."""
    cell = make(form, solver=solver, unfolds=3)
    state = torch.randn(4, 7).double()
    assert torch.equal(cell(torch.randn(4, 5).double(), state, torch.zeros(4, 1).double()), state)


@every_form
@every_solver
def test_two_steps_are_one_of_twice_the_length(form, solver):
    """With held input, two steps of (Δt, L) are one step of (2Δt, 2L)."""
    once, twice = make(form, solver=solver, unfolds=4), make(form, solver=solver, unfolds=2)
    x, dt = torch.randn(2, 5).double(), torch.full((2, 1), 0.3).double()
    state = torch.randn(2, 7).double() * 0.1
    torch.testing.assert_close(twice(x, twice(x, state, dt), dt), once(x, state, 2 * dt), rtol=0, atol=1e-14)


@every_form
@pytest.mark.parametrize(("solver", "order"), [("fused", 1.0), ("exponential", 1.0)])
def test_solvers_converge_to_the_differential_equation(form, solver, order):
    """The error against an adaptive solver of the same equation falls by at least the solver's order."""
    x, state = torch.randn(1, 5).double(), torch.randn(1, 7).double() * 0.1
    reference = make(form, solver=solver)
    prepared = reference.prepare(x)

    def slope(_, v: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(v)[None]
        with torch.no_grad():
            rate, drive = reference.rates(prepared, v)
        return (drive - rate * v)[0].numpy()

    true = solve_ivp(slope, (0, 0.2), state[0].numpy(), rtol=1e-11, atol=1e-13).y[:, -1]
    errors = []
    for unfolds in (32, 64):
        cell = make(form, solver=solver, unfolds=unfolds)
        with torch.no_grad():
            errors.append(np.abs(cell(x, state, torch.full((1, 1), 0.2).double())[0].numpy() - true).max())
    assert math.log2(errors[0] / errors[1]) > order - 0.15
    assert errors[1] < 5e-3


@every_form
def test_the_exponential_solver_errs_less_than_the_fused_one(form):
    """At the same number of unfolds, exponential Euler is nearer to the finely solved equation."""
    x, state, dt = torch.randn(8, 5).double(), torch.randn(8, 7).double() * 0.1, torch.full((8, 1), 0.2).double()
    true = make(form, unfolds=4000)(x, state, dt)
    errors = {s: (make(form, solver=s, unfolds=6)(x, state, dt) - true).abs().mean() for s in ("exponential", "fused")}
    assert errors["exponential"] < errors["fused"]


@every_form
@every_solver
def test_gradients_are_those_of_finite_differences(form, solver):
    """Gradients by input, state and Δt agree with finite differences."""
    cell = make(form, inputs=3, units=4, solver=solver, unfolds=2)
    x, state = torch.randn(2, 3).double().requires_grad_(), (torch.randn(2, 4) * 0.1).double().requires_grad_()
    dt = torch.full((2, 1), 0.1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: cell(*a), (x, state, dt))


def test_the_conductance_form_is_that_of_ncps():
    """With weights copied from ncps 1.0.1 and its fused solver, a step gives the same state within 1e-6."""
    from ncps.torch import LTCCell
    from ncps.wirings import FullyConnected

    torch.manual_seed(0)
    wiring = FullyConnected(6, 6)
    theirs = LTCCell(wiring, in_features=4, ode_unfolds=6, epsilon=0)
    ours = ConductanceLTC(4, 6, unfolds=6, solver="fused")
    theirs_by_name = dict(theirs.named_parameters())

    def their(name: str) -> torch.Tensor:
        return next(value for key, value in theirs_by_name.items() if key.endswith(name)).detach()

    with torch.no_grad():
        ours.raw_leak.copy_(inverse_softplus(theirs_by_name["gleak"].detach()))
        ours.leak_potential.copy_(theirs_by_name["vleak"].detach())
        ours.raw_capacitance.copy_(inverse_softplus(theirs_by_name["cm"].detach()))
        for name, prefix in (("sensory", "sensory_"), ("recurrent", "")):
            getattr(ours, f"{name}_raw_weight").copy_(inverse_softplus(theirs_by_name[f"{prefix}w"].detach()))
            getattr(ours, f"{name}_slope").copy_(theirs_by_name[f"{prefix}sigma"].detach())
            getattr(ours, f"{name}_centre").copy_(theirs_by_name[f"{prefix}mu"].detach())
            getattr(ours, f"{name}_reversal").copy_(theirs_by_name[f"{prefix}erev"].detach())
    x, state = torch.randn(3, 4), torch.randn(3, 6) * 0.2
    # Theirs maps inputs and outputs by weights that start as the identity.
    _, new_state = theirs(x, state, elapsed_time=0.7)
    torch.testing.assert_close(ours(x, state, torch.full((3, 1), 0.7)), new_state, rtol=0, atol=1e-6)


def test_a_head_of_wide_input_remembers_from_the_first_step():
    """At initialisation a conductance cell of 64 inputs keeps a trace of its state over half a second."""
    cell = make("conductance", inputs=64, units=32)
    state = (torch.randn(1, 32) * 0.1).double().requires_grad_()
    moved = state
    for _ in range(12):
        moved = cell(torch.randn(1, 64).double(), moved, torch.full((1, 1), 0.04).double())
    (gradient,) = torch.autograd.grad(moved.sum(), state)
    assert gradient.abs().max() > 1e-2


def test_an_unknown_solver_is_refused():
    """A solver that does not exist is refused in one line that names those that do."""
    with pytest.raises(UsageError, match=r"'heun'; expected one of exponential, fused"):
        LTC(2, 2, solver="heun")


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 1)])
def test_dt_takes_every_documented_shape(shape):
    """Δt may be a number, (batch,), (batch, steps) or (batch, steps, 1), also where batch equals steps."""
    given = torch.full(shape, 0.5)
    assert torch.equal(as_dt(given, 3, 4, torch.zeros(1)), torch.full((3, 4), 0.5))
    per_stream = as_dt(torch.tensor([1.0, 2.0, 3.0]), 3, 3, torch.zeros(1))
    assert torch.equal(per_stream, torch.tensor([[1.0] * 3, [2.0] * 3, [3.0] * 3]))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_impossible_dt_is_refused_with_its_value(value):
    """A negative, NaN or infinite Δt is an error that says what was got."""
    with pytest.raises(UsageError, match=r"dt holds (-0\.1|nan|inf)"):
        as_dt(torch.tensor([0.1, value]), 2, 3, torch.zeros(1))


def test_dt_of_a_wrong_shape_is_refused_with_its_shape():
    """A Δt of another shape is an error that says which was got and which are taken."""
    with pytest.raises(UsageError, match=r"shape \(4,\); expected a number, \(3,\)"):
        as_dt(torch.zeros(4), 3, 4, torch.zeros(1))


def traces_of(taus=(0.1, 1.0)) -> Traces:
    return Traces([Layout(channels=6, cells=1), Layout(channels=4, cells=9)], taus, groups=3)


def test_traces_relax_exactly():
    """A trace of held input follows 1 - exp(-t/τ), however the time is cut into steps."""
    traces = traces_of((0.5,))
    zero, one = torch.zeros(1, 42), torch.ones(1, 42)
    for cuts in ([1.0], [0.25] * 4, [0.9, 0.06, 0.04]):
        _, state = traces.deviations(zero, torch.zeros(1, 42), torch.zeros(1, 1), torch.zeros(1, 1))
        for dt in cuts:
            _, state = traces.deviations(one, state, torch.ones(1, 1), torch.tensor([[dt]]))
        torch.testing.assert_close(state, torch.full((1, 42), 1 - math.exp(-1.0 / 0.5)), rtol=0, atol=1e-6)


def test_the_first_frame_deviates_from_nothing():
    """A stream's first frame is taken to have stood there for ever: its traces equal it."""
    traces, z = traces_of(), torch.randn(2, 42)
    deviation, state = traces.deviations(z, torch.zeros(2, 84), torch.zeros(2, 1), torch.full((2, 1), 0.3))
    assert torch.equal(deviation, torch.zeros(2, 2, 42))
    assert torch.equal(state.view(2, 2, 42), z[:, None].expand(2, 2, 42))


def test_magnitudes_are_averages_by_channel_cell_and_group():
    """Magnitudes are log(.02 + mean |d|) over groups of the global node, and over a grid's cells and channels."""
    traces, d = traces_of((1.0,)), torch.randn(5, 1, 42)
    got = traces.magnitudes(d)
    absolute = d[:, 0].abs().numpy()
    grid = absolute[:, 6:].reshape(5, 4, 9)
    expected = np.concatenate([absolute[:, :6].reshape(5, 3, 2).mean(2), grid.mean(2), grid.mean(1)], 1)
    assert got.shape == (5, traces.magnitude_size)
    np.testing.assert_allclose(got.numpy(), np.log(0.02 + expected), rtol=1e-5)


def test_traces_need_positive_time_constants():
    """No time constant, or one of 0, is refused."""
    with pytest.raises(UsageError, match="positive time constants"):
        traces_of(())
    with pytest.raises(UsageError, match="positive time constants"):
        traces_of((0.0,))
