"""Wirings: layers, fan-outs, signs and refusals; a sparse cell equals a dense one with missing synapses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from liquids import EXACT, both_dtypes, both_paths, case, matrix, near, on_path
from torch.nn import functional

from liquidvision.errors import UsageError
from liquidvision.liquid.conductance import ConductanceLTC
from liquidvision.liquid.wiring import Wiring, auto_ncp, full, ncp

SIZES = {"inter": 6, "command": 5, "motor": 3}
FANS = {"sensory_fanout": 3, "inter_fanout": 2, "recurrent_command": 6, "motor_fanin": 2}
sizes = st.integers(1, 12)


@pytest.fixture
def path(request):
    """Run the test with compiled kernels or in plain torch."""
    with on_path(request.param) as name:
        yield name


@st.composite
def policies(draw) -> tuple[dict[str, int], Wiring]:
    """Draw the arguments of an NCP, and build it."""
    inter, command = draw(sizes), draw(sizes)
    arguments = {
        "inputs": draw(sizes),
        "inter": inter,
        "command": command,
        "motor": draw(sizes),
        "sensory_fanout": draw(st.integers(1, inter)),
        "inter_fanout": draw(st.integers(1, command)),
        "recurrent_command": draw(st.integers(0, 30)),
        "motor_fanin": draw(st.integers(1, command)),
        "seed": draw(st.integers(0, 99)),
    }
    return arguments, ncp(**arguments)


def blocks(wiring: Wiring, inter: int, command: int, motor: int) -> dict[str, np.ndarray]:
    """Return the synapses between layers by name; all other entries under "rest"."""
    motors, commands, inters = (slice(0, motor), slice(motor, motor + command), slice(motor + command, None))
    rest = wiring.recurrent.copy()
    rest[inters, commands] = rest[commands, commands] = rest[commands, motors] = 0
    return {
        "sensory": wiring.sensory[:, inters],
        "inter": wiring.recurrent[inters, commands],
        "command": wiring.recurrent[commands, commands],
        "motor": wiring.recurrent[commands, motors],
        "rest": np.concatenate([rest.ravel(), wiring.sensory[:, : motor + command].ravel()]),
    }


@given(policies())
@settings(max_examples=60, deadline=None)
def test_a_policy_has_the_sizes_and_fans_asked_for(policy):
    """An NCP connects its layers in order, with at least the requested fan-outs and fan-ins."""
    a, wiring = policy
    assert (wiring.inputs, wiring.outputs) == (a["inputs"], a["motor"])
    assert wiring.neurons == a["inter"] + a["command"] + a["motor"]
    assert wiring.synapses == (wiring.sensory != 0).sum() + (wiring.recurrent != 0).sum()
    parts = blocks(wiring, a["inter"], a["command"], a["motor"])
    assert not parts["rest"].any()
    for part, fan in (
        (parts["sensory"], a["sensory_fanout"]),
        (parts["inter"], a["inter_fanout"]),
        (parts["motor"].T, a["motor_fanin"]),
    ):
        fans = (part != 0).sum(1)
        mean_fanin = max(round(len(part) * fan / part.shape[1]), 1)
        left_out = part.shape[1] - fan  # at most this many targets had no source
        assert (fans >= fan).all() and fans.sum() <= len(part) * fan + left_out * mean_fanin
    assert (parts["command"] != 0).sum() <= a["recurrent_command"]


@given(policies())
@settings(max_examples=60, deadline=None)
def test_every_neuron_is_reached_and_heard(policy):
    """Between neighbouring layers, every source has a synapse, and every target is reached by one."""
    a, wiring = policy
    parts = blocks(wiring, a["inter"], a["command"], a["motor"])
    for name in ("sensory", "inter", "motor"):
        assert parts[name].any(0).all() and parts[name].any(1).all(), name


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 40), st.floats(0, 0.9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_policy_of_a_given_size(inputs, outputs, others, sparsity, seed):
    """AutoNCP has the requested sizes, connects all neurons, and makes two fifths of the others command neurons."""
    wiring = auto_ncp(inputs, outputs + others, outputs, sparsity=sparsity, seed=seed)
    assert (wiring.inputs, wiring.neurons, wiring.outputs) == (inputs, outputs + others, outputs)
    command = max(int(0.4 * others), 1)
    parts = blocks(wiring, others - command, command, outputs)
    assert not parts["rest"].any()
    for name in ("sensory", "inter", "motor"):
        assert parts[name].any(0).all() and parts[name].any(1).all(), name


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_sparsity_is_the_share_left_out(sparsity):
    """In each layer of a large AutoNCP about this share of the possible synapses is left out."""
    wiring = auto_ncp(50, 250, 50, sparsity=sparsity)
    for name, part in blocks(wiring, 120, 80, 50).items():
        if name == "command":  # drawn with replacement: 2 (1 - sparsity) for each neuron at most
            assert (part != 0).sum() <= 2 * 80 * (1 - sparsity)
        elif name != "rest":
            assert abs((part == 0).mean() - sparsity) < 0.02, name


@given(sizes, sizes, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_full_wiring_leaves_nothing_out(inputs, neurons, seed):
    """Every input and neuron has a synapse to every neuron, and all neurons are outputs."""
    wiring = full(inputs, neurons, seed=seed)
    assert wiring.synapses == (inputs + neurons) * neurons
    assert (wiring.inputs, wiring.neurons, wiring.outputs) == (inputs, neurons, neurons)
    assert full(inputs, neurons, outputs=1).outputs == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: full(40, 40, seed=seed),
        lambda seed: auto_ncp(40, 60, 10, seed=seed),
        lambda seed: ncp(40, **SIZES, **FANS, seed=seed),
    ],
    ids=["full", "auto_ncp", "ncp"],
)
def test_a_seed_decides_all(build):
    """The same seed builds the same wiring, another seed a different one; about half the synapses are inhibitory."""
    one, same, other = build(4), build(4), build(5)
    assert np.array_equal(one.sensory, same.sensory) and np.array_equal(one.recurrent, same.recurrent)
    assert not np.array_equal(one.sensory, other.sensory) and not np.array_equal(one.recurrent, other.recurrent)
    signs = np.concatenate([one.sensory[one.sensory != 0], one.recurrent[one.recurrent != 0]])
    assert one.sensory.dtype == one.recurrent.dtype == np.int8
    assert set(signs) == {-1, 1} and abs(signs.mean()) < 0.3


def test_impossible_wirings_are_refused():
    """Shapes that do not match, values other than signs, and too many or no outputs are refused."""
    ones = np.ones((3, 3), np.int8)
    for sensory, recurrent in ((ones[:, :2], ones), (ones, ones[:2]), (ones[0], ones), (ones, ones[0])):
        with pytest.raises(UsageError, match=r"expected \(inputs, neurons\) and \(neurons, neurons\)"):
            Wiring(sensory, recurrent, 1)
    for outputs in (0, 4):
        with pytest.raises(UsageError, match=f"outputs is {outputs}; expected 1 to 3"):
            Wiring(ones, ones, outputs)
    for pair in ((2 * ones, ones), (ones, 2 * ones), (ones / 2, ones)):
        with pytest.raises(UsageError, match="another value than -1, 0 and 1"):
            Wiring(*pair, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 0}, "inputs is 0; expected a whole number, 1 or more"),
        ({"motor": 0}, "motor is 0; expected a whole number, 1 or more"),
        ({"sensory_fanout": 7}, "sensory_fanout is 7; expected 1 to 6"),
        ({"inter_fanout": 0}, "inter_fanout is 0; expected 1 to 5"),
        ({"motor_fanin": 6}, "motor_fanin is 6; expected 1 to 5"),
        ({"recurrent_command": -1}, "recurrent_command is -1; expected 0 or more"),
    ],
)
def test_impossible_policies_are_refused(change, message):
    """An empty layer, or a fan-out or fan-in larger than the layer, is refused by name."""
    with pytest.raises(UsageError, match=message):
        ncp(**{"inputs": 4, **SIZES, **FANS, **change})


def test_impossible_sizes_are_refused():
    """An AutoNCP that is too small for its outputs or too sparse, and an empty full wiring, are refused."""
    with pytest.raises(UsageError, match="neurons is 4; expected 5 or more for 3 outputs"):
        auto_ncp(4, 4, 3)
    with pytest.raises(UsageError, match="motor is 0"):
        auto_ncp(4, 4, 0)
    for sparsity in (-0.1, 0.95, float("nan")):
        with pytest.raises(UsageError, match=r"sparsity is .*; expected 0 to 0.9"):
            auto_ncp(4, 9, 3, sparsity=sparsity)
    with pytest.raises(UsageError, match="neurons is 0"):
        full(3, 0)


@given(st.integers(1, 6), st.integers(4, 16), st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_parameters_are_those_of_the_synapses_there_are(inputs, neurons, seed):
    """A sparse cell has four parameters per synapse of its wiring, and starts with the wiring's signs."""
    wiring = auto_ncp(inputs, neurons, 2, seed=seed)
    cell = ConductanceLTC(inputs, wiring)
    for synapses, polarity in ((cell.sensory, wiring.sensory), (cell.recurrent, wiring.recurrent)):
        assert sum(p.numel() for p in synapses.parameters()) == 4 * np.count_nonzero(polarity)
        assert np.array_equal(matrix(synapses, synapses.reversal).numpy(), polarity)
    assert (cell.output_size, cell.state_size) == (2, neurons)
    outputs, state = cell(torch.zeros(3, 2, inputs), 0.1)
    assert outputs.shape == (3, 2, 2) and state.shape == (3, neurons)
    near(outputs[:, -1], state[:, :2], 0)


def pair(wiring: Wiring, dtype: torch.dtype) -> tuple[ConductanceLTC, ConductanceLTC]:
    """Return a sparse cell, and a dense one with the same parameters whose other synapses have weight 0."""
    torch.manual_seed(0)
    sparse = ConductanceLTC(wiring.inputs, wiring, unfolds=2).to(dtype)
    dense = ConductanceLTC(wiring.inputs, full(wiring.inputs, wiring.neurons, outputs=wiring.outputs), unfolds=2)
    dense.to(dtype)
    own = dict(dense.named_parameters())
    with torch.no_grad():
        for name, value in sparse.named_parameters():
            layer = {"sensory": sparse.sensory, "recurrent": sparse.recurrent}.get(name.split(".")[0])
            if layer is None:
                own[name].copy_(value)
            else:
                there = matrix(layer, torch.ones_like(value)) > 0
                spread = matrix(layer, value)
                own[name].copy_(torch.where(there, spread, -200.0 if name.endswith("raw_weight") else own[name]))
    return sparse, dense


NOBODY = Wiring(np.eye(4, dtype=np.int8), np.zeros((4, 4), np.int8), 2)
ONE_SIDED = Wiring(np.ones((4, 6), np.int8), np.triu(-np.ones((6, 6), np.int8), 1), 3)
WIRINGS = {"auto_ncp": auto_ncp(4, 9, 2), "ncp": ncp(4, **SIZES, **FANS), "no neighbours": NOBODY, "half": ONE_SIDED}


@pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS)
@both_paths
@both_dtypes
def test_a_sparse_cell_is_a_dense_one_with_synapses_left_out(wiring, path, dtype):
    """Results and gradients equal those of a dense cell whose missing synapses have weight 0."""
    cells = pair(wiring, dtype)
    results = []
    for cell in cells:
        x, dt, state = (tensor.requires_grad_() for tensor in case(cell, 3))
        outputs, last, taus = cell(x, dt, state, return_time_constants=True)
        weights = torch.linspace(-1, 1, outputs.numel(), dtype=dtype).view_as(outputs)
        ((outputs * weights).sum() + last.square().sum() + taus.log().sum()).backward()
        results.append((outputs, last, taus, x.grad, dt.grad, state.grad))
    for sparse, dense in zip(*results, strict=True):
        near(sparse, dense, EXACT[dtype] * max(1, float(dense.detach().abs().max())) * 10)
    own = dict(cells[1].named_parameters())
    for name, value in cells[0].named_parameters():
        layer = {"sensory": cells[0].sensory, "recurrent": cells[0].recurrent}.get(name.split(".")[0])
        got = value.grad if layer is None else matrix(layer, value.grad)
        expected = own[name].grad
        if layer is not None:
            expected = expected * (matrix(layer, torch.ones_like(value)) > 0)
        near(got, expected, EXACT[dtype] * max(1, float(expected.abs().max())) * 10)


def test_a_wiring_travels_with_the_weights():
    """Weights loaded into a cell with another wiring of the same size bring their wiring, on both paths."""
    wirings = (
        Wiring(np.eye(4, dtype=np.int8)[:, order], np.eye(4, dtype=np.int8), 2)
        for order in ([0, 1, 2, 3], [3, 2, 1, 0])
    )
    one, other = (ConductanceLTC(4, wiring) for wiring in wirings)
    other.load_state_dict(one.state_dict())
    x, dt, start = case(one, 2)
    expected = one(x, dt, start)[0]
    near(other(x, dt, start)[0], expected, 0)
    with on_path("plain"):
        near(other(x, dt, start)[0], expected, 1e-5)
    assert functional.softplus(one.sensory.raw_weight).shape == (4,)
