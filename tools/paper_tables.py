"""Make Table 3 of the LTC paper (arXiv 2006.04439) again, set by set: these cells beside the published figures.

    python tools/paper_tables.py gesture --seeds 5 --work WORK
    python tools/paper_tables.py gesture --seeds 5 --work WORK --protocol leak-free [--save-json PATH]

The paper's protocol (its public code's splits, features, losses, measures, rates and batches of 16; an epoch is chosen
by validation) is the default. A window's steps last 1 each; LTC has 32 units and 6 unfolds, and every other model about
as many parameters. Unlike that code: positive parameters are a softplus, not clipped; weights of all cells but LSTM
start as this library's and torch's do, not as TensorFlow's; deviations are those of a sample. With `--inputs
standardised` every feature is standardised by the training rows, for all models alike.

Every finished run is kept in WORK/results.jsonl with its settings, and is not run again. DATA holds a folder by set, in
the layout of the authors' scripts; by default that is ../shared/data/timeseries beside the checkout.
"""

import argparse
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision.errors import UsageError
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.tables.data import PARTS, Series, standardised
from tools.tables.fit import Recipe, fit
from tools.tables.models import CELLS, LIQUID, Liquid, network, parameters
from tools.tables.report import KEY, RESULT_COLUMNS, Record, append, finished, make_result_rows, table
from tools.tables.sets import TASKS

DATA = Path(__file__).parents[2] / "shared" / "data" / "timeseries"


def load(name: str, protocol: str, inputs: str, folder: Path) -> Series:
    """Return a set's rows and windows.

    Raises:
        UsageError: the set has no such protocol, or its files are not there.
    """
    task = TASKS[name]
    if protocol not in task.protocols:
        raise UsageError(f"{name} has no protocol {protocol!r}; expected one of {', '.join(task.protocols)}")
    if not (folder / name).is_dir():
        raise UsageError(f"no folder {folder / name}; give one that holds {name}/ with --data")
    try:
        data = task.load(folder / name, protocol)
    except FileNotFoundError as error:
        raise UsageError(f"no file {error.filename}; {name} needs it") from None
    return standardised(data) if inputs == "standardised" else data


def collect_settings(options: argparse.Namespace, model: str, seed: int) -> Record:
    """Return all that decides a run's figures."""
    task = TASKS[options.set]
    settings = {
        "set": options.set,
        "protocol": options.protocol,
        "inputs": options.inputs,
        "model": model,
        "seed": seed,
        "epochs": options.epochs or task.epochs,
        "rate": options.rate or (task.liquid_rate if model in LIQUID else 0.001),
        "schedule": options.schedule or task.schedule,
        "units": options.units,
    }
    if model in LIQUID:
        liquid = Liquid(options.units, options.unfolds, options.solver, *options.tau)
        if model != "ltc":  # the other forms take one exponential step a frame
            liquid = replace(liquid, unfolds=1, solver="exponential")
        settings["liquid"] = asdict(liquid)
    return settings


def run(settings: Record, data: Series, *, verbose: bool = False) -> Record:
    """Train and measure one network from its seed on."""
    task, seed = TASKS[settings["set"]], settings["seed"]
    torch.manual_seed(seed)
    liquid = Liquid(**settings.get("liquid", {"units": settings["units"]}))
    net = network(settings["model"], data.x.shape[1], task.outputs, last=task.last, liquid=liquid)
    recipe = Recipe(settings["epochs"], settings["rate"], settings["schedule"])
    figures = fit(net, task, data, recipe, said=print if verbose else lambda _: None)
    return {KEY: settings, "parameters": parameters(net), **figures}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=TASKS)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with a folder by set")
    parser.add_argument("--work", type=Path, required=True, help="where results.jsonl is kept")
    parser.add_argument("--models", nargs="+", choices=CELLS, default=["ltc", "lstm", "gru", "cfc"])
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... up to this number")
    parser.add_argument("--protocol", default="paper", help="paper, leak-free, or another that the set has")
    parser.add_argument("--inputs", choices=("raw", "standardised"), default="raw", help="raw: as in the paper")
    parser.add_argument("--epochs", type=int, help="the paper's 200 by default; 25 for mnist")
    parser.add_argument("--rate", type=float, help="Adam's; the authors' by default")
    parser.add_argument("--schedule", choices=("constant", "cosine"), help="constant by default; cosine for mnist")
    parser.add_argument("--units", type=int, default=Liquid.units)
    parser.add_argument("--unfolds", type=int, default=Liquid.unfolds)
    parser.add_argument("--solver", choices=("fused", "exponential"), default=Liquid.solver)
    parser.add_argument(
        "--tau", type=float, nargs=2, default=(Liquid.fastest, Liquid.slowest), help="range at the start, in steps"
    )
    add_save_option(parser)
    parser.add_argument("--verbose", action="store_true", help="print every epoch")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    task, path = TASKS[options.set], options.work / "results.jsonl"
    try:
        data = load(options.set, options.protocol, options.inputs, options.data)
    except UsageError as error:
        raise SystemExit(f"paper_tables: {error}") from None
    windows = ", ".join(f"{len(getattr(data, part)):,} {part}" for part in PARTS)
    print(f"{options.set}, {options.protocol}: windows of {data.train.shape[1]} steps: {windows}", file=sys.stderr)
    wanted = [collect_settings(options, model, seed) for model in options.models for seed in range(options.seeds)]
    done = finished(path)
    for settings in wanted:
        if any(record[KEY] == settings for record in done):
            continue
        record = run(settings, data, verbose=options.verbose)
        append(path, record)
        done.append(record)
        found = f"test {record['test']:.4f} at epoch {record['best_epoch']}" if "test" in record else "diverged"
        print(f"{settings['model']}, seed {settings['seed']}: {found}, {record['seconds']} s", file=sys.stderr)
    records = [record for record in done if record[KEY] in wanted]
    print(table(records))
    rows = make_result_rows(records)
    save_result(options.save_json, make_result(f"{options.set}, {options.protocol}", RESULT_COLUMNS, rows))
    print(f"\nProtocol {options.protocol}: {task.protocols[options.protocol]}.")
    shared = [f"{data.shared(p, 'train'):,} of {len(getattr(data, p).unique()):,} rows of {p}" for p in PARTS[1:]]
    print(f"Training rows too: {', '.join(shared)}.")


if __name__ == "__main__":
    main()
