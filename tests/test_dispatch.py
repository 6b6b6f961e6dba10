"""Compiled kernels compared with plain torch: results, gradients, threads, and when plain torch is used."""

import builtins
import copy
import math
from itertools import chain

import numpy as np
import pytest
import torch
from liquids import (
    EXACT,
    STEPS,
    both_dtypes,
    both_paths,
    bounded_solvers,
    case,
    every_form,
    make,
    near,
    on_path,
    plain_torch,
)
from torch import Tensor
from torch.func import functional_call

from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell
from liquidvision.liquid.kernels import scalar
from liquidvision.liquid.ltc import LTC, LiquidCell

LARGEST = {
    torch.float32: (1e-5, 1e-4),
    torch.float64: (1e-12, 1e-10),
}  # largest differences of results and of gradients
every_division = pytest.mark.parametrize(
    "division", [{}, {"unfolds": 3}, {"max_step": 0.1}], ids=["1 unfold", "3 unfolds", "max_step"]
)


@pytest.fixture
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


def weighed(results: tuple[Tensor, ...]) -> Tensor:
    """Return the sum of all results, each number with its own random weight."""
    generator = torch.Generator().manual_seed(7)
    return sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results)


def results_and_gradients(cell: Cell, given: list[Tensor], **options) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return a cell's results for x, Δt and state, and their gradients with respect to all that require them."""
    results = cell(*given, return_time_constants=True, **options)
    named = {**dict(zip(("x", "dt", "state"), given, strict=True)), **dict(cell.named_parameters())}
    named = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    return results, dict(zip(named, torch.autograd.grad(weighed(results), [*named.values()]), strict=True))


def compare(got, expected, dtype: torch.dtype) -> None:
    """Assert that results and gradients agree, relative to the largest number of each."""
    by_result, by_gradient = LARGEST[dtype]
    for a, b in zip(got[0], expected[0], strict=True):
        near(a, b, by_result * max(1, float(b.detach().abs().max())))
    assert got[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        difference, largest = (got[1][name] - gradient).abs().max(), gradient.abs().max()
        assert difference <= by_gradient * largest, (name, float(difference), float(largest))


def leaves(cell: Cell, batch: int, **options) -> list[Tensor]:
    return [tensor.requires_grad_() for tensor in case(cell, batch, **options)]


@every_form
@bounded_solvers
@every_division
@both_dtypes
@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_give_what_plain_torch_gives(form, solver, division, dtype, threads, monkeypatch):
    """Results and all gradients equal those of plain torch, on one thread and on two."""
    cell = make(form, dtype, solver=solver, **division)
    given = leaves(cell, 5)
    with plain_torch():
        expected = results_and_gradients(cell, given)
    monkeypatch.setattr(dispatch, "MIN_OPERATIONS_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(results_and_gradients(cell, given), expected, dtype)
    finally:
        torch.set_num_threads(before)


@every_form
@bounded_solvers
@every_division
@both_paths
def test_gradients_are_those_of_finite_differences(form, solver, division, path):
    """Gradients of outputs, states and time constants with respect to inputs and parameters are correct."""
    cell = make(form, inputs=3, units=4, solver=solver, **division)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    x, dt, state = case(cell, 2, steps=3)
    dt = dt + 0.013  # not where `max_step` adds a step

    def results(x: Tensor, dt: Tensor, state: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, values, strict=True))
        return functional_call(cell, given, (x, dt, state), {"return_time_constants": True})

    inputs = [tensor.detach().clone().requires_grad_() for tensor in (x, dt, state, *parameters)]
    assert torch.autograd.gradcheck(results, inputs, fast_mode=path == "plain")


@every_form
@both_dtypes
def test_memory_that_lies_across_is_read_right(form, dtype):
    """Inputs, Δt, states and gradients that are not contiguous, or expanded, give the same results."""
    cell = make(form, dtype)
    x, dt, state = case(cell, 3)
    across = [t.transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for t in (x, dt, state)]
    assert not any(t.is_contiguous() for t in across)
    compare(results_and_gradients(cell, across), results_and_gradients(cell, leaves(cell, 3)), dtype)

    weights = torch.linspace(-1, 1, STEPS * 3 * cell.output_size, dtype=dtype).view(STEPS, cell.output_size, 3)
    gradients = []
    for name in ("kernels", "plain"):
        with on_path(name):
            dt = torch.full((), 0.2, dtype=dtype, requires_grad=True)
            outputs, last, taus = cell(x.expand(3, -1, -1), dt, state, return_time_constants=True)
            loss = (outputs.permute(1, 2, 0) * weights).sum() + last.T.cumsum(0).sum() + taus.permute(2, 0, 1).sum()
            gradients.append(torch.autograd.grad(loss, [dt, *cell.parameters()]))
    for got, expected in zip(*gradients, strict=True):
        near(got, expected, LARGEST[dtype][1] * float(expected.abs().max()))


@every_form
@pytest.mark.parametrize("asks", ["x", "dt", "state", "one parameter", "nothing"])
def test_whoever_asks_gets_a_gradient_and_nobody_else(form, asks):
    """Gradients of a single tensor equal those of plain torch, and frozen parameters get none."""
    cell = make(form)
    given = dict(zip(("x", "dt", "state"), case(cell, 3), strict=True))
    name = next(n for n, _ in cell.named_parameters())
    for parameter_name, parameter in cell.named_parameters():
        parameter.requires_grad_(asks == "one parameter" and parameter_name == name)
    if asks in given:
        given[asks].requires_grad_()
    if asks == "nothing":
        assert not any(result.requires_grad for result in cell(*given.values(), return_time_constants=True))
        return
    got = results_and_gradients(cell, [*given.values()])
    with plain_torch():
        compare(got, results_and_gradients(cell, [*given.values()]), torch.float64)
    assert list(got[1]) == [name if asks == "one parameter" else asks]


@every_form
@both_paths
@both_dtypes
def test_a_state_carries_gradients_between_chunks(form, path, dtype):
    """Gradients through a state passed between chunks equal those of the whole sequence."""
    cell = make(form, dtype, max_step=0.2)
    given = leaves(cell, 3)
    whole = results_and_gradients(cell, given)
    x, dt, state = given
    outputs, middle, taus = cell(x[:, :4], dt[:, :4], state, return_time_constants=True)
    rest, last, more = cell(x[:, 4:], dt[:, 4:], middle, return_time_constants=True)
    results = torch.cat([outputs, rest], 1), last, torch.cat([taus, more], 1)
    gradients = torch.autograd.grad(weighed(results), [*given, *cell.parameters()])
    compare((results, dict(zip(whole[1], gradients, strict=True))), whole, dtype)


@every_form
def test_truncated_sequences_add_up_their_gradients(form):
    """Two backward passes with a detached state between them accumulate both gradients, as in plain torch."""
    totals = []
    for name in ("kernels", "plain"):
        with on_path(name):
            cell = make(form)
            x, dt, state = case(cell, 3)
            for part in (slice(0, 4), slice(4, STEPS)):
                outputs, state = cell(x[:, part], dt[:, part], state.detach())
                weighed((outputs, state)).backward()
            totals.append([parameter.grad for parameter in cell.parameters()])
    for got, expected in zip(*totals, strict=True):
        near(got, expected, 1e-10 * float(expected.abs().max()))


@every_form
@both_dtypes
def test_the_kernels_are_used(form, dtype, monkeypatch):
    """On a CPU, calls with gradients and long calls without them step no frame in plain torch."""
    cell = make(form, dtype)
    x, dt, state = case(cell, 2, steps=dispatch.MIN_LOOPS)
    with plain_torch():
        expected = cell(x, dt, state)[0]
    assert dispatch.kernels_apply(x, dt, state, *cell.parameters())
    monkeypatch.setattr(LiquidCell, "advance", None)
    near(cell(x, dt, state)[0], expected, EXACT[dtype])
    with torch.no_grad():
        near(cell(x, dt, state)[0], expected, EXACT[dtype])
    with torch.inference_mode():
        near(cell(x, dt, state)[0], expected, EXACT[dtype])


def test_short_calls_without_gradients_spare_the_kernels(monkeypatch):
    """A few frames of a stream are stepped in plain torch, so that a program that only infers compiles nothing."""
    monkeypatch.setattr(dispatch, "compiled_kernels", None)
    cell = make("ltc", torch.float32)
    x, dt, state = case(cell, 1, steps=dispatch.MIN_LOOPS - 1)
    with torch.no_grad():
        cell(x, dt, state)
    with pytest.raises(TypeError):
        cell(x, dt, state)


@every_form
def test_nothing_is_kept_for_a_way_back_that_nobody_goes(form, monkeypatch):
    """The path of all solver steps is kept only if gradients are recorded."""
    kept, allocate_path = [], dispatch.allocate_path
    monkeypatch.setattr(dispatch, "allocate_path", lambda *given: kept.append(allocate_path(*given)) or kept[-1])
    cell = make(form, torch.float32)
    given = case(cell, 2, steps=dispatch.MIN_LOOPS)
    cell(*given)
    with torch.no_grad():
        cell(*given)
    with torch.inference_mode():
        cell(*given)
    cell.requires_grad_(False)(*given)
    assert [path.numel() > 0 for path in kept] == [True, False, False, False]


@every_form
@pytest.mark.parametrize("solver", ["euler", "rk4"])
def test_explicit_solvers_stay_on_the_plain_path(form, solver):
    """Explicit solvers, which have no kernel, run in plain torch, with gradients."""
    cell = make(form, solver=solver, unfolds=20)
    given = leaves(cell, 2)
    got = results_and_gradients(cell, given)
    with plain_torch():
        compare(got, results_and_gradients(cell, given), torch.float64)


@every_form
def test_function_transforms_go_through_plain_torch(form):
    """torch.func's grad and vmap work on a cell, and agree with the kernels."""
    cell = make(form)
    x, dt, state = case(cell, 3)

    def loss(x: Tensor) -> Tensor:
        return cell(x, dt, state)[0].square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    near(torch.func.grad(loss)(x), expected, 1e-10)
    stacked = torch.stack([x, x * 2])
    near(torch.func.vmap(lambda x: cell(x, 0.1, state)[0])(stacked)[1], cell(x * 2, 0.1, state)[0], 1e-10)


@every_form
def test_lower_precision_goes_through_plain_torch(form):
    """bfloat16 cells and autocast run close to float32, with gradients."""
    cell = make(form, torch.float32)
    x, dt, state = case(cell, 3)
    expected = cell(x, dt, state)[0]
    low = copy.deepcopy(cell).bfloat16()
    assert not dispatch.kernels_apply(*low.parameters())
    outputs, last = low(x.bfloat16(), dt.bfloat16(), state.bfloat16())
    assert outputs.dtype == last.dtype == torch.bfloat16
    near(outputs.float(), expected, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = cell(x, dt, state)[0]
    near(outputs.float(), expected, 0.1)
    outputs.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in cell.parameters())


@every_form
def test_shapes_are_known_without_numbers(form):
    """On the meta device a cell returns results of the right shapes."""
    cell = make(form, torch.float32).to("meta")
    x, dt, state = (tensor.to("meta") for tensor in case(cell.to_empty(device="cpu"), 3))
    outputs, last, taus = cell.to("meta")(x, dt, state, lengths=[3, 2, 1], return_time_constants=True)
    assert outputs.is_meta and outputs.shape == (3, STEPS, cell.output_size)
    assert last.shape == (3, cell.state_size) and taus.shape == (3, STEPS, cell.units)


@every_form
def test_a_traced_cell_goes_through_plain_torch(form):
    """Under torch.compile (with the eager backend) a cell gives the same results and gradients."""
    cell = make(form)
    given = leaves(cell, 2, steps=2)
    compiled = torch.compile(cell, backend="eager")
    results = compiled(*given, return_time_constants=True)
    gradients = torch.autograd.grad(weighed(results), [*given, *cell.parameters()])
    expected = results_and_gradients(cell, given)
    compare((results, dict(zip(expected[1], gradients, strict=True))), expected, torch.float64)


@every_form
@both_paths
def test_no_streams_give_nothing(form, path):
    """A batch of no streams gives empty results, and gradients of 0."""
    cell = make(form)
    results, gradients = results_and_gradients(cell, leaves(cell, 0))
    assert [len(r) for r in results] == [0, 0, 0]
    assert not any(gradient.any() for gradient in gradients.values())


@every_form
def test_a_machine_without_numba_uses_plain_torch(form, monkeypatch):
    """If numba cannot be imported, cells run in plain torch with the same results."""
    cell = make(form, torch.float32)
    x, dt, state = case(cell, 3)
    expected = cell(x, dt, state)[0]
    real = builtins.__import__

    def without_numba(name: str, scope=None, *others):
        parent = (scope or {}).get("__name__", "")
        if parent == "liquidvision.liquid.dispatch" and name.startswith("liquidvision.liquid"):
            raise ModuleNotFoundError("No module named 'numba'")
        return real(name, scope, *others)

    dispatch.compiled_kernels.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "__import__", without_numba)
            assert dispatch.compiled_kernels() is None
        assert not dispatch.kernels_apply(x, dt, state)
        near(cell(x, dt, state)[0], expected, 1e-5)
    finally:
        dispatch.compiled_kernels.cache_clear()
    assert dispatch.kernels_apply(x, dt, state)


def test_work_is_shared_by_rows(monkeypatch):
    """All rows are processed once, in order, in at most as many parts as rows, and in one part if work is scarce."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for rows, cost, parts in (
        (20, 5 * dispatch.MIN_OPERATIONS_PER_THREAD, 16),
        (3, 9 * dispatch.MIN_OPERATIONS_PER_THREAD, 3),
        (9, dispatch.MIN_OPERATIONS_PER_THREAD, 1),
        (0, 10**9, 1),
    ):
        done = dispatch.run_in_parallel(lambda part: [*range(part.start, part.stop)], rows, cost)
        assert len(done) == parts and [*chain(*done)] == [*range(rows)]


def test_what_fails_on_a_thread_is_raised(monkeypatch):
    """An error in a thread is raised in the caller."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        dispatch.run_in_parallel(lambda part: 1 // part.start, 4, 10**9)


def test_powers_of_two_are_exact_to_a_few_bits():
    """The kernels' exp2 has an error below 2e-7 in float32, clamps at the ends of its range, and keeps NaN and 1."""
    x = np.concatenate([np.linspace(-61, 61, 20_001), [-1e30, 1e30, -np.inf, np.inf, np.nan, 0.0]])
    single = x.astype(np.float32)
    got = powers(single)
    np.testing.assert_allclose(got[:-6], np.exp2(single[:-6].astype(np.float64)), rtol=2e-7)
    np.testing.assert_array_equal(got[-6:], np.float32([2.0**-62, 2.0**62, 2.0**-62, 2.0**62, np.nan, 1.0]))
    np.testing.assert_allclose(powers(x[:-6]), np.exp2(x[:-6]), rtol=1e-15)
    f, terms = np.linspace(-0.5, 0.5, 1001), (getattr(scalar, f"_C{n}") for n in range(5, 0, -1))
    power = np.zeros_like(f)
    for term in terms:
        power = (power + float(term)) * f
    assert np.abs((1 + power) / np.exp2(f) - 1).max() < 1.2e-7


@scalar.kernel
def powers(x):
    result = np.empty_like(x)
    for i in range(len(x)):
        result[i] = scalar.exp2(x[i])
    return result


def test_kernels_compile_where_nothing_can_be_kept():
    """A kernel that cannot be cached on disk is still compiled."""
    names = {}
    exec("def double(x):\n    return x + x", names)  # a function without a source file
    assert scalar.kernel(names["double"])(1.5) == 3.0


def test_many_time_steps_of_no_length_stay_put():
    """A thousand frames with Δt = 0 leave the state unchanged, in float32."""
    cell = LTC(3, 4)
    state = torch.rand(2, 4)
    assert torch.equal(cell(torch.randn(2, 1000, 3) * math.pi, 0.0, state)[1], state)


@every_form
def test_second_derivatives_are_refused_by_the_kernels_and_given_by_plain_torch(form):
    """Second derivatives are never silently wrong: the kernels refuse them, and plain_torch provides them."""
    cell = make(form)
    given = leaves(cell, 2)

    def slope() -> Tensor:
        (by_x,) = torch.autograd.grad(cell(*given)[0].sum(), given[:1], create_graph=True)
        return by_x

    with pytest.raises(RuntimeError, match=r"no second derivatives; run the cell inside .*plain_torch"):
        slope()
    with dispatch.plain_torch():
        (second,) = torch.autograd.grad(slope().square().sum(), given[:1])
    assert second.abs().max() > 1e-6
    assert dispatch.kernels_apply(*given)


def test_a_cache_that_cannot_be_written_or_read_is_done_without(monkeypatch):
    """If the compilation cache fails at the first call, as on a full disk, the kernel runs without a cache."""
    calls = []

    def compiler(cache=False, **_):
        def failing(*arguments):
            calls.append(cache)
            if cache:
                raise OSError(28, "No space left on device")
            return sum(arguments)

        return lambda function: failing

    monkeypatch.setattr(scalar, "njit", compiler)
    added = scalar.kernel(lambda a, b: a + b)
    assert added(1, 2) == 3 and added(3, 4) == 7
    assert calls == [True, False, False]


@pytest.mark.parametrize("error", [ImportError("numba"), SystemError("numpy"), OSError("libllvmlite")])
def test_a_numba_that_fails_in_any_way_leaves_plain_torch(error, monkeypatch, caplog):
    """For any error in importing numba, cells run in plain torch, and the log states the reason."""
    real = builtins.__import__

    def broken(name: str, scope=None, *others):
        if name == "liquidvision.liquid.kernels" and (scope or {}).get("__name__") == "liquidvision.liquid.dispatch":
            raise error
        return real(name, scope, *others)

    dispatch.compiled_kernels.cache_clear()
    try:
        with monkeypatch.context() as patch, caplog.at_level("INFO"):
            patch.setattr(builtins, "__import__", broken)
            assert dispatch.compiled_kernels() is None
            assert str(error) in caplog.text
    finally:
        dispatch.compiled_kernels.cache_clear()
