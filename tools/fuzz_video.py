"""Feeds damaged videos to `liquidvision infer` and keeps whatever ends otherwise than it should.

python tools/fuzz_video.py --minutes 10 [--seed 0] [--data DATA] [--findings FOLDER]
python tools/fuzz_video.py --replay FOLDER/123

Every input is a real file with flipped bits, cuts, splices or wrong header fields, and runs in a
child forked from a process that has everything loaded, for 20 s and 4 GiB at most. A fault is a
crash, a hang, a traceback or anything else but one clear line, an exit code that is none of 0 to 3,
or a file under its final name that does not decode to as many frames as there are records.

Case n is a function of n and of the sorted list of files (those of DATA that hold video, up to --largest bytes); see
tools/fuzz/mutate.py. Linux only, as it forks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a process with threads cannot be forked

import av

from liquidvision import Model
from liquidvision.video.read import VIDEO_SUFFIXES
from tools import forked
from tools.fuzz.mutate import Case, draw, make
from tools.fuzz.trial import try_case
from tools.tiny import tiny_model

DATA = Path(__file__).parents[2] / "shared" / "data" / "testvideos"


def main() -> None:
    options = parser().parse_args()
    model = tiny_model()
    forked.prepare()
    with tempfile.TemporaryDirectory() as work:
        if options.replay:
            faults = replay(options.replay, model, Path(work))
            print("\n".join(faults) or "no fault")
        else:
            files = videos(options.data, options.largest)
            print(f"{len(files)} files of {options.data}", flush=True)
            faults = fuzz(files, model, Path(work), options)
    sys.exit(1 if faults else 0)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0, help="how long")
    options.add_argument("--inputs", type=int, help="stop after this number of inputs")
    options.add_argument("--seed", type=int, default=0, help="number of the first case")
    options.add_argument("--data", type=Path, default=DATA, help="folder of videos to damage")
    options.add_argument("--largest", type=int, default=1_500_000, help="bytes of the largest file to take")
    options.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="folder for what went wrong")
    options.add_argument("--replay", type=Path, help="one finding's folder, to run it again")
    return options


def videos(folder: Path, largest: int) -> list[Path]:
    """The videos below a folder that are small enough, sorted; what holds only sound is left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.stat().st_size <= largest:
            with av.open(str(path), metadata_errors="replace") as container:
                found += [path] if container.streams.video else []
    return found


def fuzz(files: list[Path], model: Model, work: Path, options: argparse.Namespace) -> list[str]:
    """Try one case after another; the faults, each with its case's number."""
    started, codes, found, seed = time.monotonic(), Counter[str](), [], options.seed
    contents = {path: path.read_bytes() for path in files}
    while time.monotonic() - started < 60 * options.minutes and seed - options.seed != options.inputs:
        first, second = draw(seed, files)
        case = make(seed, contents[first], contents[second])
        code, faults = try_case(case, first.name, model, work / "case")
        codes[str(code)] += 1
        if faults:
            found += [f"{seed}: {fault}" for fault in faults]
            keep(options.findings / str(seed), case, first, second, faults, options.data)
            print(f"{seed} {first.name} {'+'.join(case.changes)}: {'; '.join(faults)}", flush=True)
        seed += 1
        if (seed - options.seed) % 500 == 0:
            print_progress(seed - options.seed, started, found, codes)
    print_progress(seed - options.seed, started, found, codes)
    return found


def print_progress(inputs: int, started: float, found: list[str], codes: Counter[str]) -> None:
    """How far it is."""
    seconds = time.monotonic() - started
    print(f"{inputs} inputs, {seconds:.0f} s, {len(found)} faults, exit codes {dict(codes)}", flush=True)


def keep(folder: Path, case: Case, first: Path, second: Path, faults: list[str], data: Path) -> None:
    """Write a finding so that it can be run again: the input, and how it came about."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / first.name).write_bytes(case.data)
    facts = {
        "seed": case.seed,
        "first": str(first.relative_to(data)),
        "second": str(second.relative_to(data)),
        "changes": case.changes,
        "options": case.options,
        "suffix": case.suffix,
        "faults": faults,
    }
    (folder / "finding.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def replay(folder: Path, model: Model, work: Path) -> list[str]:
    """Run a finding again; its faults."""
    facts = json.loads((folder / "finding.json").read_text(encoding="utf-8"))
    name = Path(facts["first"]).name
    data = (folder / name).read_bytes()
    case = Case(facts["seed"], data, tuple(facts["changes"]), tuple(facts["options"]), facts["suffix"])
    code, faults = try_case(case, name, model, work / "case")
    print(f"exit code {code}")
    return faults


if __name__ == "__main__":
    main()
