"""The networks of the table: one recurrent layer and a linear readout, all with about as many parameters."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Cell
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC
from liquidvision.liquid.ltc import LTC, GatedLTC
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless


@dataclass(frozen=True)
class Liquid:
    """What liquid cells are made with; times count steps, as every step lasts 1.

    Attributes:
        units: of the conductance form, whose number of parameters the others are given.
        unfolds, solver: see `LiquidCell`.
        fastest, slowest: range of the time constants at the start; of Eq. 1 and the gated form: of what the gates,
            half open, leave of them (fastest) and of the leak (slowest).
    """

    units: int = 32
    unfolds: int = 6
    solver: str = "fused"
    fastest: float = 0.05
    slowest: float = 5.0


def conductance(inputs: int, size: int, liquid: Liquid) -> Cell:
    """The form that the authors' code runs."""
    tau = (liquid.fastest, liquid.slowest)
    return ConductanceLTC(inputs, size, unfolds=liquid.unfolds, solver=liquid.solver, tau=tau)


def lstm(inputs: int, size: int, _: Liquid) -> Cell:
    """LSTM with the start that it has in TensorFlow: Glorot's uniform weights over [input, state], forget bias 1."""
    cell = LSTM(inputs, size)
    bound = math.sqrt(6 / (inputs + size + 4 * size))
    for name, p in cell.layer.named_parameters():
        nn.init.zeros_(p) if "bias" in name else nn.init.uniform_(p, -bound, bound)
    nn.init.ones_(cell.layer.bias_ih_l0.data[size : 2 * size])  # torch's order of gates: input, forget, cell, output
    return cell


def gates(form: type[LTC]) -> Callable[[int, int, Liquid], Cell]:
    """Eq. 1 or the gated form, one step of exponential Euler a frame."""

    def make(inputs: int, size: int, liquid: Liquid) -> Cell:
        tau, gain = (liquid.slowest, 4 * liquid.slowest), (2 / liquid.slowest, 2 / liquid.fastest)
        return form(inputs, size, tau=tau, gain=gain)

    return make


CELLS: dict[str, tuple[str, Callable[[int, int, Liquid], Cell]]] = {
    "ltc": ("LTC, conductance form", conductance),
    "eq1": ("LTC, Eq. 1", gates(LTC)),
    "gated": ("LTC, gated", gates(GatedLTC)),
    "lstm": ("LSTM", lstm),
    "gru": ("GRU", lambda inputs, size, _: GRU(inputs, size)),
    "cfc": ("CfC", lambda inputs, size, _: CfC(inputs, size, backbone_units=size)),
    "memoryless": ("memoryless", lambda inputs, size, _: Memoryless(inputs, size)),
}
LIQUID = ("ltc", "eq1", "gated")


class Network(nn.Module):
    """A cell and a readout: x (batch, steps, inputs) to (batch, steps, outputs), or (batch, outputs) if `last`.

    The readout starts as TensorFlow's do: Glorot's uniform weights and no bias.
    """

    def __init__(self, cell: Cell, outputs: int, *, last: bool = False) -> None:
        super().__init__()
        self.cell, self.last = cell, last
        self.readout = nn.Linear(cell.output_size, outputs)
        nn.init.xavier_uniform_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x, 1.0)
        return self.readout(states[:, -1] if self.last else states)


def network(model: str, inputs: int, outputs: int, *, last: bool = False, liquid: Liquid | None = None) -> Network:
    """A network of about as many parameters as LTC with `liquid.units` neurons; weights by torch's seed."""
    liquid = liquid or Liquid()
    size = _size(model, inputs, outputs, *asdict(liquid).values())
    return Network(CELLS[model][1](inputs, size, liquid), outputs, last=last)


def parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in module.parameters())


@cache
def _size(model: str, inputs: int, outputs: int, *liquid: object) -> int:
    """The width that brings a model nearest to the conductance form's number of parameters."""
    settings = Liquid(*liquid)  # type: ignore[arg-type]
    if model == "ltc":
        return settings.units

    def count(name: str, size: int) -> int:
        return parameters(Network(CELLS[name][1](inputs, size, settings), outputs))

    with torch.random.fork_rng(devices=[]):
        target = count("ltc", settings.units)
        above = 1
        while count(model, above) < target:
            above *= 2
        below = above // 2
        while above - below > 1:
            middle = (above + below) // 2
            below, above = (middle, above) if count(model, middle) < target else (below, middle)
        return min(range(max(below, 1), above + 1), key=lambda size: abs(count(model, size) - target))
