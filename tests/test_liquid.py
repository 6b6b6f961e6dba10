"""Liquid cells: bounds, orders of convergence, identities in time, and results that do not depend on chunking."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from liquids import (
    EXACT,
    FORMS,
    INPUTS,
    STEPS,
    UNITS,
    both_dtypes,
    both_paths,
    bounded_solvers,
    case,
    every_form,
    every_solver,
    make,
    matrix,
    near,
    on_path,
    state_bounds,
    tau_bounds,
)
from scipy.integrate import solve_ivp
from torch.nn import functional

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import as_dt
from liquidvision.liquid.conductance import INITIAL_WEIGHT_SUM, ConductanceLTC, inverse_softplus
from liquidvision.liquid.ltc import LTC, MAX_UNFOLDS, log_uniform
from liquidvision.liquid.wiring import full

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
scales = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e30, -1e30])
seconds = st.floats(-6, 6).map(lambda exponent: 10.0**exponent)


@pytest.fixture
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


@every_form
@bounded_solvers
@both_paths
@both_dtypes
@few
@given(scale=scales, dt=seconds, unfolds=st.integers(1, 8), seed=st.integers(0, 100))
def test_states_and_time_constants_stay_within_their_bounds(form, solver, path, dtype, scale, dt, unfolds, seed):
    """For any input and any Δt, states stay between their equilibria and time constants within their range."""
    cell = make(form, dtype, seed=seed, solver=solver, unfolds=unfolds)
    x = torch.randn(3, 4, INPUTS, dtype=dtype) * scale
    with torch.no_grad():
        x = torch.cat([x, x.sign() * abs(scale)], 1)
        prepared = cell.prepare(x)
        state, taus = cell.initial(3), []
        for t in range(x.shape[1]):
            _, state, tau = cell(x[:, t : t + 1], dt, state, return_time_constants=True)
            (low, high), slack = state_bounds(cell), EXACT[dtype]
            assert (state >= low - slack).all() and (state <= high + slack).all()
            taus.append(tau)
    assert all(p.isfinite().all() for p in prepared)
    shortest, longest = tau_bounds(cell)
    assert all((tau >= shortest * (1 - EXACT[dtype])).all() for tau in taus)
    assert all((tau <= longest * (1 + EXACT[dtype])).all() for tau in taus)


@every_form
@bounded_solvers
@both_paths
@both_dtypes
def test_gradients_of_huge_inputs_are_finite(form, solver, path, dtype):
    """Inputs of ±1e30 and steps of 1e6 seconds give finite gradients."""
    cell = make(form, dtype, solver=solver)
    x, dt, state = case(cell, 3)
    x = (x.sign() * 1e30).requires_grad_()
    dt = torch.full_like(dt, 1e6).requires_grad_()
    cell(x, dt, state)[0].sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, dt, *cell.parameters()))


def receives(cell) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which unit receives which input, and which other unit."""
    if isinstance(cell, LTC):
        return torch.ones(INPUTS, UNITS, dtype=torch.bool), torch.ones(UNITS, UNITS, dtype=torch.bool)
    return tuple(matrix(s, torch.ones_like(s.reversal)) > 0 for s in (cell.sensory, cell.recurrent))


@every_form
@bounded_solvers
@both_paths
@both_dtypes
def test_nan_spreads_along_synapses(form, solver, path, dtype):
    """A NaN input makes the units that receive it NaN, then units that receive those; other streams are unaffected."""
    cell = make(form, dtype, solver=solver)
    x, _, start = case(cell, 3)
    clean = cell(x, 0.1, start)[0]
    x[1, 2, 0] = math.nan
    sensory, recurrent = receives(cell)
    state, ill = start[1:2], torch.zeros(UNITS, dtype=torch.bool)
    for t in range(STEPS):
        # A unit becomes NaN if it was, or if an input or unit that it receives is.
        ill = ill | recurrent[ill].any(0) | (sensory[0] if t == 2 else torch.zeros_like(ill))
        _, state, taus = cell(x[1:2, t : t + 1], 0.1, state, return_time_constants=True)
        assert torch.equal(state[0].isnan(), ill)
        if t == 2:
            assert torch.equal(taus[0, 0].isnan(), sensory[0])
    outputs, last = cell(x, 0.1, start)
    assert torch.equal(last[1].isnan(), ill)
    near(outputs[[0, 2]], clean[[0, 2]], 0)
    near(outputs[1, :2], clean[1, :2], 0)


@every_form
@both_paths
@pytest.mark.parametrize(
    ("solver", "lowest", "highest"),
    [("fused", 0.85, 1.15), ("exponential", 0.85, 4.0), ("euler", 0.85, 1.15), ("rk4", 3.8, 4.5)],
)
def test_solvers_converge_to_the_differential_equation(form, path, solver, lowest, highest):
    """The error relative to an adaptive solver decreases with the solver's order."""
    reference = make(form, solver=solver)
    x, _, state = case(reference, 1, steps=1)
    with torch.no_grad():
        prepared = tuple(p[:, 0] for p in reference.prepare(x))

    def slope(_, v: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(v)[None]
        with torch.no_grad():
            rate, drive = reference.rates(prepared)(v)
        return (drive - rate * v)[0].numpy()

    true = solve_ivp(slope, (0, 0.1), state[0].numpy(), method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    errors = []
    for unfolds in (64, 128):
        with torch.no_grad():
            got = make(form, solver=solver, unfolds=unfolds)(x, 0.1, state)[1]
        errors.append(np.abs(got[0].numpy() - true).max())
    assert lowest < math.log2(errors[0] / errors[1]) < highest
    assert errors[1] < 5e-3


@every_form
@both_paths
def test_the_exponential_solver_errs_less_than_the_fused_one(form, path):
    """With the same number of unfolds, exponential Euler is closer to the exact solution."""
    true_cell = make(form, solver="rk4", unfolds=400)
    x, _, state = case(true_cell, 8, steps=1)
    with torch.no_grad():
        true = true_cell(x, 0.2, state)[1]
        states = [make(form, solver=s, unfolds=6)(x, 0.2, state)[1] for s in ("exponential", "fused")]
    exponential, implicit = ((state - true).abs().mean() for state in states)
    assert exponential < implicit


@every_form
@every_solver
@both_paths
@both_dtypes
def test_no_time_changes_nothing(form, solver, path, dtype):
    """Steps of Δt = 0 leave the state unchanged, bit by bit, for any input."""
    cell = make(form, dtype, solver=solver, unfolds=3)
    x, _, start = case(cell, 4)
    outputs, state = cell(x * 1e6, 0.0, start)
    assert torch.equal(state, start)
    assert torch.equal(outputs, cell.read_out(start)[:, None].expand_as(outputs))


@every_form
@every_solver
@both_paths
@both_dtypes
def test_little_time_changes_little(form, solver, path, dtype):
    """As Δt goes to 0, the state moves by at most its speed times Δt."""
    cell = make(form, dtype, solver=solver)
    x, _, start = case(cell, 4, steps=1)
    with torch.no_grad():
        rate, drive = cell.rates(tuple(p[:, 0] for p in cell.prepare(x)))(start)
        for dt in (1e-3, 1e-6, 1e-9):
            moved = (cell(x, dt, start)[1] - start).abs()
            assert (moved <= (drive - rate * start).abs().max() * dt * 1.1 + EXACT[dtype] / 10).all()


@every_form
@every_solver
@both_paths
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_two_steps_are_one_of_twice_the_length(form, solver, path, dtype, atol):
    """With held input, two steps of (Δt, L) equal one step of (2Δt, 2L)."""
    once, twice = (make(form, dtype, solver=solver, unfolds=unfolds) for unfolds in (6, 3))
    x, _, state = case(once, 2, steps=1)
    near(twice(x.expand(-1, 2, -1), 0.015, state)[1], once(x, 0.03, state)[1], atol)


@every_form
@every_solver
@both_paths
@both_dtypes
def test_longest_steps_are_divided_for_each_stream_alone(form, solver, path, dtype):
    """With `max_step`, each Δt takes the solver steps it needs, independent of other streams in the batch."""
    cell = make(form, dtype, solver=solver, unfolds=2, max_step=0.01)
    x, _, start = case(cell, 5, steps=2)
    dt = torch.tensor([[0.0, 0.015], [0.001, 0.0], [0.035, 0.002], [0.011, 0.096], [0.02, 0.3]], dtype=dtype)
    outputs, state, taus = cell(x, dt, start, return_time_constants=True)
    for i in range(len(x)):
        by_hand = start[i : i + 1]
        for t in range(2):
            single = make(form, dtype, solver=solver, unfolds=max(2, math.ceil(dt[i, t] / 0.01)))
            got, by_hand, tau = single(x[i : i + 1, t : t + 1], dt[i, t], by_hand, return_time_constants=True)
            near(outputs[i : i + 1, t : t + 1], got, EXACT[dtype])
            near(taus[i : i + 1, t : t + 1], tau, 0, EXACT[dtype])
        near(state[i : i + 1], by_hand, EXACT[dtype])


def test_solver_steps_have_a_maximum():
    """`max_step` divides a Δt into at most 10,000 steps; a larger number of unfolds is used as given."""
    dt = torch.tensor([[0.0, 1e-3, 1e6, 3e38]])
    assert LTC(2, 2, max_step=1e-3).step_counts(dt).tolist() == [[1, 1, MAX_UNFOLDS, MAX_UNFOLDS]]
    assert LTC(2, 2, max_step=1e-30, unfolds=20_000).step_counts(dt).tolist() == [[20_000] * 4]
    assert LTC(2, 2, unfolds=3).step_counts(dt).tolist() == [[3] * 4]


@every_form
@both_paths
@both_dtypes
@few
@given(cuts=st.lists(st.integers(1, STEPS - 1), unique=True).map(sorted), seed=st.integers(0, 9))
def test_whole_pieces_and_one_by_one_are_the_same(form, path, dtype, cuts, seed):
    """A whole stream, any pieces of it and its single frames give the same outputs, states and time constants."""
    cell = make(form, dtype, seed=seed, unfolds=2)
    x, dt, start = case(cell, 2, seed=seed)
    with torch.no_grad():
        outputs, last, taus = cell(x, dt, start, return_time_constants=True)
        state, pieces = start, []
        for a, b in zip([0, *cuts], [*cuts, STEPS], strict=True):
            output, state, tau = cell(x[:, a:b], dt[:, a:b], state, return_time_constants=True)
            pieces.append((output, tau))
        near(torch.cat([output for output, _ in pieces], 1), outputs, EXACT[dtype])
        near(torch.cat([tau for _, tau in pieces], 1), taus, 0, EXACT[dtype])
        near(state, last, EXACT[dtype])
        state = start
        for t in range(STEPS):
            output, state = cell.step(x[:, t], dt[:, t], state)
            near(output, outputs[:, t], EXACT[dtype])
        near(state, last, EXACT[dtype])


@every_form
@both_paths
@both_dtypes
@pytest.mark.parametrize("batch", [2, UNITS, STEPS])
def test_streams_side_by_side_are_streams_alone(form, path, dtype, batch):
    """Streams in a batch, each with its own irregular Δt, give the results that they give alone."""
    cell = make(form, dtype, max_step=0.2)
    x, dt, start = case(cell, batch)
    dt[0, 3] = 0  # one stream has Δt = 0, the others do not
    outputs, states, taus = cell(x, dt, start, return_time_constants=True)
    for i in range(batch):
        alone = slice(i, i + 1)
        output, state, tau = cell(x[alone], dt[alone], start[alone], return_time_constants=True)
        near(output, outputs[alone], EXACT[dtype])
        near(state, states[alone], EXACT[dtype])
        near(tau, taus[alone], 0, EXACT[dtype])


@every_form
@both_paths
@both_dtypes
def test_padding_steps_nothing(form, path, dtype):
    """Padded streams give the results of unpadded ones, down to length 0, whatever the padding contains."""
    cell = make(form, dtype)
    x, dt, start = case(cell, 4)
    lengths = [STEPS, 5, 0, 1]
    x = x.masked_fill(torch.arange(STEPS)[:, None] >= torch.tensor(lengths)[:, None, None], math.nan)
    outputs, states = cell(x, dt, start, lengths=torch.tensor(lengths))
    assert torch.equal(states[2], start[2])
    for i in (0, 1, 3):
        output, state = cell(x[i : i + 1, : lengths[i]], dt[i : i + 1, : lengths[i]], start[i : i + 1])
        near(outputs[i : i + 1, : lengths[i]], output, EXACT[dtype])
        near(states[i : i + 1], state, EXACT[dtype])


@every_form
@both_paths
def test_dt_takes_every_documented_shape(form, path):
    """Δt may be a number, (batch,), (batch, steps) or (batch, steps, 1), also if batch equals steps."""
    cell = make(form)
    x, dt, start = case(cell, STEPS)
    expected = cell(x, torch.full_like(dt, 0.25), start)[0]
    for given_dt in (0.25, torch.tensor(0.25), torch.full((STEPS,), 0.25), torch.full((STEPS, STEPS, 1), 0.25)):
        near(cell(x, given_dt, start)[0], expected, 0)
    per_stream = torch.arange(STEPS) / 7
    near(cell(x, per_stream, start)[0], cell(x, per_stream[:, None].expand(-1, STEPS), start)[0], 0)
    near(cell(x, dt[..., None], start)[0], cell(x, dt, start)[0], 0)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_impossible_dt_is_refused_with_its_value(value):
    """A negative, NaN or infinite Δt is refused with its value."""
    with pytest.raises(UsageError, match=r"dt holds (-0\.1|nan|inf).*; expected finite seconds, 0 or more"):
        as_dt(torch.tensor([0.1, value]), 2, 3, torch.zeros(1))
    with pytest.raises(UsageError, match="dt holds"):
        LTC(2, 2)(torch.zeros(1, 3, 2), value)


@every_form
@both_paths
def test_wrong_shapes_are_refused_with_what_was_got(form, path):
    """Inputs, Δt, a state or lengths of a wrong shape are refused with the given and the expected shape."""
    cell = make(form)
    x, dt, start = case(cell, 3)
    for wrong in (x[..., 1:], x[0], x[:, :0]):
        shown = str(tuple(wrong.shape)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(UsageError, match=rf"shape {shown}; expected \(batch, steps, {INPUTS}\)"):
            cell(wrong, 0.1)
    for wrong in (torch.zeros(4), torch.zeros(3, STEPS + 1), torch.zeros(1, 3, STEPS)):
        with pytest.raises(UsageError, match=rf"dt has shape .*; expected a number, \(3,\), \(3, {STEPS}\)"):
            cell(x, wrong)
    for wrong in (start[:2], start[:, 1:], start[0]):
        with pytest.raises(UsageError, match=rf"state has shape .*; expected \(3, {UNITS}\)"):
            cell(x, dt, wrong)
    for wrong in ([1, 2], [1, 2, STEPS + 1], [1, 2, -1], [1.0, 2.0, 3.0]):
        with pytest.raises(UsageError, match=rf"lengths is \[.*\]; expected 3 whole numbers from 0 to {STEPS}"):
            cell(x, dt, start, lengths=wrong)


@pytest.mark.parametrize("form", [LTC, ConductanceLTC])
def test_impossible_options_are_refused(form):
    """Sizes below 1, an unknown solver, and a max_step or range that is not positive are refused by name."""
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(UsageError, match=r"is 0; expected a whole number, 1 or more"):
            form(*sizes)
    with pytest.raises(UsageError, match="unfolds is 0; expected a whole number, 1 or more"):
        form(2, 2, unfolds=0)
    with pytest.raises(UsageError, match=r"'heun'; expected one of exponential, fused, euler, rk4"):
        form(2, 2, solver="heun")
    for step in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match=r"max_step is .*; expected seconds above 0"):
            form(2, 2, max_step=step)
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0), (1.0, math.nan)):
        with pytest.raises(UsageError, match=r"the range is .*; expected two positive numbers"):
            form(2, 2, tau=(low, high))


def test_a_wiring_for_another_width_is_refused():
    """A wiring for another number of inputs than the cell's is refused with both numbers."""
    with pytest.raises(UsageError, match=r"the wiring has 4 inputs; the cell's input_size is 5"):
        ConductanceLTC(5, full(4, 3))


@given(n=st.integers(2, 40), low=st.floats(1e-3, 10), ratio=st.floats(1, 1e4))
@settings(max_examples=30, deadline=None)
def test_time_constants_start_log_uniform(n, low, ratio):
    """Initial time constants and gains are evenly spaced, in logarithms, over their whole ranges."""
    logs = log_uniform(n, low, low * ratio).sort().values
    near(logs, torch.linspace(math.log(low), math.log(low * ratio), n), 1e-5)
    cell = LTC(3, n, tau=(low, low * ratio), gain=(2.0, 30.0))
    near(cell.log_tau.detach().sort().values, logs, 0)
    near(cell.log_gain.detach().sort().values, torch.linspace(math.log(2), math.log(30), n), 1e-5)
    cell = ConductanceLTC(3, n, tau=(low, low * ratio))
    near((cell.capacitance / cell.leak).log().detach().sort().values, logs, 1e-4)


@pytest.mark.parametrize("form", ["conductance", "wired"])
@pytest.mark.parametrize("inputs", [4, 400])
def test_synapses_are_scaled_by_fan_in(form, inputs):
    """For inputs of any width, a unit's initial weights from one layer sum to the order of its leak."""
    cell = make(form, inputs=inputs, units=30)
    for synapses in (cell.sensory, cell.recurrent):
        weight = matrix(synapses, functional.softplus(synapses.raw_weight))
        heard = weight.sum(0)[weight.any(0)]
        assert (heard >= 0.01 * INITIAL_WEIGHT_SUM).all() and (heard <= INITIAL_WEIGHT_SUM).all()
        assert (synapses.slope >= 3).all() and (synapses.slope <= 8).all()
        assert (synapses.reversal.abs() == 1).all()
    near(cell.leak, torch.ones_like(cell.leak), 1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_cell_of_wide_input_remembers_from_the_first_step(form):
    """A newly initialised cell with 64 inputs remembers its state over half a second."""
    cell = make(form, inputs=64, units=32)
    x, _, start = case(cell, 1, steps=12)
    start.requires_grad_()
    (gradient,) = torch.autograd.grad(cell(x, 0.04, start)[1].sum(), start)
    assert gradient.abs().max() > 1e-2


@given(exponent=st.floats(-8, 4))
@settings(max_examples=50, deadline=None)
def test_the_inverse_of_softplus_is_one(exponent):
    """softplus gives back what its inverse was given, from 1e-8 to 1e4."""
    y = torch.tensor([10.0**exponent])
    near(functional.softplus(inverse_softplus(y)), y, 0, 1e-5)
