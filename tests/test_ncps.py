"""Weights of ncps 1.0.1: outputs, states and gradients agree with ncps."""

import itertools

import ncps.torch
import pytest
import torch
from liquids import INPUTS, near, on_path
from ncps import wirings
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.conductance import ConductanceLTC, from_ncps
from liquidvision.liquid.mixed import MixedMemory

WIRINGS = {
    "full": lambda: wirings.FullyConnected(6),
    "full-outputs": lambda: wirings.FullyConnected(6, 3),
    "auto": lambda: wirings.AutoNCP(12, 3),
    "ncp": lambda: wirings.NCP(6, 5, 3, 3, 2, 6, 2),
    "random": lambda: wirings.Random(7, 2, 0.4),
}
every_wiring = pytest.mark.parametrize("wiring", WIRINGS)
both_constraints = pytest.mark.parametrize("implicit", [False, True], ids=["clipped", "implicit"])
# Our parameters by the names of ncps: those of synapses, and those of neurons and mappings.
SYNAPSES = {"w": "raw_weight", "sigma": "slope", "mu": "centre", "erev": "reversal"}
OTHERS = {
    "gleak": "raw_leak",
    "vleak": "leak_potential",
    "cm": "raw_capacitance",
    "input_w": "input_scale",
    "input_b": "input_shift",
    "output_w": "output_scale",
    "output_b": "output_shift",
}


@pytest.fixture(params=["kernels", "plain"])
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


def theirs_of(wiring: str, **options) -> nn.Module:
    """Return a layer of ncps whose input and output mappings differ from their initial values."""
    torch.manual_seed(0)
    layer = ncps.torch.LTC(INPUTS, WIRINGS[wiring](), epsilon=0, **options)
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if name.split(".")[-1] in ("input_w", "input_b", "output_w", "output_b"):
                value += torch.randn_like(value) * 0.3
    return layer


def gradients(theirs: nn.Module, ours: ConductanceLTC) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the gradients of each of their parameters, and ours of the same values."""
    cell, pairs = theirs.rnn_cell, {}
    values = dict(cell._params)
    for prefix, layer in (("sensory_", ours.sensory), ("", ours.recurrent)):
        there = values[f"{prefix}sparsity_mask"] != 0
        for name, own in SYNAPSES.items():
            pairs[prefix + name] = values[prefix + name], getattr(layer, own), there
    for name, own in OTHERS.items():
        if name in values:
            pairs[name] = values[name], getattr(ours, own), slice(None)
    results = {}
    for name, (value, own, there) in pairs.items():
        expected, got = value.grad[there], own.grad
        if name.removeprefix("sensory_") in ("w", "gleak", "cm"):
            # Positive values are compared, not the parameters that they are computed from.
            got = got / torch.sigmoid(own.detach())
            if cell._implicit_param_constraints:
                expected = expected / torch.sigmoid(value.detach()[there])
        results[name] = expected, got.view_as(expected)
    return results


def agree(expected: Tensor, got: Tensor, largest: float) -> None:
    """Assert that gradients are equal within `largest` times their norm."""
    assert torch.linalg.vector_norm(got - expected) <= largest * torch.linalg.vector_norm(expected)


@every_wiring
@both_constraints
@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_streams_of_irregular_time_are_those_of_ncps(wiring, implicit, path, dtype, largest):
    """For one stream with irregular timespans, outputs, the last state and all gradients agree."""
    theirs = theirs_of(wiring, implicit_param_constraints=implicit).to(dtype)
    ours = from_ncps(theirs)
    assert isinstance(ours, ConductanceLTC) and ours.raw_leak.dtype == dtype
    x, start = torch.randn(1, 6, INPUTS, dtype=dtype), torch.randn(1, ours.units, dtype=dtype) * 0.2
    spans = torch.rand(1, 6, dtype=dtype) + 0.02
    given = [[t.clone().requires_grad_() for t in (x, start)] for _ in range(2)]
    outputs, last = theirs(*given[0], timespans=spans)
    got, state = ours(given[1][0], spans, given[1][1])
    near(got, outputs, largest)
    near(state, last, largest)

    weights = torch.randn(outputs.shape, dtype=dtype)
    for result, end in ((outputs, last), (got, state)):
        ((result * weights).sum() + end.sum()).backward()
    pairs = [(expected.grad, own.grad) for expected, own in zip(*given, strict=True)]
    pairs += gradients(theirs, ours).values()
    for expected, own in pairs:  # in float32 both sides round by about this much
        agree(expected, own, 3 * largest)
    agree(*(torch.cat([gradient.ravel() for gradient in side]) for side in zip(*pairs, strict=True)), largest)


@every_wiring
@both_constraints
def test_steps_of_a_batch_are_those_of_a_cell_of_ncps(wiring, implicit, path):
    """For a step of many streams, each with its own Δt, outputs and states agree."""
    theirs = theirs_of(wiring, implicit_param_constraints=implicit, ode_unfolds=4).rnn_cell
    ours = from_ncps(theirs)
    batch = ours.units  # with this batch size ncps' sequence layer would confuse times with units
    x, start, spans = torch.randn(batch, INPUTS), torch.randn(batch, ours.units) * 0.2, torch.rand(batch) + 0.02
    with torch.no_grad():
        outputs, states = theirs(x, start, spans[:, None])
        got, state = ours.step(x, spans, start)
    near(got, outputs, 1e-6)
    near(state, states, 1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [*itertools.product(["affine", "linear", None], repeat=2)])
def test_mappings_are_taken_over(inputs, outputs, path):
    """Affine, linear and missing mappings of inputs and outputs are copied."""
    theirs = theirs_of("auto", input_mapping=inputs, output_mapping=outputs)
    ours = from_ncps(theirs)
    x = torch.randn(3, 4, INPUTS)
    with torch.no_grad():
        near(ours(x, 1.0)[0], theirs(x)[0], 1e-6)


@pytest.mark.parametrize("wiring", ["full", "auto"])
def test_mixed_memory_is_taken_over(wiring, path):
    """With mixed memory, outputs, both states and gradients agree."""
    theirs = theirs_of(wiring, mixed_memory=True).double()
    ours = from_ncps(theirs)
    assert isinstance(ours, MixedMemory) and ours.inputs.weight.dtype == torch.float64
    x = torch.randn(1, 6, INPUTS, dtype=torch.float64)
    start = torch.randn(1, ours.state_size, dtype=torch.float64) * 0.2
    spans = torch.rand(1, 6, dtype=torch.float64) + 0.02
    outputs, states = theirs(x, tuple(start.chunk(2, -1)), timespans=spans)
    got, state = ours(x, spans, start)
    near(got, outputs, 1e-12)
    near(state, torch.cat(states, -1), 1e-12)
    outputs.square().sum().backward()
    got.square().sum().backward()
    for expected, own in gradients(theirs, ours.cell).values():
        agree(expected, own, 1e-12)
    agree(theirs.lstm.input_map.weight.grad, ours.inputs.weight.grad, 1e-12)
    agree(theirs.lstm.recurrent_map.weight.grad, ours.recurrent.weight.grad, 1e-12)


def test_clipped_weights_are_taken_over():
    """Weights and conductances that the clipping of ncps has set to 0 are copied without NaN."""
    theirs = theirs_of("full", implicit_param_constraints=False)
    with torch.no_grad():
        for name in ("w", "sensory_w", "gleak"):
            theirs.rnn_cell._params[name][..., ::2] = -0.5
        theirs.rnn_cell.apply_weight_constraints()
        x = torch.randn(2, 5, INPUTS)
        near(from_ncps(theirs)(x, 1.0)[0], theirs(x)[0], 1e-6)


def test_no_time_is_the_identity_unlike_there():
    """A step of 0 seconds, which gives NaN in ncps, leaves the state unchanged."""
    theirs = theirs_of("full").rnn_cell
    x, start = torch.randn(2, INPUTS), torch.randn(2, 6)
    assert theirs(x, start, 0.0)[1].isnan().all()
    assert torch.equal(from_ncps(theirs).step(x, 0.0, start)[1], start)


def test_other_modules_are_refused():
    """A module of another kind is refused with its name."""
    for module in (nn.Linear(2, 2), ncps.torch.CfC(3, 4), ncps.torch.CfCCell(3, 4), nn.LSTM(2, 2)):
        with pytest.raises(UsageError, match=f"expected an LTC or LTCCell of ncps; got {type(module).__name__}"):
            from_ncps(module)
