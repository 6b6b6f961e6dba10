"""`liquidvision infer`: the main job."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import typer

from liquidvision.cli import options
from liquidvision.cli.startup import import_torch
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.workflows import io_paths


def infer_command(
    source: options.Source,
    model: options.Model = "objects",
    out: options.Out = None,
    no_save: options.NoSave = False,
    save_json: options.SaveJson = None,
    save_csv: options.SaveCsv = None,
    save_frames: options.SaveFrames = None,
    frames_format: options.FramesFormat = "png",
    per_frame: options.PerFrame = False,
    time_constants: options.TimeConstants = False,
    hidden_state: options.HiddenState = False,
    overlay: options.Overlay = "label,bars,timeline",
    compare: options.Compare = False,
    codec: options.Codec = "h264",
    writer: options.Writer = "av",
    exist_ok: options.ExistOk = False,
    resume: options.Resume = False,
    top_k: options.TopK = 5,
    conf: options.Conf = 0.0,
    start: options.Start = 0.0,
    end: options.End = None,
    vid_stride: options.VidStride = 1,
    max_frames: options.MaxFrames = None,
    reader: options.Reader = "auto",
    strict: options.Strict = False,
    max_pixels: options.MaxPixels = 100_000_000,
    hwaccel: options.Hwaccel = None,
    follow: options.Follow = False,
    policy: options.Policy = "drop-oldest",
    max_staleness: options.MaxStaleness = None,
    reconnect: options.Reconnect = "5",
    timeout: options.Timeout = 15.0,
    batch: options.Batch = None,
    adaptive: options.Adaptive = False,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    half: options.Half = False,
    max_gap: options.MaxGap = 5.0,
    gap_policy: options.GapPolicy = "decay",
    state_in: options.StateIn = None,
    state_out: options.StateOut = None,
    metrics_port: options.MetricsPort = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Classify videos with a memory, and write them annotated.

    Examples: liquidvision infer clip.mp4 · liquidvision infer clips/ -o annotated --save-json records
    """
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING,
        format="liquidvision: %(message)s",
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill finishes the files like Ctrl-C
    names = io_paths.expand_sources(source)
    tries = io_paths.parse_reconnect(reconnect)
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
        videos = io_paths.output_paths(names, out, exist_ok=exist_ok)
    jsons = io_paths.record_paths(names, save_json, (".jsonl", ".json"), exist_ok=exist_ok)
    csvs = io_paths.record_paths(names, save_csv, (".csv",), exist_ok=exist_ok)
    folders = io_paths.frame_folders(names, save_frames, exist_ok=exist_ok)
    work = list(zip(names, videos, jsons, csvs, folders, strict=True))
    if resume:
        work = [each for each in work if not io_paths.outputs_complete(each[1:4])]
        if not quiet:
            print(f"{len(names) - len(work)} of {len(names)} were done before", file=sys.stderr)
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import torch

    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.inference.batching import batched_model
    from liquidvision.inference.records import RecordSink
    from liquidvision.inference.session import Session, read_session_state
    from liquidvision.inference.summary import Summary
    from liquidvision.models.model import Model
    from liquidvision.rendering.overlay import Overlay
    from liquidvision.video.read.open import open_video
    from liquidvision.video.read.reader import LiveOptions
    from liquidvision.video.write.image_folder import FrameFolder, check_image_format
    from liquidvision.video.write.open import check_video_output
    from liquidvision.workflows.infer_source import infer as run_infer
    from liquidvision.workflows.monitoring import serve_monitoring
    from liquidvision.workflows.source_pool import SourcePool

    def draw() -> Overlay:
        return Overlay(parts, top_k=top_k, conf=conf, compare=compare)

    live = LiveOptions(policy, max_staleness, tries, timeout)
    check_image_format(frames_format)
    draw()  # a wrong name is told before anything is read
    for video in videos:
        if video is not None:
            check_video_output(video, codec, writer)
    for name, value in (("--batch", batch), ("--max-frames", max_frames), ("--jobs", jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")
    if state_out:
        make_folder_of(state_out)
        if state_out.exists():
            read_session_state(state_out)  # what is no memory is never overwritten by one
    # The other half of the cores decode and encode; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    loaded = Model.from_pretrained(model, device=device, half=half)
    count = min(len(work), jobs or (len(work) if any(io_paths.may_be_live(name) for name in names) else 1))
    report, running = InferOutput(quiet=quiet, verbose=verbose, piped=piped, many=count > 1), SourcePool(max(1, count))

    def run(
        name: str, video: Path | None, json_path: Path | None, csv_path: Path | None, folder: Path | None
    ) -> Summary:
        """One source from its opening to its outputs' final names."""
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
                    hwaccel=hwaccel,
                )
            )
            stack.enter_context(running.reading(opened))
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
                    stack.callback(record.remove_empty_part)
                    records.append(record)
            watched = None if metrics is None else stack.enter_context(metrics.watch(opened, session))
            with report.progress(opened, max_frames, watched) as on_frame:
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
                    adaptive=adaptive,
                    max_frames=max_frames,
                    whole=resume or len(names) > 1,
                    on_frame=running.ends(on_frame),
                )
        if state_out:
            try:
                session.save(state_out)
            except OSError as error:
                raise SinkError(f"cannot write {state_out}: {error.strerror}") from error
        report.done(opened.info.name, summary)
        return summary

    def attempt(each: tuple[str, Path | None, Path | None, Path | None, Path | None]) -> bool:
        """Whether one source could be run; what is wrong with it does not end the others."""
        try:
            if run(*each).interrupted:
                raise typer.Exit(130)
        except (SourceError, SinkError) as error:
            if debug or len(names) == 1:
                raise
            print(f"liquidvision: {error}", file=sys.stderr)
            return False
        return True

    with ExitStack() as around:
        metrics = None if metrics_port is None else around.enter_context(serve_monitoring(metrics_port, 2 * timeout))
        if count > 1:
            loaded = around.enter_context(batched_model(loaded))
        done = running.over(work, attempt)
    raise typer.Exit(0 if all(done) else 3 if any(done) else 1)


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
