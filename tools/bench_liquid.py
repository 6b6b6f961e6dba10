"""Time the liquid cells beside ncps and torch's LSTM and GRU, in turns in one run, with the peak memory of training.

    python tools/bench_liquid.py --rounds 15 [--save-json PATH]

Sequences of 64 steps, 64 inputs, 64 units, 6 unfolds unless the name says otherwise: one stream frame by frame and in
one call, without gradients, and a training step of 32 streams, forward and backward. Needs `pip install -e '.[test]'`
(ncps) and, for torch.compile, a C++ compiler.
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import ncps.torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn

from liquidvision.liquid.cell import Cell
from liquidvision.liquid.cfc import CfC
from liquidvision.liquid.conductance import ConductanceLTC
from liquidvision.liquid.dispatch import plain_torch
from liquidvision.liquid.gru_d import DecayGRU
from liquidvision.liquid.gru_dt import TimedGRU
from liquidvision.liquid.gru_no_reset import NoResetGRU
from liquidvision.liquid.gru_power import PowerGRU
from liquidvision.liquid.lru import LRU
from liquidvision.liquid.ltc import LTC, GatedLTC
from liquidvision.liquid.min_gru import MinGRU
from liquidvision.liquid.resonant import ResonantLTC
from liquidvision.liquid.selective import SelectiveSSM
from liquidvision.liquid.traces import Layout, Magnitudes
from liquidvision.liquid.wiring import auto_ncp
from tools.benchmark_results import Result, add_save_option, make_result, save_result

INPUTS, UNITS, STEPS, UNFOLDS, BATCH = 64, 64, 64, 6, 32
TITLES = {"single": "one frame a call", "streaming": f"{STEPS} frames in one call", "training": "training step"}
DIGITS = {"single": 3, "streaming": 2, "training": 2}
Run = Callable[[Tensor], Tensor]


def ours(make: Callable[[], Cell]) -> Callable[[], tuple[nn.Module, Run]]:
    def made() -> tuple[nn.Module, Run]:
        cell = make()
        return cell, lambda x: cell(x, 0.04)[0]

    return made


def plain(make: Callable[[], Cell], *, compiled: bool = False) -> Callable[[], tuple[nn.Module, Run]]:
    """The path without kernels, as on a machine without numba, or with one step compiled by torch.compile."""

    def made() -> tuple[nn.Module, Run]:
        cell = make()
        advance = torch.compile(cell.advance) if compiled else cell.advance

        def run(x: Tensor) -> Tensor:
            with plain_torch():
                prepared, state = cell.prepare(x), cell.initial(len(x))
                dt, outputs = x.new_full((len(x), 1), 0.04), []
                for frame in zip(*(p.unbind(1) for p in prepared), strict=True):
                    output, state, _ = advance(frame, state, dt)
                    outputs.append(output)
                return torch.stack(outputs, 1)

        return cell, run

    return made


def theirs(make: Callable[[], nn.Module]) -> Callable[[], tuple[nn.Module, Run]]:
    def made() -> tuple[nn.Module, Run]:
        module = make()
        return module, lambda x: module(x)[0]

    return made


def conductance() -> Cell:
    return ConductanceLTC(INPUTS, UNITS, unfolds=UNFOLDS, solver="fused")


RIVALS: dict[str, Callable[[], tuple[nn.Module, Run]]] = {
    "ncps 1.0.1 LTC": theirs(lambda: ncps.torch.LTC(INPUTS, UNITS, ode_unfolds=UNFOLDS)),
    "ConductanceLTC": ours(conductance),
    "ConductanceLTC, plain torch": plain(conductance),
    "ConductanceLTC, torch.compile": plain(conductance, compiled=True),
    "ConductanceLTC, 1 unfold": ours(lambda: ConductanceLTC(INPUTS, UNITS)),
    "ConductanceLTC, AutoNCP": ours(
        lambda: ConductanceLTC(INPUTS, auto_ncp(INPUTS, UNITS, 8), unfolds=UNFOLDS, solver="fused")
    ),
    "LTC, Eq. 1": ours(lambda: LTC(INPUTS, UNITS, unfolds=UNFOLDS)),
    "LTC, Eq. 1, plain torch": plain(lambda: LTC(INPUTS, UNITS, unfolds=UNFOLDS)),
    "GatedLTC, 1 unfold": ours(lambda: GatedLTC(INPUTS, UNITS)),
    "ncps 1.0.1 CfC": theirs(lambda: ncps.torch.CfC(INPUTS, UNITS)),
    "CfC": ours(lambda: CfC(INPUTS, UNITS)),
    "SelectiveSSM": ours(lambda: SelectiveSSM(INPUTS, UNITS)),
    "ResonantLTC": ours(lambda: ResonantLTC(INPUTS, UNITS)),
    "LRU": ours(lambda: LRU(INPUTS, UNITS)),
    "MinGRU": ours(lambda: MinGRU(INPUTS, UNITS)),
    "TimedGRU": ours(lambda: TimedGRU(INPUTS, UNITS)),
    "DecayGRU": ours(lambda: DecayGRU(INPUTS, UNITS)),
    "PowerGRU": ours(lambda: PowerGRU(INPUTS, UNITS)),
    "NoResetGRU": ours(lambda: NoResetGRU(INPUTS, UNITS)),
    "torch LSTM": theirs(lambda: nn.LSTM(INPUTS, UNITS, batch_first=True)),
    "torch GRU": theirs(lambda: nn.GRU(INPUTS, UNITS, batch_first=True)),
}


def stream(name: str, steps: int = STEPS) -> Callable[[], None]:
    _, run = RIVALS[name]()
    x = torch.randn(1, steps, INPUTS)

    def once() -> None:
        with torch.inference_mode():
            run(x)

    return once


def train(name: str) -> Callable[[], None]:
    module, run = RIVALS[name]()
    x = torch.randn(BATCH, STEPS, INPUTS)

    def once() -> None:
        module.zero_grad()
        run(x).square().mean().backward()

    return once


def frame_of_traces() -> Callable[[], None]:
    """One frame through the traces of a MobileNetV2 embedding: 1,280 global channels and 96 on a 3 x 3 grid, six τ."""
    traces = Magnitudes([Layout(1280, 1), Layout(96, 9)], (0.05, 0.1, 0.2, 0.4, 0.8, 1.6))
    x = torch.randn(1, 1, traces.input_size)
    state = traces(x, 0.04)[1]

    def once() -> None:
        with torch.inference_mode():
            traces(x, 0.04, state)

    return once


def in_turns(jobs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each job; every round runs all of them once.

    On one thread it is the CPU's time, which other programs on the machine hardly change.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # compiles, allocates
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            begun = clock()
            job()
            taken[name].append(1e3 * (clock() - begun))
    return {name: statistics.median(times) for name, times in taken.items()}


def measure_peak_in_subprocess(name: str) -> float:
    """Return the megabytes that a training step allocates beyond what was used before, in a process of its own."""
    return float(subprocess.check_output([sys.executable, __file__, "--peak", name], text=True))


def measure_peak(name: str) -> float:
    step = train(name)
    RIVALS[name]()[1](torch.randn(1, 2, INPUTS)).sum().backward()  # loads what is compiled
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    step()
    return (resident("VmHWM") - before) / 1024


def resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def print_table(title: str, times: dict[str, float], yardstick: str) -> None:
    print(f"\n| {title} | ms | ncps's time is | torch LSTM's time, times |\n|---|---|---|---|")
    for name, ms in times.items():
        print(f"| {name} | {ms:.3f} | {times[yardstick] / ms:.1f} x | {ms / times['torch LSTM']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="on one, CPU time is measured")
    add_save_option(parser)
    parser.add_argument("--peak", choices=list(RIVALS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch._inductor")
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.peak:
        print(measure_peak(options.peak))
        return
    yardstick = "ncps 1.0.1 LTC"
    streaming = in_turns({name: stream(name) for name in RIVALS}, options.rounds)
    print_table(TITLES["streaming"], streaming, yardstick)
    training = in_turns({name: train(name) for name in RIVALS}, options.rounds)
    print_table(f"training step, {BATCH} x {STEPS}", training, yardstick)
    sigmoids = STEPS * UNITS * (INPUTS + UNFOLDS * UNITS)
    ms = streaming["ConductanceLTC"]
    print(f"\n{sigmoids:,} sigmoids a stream: {1e6 * ms / sigmoids:.2f} ns each, all other work included")
    values = torch.randn(sigmoids)
    alone = in_turns({"sigmoid": lambda: torch.sigmoid(values)}, options.rounds)["sigmoid"]
    print(f"torch.sigmoid alone on as many numbers: {alone:.2f} ms")
    single = in_turns({name: stream(name, 1) for name in RIVALS if "torch.compile" not in name}, 200)
    print_table(TITLES["single"], single, yardstick)
    print(f"traces, one frame of 2,144 with six time constants: {in_turns({'t': frame_of_traces()}, 50)['t']:.3f} ms")
    print("\n| peak memory of the training step | MB |\n|---|---|")
    peaks = {}
    for name in (yardstick, "ConductanceLTC", "ConductanceLTC, plain torch", "torch LSTM"):
        peaks[name] = measure_peak_in_subprocess(name)
        print(f"| {name} | {peaks[name]:.0f} |")
    times = {"single": single, "streaming": streaming, "training": training}
    save_result(options.save_json, collect(times, peaks, yardstick))


def collect(times: dict[str, dict[str, float]], peaks: dict[str, float], yardstick: str) -> Result:
    """Return milliseconds by cell, beside ncps's LTC and torch's LSTM, and peak memory where it was measured.

    Args:
        times: milliseconds by cell, by what was measured, see `TITLES`.
        peaks: megabytes by cell.
        yardstick: name of ncps's LTC.
    """
    columns = []
    for kind in times:
        columns += [
            {"key": f"{kind}_ms", "title": f"{TITLES[kind]}, ms", "digits": DIGITS[kind]},
            {"key": f"{kind}_ncps", "title": "ncps takes", "digits": 1, "suffix": " x"},
            {"key": f"{kind}_lstm", "title": "times LSTM", "digits": 1},
        ]
    columns.append({"key": "peak_mb", "title": "peak memory of training, MB", "digits": 0})
    rows = []
    for name in RIVALS:
        row: dict[str, str | float | None] = {"name": name, "peak_mb": peaks.get(name)}
        for kind, found in times.items():
            ms = found.get(name)
            if ms is None:
                continue
            row |= {f"{kind}_ms": ms, f"{kind}_ncps": found[yardstick] / ms, f"{kind}_lstm": ms / found["torch LSTM"]}
        rows.append(row)
    title = f"Liquid cells beside ncps, LSTM and GRU: {INPUTS} inputs, {UNITS} units, {STEPS} steps, {UNFOLDS} unfolds"
    return make_result(title, columns, rows)


if __name__ == "__main__":
    main()
