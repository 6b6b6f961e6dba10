"""`liquidvision webcam`: a camera live, in a window or on a page where a model can be taught."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from liquidvision.cli.command import DONE, INTERRUPTED, Messages, Option, job_command
from liquidvision.cli.options import SHARED
from liquidvision.cli.startup import prepare_torch
from liquidvision.errors import UsageError
from liquidvision.workflows.plans import check_look_ahead

WINDOW, PAGE = "Window", "Page in the browser (--web)"


@dataclass(frozen=True, slots=True)
class WebcamOptions:
    """The options of `webcam`.

    Attributes:
        web: show a page in the browser, and not a window.
        source: what the window shows: a camera index, a file, a folder or pattern of pictures, or a URL.
        rate, deinterlace: see `open_video`.
        model: a bundled model, a model folder, or torchvision:NAME.
        out: the folder for recordings of the window.
        port: the page's port; 0 takes a free one.
        host: the address the page is served on. None: this machine only.
        no_browser: only print the page's address.
        device: see `Model.from_pretrained`.
        adapt: adapt to what the camera shows, see `Session`.
        look_ahead: see `predict`.
    """

    web: bool = False
    source: str = "0"
    rate: float | None = None
    deinterlace: str = "auto"
    model: str = "objects"
    out: Path = Path("runs/webcam")
    port: int = 8737
    host: str | None = None
    no_browser: bool = False
    device: str = "auto"
    adapt: bool = False
    look_ahead: float | None = None


OPTIONS = {
    "model": SHARED["model"],
    "device": SHARED["device"],
    "adapt": SHARED["adapt"],
    "look_ahead": SHARED["look_ahead"],
    "source": Option("A camera index, a file, a folder or pattern of pictures, or a URL.", WINDOW),
    **{name: replace(SHARED[name], panel=WINDOW) for name in ("rate", "deinterlace")},
    "out": Option("The folder for recordings.", WINDOW, ("-o", "--out")),
    "web": Option("Show a page in the browser, where you can teach the model.", PAGE),
    "port": Option("The page's port; 0 takes a free one.", PAGE, metavar="PORT"),
    "host": Option(
        "Serve the page on this address (0.0.0.0: any), protected by a token. Default: this machine only.",
        PAGE,
        metavar="ADDRESS",
    ),
    "no_browser": Option("Only print the page's address.", PAGE),
}


@job_command(WebcamOptions, OPTIONS)
def webcam_command(options: WebcamOptions, messages: Messages) -> int:
    """Watch a camera, a file or a stream live, with what the model predicts; in a window, or on a page (--web).

    Keys of the window: space pauses, r resets the memory, c shows each frame alone, v records, h lists them, q quits.
    """
    check_options(options)
    if options.web:
        serve_page(options)
        return DONE
    from liquidvision.rendering.window import check_display

    check_display()  # before the slow imports
    prepare_torch()
    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.workflows.viewer import view_source

    summary = view_source(
        options.source,
        options.model,
        options.out,
        rate=options.rate,
        deinterlace=options.deinterlace,
        device=options.device,
        adapt=options.adapt,
        look_ahead=options.look_ahead,
        listener=InferOutput(messages),
    )
    return INTERRUPTED if summary.interrupted else DONE


def check_options(options: WebcamOptions) -> None:
    """Raise UsageError for options of the window with --web, options of the page without, or an impossible port."""
    check_look_ahead(options.look_ahead)
    usual = WebcamOptions()
    window = (options.source, options.out, options.rate, options.deinterlace)
    if options.web and window != (usual.source, usual.out, usual.rate, usual.deinterlace):
        raise UsageError(
            "--source, --out, --rate and --deinterlace belong to the window; the page shows the browser's camera"
        )
    if options.web and not 0 <= options.port < 2**16:
        raise UsageError(f"--port is {options.port}; expected 0 to {2**16 - 1}")
    page = (options.host, options.port, options.no_browser)
    if not options.web and page != (usual.host, usual.port, usual.no_browser):
        raise UsageError("--host, --port and --no-browser belong to the page; add --web")


def serve_page(options: WebcamOptions) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        DependencyError: aiohttp is not installed.
        SinkError: the port is taken, or the host does not exist.
    """
    prepare_torch()
    import secrets

    from liquidvision.models.model import Model
    from liquidvision.web.server import serve

    model = Model.from_pretrained(options.model, device=options.device)
    if options.adapt and not model.head.adapts:
        print(f"{model.name} cannot adapt; models that you teach on the page do", file=sys.stderr)
    serve(
        model,
        host=options.host or "127.0.0.1",
        port=options.port,
        token=None if options.host is None else secrets.token_urlsafe(16),
        open_browser=not options.no_browser,
        adapt=options.adapt,
        look_ahead=options.look_ahead,
        on_ready=lambda address: print(f"{address}  (Ctrl-C ends)", file=sys.stderr),
    )
