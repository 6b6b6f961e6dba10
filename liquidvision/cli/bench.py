"""`liquidvision bench`: where the time goes on this machine, and how close `infer` comes to what it could do."""

import sys
from typing import TYPE_CHECKING

from liquidvision.cli.command import Messages, OldOption, Option, job_command
from liquidvision.cli.options import INPUT, OUTPUT, SHARED
from liquidvision.cli.startup import prepare_torch
from liquidvision.workflows.jobs import BenchJob

if TYPE_CHECKING:
    from liquidvision.workflows.bench import BenchResult

OPTIONS = {
    "source": Option(
        "A video file, or a folder or pattern of pictures. Default: a generated clip.", flags=(), metavar="SOURCE"
    ),
    "frames": Option("Measure the first N frames.", INPUT),
    "rounds": Option("Measure N times, and print the medians.", INPUT),
    **{name: SHARED[name] for name in ("rate", "deinterlace", "model", "device", "half", "codec")},
    "save_json": Option("Write the figures to this file.", OUTPUT, old=OldOption("--json")),
}


@job_command(BenchJob, OPTIONS)
def bench_command(job: BenchJob, messages: Messages) -> None:
    """Measure each stage of infer alone, and the whole, in turns.

    Examples: liquidvision bench clip.mp4 · liquidvision bench clip.mp4 -m my-model --device cpu
    """
    prepare_torch()
    from liquidvision.workflows.bench import run_bench

    result = run_bench(job, lambda: print(".", end="", file=sys.stderr, flush=True))
    print(file=sys.stderr)
    print_result(result)


def print_result(result: "BenchResult") -> None:
    """Print the tables."""
    measured = f"medians of {result.rounds} rounds of {result.frames} frames, {result.cores} cores"
    print(f"{result.clip}, model {result.model}: {measured}")
    print(f"{'stage, alone':24} CPU ms/frame")
    for stage, milliseconds in result.cpu.items():
        print(f"  {stage:22} {milliseconds:6.2f}")
    print(f"{'infer':24}   ms/frame   frames/s   bound, ms   of bound")
    rows = (("  video and records", result.video, True), ("  records alone", result.records, False))
    for name, milliseconds, video in rows:
        bound = result.bound(video=video)
        print(f"{name:24} {milliseconds:10.2f} {1000 / milliseconds:10.1f} {bound:11.2f} {bound / milliseconds:10.0%}")
    print("The bound is the CPU time of the stages, shared by all cores with nothing else to do.")
