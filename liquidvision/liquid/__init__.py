"""Liquid time-constant networks: recurrent cells, wirings and traces.

All cells share the interface of `Cell`: outputs, state = cell(x, dt, state).
"""

from liquidvision.liquid.cell import Cell
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC, from_ncps
from liquidvision.liquid.dispatch import plain_torch
from liquidvision.liquid.ltc import LTC, GatedLTC, LiquidCell
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless
from liquidvision.liquid.traces import Layout, Magnitudes, Traces
from liquidvision.liquid.wiring import Wiring, auto_ncp, full, ncp

__all__ = [
    "GRU",
    "LSTM",
    "LTC",
    "Cell",
    "CfC",
    "ConductanceLTC",
    "GatedLTC",
    "Layout",
    "LiquidCell",
    "Magnitudes",
    "Memoryless",
    "MixedMemory",
    "Traces",
    "Wiring",
    "auto_ncp",
    "from_ncps",
    "full",
    "ncp",
    "plain_torch",
]
