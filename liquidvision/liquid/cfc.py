"""The closed-form continuous-time cell, which steps over any Δt without a solver."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import Cell, Prepared, check_sizes, hold_at_zero_dt

MODES = ("default", "pure", "no_gate")
MAX_TIME_CONSTANT = 1e6  # seconds: a gate that does not move has none, and records need finite numbers


class CfC(Cell):
    """Closed-form continuous-time cell (Hasani et al., Nature Machine Intelligence 2022, arXiv 2106.13898).

    A backbone of linear layers, with the activation 1.7159 tanh(0.666 z) between them, maps input and state to heads
    as wide as the state. Time enters only after the heads. With Δt in seconds the new state is

        default   tanh(p) (1 - s) + tanh(q) s,  s = σ(a Δt + b): two targets with a gate between them,
                  the paper's sigmoidal time gates with the offset b of the authors' code
        no_gate   tanh(p) + tanh(q) s
        pure      A - A p exp(-Δt (|w| + |p|)): the solution that the gates approximate

    These are functions of Δt but not flows. Δt = 0 would move the state, so it is held constant there, and two steps
    do not equal one step of twice the length. Weights are initialised as in ncps 1.0.1; with the same weights, the
    results are those of ncps.

    Time constants: at the end of a step the state moves exactly as dx/dΔt = (x∞ - x) / τ, where x∞ is the limit of
    the step for large Δt. The rate 1 / τ is a s for a > 0 and -a (1 - s) for a < 0 (default, no_gate), and |w| + |p|
    (pure). The time constants describe how fast a step is, not how long the cell remembers: the old state acts only
    through the backbone. They are capped at 1e6 s.

    Args:
        input_size: width of an input.
        units: width of the state, which is also the output.
        mode: "default", "pure" or "no_gate".
        backbone_units: width of the backbone's layers.
        backbone_layers: number of backbone layers; 0 connects the heads directly to input and state.

    Raises:
        UsageError: an unknown mode, a size below 1, or a negative number of layers.
    """

    def __init__(
        self,
        input_size: int,
        units: int,
        *,
        mode: str = "default",
        backbone_units: int = 128,
        backbone_layers: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, units=units, backbone_units=backbone_units)
        if backbone_layers < 0:
            raise UsageError(f"backbone_layers is {backbone_layers}; expected 0 or more")
        if mode not in MODES:
            raise UsageError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
        self.input_size, self.units, self.output_size, self.state_size = input_size, units, units, units
        self.mode = mode
        heads = 1 if mode == "pure" else 4  # p; or p, q, a and b
        widths = [backbone_units] * backbone_layers + [heads * units]
        # The first layer takes [input, state]. The input's columns are separate, to be applied to all frames at once.
        self.inputs = nn.Linear(input_size, widths[0])
        self.recurrent = nn.Linear(units, widths[0], bias=False)
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(widths))
        if mode == "pure":
            self.rate = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, units))[0])  # w
            self.equilibrium = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, units))[0])  # A
        self._initialise(heads)

    @torch.no_grad()
    def _initialise(self, heads: int) -> None:
        """Draw Xavier uniform weights for every layer and head, each as one matrix, as ncps does."""
        joined = nn.Linear(self.input_size + self.units, self.inputs.out_features)
        stack = [joined, *(layer for layer in self.layers if isinstance(layer, nn.Linear))]
        for layer in stack:
            for part in layer.weight.chunk(heads if layer is stack[-1] else 1):
                nn.init.xavier_uniform_(part)
        self._split(joined)

    @torch.no_grad()
    def _split(self, joined: nn.Linear) -> None:
        """Set the first layer from a linear layer over [input, state]."""
        weight, state_weight = joined.weight.split([self.input_size, self.units], 1)
        self.inputs.weight.copy_(weight)
        self.inputs.bias.copy_(joined.bias)
        self.recurrent.weight.copy_(state_weight)

    @classmethod
    def from_ncps(cls, cell: nn.Module) -> "CfC":
        """Copy a cell of ncps 1.0.1: a `CfCCell`, or the cell of a `CfC`.

        Dropout and an output projection are not copied.

        Raises:
            UsageError: the cell has a wiring, mixed memory, or an activation other than lecun_tanh.
        """
        theirs: Any = getattr(cell, "rnn_cell", cell)
        if getattr(cell, "use_mixed", False):
            raise UsageError("this CfC has a mixed memory; give its rnn_cell, and wrap the result in MixedMemory")
        if not hasattr(theirs, "ff1") or theirs.sparsity_mask is not None:
            raise UsageError(f"a {type(theirs).__name__} cannot be copied; expected ncps' CfCCell without wiring")
        backbone = list(theirs.backbone or ())
        unknown = {type(part).__name__ for part in backbone} - {"Linear", "LeCun", "Dropout"}
        if unknown:
            raise UsageError(f"the backbone has {', '.join(sorted(unknown))}; expected the activation lecun_tanh")
        names = ("ff1",) if theirs.mode == "pure" else ("ff1", "ff2", "time_a", "time_b")
        heads = [getattr(theirs, name) for name in names]
        stack = [part for part in backbone if isinstance(part, nn.Linear)]
        own = cls(
            theirs.input_size,
            theirs.hidden_size,
            mode=theirs.mode,
            backbone_units=stack[0].out_features if stack else 1,
            backbone_layers=len(stack),
        ).to(theirs.ff1.weight)
        with torch.no_grad():
            last = nn.Linear(heads[0].in_features, len(heads) * own.units).to(theirs.ff1.weight)
            last.weight.copy_(torch.cat([head.weight for head in heads]))
            last.bias.copy_(torch.cat([head.bias for head in heads]))
            first, *rest = [*stack, last]
            own._split(first)
            for layer, given in zip(own.layers, rest, strict=True):
                layer.load_state_dict(given.state_dict())
            if own.mode == "pure":
                own.rate.copy_(theirs.w_tau[0])
                own.equilibrium.copy_(theirs.A[0])
        return own

    def prepare(self, x: Tensor) -> Prepared:
        return (self.inputs(x),)

    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = prepared[0] + self.recurrent(state)
        for layer in self.layers:
            z = layer(1.7159 * torch.tanh(0.666 * z))
        if self.mode == "pure":
            rate = self.rate.abs() + z.abs()
            new = self.equilibrium - self.equilibrium * z * torch.exp(-dt * rate)
        else:
            targets, a, b = z.split([2 * self.units, self.units, self.units], -1)
            p, q = torch.tanh(targets).chunk(2, -1)
            s = torch.sigmoid(a * dt + b)
            rate = torch.maximum(a * s, a * (s - 1))
            new = p + s * (q if self.mode == "no_gate" else q - p)
        new = hold_at_zero_dt(new, state, dt)
        return new, new, 1 / rate.clamp_min(1 / MAX_TIME_CONSTANT)
