"""`liquidvision infer`: the main job."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli import inputs
from liquidvision.errors import SinkError, SourceError, UsageError

OUTPUT, INPUT, LIVE = "Output", "Input", "Cameras, streams, growing files"
MODEL, REPORT = "Model and memory", "What is said"


def infer(
    source: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, lists (.txt), URLs, or a camera's index.", show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(
            "-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.", rich_help_panel=MODEL
        ),
    ] = "objects",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Output file or folder, or - to stream Matroska to standard output. Default: runs/infer.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    no_save: Annotated[bool, typer.Option("--no-save", help="Write no video.", rich_help_panel=OUTPUT)] = False,
    save_json: Annotated[
        Path | None,
        typer.Option(help="Record every frame as JSON Lines (a folder for several sources).", rich_help_panel=OUTPUT),
    ] = None,
    save_csv: Annotated[
        Path | None, typer.Option(help="Record every frame as CSV (likewise).", rich_help_panel=OUTPUT)
    ] = None,
    save_frames: Annotated[
        Path | None,
        typer.Option(
            help="Write the annotated frames as pictures into this folder (several sources: into folders in it).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    frames_format: Annotated[str, typer.Option(help="png or jpg.", rich_help_panel=OUTPUT)] = "png",
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="Record also what each frame alone says.", rich_help_panel=OUTPUT)
    ] = False,
    time_constants: Annotated[
        bool, typer.Option("--time-constants", help="Record also the time constants.", rich_help_panel=OUTPUT)
    ] = False,
    hidden_state: Annotated[
        bool, typer.Option("--hidden-state", help="Record also the hidden state.", rich_help_panel=OUTPUT)
    ] = False,
    overlay: Annotated[
        str, typer.Option(help="What to draw, of label,bars,timeline,tau,state; or none.", rich_help_panel=OUTPUT)
    ] = "label,bars,timeline",
    compare: Annotated[
        bool, typer.Option("--compare", help="Draw each frame alone beside the memory.", rich_help_panel=OUTPUT)
    ] = False,
    codec: Annotated[
        str, typer.Option(help="h264, h265, vp9, av1, prores, mjpeg; h264-hardware.", rich_help_panel=OUTPUT)
    ] = "h264",
    writer: Annotated[
        str, typer.Option(help="av, or opencv (no sound, constant rate).", rich_help_panel=OUTPUT)
    ] = "av",
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Replace outputs that are there.", rich_help_panel=OUTPUT)
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip sources whose outputs are there.", rich_help_panel=OUTPUT)
    ] = False,
    top_k: Annotated[int, typer.Option(help="Labels to draw and record.", rich_help_panel=OUTPUT)] = 5,
    conf: Annotated[
        float, typer.Option(help="Below this probability a label is not shown or recorded.", rich_help_panel=OUTPUT)
    ] = 0.0,
    start: Annotated[float, typer.Option(help="Begin at this second.", rich_help_panel=INPUT)] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="Stop at this second.", rich_help_panel=INPUT, show_default=False)
    ] = None,
    vid_stride: Annotated[int, typer.Option(help="Take every how-manieth frame.", rich_help_panel=INPUT)] = 1,
    max_frames: Annotated[
        int | None, typer.Option(help="Stop after so many frames.", rich_help_panel=INPUT, show_default=False)
    ] = None,
    reader: Annotated[str, typer.Option(help="auto, av or opencv.", rich_help_panel=INPUT)] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at damage in a file.", rich_help_panel=INPUT)] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse larger pictures.", rich_help_panel=INPUT)] = 100_000_000,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for more, as of a file being written.", rich_help_panel=LIVE)
    ] = False,
    policy: Annotated[
        str,
        typer.Option(help="When frames come too quickly: wait, drop-oldest or latest.", rich_help_panel=LIVE),
    ] = "drop-oldest",
    max_staleness: Annotated[
        float | None,
        typer.Option(help="Leave out frames that waited longer, in seconds.", rich_help_panel=LIVE),
    ] = None,
    reconnect: Annotated[
        str, typer.Option(help="Times in a row to try a lost source again, or forever.", rich_help_panel=LIVE)
    ] = "5",
    timeout: Annotated[
        float, typer.Option(help="Seconds of silence after which a source is lost.", rich_help_panel=LIVE)
    ] = 15.0,
    batch: Annotated[
        int | None,
        typer.Option(help="Frames embedded at once. Default: 8, live sources 1.", rich_help_panel=MODEL),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.", rich_help_panel=MODEL)] = "auto",
    max_gap: Annotated[float, typer.Option(help="A longer pause, in seconds, is a gap.", rich_help_panel=MODEL)] = 5.0,
    gap_policy: Annotated[
        str, typer.Option(help="What a gap does to the memory: decay, carry or reset.", rich_help_panel=MODEL)
    ] = "decay",
    state_in: Annotated[
        Path | None, typer.Option(help="Go on with a saved memory.", rich_help_panel=MODEL, show_default=False)
    ] = None,
    state_out: Annotated[
        Path | None, typer.Option(help="Save the memory at the end.", rich_help_panel=MODEL, show_default=False)
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve /metrics and /health on this port of 127.0.0.1.", rich_help_panel=REPORT),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.", rich_help_panel=REPORT)] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Say every change of the label.", rich_help_panel=REPORT)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.", rich_help_panel=REPORT)
    ] = False,
) -> None:
    """Classify videos with a memory, and write them annotated.

    Examples: liquidvision infer clip.mp4 · liquidvision infer clips/ -o annotated --save-json records
    """
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING,
        format="liquidvision: %(message)s",
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill finishes the files like Ctrl-C
    names = inputs.expand(source)
    tries = inputs.tries(reconnect)
    if len(names) > 1 and (state_in or state_out):
        raise UsageError(f"--state-in and --state-out belong to one stream; there are {len(names)} sources")
    parts = [] if overlay == "none" else [part.strip() for part in overlay.split(",")]
    piped = str(out) == "-" and not no_save
    videos: Sequence[Path | None]
    exist_ok = exist_ok or resume
    if no_save:
        videos = [None] * len(names)
    elif out is not None and piped:
        check_pipe(len(names))
        videos = [out]
    else:
        videos = inputs.output_paths(names, out, exist_ok=exist_ok)
    jsons = inputs.record_paths(names, save_json, (".jsonl", ".json"), exist_ok=exist_ok)
    csvs = inputs.record_paths(names, save_csv, (".csv",), exist_ok=exist_ok)
    folders = inputs.frame_folders(names, save_frames, exist_ok=exist_ok)
    work = list(zip(names, videos, jsons, csvs, folders, strict=True))
    if resume:
        work = [each for each in work if not inputs.is_done(each[1:4])]
        if not quiet:
            print(f"{len(names) - len(work)} of {len(names)} were done before", file=sys.stderr)
    # What is heavy is imported only now, so that --help is quick.
    import torch

    from liquidvision.cli.metrics import endpoint
    from liquidvision.cli.report import Report
    from liquidvision.model import Model
    from liquidvision.outputs import check_output
    from liquidvision.pipeline import infer as run_infer
    from liquidvision.session import Session, read_state
    from liquidvision.sinks.frames import FrameFolder, check_format
    from liquidvision.sinks.overlay import Overlay
    from liquidvision.sinks.records import RecordSink
    from liquidvision.sources.open import open_video
    from liquidvision.sources.reader import Live
    from liquidvision.summary import Summary

    def draw() -> Overlay:
        return Overlay(parts, top_k=top_k, conf=conf, compare=compare)

    live = Live(policy, max_staleness, tries, timeout)
    check_format(frames_format)
    draw()  # a wrong name is told before anything is read
    for video in videos:
        if video is not None:
            check_output(video, codec, writer)
    for name, value in (("--batch", batch), ("--max-frames", max_frames)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")
    if state_out:
        make_folder_of(state_out)
        if state_out.exists():
            read_state(state_out)  # what is no memory is never overwritten by one
    # The other half of the cores decode and encode; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    loaded = Model.from_pretrained(model, device=device)
    report = Report(quiet=quiet, verbose=verbose, piped=piped)

    def run(
        name: str, video: Path | None, json_path: Path | None, csv_path: Path | None, folder: Path | None
    ) -> Summary:
        session = Session(loaded, max_gap=max_gap, gap_policy=gap_policy)
        if state_in:
            session.load(state_in)
        with ExitStack() as stack:
            opened = stack.enter_context(
                open_video(
                    name,
                    start=start,
                    stop=end,
                    stride=vid_stride,
                    reader=reader,
                    strict=strict,
                    max_pixels=max_pixels,
                    live=live,
                    follow=follow,
                )
            )
            records = []
            for path in (json_path, csv_path):
                if path is not None:
                    record = RecordSink(
                        path,
                        top_k=top_k,
                        conf=conf,
                        per_frame=per_frame,
                        time_constants=time_constants,
                        hidden_state=hidden_state,
                    )
                    stack.callback(record.drop_unused)
                    records.append(record)
            if metrics is not None:
                metrics.watch(opened, session)
            with report.progress(opened, max_frames, metrics) as on_frame:
                summary = run_infer(
                    opened,
                    loaded,
                    video=video,
                    records=records,
                    frames=FrameFolder(folder, frames_format) if folder else None,
                    overlay=draw(),
                    codec=codec,
                    writer=writer,
                    session=session,
                    batch=batch,
                    max_frames=max_frames,
                    whole=resume or len(names) > 1,
                    on_frame=on_frame,
                )
        if state_out:
            try:
                session.save(state_out)
            except OSError as error:
                raise SinkError(f"cannot write {state_out}: {error.strerror}") from error
        report.done(opened.info.name, summary)
        return summary

    failed = 0
    with ExitStack() as around:
        metrics = None if metrics_port is None else around.enter_context(endpoint(metrics_port, 2 * timeout))
        for name, *paths in work:
            try:
                if run(name, *paths).interrupted:
                    raise typer.Exit(130)
            except (SourceError, SinkError) as error:
                if debug or len(names) == 1:
                    raise
                failed += 1
                print(f"liquidvision: {error}", file=sys.stderr)
    raise typer.Exit(0 if not failed else 1 if failed == len(work) else 3)


def check_pipe(sources: int) -> None:
    """Raise UsageError where standard output cannot take the video: it is one stream, and nothing to look at."""
    if sources > 1:
        raise UsageError(f"-o - is one stream for {sources} sources; give a folder")
    if sys.stdout.isatty():
        raise UsageError("-o - would print the video on the terminal; pipe it into a program, or name a file")


def make_folder_of(path: Path) -> None:
    """Make the folder that `path` is to lie in, or raise SinkError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {path.parent}: {error.strerror}") from error
