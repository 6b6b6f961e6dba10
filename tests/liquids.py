"""Small seeded liquid cells of every form, inputs for them, and both paths through them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Cell
from liquidvision.liquid.conductance import ConductanceLTC, Synapses
from liquidvision.liquid.dispatch import plain_torch
from liquidvision.liquid.ltc import LTC, GatedLTC, LiquidCell
from liquidvision.liquid.wiring import auto_ncp

INPUTS, UNITS, STEPS = 5, 7, 9
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}


def wired(inputs: int, units: int, **options) -> ConductanceLTC:
    """Return the conductance form with a sparse wiring and two motor neurons."""
    return ConductanceLTC(inputs, auto_ncp(inputs, units, 2, seed=3), **options)


FORMS = {"ltc": LTC, "gated": GatedLTC, "conductance": ConductanceLTC, "wired": wired}
SOLVERS = ("exponential", "fused", "euler", "rk4")
every_form = pytest.mark.parametrize("form", FORMS)
bounded_solvers = pytest.mark.parametrize("solver", SOLVERS[:2])
every_solver = pytest.mark.parametrize("solver", SOLVERS)
both_paths = pytest.mark.parametrize("path", ["kernels", "plain"], indirect=True)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@contextmanager
def on_path(name: str) -> Iterator[str]:
    """Run cells on the path "plain" or "kernels" inside the block."""
    if name == "plain":
        with plain_torch():
            yield name
    else:
        assert dispatch.compiled_kernels() is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dispatch, "MIN_LOOPS", 0)  # use kernels for short calls, too
            yield name


def make(
    form: str,
    dtype: torch.dtype = torch.float64,
    *,
    inputs: int = INPUTS,
    units: int = UNITS,
    seed: int = 0,
    **options,
) -> LiquidCell:
    torch.manual_seed(seed)
    return FORMS[form](inputs, units, **options).to(dtype)


def case(cell: Cell, batch: int, *, steps: int = STEPS, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, irregular Δt with some 0, and a state that is not the initial one, in the cell's dtype."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, steps, cell.input_size, generator=generator)
    dt = torch.rand(batch, steps, generator=generator) * 0.5 + 0.01
    dt[:, 1::4] = 0
    state = torch.rand(batch, cell.state_size, generator=generator) * 0.4 - 0.2
    kind = cell.initial(1).dtype
    return x.to(kind), dt.to(kind), state.to(kind)


def matrix(synapses: Synapses, values: Tensor, missing: float = 0.0) -> Tensor:
    """Return values of synapses as (sources, units), with `missing` where there is no synapse."""
    if synapses.dense:
        return values.detach()
    spread = torch.full((synapses.sources, synapses.units), missing, dtype=values.dtype)
    spread[synapses.pre, synapses.post] = values.detach()
    return spread


def state_bounds(cell: LiquidCell) -> tuple[Tensor, Tensor]:
    """Return the interval that each unit's state must stay in."""
    zeros = torch.zeros(cell.units, dtype=next(cell.parameters()).dtype)
    if isinstance(cell, GatedLTC):
        return zeros - 1, zeros + 1
    if isinstance(cell, LTC):
        equilibria = [zeros, cell.equilibrium]
    else:
        layers = (cell.sensory, cell.recurrent)
        equilibria = [zeros, cell.leak_potential, *torch.cat([matrix(s, s.reversal) for s in layers])]
    extremes = torch.stack(equilibria).detach()
    return extremes.amin(0), extremes.amax(0)


def tau_bounds(cell: LiquidCell) -> tuple[Tensor, Tensor]:
    """Return the interval that each unit's effective time constant must stay in."""
    with torch.no_grad():
        if isinstance(cell, LTC):
            tau, gain = cell.log_tau.exp(), cell.log_gain.exp()
            return tau / (1 + tau * gain), tau
        layers = (cell.sensory, cell.recurrent)
        weights = sum(matrix(s, functional.softplus(s.raw_weight)).sum(0) for s in layers)
        return cell.capacitance / (cell.leak + weights), cell.capacitance / cell.leak


def near(got: Tensor, expected: Tensor, atol: float, rtol: float = 0.0) -> None:
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)
