"""`liquidvision bench`: where the time goes on this machine, and how near `infer` comes to what it could do."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from liquidvision.cli.startup import import_torch
from liquidvision.errors import SinkError


def bench_command(
    source: Annotated[
        str | None, typer.Argument(help="A video file. Default: a made-up one.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.")
    ] = "objects",
    frames: Annotated[int, typer.Option(help="Take so many frames.")] = 300,
    rounds: Annotated[int, typer.Option(help="Measure so often; medians are told.")] = 3,
    codec: Annotated[str, typer.Option(help="As of infer.")] = "h264",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="As of infer.")] = False,
    save_json: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.", show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Time each stage of infer alone, and the whole, in one run.

    Examples: liquidvision bench clip.mp4 · liquidvision bench clip.mp4 -m my-model --device cpu
    """
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import torch

    from liquidvision.models.model import Model
    from liquidvision.workflows.bench import BenchResult, make_clip, run_bench

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # as infer does
    loaded = Model.from_pretrained(model, device=device, half=half)
    with TemporaryDirectory() as folder:
        path = Path(source) if source is not None else make_clip(Path(folder) / "made-up.mp4")

        def tell() -> None:
            print(".", end="", file=sys.stderr, flush=True)

        found: BenchResult = run_bench(path, loaded, frames=frames, rounds=rounds, codec=codec, on_round=tell)
    print(file=sys.stderr)
    print(f"{path.name}, model {loaded.name}: medians of {rounds} rounds of {found.frames} frames, {found.cores} cores")
    print(f"{'stage, alone':24} CPU ms a frame")
    for stage, milliseconds in found.cpu.items():
        print(f"  {stage:22} {milliseconds:6.2f}")
    print(f"{'infer':24} ms a frame   frames/s   bound, ms   near it")
    for name, whole, video in (("  video and records", found.video, True), ("  records alone", found.records, False)):
        bound = found.bound(video=video)
        print(f"{name:24} {whole:10.2f} {1000 / whole:10.1f} {bound:11.2f} {bound / whole:9.0%}")
    print("The bound: the CPU time of the stages, shared by all cores with nothing else to do.")
    if save_json is not None:
        figures = {
            "frames": found.frames,
            "cores": found.cores,
            "cpu_ms": found.cpu,
            "video_ms": found.video,
            "records_ms": found.records,
            "video_bound_ms": found.bound(video=True),
            "records_bound_ms": found.bound(video=False),
        }
        try:
            save_json.parent.mkdir(parents=True, exist_ok=True)
            save_json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise SinkError(f"cannot write {save_json}: {error.strerror}") from error
