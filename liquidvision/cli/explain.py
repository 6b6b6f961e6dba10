"""`liquidvision explain`: one picture of what the memory does over a video."""

import logging
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli.command import Messages
from liquidvision.cli.startup import import_torch
from liquidvision.errors import SourceError, UsageError
from liquidvision.workflows import io_paths

DRAWN = (".png", ".svg", ".pdf")


def explain_command(
    source: Annotated[str, typer.Argument(help="A file, a URL, or a camera's index.", show_default=False)],
    model: Annotated[
        str, typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.")
    ] = "objects",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A .png, .svg or .pdf, or a folder. Default: runs/explain.")
    ] = None,
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Replace a picture that is there.")] = False,
    start: Annotated[float, typer.Option(help="Begin at this second.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Stop at this second.", show_default=False)] = None,
    vid_stride: Annotated[int, typer.Option(help="Take every how-manieth frame.")] = 1,
    max_frames: Annotated[int | None, typer.Option(help="Stop after so many frames.", show_default=False)] = None,
    reader: Annotated[str, typer.Option(help="auto, av or opencv.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.")] = "auto",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Draw labels, scores, hidden state and time constants of a video over time, in one picture.

    Examples: liquidvision explain clip.mp4 · liquidvision explain clip.mp4 --start 60 --end 90 -o minute.svg
    """
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill draws what was seen, like Ctrl-C
    if out is not None:
        io_paths.check_output_suffix(out, DRAWN)
    (path,) = io_paths.output_paths([source], out, exist_ok=exist_ok, suffix=DRAWN[0], default=Path("runs") / "explain")
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"--max-frames is {max_frames}; expected 1 or more")
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import torch

    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.concurrency.interrupt import DeferredInterrupt
    from liquidvision.inference.pipeline import predict
    from liquidvision.inference.session import Session
    from liquidvision.inference.summary import Summary
    from liquidvision.models.model import Model
    from liquidvision.rendering.chart import ChartSink
    from liquidvision.video.read.open import open_video

    # The other half of the cores decode; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    loaded = Model.from_pretrained(model, device=device)
    report, session, summary = InferOutput(Messages(quiet=quiet)), Session(loaded), Summary(outputs=[path])
    started, first, last = time.perf_counter(), None, None
    with ExitStack() as stack:
        patience = stack.enter_context(DeferredInterrupt())
        opened = stack.enter_context(open_video(source, start=start, stop=end, stride=vid_stride, reader=reader))
        chart = stack.enter_context(ChartSink(path, title=f"{opened.info.name} · model {loaded.name}"))
        loop = predict(opened, loaded, session=session)
        try:
            with report.progress(opened, max_frames) as on_frame:
                for frame, prediction in patience.interruptible(loop):
                    chart.write(frame, prediction)
                    summary.count(prediction, last)
                    first = first or prediction
                    if last is None or prediction.time != last.time:
                        last = prediction
                    on_frame(prediction)
                    if summary.frames == max_frames:
                        break
        except KeyboardInterrupt:
            if last is None:
                raise  # there is nothing to draw
            summary.interrupted = True
        finally:
            loop.close()  # type: ignore[attr-defined]  # a generator; ends the reading thread
        if first is None or last is None:
            raise SourceError(f"{opened.info.name} has no frame in the part that was asked for")
        summary.damaged, summary.media_seconds = opened.counts.damaged, last.time - first.time
    summary.interrupted |= patience.requested
    summary.repeated, summary.backwards, summary.gaps = session.repeated, session.backwards, session.gaps
    summary.wall_seconds = time.perf_counter() - started
    report.finished(opened.info.name, summary)
    raise typer.Exit(130 if summary.interrupted else 0)
