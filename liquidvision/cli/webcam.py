"""`liquidvision webcam`: a camera, live, and teaching it by showing."""

import logging
import os
import secrets
import sys
from typing import Annotated

import typer

from liquidvision.errors import UsageError

PAGE = "The page"


def webcam(
    model: Annotated[
        str, typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.")
    ] = "objects",
    web: Annotated[bool, typer.Option("--web", help="Open a page in the browser.", rich_help_panel=PAGE)] = False,
    port: Annotated[int, typer.Option(help="0: one that is free.", rich_help_panel=PAGE)] = 8737,
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
    """Watch a camera with a memory, and teach it by showing.

    Example: liquidvision webcam --web
    """
    logging.basicConfig(level=logging.WARNING, format="liquidvision: %(message)s")
    if not web:
        raise UsageError("give --web")
    if not 0 <= port < 2**16:
        raise UsageError(f"--port is {port}; expected 0 to {2**16 - 1}")
    # What is heavy is imported only now, so that --help is quick.
    import torch

    from liquidvision.model import Model
    from liquidvision.web.server import serve

    # The other half of the cores decode, learn, and run the browser.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))

    def tell(address: str) -> None:
        print(f"{address}  (Ctrl-C ends)", file=sys.stderr)

    serve(
        Model.from_pretrained(model, device=device),
        host=host or "127.0.0.1",
        port=port,
        token=None if host is None else secrets.token_urlsafe(16),
        open_browser=not no_browser,
        on_ready=tell,
    )
