"""Cells that are linear in their state and GRUs that see Δt: exactness in time, both paths, and known special cases."""

import pytest
import torch
from liquids import both_dtypes, near
from torch import nn

from liquidvision.errors import UsageError
from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell
from liquidvision.liquid.gru_d import DecayGRU
from liquidvision.liquid.gru_dt import TimedGRU
from liquidvision.liquid.gru_no_reset import NoResetGRU
from liquidvision.liquid.gru_power import PowerGRU
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import GatedLTC
from liquidvision.liquid.min_gru import MinGRU
from liquidvision.liquid.resonant import ResonantLTC
from liquidvision.liquid.scan import LinearCell
from liquidvision.liquid.selective import SelectiveSSM
from liquidvision.liquid.torch_cells import GRU, LSTM

INPUTS, UNITS, BATCH, STEPS = 5, 6, 3, 21
LINEAR = {"selective": SelectiveSSM, "resonant": ResonantLTC, "lru": LRU, "min-gru": MinGRU}
FLOWS = [SelectiveSSM, ResonantLTC, LRU]
every_linear_cell = pytest.mark.parametrize("name", LINEAR)
every_flow = pytest.mark.parametrize("build", FLOWS)
exact = {torch.float64: 1e-12, torch.float32: 2e-6}


def case(cell: Cell, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    """Return inputs, irregular Δt with some 0, and a state that is not the initial one."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, STEPS, cell.input_size, generator=generator)
    dt = torch.rand(BATCH, STEPS, generator=generator) * 0.3 + 0.01
    dt[:, 4::7] = 0
    state = torch.rand(BATCH, cell.state_size, generator=generator) - 0.5
    return x.to(dtype), dt.to(dtype), state.to(dtype)


def make(build: type[Cell], dtype: torch.dtype = torch.float64, **options) -> Cell:
    torch.manual_seed(0)
    return build(INPUTS, UNITS, **options).to(dtype)


@every_linear_cell
@both_dtypes
def test_the_kernel_gives_what_plain_torch_gives(name, dtype, monkeypatch):
    """Outputs, states and all gradients of the compiled scan are those of plain torch, and of steps one by one."""
    cell = make(LINEAR[name], dtype)
    x, dt, start = case(cell, dtype)
    weights = torch.randn(BATCH, STEPS, cell.output_size, dtype=dtype)
    used = []
    in_parallel = dispatch.run_in_parallel
    monkeypatch.setattr(dispatch, "run_in_parallel", lambda *given: used.append(1) or in_parallel(*given))

    def run() -> list[torch.Tensor]:
        given = [x.clone().requires_grad_(), dt.clone().requires_grad_(), start.clone().requires_grad_()]
        outputs, state = cell(*given)
        loss = (outputs * weights).sum() + state.square().sum()
        moving = [given[0], given[2], *cell.parameters()]
        grads = torch.autograd.grad(loss, moving if name == "min-gru" else [given[1], *moving])
        return [outputs.detach(), state.detach(), *grads]

    compiled = run()
    assert len(used) == 2  # forward and backward
    with dispatch.plain_torch():
        plain = run()
        prepared, state, outputs = cell.prepare(x), start, []
        for t in range(STEPS):
            output, state, _ = cell.advance(tuple(p[:, t] for p in prepared), state, dt[:, t : t + 1])
            outputs.append(output)
    assert len(used) == 2
    for got, expected in zip(compiled, plain, strict=True):
        near(got, expected, 10 * exact[dtype], rtol=10 * exact[dtype])
    near(compiled[0], torch.stack(outputs, 1).detach(), 10 * exact[dtype])


@every_linear_cell
def test_plain_torch_has_second_derivatives(name):
    """In plain torch the scan can be differentiated twice."""
    cell = make(LINEAR[name])
    x = torch.randn(1, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    with dispatch.plain_torch():
        assert torch.autograd.gradgradcheck(lambda x: cell(x, 0.2)[0], (x,))


@every_flow
@both_dtypes
def test_two_steps_are_one_of_twice_the_length(build, dtype):
    """While the input is held, any division of the elapsed time gives the same state."""
    cell = make(build, dtype)
    x, _, start = case(cell, dtype)
    once = cell(x[:, :1], 0.7, start)[1]
    parts = torch.tensor([0.1, 0.35, 0.05, 0.2], dtype=dtype).expand(BATCH, 4)
    near(cell(x[:, :1].expand(-1, 4, -1), parts, start)[1], once, exact[dtype])


@every_flow
def test_a_held_input_is_reached(build):
    """After a long time with one input, the state no longer depends on where it began."""
    cell = make(build)
    x, _, start = case(cell)
    near(cell(x[:, :1], 1e4, start)[1], cell(x[:, :1], 1e4)[1], 1e-12)


@pytest.mark.parametrize("build", [LRU, ResonantLTC])
def test_a_free_oscillator_turns_and_decays(build):
    """Without drive, a unit's phase turns by ωΔt and its magnitude falls with its time constant, at any frame rate."""
    cell = make(build)
    for parameter in cell.inputs.parameters():
        nn.init.zeros_(parameter)
    x, dt, start = case(cell)
    _, state, taus = cell(x, dt, start, return_time_constants=True)
    exponent = torch.complex(-(dt[..., None] / taus).sum(1), cell.log_omega.exp() * dt.sum(1, keepdim=True))
    expected = torch.complex(*start.chunk(2, -1)) * torch.exp(exponent)
    near(state, torch.cat([expected.real, expected.imag], -1), 1e-12)


def test_the_selective_cell_is_a_gated_ltc_without_recurrence():
    """With its recurrent weights 0, the gated LTC is the selective state space."""
    gated, cell = make(GatedLTC), make(SelectiveSSM)
    gated.load_state_dict({**gated.state_dict(), **cell.state_dict()})
    nn.init.zeros_(gated.recurrent.weight)
    x, dt, start = case(cell)
    for got, expected in zip(
        cell(x, dt, start, return_time_constants=True), gated(x, dt, start, return_time_constants=True), strict=True
    ):
        near(got, expected, 1e-12)


@pytest.mark.parametrize("build", [SelectiveSSM, ResonantLTC])
def test_time_constants_stay_between_their_bounds(build):
    """An open gate gives τ / (1 + τ k), a shut one τ, and nothing lies beyond, for inputs of any size."""
    cell = make(build)
    x, dt, start = case(cell)
    taus = cell(1e6 * x, dt, start, return_time_constants=True)[2]
    tau, gain = cell.log_tau.exp(), cell.log_gain.exp()
    shortest = tau / (1 + tau * gain)
    assert (taus >= shortest * (1 - 1e-9)).all() and (taus <= tau * (1 + 1e-9)).all()
    assert torch.isclose(taus, shortest).any() and torch.isclose(taus, tau).any()


def test_min_gru_is_its_formula():
    """minGRU mixes the old state with a candidate, both weights of the input alone."""
    cell = make(MinGRU)
    x, _, h = case(cell)
    outputs, last = cell(x, 0.1, h)
    for t in range(STEPS):
        gate, candidate = cell.inputs(x[:, t]).chunk(2, -1)
        h = (1 - torch.sigmoid(gate)) * h + torch.sigmoid(gate) * candidate
        near(outputs[:, t], h, 1e-12)
    near(last, h, 1e-12)


def as_torch_gru(cell: Cell) -> nn.GRU:
    """Return torch's GRU with the weights of a `SteppedGRU`, whose gates are in another order."""
    layer = nn.GRU(INPUTS, UNITS, batch_first=True).double()
    for name, part in (("ih", cell.inputs), ("hh", cell.recurrent)):
        for kind, values in (("weight", part.weight), ("bias", part.bias)):
            z, n, r = values.detach().chunk(3)
            getattr(layer, f"{kind}_{name}_l0").data = torch.cat([r, z, n])
    return layer


def test_the_power_of_one_is_a_gru():
    """At Δt = Δ0 the GRU with a power is torch's GRU; two shorter steps keep as much as one with the candidate held."""
    cell = make(PowerGRU, step=0.3)
    x, _, start = case(cell)
    expected, last = as_torch_gru(cell)(x, start[None])
    outputs, state = cell(x, 0.3, start)
    near(outputs, expected, 1e-12)
    near(state, last[0], 1e-12)
    gate = torch.randn(4, UNITS, dtype=torch.float64)
    near(cell.keep(gate, torch.tensor(0.1)) * cell.keep(gate, torch.tensor(0.5)), torch.sigmoid(gate) ** 2, 1e-7)


def test_gru_d_without_decay_is_a_gru():
    """With its decay 0, GRU-D is torch's GRU; with it, it is a GRU whose state faded by exp(-Δt/τ) before the step."""
    cell = make(DecayGRU)
    x, _, start = case(cell)
    faded = torch.exp(-0.2 * cell.decay_weight) * start
    near(cell(x[:, :1], 0.2, start)[1], as_torch_gru(cell)(x[:, :1], faded[None].detach())[1][0], 1e-12)
    nn.init.zeros_(cell.decay_weight)
    near(cell(x, 0.2, start)[0], as_torch_gru(cell)(x, start[None])[0], 1e-12)


def test_a_gru_with_dt_reads_its_logarithm():
    """The GRU with Δt is torch's GRU on inputs that end with log Δt."""
    cell = make(TimedGRU)
    x, _, start = case(cell)
    dt = torch.rand(BATCH, STEPS, dtype=torch.float64) + 0.01
    near(cell(x, dt, start)[0], cell.layer(torch.cat([x, dt[..., None].log()], -1), start[None])[0], 1e-12)


def test_a_gru_without_reset_sees_its_whole_state():
    """Without the reset gate, the candidate is tanh(W I + U h + b)."""
    cell = make(NoResetGRU)
    x, _, h = case(cell)
    z, n = (cell.inputs(x[:, 0]) + cell.recurrent(h)).chunk(2, -1)
    near(cell(x[:, :1], 0.1, h)[1], torch.lerp(torch.tanh(n), h, torch.sigmoid(z)), 1e-12)


@pytest.mark.parametrize("build", [GRU, TimedGRU, LSTM, PowerGRU, DecayGRU, NoResetGRU])
def test_chrono_initialisation_spreads_the_memory(build):
    """With chrono, the gates that keep start between 1/2 and 1 - 1/(longest) for an input and a state of 0."""
    torch.manual_seed(0)
    cell = build(3, 400, chrono=100.0)
    if isinstance(cell, GRU | LSTM):
        biases = (cell.layer.bias_ih_l0 + cell.layer.bias_hh_l0)[400:800]
    else:
        biases = (cell.inputs.bias + cell.recurrent.bias)[:400]
    frames = 1 / (1 - torch.sigmoid(biases))
    assert 2 <= frames.min() < 6 and 90 < frames.max() <= 100
    if isinstance(cell, LSTM):
        near(cell.layer.bias_ih_l0[:400], -biases, 1e-6)
    for wrong in (2.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=r"chrono is .*; expected a number of frames above 2"):
            build(3, 4, chrono=wrong)


def test_short_streams_do_not_need_the_kernel(monkeypatch):
    """A stream that arrives frame by frame compiles nothing."""
    monkeypatch.setattr(dispatch, "compiled_kernels", lambda: pytest.fail("kernels were asked for"))
    for build in LINEAR.values():
        cell = make(build)
        assert isinstance(cell, LinearCell)
        with torch.inference_mode():
            x, _, state = case(cell)
            cell.step(x[:, 0], 0.1, state)
