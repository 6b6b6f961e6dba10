"""`liquidvision webcam`: what a camera shows, live, in a window or in the browser, where it can be taught."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli.command import Messages
from liquidvision.cli.startup import import_torch
from liquidvision.errors import UsageError
from liquidvision.workflows import io_paths

WINDOW, PAGE = "The window", "The page"
CAMERA, RECORDINGS, PORT = "0", Path("runs/webcam"), 8737


def webcam_command(
    web: Annotated[
        bool, typer.Option("--web", help="A page in the browser, where you can teach it.", rich_help_panel=PAGE)
    ] = False,
    source: Annotated[str, typer.Option(help="A camera's index, a file, or a URL.", rich_help_panel=WINDOW)] = CAMERA,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.")
    ] = "objects",
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder for recordings.", rich_help_panel=WINDOW)
    ] = RECORDINGS,
    port: Annotated[int, typer.Option(help="0: one that is free.", rich_help_panel=PAGE)] = PORT,
    host: Annotated[
        str | None,
        typer.Option(
            help="Let others in, at this address (0.0.0.0: any), with a token. Default: this machine alone.",
            rich_help_panel=PAGE,
            show_default=False,
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the page's address.", rich_help_panel=PAGE)
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Watch a camera, a file or a stream in a window, with what the model sees; or, in a page, the browser's camera.

    Keys of the window: space pauses, r resets the memory, c shows each frame alone, v records, h lists them, q quits.
    """
    logging.basicConfig(level=logging.WARNING, format="liquidvision: %(message)s")
    if web:
        if source != CAMERA or out != RECORDINGS:
            raise UsageError("--source and --out are of the window; the page shows the browser's camera")
        if not 0 <= port < 2**16:
            raise UsageError(f"--port is {port}; expected 0 to {2**16 - 1}")
        show_page(model, device, port, host, open_browser=not no_browser)
        return
    if host is not None or port != PORT or no_browser:
        raise UsageError("--host, --port and --no-browser are of the page; give --web too")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill finishes a recording like Ctrl-C
    raise typer.Exit(show_window(source, model, out, device))


def show_page(model: str, device: str, port: int, host: str | None, *, open_browser: bool) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        DependencyError: aiohttp is not installed.
        SinkError: the port is taken, or there is no such host.
    """
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import os
    import secrets
    import sys

    import torch

    from liquidvision.models.model import Model
    from liquidvision.web.server import serve

    # The other half of the cores decode, learn, and run the browser.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    serve(
        Model.from_pretrained(model, device=device),
        host=host or "127.0.0.1",
        port=port,
        token=None if host is None else secrets.token_urlsafe(16),
        open_browser=open_browser,
        on_ready=lambda address: print(f"{address}  (Ctrl-C ends)", file=sys.stderr),
    )


def show_window(source: str, model: str, out: Path, device: str) -> int:
    """Watch a source in a window; gives the exit code.

    Raises:
        SourceError: the source cannot be opened, or broke off.
        SinkError: there is no display, or a recording cannot be written.
    """
    from liquidvision.rendering.window import ScreenWindow, check_display

    check_display()  # before what takes time
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import os
    from fractions import Fraction

    import numpy as np
    import torch

    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.inference.session import Session
    from liquidvision.models.model import Model
    from liquidvision.video.frame import Frame
    from liquidvision.video.read.open import open_video
    from liquidvision.workflows.viewer import Viewer

    # The other half of the cores decode and draw; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    loaded = Model.from_pretrained(model, device=device)
    stem = io_paths.output_stem(source)
    with open_video(source) as reader:
        info = reader.info
        # The first frame is slow, for kernels are compiled and memory is fetched: not while the source plays.
        Session(loaded).push(Frame(np.zeros((info.height, info.width, 3), np.uint8), 0, 0, Fraction(1)))
        with ScreenWindow(f"liquidvision · {info.name}", info.width, info.height, info.pixel_aspect) as screen:
            viewer = Viewer(reader, Session(loaded), screen, lambda: io_paths.free_file(out, stem, ".mp4"))
            summary = viewer.run()
    InferOutput(Messages()).finished(info.name, summary)
    return 130 if summary.interrupted else 0
