"""Liquid time-constant networks: recurrent cells, wirings and traces.

All cells share the interface of `Cell`: outputs, state = cell(x, dt, state).
"""

from liquidvision.liquid.cell import Cell
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC, from_ncps
from liquidvision.liquid.dispatch import plain_torch
from liquidvision.liquid.gru_d import DecayGRU
from liquidvision.liquid.gru_dt import TimedGRU
from liquidvision.liquid.gru_no_reset import NoResetGRU
from liquidvision.liquid.gru_power import PowerGRU
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import LTC, GatedLTC, LiquidCell
from liquidvision.liquid.min_gru import MinGRU
from liquidvision.liquid.mixed import MixedMemory
from liquidvision.liquid.resonant import ResonantLTC
from liquidvision.liquid.scan import LinearCell
from liquidvision.liquid.selective import SelectiveSSM
from liquidvision.liquid.stepped_gru import SteppedGRU
from liquidvision.liquid.torch_cells import GRU, LSTM, Memoryless
from liquidvision.liquid.traces import Layout, Magnitudes, Traces
from liquidvision.liquid.wiring import Wiring, auto_ncp, full, ncp

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "LTC",
    "Cell",
    "CfC",
    "ConductanceLTC",
    "DecayGRU",
    "GatedLTC",
    "Layout",
    "LinearCell",
    "LiquidCell",
    "Magnitudes",
    "Memoryless",
    "MinGRU",
    "MixedMemory",
    "NoResetGRU",
    "PowerGRU",
    "ResonantLTC",
    "SelectiveSSM",
    "SteppedGRU",
    "TimedGRU",
    "Traces",
    "Wiring",
    "auto_ncp",
    "from_ncps",
    "full",
    "ncp",
    "plain_torch",
]
