"""The conductance form of LTC, with dense or sparse wiring; imports weights from ncps."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from liquidvision.errors import UsageError
from liquidvision.liquid import dispatch
from liquidvision.liquid.cell import Prepared
from liquidvision.liquid.ltc import LiquidCell, Rates, log_uniform
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.wiring import Wiring, full

# The initial weights of a neuron's synapses from one layer sum to at most this, and to about half of it on average.
INITIAL_WEIGHT_SUM = 8.0


class Synapses(nn.Module):
    """Synapses from `sources` to `units`: Σ w σ(a (v - μ)) and Σ w E σ(a (v - μ)) per unit.

    With a dense wiring the parameters are (sources, units). With a sparse wiring they are (n,), one for each existing
    synapse, ordered by source, so that missing synapses cost nothing.

    Args:
        polarity: (sources, units), the initial sign of each synapse's reversal potential E; 0: no synapse.
        centre: range of the initial μ.
    """

    def __init__(self, polarity: np.ndarray, *, centre: tuple[float, float]) -> None:
        super().__init__()
        sign = torch.from_numpy(polarity.astype(np.float32))
        self.sources, self.units = sign.shape
        weight = torch.empty(sign.shape).uniform_(0.01, 1.0) * INITIAL_WEIGHT_SUM / (sign != 0).sum(0).clamp_min(1)
        pre, post = sign.nonzero(as_tuple=True)
        self.dense = len(pre) == sign.numel()
        if not self.dense:
            weight, sign = weight[pre, post], sign[pre, post]
        self.pre: Tensor  # source of each synapse; empty if dense
        self.register_buffer("pre", pre[:0] if self.dense else pre)
        self.post: Tensor  # unit of each synapse; empty if dense
        self.register_buffer("post", post[:0] if self.dense else post)
        self.raw_weight = nn.Parameter(inverse_softplus(weight))
        self.slope = nn.Parameter(torch.empty(weight.shape).uniform_(3, 8))  # a
        self.centre = nn.Parameter(torch.empty(weight.shape).uniform_(*centre))  # μ
        self.reversal = nn.Parameter(sign)  # E

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return total conductance Σ w s and current Σ w E s, (..., units) each, for potentials (..., sources)."""
        synapses = self.parameters_by_synapse()
        worth = dispatch.worth_compiling(source.numel() // self.sources)
        if worth and dispatch.kernels_apply(source, *self.parameters()):
            return dispatch.synapses(source, self.units, synapses)
        return self.sums(source, synapses)

    def sums(self, source: Tensor, synapses: dispatch.SynapseParameters) -> tuple[Tensor, Tensor]:
        """Compute the same in plain torch, from the result of `parameters_by_synapse`."""
        weight, slope, centre, reversal, pre, post = synapses
        if self.dense:
            open_ = weight * torch.sigmoid(slope * (source[..., None] - centre))
            return open_.sum(-2), (open_ * reversal).sum(-2)
        open_ = weight * torch.sigmoid(slope * (source[..., pre] - centre))
        zeros = open_.new_zeros(*open_.shape[:-1], self.units)
        return zeros.index_add(-1, post, open_), zeros.index_add(-1, post, open_ * reversal)

    def parameters_by_synapse(self) -> dispatch.SynapseParameters:
        """Return the parameters, with positive weights."""
        weight = functional.softplus(self.raw_weight)
        return dispatch.SynapseParameters(weight, self.slope, self.centre, self.reversal, self.pre, self.post)


class ConductanceLTC(LiquidCell):
    """LTC with membranes and synaptic conductances, the form of the authors' code (NCP, Nature MI 2020, Eqs. 1-3).

    cm dv/dt = g (vleak - v) + Σ w σ(a (v_pre - μ)) (E - v) + the same sum over the inputs, so that
    G = (g + Σ w s) / cm and G v∞ = (g vleak + Σ w s E) / cm. The effective time constant 1 / G lies between
    cm / (g + Σ w) and cm / g. v stays between the extremes of 0, vleak and E. g, w and cm are positive by construction:
    each is the softplus of a free parameter.

    cm / g is initialised log-uniformly over `tau` seconds. Synaptic weights are divided by their fan-in; otherwise the
    conductance of a wide input would leave no memory. Inputs and outputs pass through an elementwise scale and shift,
    which start as the identity.

    Args:
        input_size: width of an input.
        units: number of neurons, densely wired, or a `Wiring`, whose motor neurons are the output.
        tau: range of the initial cm / g in seconds.
        unfolds: see `LiquidCell`.
        solver: see `LiquidCell`.
        max_step: see `LiquidCell`.

    Raises:
        UsageError: as in `LiquidCell`, or a wiring for another number of inputs.
    """

    def __init__(
        self,
        input_size: int,
        units: int | Wiring,
        *,
        unfolds: int = 1,
        solver: str = "exponential",
        max_step: float | None = None,
        tau: tuple[float, float] = (0.05, 5.0),
    ) -> None:
        neurons = units.neurons if isinstance(units, Wiring) else units
        super().__init__(input_size, neurons, unfolds=unfolds, solver=solver, max_step=max_step)
        wiring = units if isinstance(units, Wiring) else full(input_size, units, seed=int(torch.randint(2**31, ())))
        if wiring.inputs != input_size:
            raise UsageError(f"the wiring has {wiring.inputs} inputs; the cell's input_size is {input_size}")
        self.output_size = wiring.outputs
        leak = torch.ones(neurons)
        self.raw_leak = nn.Parameter(inverse_softplus(leak))
        self.raw_capacitance = nn.Parameter(inverse_softplus(leak * log_uniform(neurons, *tau).exp()))
        self.leak_potential = nn.Parameter(torch.empty(neurons).uniform_(-0.2, 0.2))
        self.sensory = Synapses(wiring.sensory, centre=(-1.0, 1.0))
        self.recurrent = Synapses(wiring.recurrent, centre=(-0.5, 0.5))
        self.input_scale = nn.Parameter(torch.ones(input_size))
        self.input_shift = nn.Parameter(torch.zeros(input_size))
        self.output_scale = nn.Parameter(torch.ones(self.output_size))
        self.output_shift = nn.Parameter(torch.zeros(self.output_size))

    @property
    def leak(self) -> Tensor:
        """Leak conductance g (units,), in the unit of the synaptic weights."""
        return functional.softplus(self.raw_leak)

    @property
    def capacitance(self) -> Tensor:
        """Capacitance cm (units,), in seconds times the unit of g."""
        return functional.softplus(self.raw_capacitance)

    def prepare(self, x: Tensor) -> Prepared:
        return self.sensory(x * self.input_scale + self.input_shift)

    def rates(self, prepared: Prepared) -> Rates:
        leak, capacitance, synapses = self.leak, self.capacitance, self.recurrent.parameters_by_synapse()
        leak_total, leak_drive = leak + prepared[0], leak * self.leak_potential + prepared[1]

        def at(state: Tensor) -> tuple[Tensor, Tensor]:
            total, current = self.recurrent.sums(state, synapses)
            return (leak_total + total) / capacitance, (leak_drive + current) / capacitance

        return at

    def read_out(self, state: Tensor) -> Tensor:
        return state[..., : self.output_size] * self.output_scale + self.output_shift

    def run_compiled(self, prepared: Prepared, state: Tensor, dt: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        leak = self.leak
        neurons = leak, leak * self.leak_potential, self.capacitance
        exponential = self.solver == "exponential"
        return dispatch.conductance(
            prepared, state, dt, counts, neurons, self.recurrent.parameters_by_synapse(), exponential=exponential
        )


def inverse_softplus(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y > 0, without overflow for large y."""
    return y + torch.log(-torch.expm1(-y))


@torch.no_grad()
def from_ncps(module: Any) -> ConductanceLTC | MixedMemory:
    """Copy an `LTCCell` or `LTC` of ncps 1.0.1: wiring, weights, unfolds, solver and mixed memory.

    States, outputs and gradients agree with ncps at elapsed times above 0 (at 0, ncps gives NaN). Weights that the
    clipping of ncps has set to 0 become 1e-8.

    Raises:
        UsageError: another kind of module.
    """
    cell = getattr(module, "rnn_cell", module)
    values: dict[str, Tensor] = dict(getattr(cell, "_params", {}))
    if not {"gleak", "vleak", "cm", "sensory_sigma", "sparsity_mask"} <= set(values):
        raise UsageError(f"expected an LTC or LTCCell of ncps; got {type(module).__name__} (CfC.from_ncps takes a CfC)")

    def positive(name: str) -> Tensor:
        raw = values[name].detach()
        return (functional.softplus(raw) if cell._implicit_param_constraints else raw).clamp_min(1e-8)

    signs = [
        (values[f"{name}sparsity_mask"] * torch.where(values[f"{name}erev"] < 0, -1, 1)).cpu().numpy().astype(np.int8)
        for name in ("sensory_", "")
    ]
    ours = ConductanceLTC(
        cell.sensory_size, Wiring(signs[0], signs[1], cell.motor_size), unfolds=cell._ode_unfolds, solver="fused"
    )
    ours.to(values["gleak"].dtype)
    ours.raw_leak.copy_(inverse_softplus(positive("gleak")))
    ours.raw_capacitance.copy_(inverse_softplus(positive("cm")))
    ours.leak_potential.copy_(values["vleak"])
    for synapses, prefix in ((ours.sensory, "sensory_"), (ours.recurrent, "")):
        there = values[f"{prefix}sparsity_mask"] != 0
        for parameter, value in (
            (synapses.raw_weight, inverse_softplus(positive(f"{prefix}w"))),
            (synapses.slope, values[f"{prefix}sigma"]),
            (synapses.centre, values[f"{prefix}mu"]),
            (synapses.reversal, values[f"{prefix}erev"]),
        ):
            parameter.copy_(value if synapses.dense else value[there])
    for parameter, name in (
        (ours.input_scale, "input_w"),
        (ours.input_shift, "input_b"),
        (ours.output_scale, "output_w"),
        (ours.output_shift, "output_b"),
    ):
        if name in values:
            parameter.copy_(values[name])
    if not getattr(module, "use_mixed", False):
        return ours
    mixed = MixedMemory(ours).to(values["gleak"].dtype)
    mixed.inputs.load_state_dict(module.lstm.input_map.state_dict())
    mixed.recurrent.load_state_dict(module.lstm.recurrent_map.state_dict())
    return mixed
