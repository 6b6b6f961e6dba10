"""`liquidvision webcam`: what a camera shows, live."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli import inputs


def webcam(
    source: Annotated[str, typer.Option(help="A camera's index, a file, or a URL.")] = "0",
    model: Annotated[
        str, typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.")
    ] = "objects",
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for recordings.")] = Path("runs/webcam"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Watch a camera, a file or a stream in a window, with what the model sees in it.

    Keys: space pauses, r resets the memory, c shows each frame alone, v records, h lists them, q quits.
    """
    logging.basicConfig(level=logging.WARNING, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill finishes a recording like Ctrl-C
    raise typer.Exit(show_window(source, model, out, device))


def show_window(source: str, model: str, out: Path, device: str) -> int:
    """Watch a source in a window; gives the exit code.

    Raises:
        SourceError: the source cannot be opened, or broke off.
        SinkError: there is no display, or a recording cannot be written.
    """
    from liquidvision.sinks.window import ScreenWindow, check_display

    check_display()  # before what takes time
    # What is heavy is imported only now, so that --help is quick.
    import os
    from fractions import Fraction

    import numpy as np
    import torch

    from liquidvision.cli.report import Report
    from liquidvision.cli.viewer import Viewer
    from liquidvision.frame import Frame
    from liquidvision.model import Model
    from liquidvision.session import Session
    from liquidvision.sources.open import open_video

    # The other half of the cores decode and draw; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    loaded = Model.from_pretrained(model, device=device)
    stem = inputs.output_stem(source)
    with open_video(source) as reader:
        info = reader.info
        # The first frame is slow, for kernels are compiled and memory is fetched: not while the source plays.
        Session(loaded).push(Frame(np.zeros((info.height, info.width, 3), np.uint8), 0, 0, Fraction(1)))
        with ScreenWindow(f"liquidvision · {info.name}", info.width, info.height, info.pixel_aspect) as screen:
            viewer = Viewer(reader, Session(loaded), screen, lambda: inputs.free_file(out, stem, ".mp4"))
            summary = viewer.run()
    Report(quiet=False, verbose=False).done(info.name, summary)
    return 130 if summary.interrupted else 0
