"""CfC, GRU, LSTM, the memoryless baseline and mixed memory: one interface, and agreement with published code."""

import copy

import pytest
import torch
from torch import nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.gru_d import DecayGRU
from liquidvision.liquid.gru_dt import TimedGRU
from liquidvision.liquid.gru_no_reset import NoResetGRU
from liquidvision.liquid.gru_power import PowerGRU
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import LTC
from liquidvision.liquid.min_gru import MinGRU
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.resonant import ResonantLTC
from liquidvision.liquid.scan import LinearCell
from liquidvision.liquid.selective import SelectiveSSM
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless
from liquidvision.liquid.wiring import auto_ncp

UNITS, INPUTS, STEPS = 6, 5, 12
MODES = ("default", "pure", "no_gate")


def cfc(mode: str, layers: int, inputs: int = INPUTS, units: int = UNITS) -> CfC:
    return CfC(inputs, units, mode=mode, backbone_units=8, backbone_layers=layers)


MAKERS = {
    **{f"cfc-{m}-{n}": lambda *sizes, m=m, n=n: cfc(m, n, *sizes) for m in MODES for n in (0, 2)},
    "gru": lambda inputs=INPUTS, units=UNITS: GRU(inputs, units),
    "lstm": lambda inputs=INPUTS, units=UNITS: LSTM(inputs, units),
    "memoryless": lambda inputs=INPUTS, units=UNITS: Memoryless(inputs, units),
    "gru-chrono": lambda inputs=INPUTS, units=UNITS: GRU(inputs, units, chrono=50.0),
    "lstm-chrono": lambda inputs=INPUTS, units=UNITS: LSTM(inputs, units, chrono=50.0),
    "gru-dt": lambda inputs=INPUTS, units=UNITS: TimedGRU(inputs, units),
    "gru-d": lambda inputs=INPUTS, units=UNITS: DecayGRU(inputs, units),
    "gru-power": lambda inputs=INPUTS, units=UNITS: PowerGRU(inputs, units, step=0.3),
    "gru-no-reset": lambda inputs=INPUTS, units=UNITS: NoResetGRU(inputs, units, chrono=50.0),
    "min-gru": lambda inputs=INPUTS, units=UNITS: MinGRU(inputs, units),
    "selective": lambda inputs=INPUTS, units=UNITS: SelectiveSSM(inputs, units),
    "resonant": lambda inputs=INPUTS, units=UNITS: ResonantLTC(inputs, units),
    "lru": lambda inputs=INPUTS, units=UNITS: LRU(inputs, units),
    "mixed-selective": lambda inputs=INPUTS, units=UNITS: MixedMemory(SelectiveSSM(inputs, units)),
    "mixed-cfc": lambda *sizes: MixedMemory(cfc("default", 1, *sizes)),
    "mixed-gru": lambda inputs=INPUTS, units=UNITS: MixedMemory(GRU(inputs, units)),
}
every_cell = pytest.mark.parametrize("name", MAKERS)
every_mode = pytest.mark.parametrize("mode", MODES)
# Frames with Δt = 0: none, at the end, at the start, and in between.
every_stop = pytest.mark.parametrize("stops", [(), (10, 11), (0,), (3, 4, 8)], ids=["never", "end", "start", "between"])


def make(name: str, *sizes: int, seed: int = 0) -> Cell:
    torch.manual_seed(seed)
    return MAKERS[name](*sizes)


def case(cell: Cell, batch: int, *, stops: tuple[int, ...] = (), seed: int = 1) -> tuple[torch.Tensor, ...]:
    """Return inputs, irregular Δt with 0 at `stops`, and a state that is not the initial one."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, STEPS, cell.input_size, generator=generator)
    dt = torch.rand(batch, STEPS, generator=generator) + 0.01
    dt[:, list(stops)] = 0
    return x, dt, torch.randn(batch, cell.state_size, generator=generator) * 0.3


def near(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


@every_cell
@every_stop
def test_whole_pieces_and_one_by_one_are_the_same(name, stops):
    """A whole stream, its pieces and its single frames give the same outputs, states and time constants."""
    cell = make(name)
    x, dt, start = case(cell, 3, stops=stops)
    whole = cell(x, dt, start, return_time_constants=True)
    assert whole[0].shape == (3, STEPS, cell.output_size)
    assert whole[1].shape == (3, cell.state_size)
    assert whole[2].shape == (3, STEPS, cell.units)
    for cuts in ([4, 1, 7], [1] * STEPS):
        state, outputs, taus = start, [], []
        for piece, seconds in zip(x.split(cuts, 1), dt.split(cuts, 1), strict=True):
            output, state, tau = cell(piece, seconds, state, return_time_constants=True)
            outputs.append(output)
            taus.append(tau)
        near(torch.cat(outputs, 1), whole[0])
        near(state, whole[1])
        torch.testing.assert_close(torch.cat(taus, 1), whole[2], rtol=1e-4, atol=0)


@every_cell
@every_stop
def test_a_single_step_is_a_step_of_the_whole(name, stops):
    """`advance` frame by frame gives the results of a whole run, whichever code path the run takes."""
    cell = make(name)
    x, dt, start = case(cell, 3, stops=stops)
    whole, last = cell(x, dt, start)
    prepared, state = cell.prepare(x), start
    for t in range(STEPS):
        output, state, _ = cell.advance(tuple(p[:, t] for p in prepared), state, dt[:, t : t + 1])
        near(output, whole[:, t])
    near(state, last)


@every_cell
@pytest.mark.parametrize("batch", [2, UNITS, STEPS])
def test_streams_side_by_side_are_streams_alone(name, batch):
    """Streams in a batch, each with its own irregular Δt, give the results that they give alone."""
    cell = make(name)
    x, dt, start = case(cell, batch)
    dt[0, 3] = 0  # one stream has Δt = 0, the others do not
    outputs, states = cell(x, dt, start)
    for i in range(batch):
        alone, state = cell(x[i : i + 1], dt[i : i + 1], start[i : i + 1])
        near(outputs[i : i + 1], alone)
        near(states[i : i + 1], state)


@every_cell
def test_padding_steps_nothing(name):
    """Padded streams give the outputs and last states of unpadded ones, down to length 0."""
    cell = make(name)
    x, dt, start = case(cell, 4)
    lengths = [STEPS, 5, 0, 1]
    outputs, states = cell(x, dt, start, lengths=lengths)
    assert torch.equal(states[2], start[2])
    for i in (0, 1, 3):
        alone, state = cell(x[i : i + 1, : lengths[i]], dt[i : i + 1, : lengths[i]], start[i : i + 1])
        near(outputs[i : i + 1, : lengths[i]], alone)
        near(states[i : i + 1], state)


@every_cell
def test_no_time_changes_nothing(name):
    """Steps of Δt = 0 leave the state unchanged, bit by bit, and output it again."""
    cell = make(name)
    x, _, start = case(cell, 3)
    outputs, state = cell(x * 100, 0.0, start)
    assert torch.equal(state, start)
    if isinstance(cell, LinearCell):
        near(outputs, cell.read_out(start)[:, None].expand_as(outputs), atol=1e-6)
    elif cell.state_size:
        assert torch.equal(outputs, start[:, None, : cell.output_size].expand_as(outputs))


@every_cell
@pytest.mark.parametrize("stops", [(), (2,), (1,)], ids=["never", "end", "between"])
def test_gradients_are_those_of_finite_differences(name, stops):
    """Gradients with respect to input, state and Δt agree with finite differences."""
    cell = make(name, 3, 4).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    moved = torch.tensor([t not in stops for t in range(3)])
    dt = torch.full((2, 3), 0.4, dtype=torch.float64, requires_grad=True)
    state = (torch.randn(2, cell.state_size, dtype=torch.float64) * 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, dt, state: cell(x, dt * moved, state), (x, dt, state))


@every_cell
def test_wrong_shapes_are_refused(name):
    """Inputs, a state or lengths of a wrong shape are refused with the expected shape."""
    cell = make(name)
    x, dt, start = case(cell, 3)
    with pytest.raises(UsageError, match=rf"expected \(batch, steps, {INPUTS}\)"):
        cell(x[..., 1:], dt)
    with pytest.raises(UsageError, match=rf"state has shape .* expected \(3, {cell.state_size}\)"):
        cell(x, dt, torch.zeros(3, cell.state_size + 1))
    with pytest.raises(UsageError, match=r"lengths is \[1, 2\]; expected 3 whole numbers"):
        cell(x, dt, start, lengths=[1, 2])
    with pytest.raises(UsageError, match="lengths"):
        cell(x, dt, start, lengths=[1, 2, STEPS + 1])


@pytest.mark.parametrize("build", [CfC, GRU, LTC])
def test_a_wiring_is_for_the_conductance_form(build):
    """A wiring given to another cell than ConductanceLTC is refused with its name."""
    with pytest.raises(UsageError, match="is a Wiring; expected a whole number, 1 or more; only ConductanceLTC takes"):
        build(3, auto_ncp(3, 8, 2))


def test_a_mask_is_no_lengths():
    """Boolean values are refused as lengths."""
    with pytest.raises(UsageError, match=r"lengths is \[True, False\]; expected 2 whole numbers from 0 to 1"):
        GRU(3, 4)(torch.zeros(2, 1, 3), 0.1, lengths=[True, False])


@pytest.mark.parametrize("build", [CfC, GRU, LSTM, Memoryless])
def test_sizes_below_one_are_refused(build):
    """A width of 0 is refused with its name."""
    with pytest.raises(UsageError, match="input_size is 0; expected a whole number, 1 or more"):
        build(0, 3)
    with pytest.raises(UsageError, match=r"(units|hidden_size|output_size) is 0; expected a whole number, 1 or more"):
        build(3, 0)


def test_impossible_options_are_refused():
    """An unknown mode and a negative number of layers are refused."""
    with pytest.raises(UsageError, match="'gated'; expected one of default, pure, no_gate"):
        CfC(2, 2, mode="gated")
    with pytest.raises(UsageError, match="backbone_layers is -1"):
        CfC(2, 2, backbone_layers=-1)


@every_mode
def test_time_constants_are_those_of_the_steps_end(mode):
    """With longer steps the state moves as dx/dΔt = (x∞ - x) / τ, towards the limit for large Δt."""
    cell = make(f"cfc-{mode}-2").double()
    x, start = torch.randn(4, 1, INPUTS).double() * 2, torch.randn(4, UNITS).double()
    dt = torch.full((4,), 0.3, dtype=torch.float64)

    def at(seconds: torch.Tensor) -> torch.Tensor:
        return cell(x, seconds, start)[1]

    speed = (at(dt + 1e-5) - at(dt - 1e-5)) / 2e-5
    tau = cell(x, dt, start, return_time_constants=True)[2][:, 0]
    assert (tau > 0).all()
    torch.testing.assert_close((at(dt + 1e9) - at(dt)) / tau, speed, rtol=1e-6, atol=1e-9)


@every_mode
def test_a_gate_that_stands_still_has_a_finite_time_constant(mode):
    """With all weights 0 nothing moves, and the time constant is the maximum, 1e6 s."""
    cell = make(f"cfc-{mode}-0")
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    taus = cell(*case(cell, 2), return_time_constants=True)[2]
    near(taus, torch.full_like(taus, 1e6), atol=1)


@every_mode
@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize(("dtype", "steps", "atol"), [(torch.float32, 1, 1e-6), (torch.float64, STEPS, 1e-12)])
def test_cfc_is_that_of_ncps(mode, layers, dtype, steps, atol):
    """With weights of ncps 1.0.1, states and all gradients agree: one step in float32, a stream in float64."""
    from ncps.torch import CfCCell

    torch.manual_seed(0)
    theirs = CfCCell(INPUTS, UNITS, mode=mode, backbone_units=8, backbone_layers=layers).to(dtype)
    ours = CfC.from_ncps(theirs)
    x, dt, start = (given.to(dtype) for given in case(ours, 4))
    x, dt = x[:, :steps], dt[:, :steps]
    state, states = start, []
    for t in range(steps):
        _, state = theirs(x[:, t], state, dt[:, t : t + 1])
        states.append(state)
    outputs, last = ours(x, dt, start)
    near(outputs, torch.stack(states, 1), atol)
    near(last, state, atol)

    weights = torch.randn(outputs.shape, dtype=dtype)
    (torch.stack(states, 1) * weights).sum().backward()
    (outputs * weights).sum().backward()
    # Copying their gradients as if they were weights puts them into the order of ours.
    gradients = copy.deepcopy(theirs)
    for slot, parameter in zip(gradients.parameters(), theirs.parameters(), strict=True):
        slot.data = parameter.grad
    for name, expected in CfC.from_ncps(gradients).named_parameters():
        difference = (ours.get_parameter(name).grad - expected).abs().max()
        assert difference <= 10 * atol * expected.abs().max(), name


def test_a_whole_cfc_of_ncps_is_taken_over():
    """The cell of ncps' sequence layer is copied; steps of one second give the layer's default results."""
    import ncps.torch

    theirs = ncps.torch.CfC(INPUTS, UNITS, mode="no_gate", backbone_layers=2, backbone_dropout=0.5).double().eval()
    ours = CfC.from_ncps(theirs)
    x = torch.randn(3, STEPS, INPUTS, dtype=torch.float64)
    near(ours(x, 1.0)[0], theirs(x)[0], atol=1e-12)


def test_ncps_cells_that_are_more_than_a_cfc_are_refused():
    """A wiring, mixed memory, another activation and another kind of cell are refused, not partly copied."""
    import ncps.torch
    from ncps.wirings import AutoNCP

    with pytest.raises(UsageError, match="mixed memory; give its rnn_cell"):
        CfC.from_ncps(ncps.torch.CfC(INPUTS, UNITS, mixed_memory=True))
    with pytest.raises(UsageError, match="WiredCfCCell cannot be copied"):
        CfC.from_ncps(ncps.torch.CfC(INPUTS, AutoNCP(10, 3)))
    with pytest.raises(UsageError, match="SiLU; expected the activation lecun_tanh"):
        CfC.from_ncps(ncps.torch.CfC(INPUTS, UNITS, activation="silu"))
    with pytest.raises(UsageError, match="Linear cannot be copied"):
        CfC.from_ncps(nn.Linear(2, 2))


@every_mode
def test_mixed_memory_is_that_of_ncps(mode):
    """With weights of ncps 1.0.1, a CfC with mixed memory gives the same outputs, states and gradients."""
    import ncps.torch

    torch.manual_seed(0)
    theirs = ncps.torch.CfC(INPUTS, UNITS, mode=mode, mixed_memory=True).double()
    ours = MixedMemory(CfC.from_ncps(theirs.rnn_cell)).double()
    ours.inputs.load_state_dict(theirs.lstm.input_map.state_dict())
    ours.recurrent.load_state_dict(theirs.lstm.recurrent_map.state_dict())
    x, dt, start = (given.double() for given in case(ours, 3))
    # ncps takes irregular Δt only for a single stream, and several streams only at one second per step.
    for streams, timespans, seconds in ((3, None, 1.0), (1, dt[:1], dt[:1])):
        expected, (h, c) = theirs(x[:streams], start[:streams].chunk(2, -1), timespans=timespans)
        outputs, state = ours(x[:streams], seconds, start[:streams])
        near(outputs, expected, atol=1e-12)
        near(state, torch.cat([h, c], -1), atol=1e-12)
        (gradient,) = torch.autograd.grad(expected.sum(), theirs.lstm.recurrent_map.weight)
        (own,) = torch.autograd.grad(outputs.sum(), ours.recurrent.weight)
        near(own, gradient, atol=1e-12)


@pytest.mark.parametrize(("name", "theirs"), [("gru", nn.GRUCell), ("lstm", nn.LSTMCell)])
@every_stop
def test_gru_and_lstm_are_those_of_torch(name, theirs, stops):
    """torch's cells with the same weights, run frame by frame and skipped where Δt = 0, agree within 1e-6."""
    cell = make(name)
    reference = theirs(INPUTS, UNITS)
    reference.load_state_dict({key.removesuffix("_l0"): value for key, value in cell.layer.state_dict().items()})
    x, dt, start = case(cell, 3, stops=stops)
    state = tuple(start.chunk(2, -1)) if name == "lstm" else start
    outputs = []
    for t in range(STEPS):
        state = state if t in stops else reference(x[:, t], state)
        outputs.append(state[0] if name == "lstm" else state)
    got, last = cell(x, dt, start)
    near(got, torch.stack(outputs, 1), atol=1e-6)
    near(last, torch.cat(state, -1) if name == "lstm" else state, atol=1e-6)
