"""`liquidvision extract`: embed videos ahead of training and evaluation."""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli.startup import import_torch
from liquidvision.errors import UsageError
from liquidvision.workflows import io_paths

WHAT, BACKBONE = "What is embedded", "Backbone"


def extract_command(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Annotated data (a folder of class folders, a CSV, a JSON), or videos and folders of them."
        ),
    ],
    views: Annotated[
        str,
        typer.Option(
            help="plain, mirror, crop:SEED, light:SEED, noise:SIGMA, blur:PERCENT, dark:GAIN.", rich_help_panel=WHAT
        ),
    ] = "plain",
    vid_stride: Annotated[int, typer.Option(help="Take every how-manieth frame.", rich_help_panel=WHAT)] = 1,
    cache: Annotated[
        Path | None, typer.Option(help="Where embeddings are kept.", rich_help_panel=WHAT, show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", help="Take the backbone of this model.", rich_help_panel=BACKBONE, show_default=False
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="A torchvision model. Default: mobilenet_v2.", rich_help_panel=BACKBONE, show_default=False),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="The backbone's weights. Default: ImageNet's.", rich_help_panel=BACKBONE, show_default=False),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Nodes of the backbone and their grids, NODE:SIDE,...", rich_help_panel=BACKBONE, show_default=False
        ),
    ] = None,
    look: Annotated[
        str | None,
        typer.Option(help="What it sees of a frame: whole, moving.", rich_help_panel=BACKBONE, show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.", rich_help_panel=BACKBONE)] = "auto",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Embed videos and keep the result, so that `train` and `eval` need not; stop and go on at will.

    Examples: liquidvision extract clips/ --views plain,mirror · liquidvision extract clips.csv -m my-model
    """
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill leaves nothing half written
    if model is not None and any(option is not None for option in (backbone, weights, features, look)):
        raise UsageError("--model has a backbone of its own; leave out --backbone, --weights, --features and --look")
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from liquidvision.data.embeddings import EmbeddingStore
    from liquidvision.data.views import parse_views
    from liquidvision.models.model import Model
    from liquidvision.workflows.backbone_options import load_backbone, parse_look

    names = parse_views(views)  # a wrong one is told before anything is loaded
    paths = paths_of(source)
    # The other half of the cores decode and prepare; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    if model is not None:
        chosen = Model.from_pretrained(model, device=device).backbone
    else:
        chosen = load_backbone(backbone or "mobilenet_v2", weights, features, parse_look(look), device)
    store = EmbeddingStore(chosen, folder=cache, stride=vid_stride)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[frames]} frames · {task.fields[rate]:.0f} frames/s"),
        TimeRemainingColumn(),
    )
    started, frames, new = time.perf_counter(), 0, 0
    disable = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True, disable=disable) as bar:
        task = bar.add_task("embedding", total=len(paths) * len(names), frames=0, rate=0.0)

        def on_frame() -> None:
            nonlocal frames
            frames += 1
            bar.update(task, frames=frames, rate=frames / (time.perf_counter() - started))

        def on_video(path: Path, name: str, embedded: bool) -> None:
            nonlocal new
            new += embedded
            bar.update(task, advance=1, description=path.name)

        failed = store.fill(paths, names, on_frame=on_frame, on_video=on_video)
    spent = time.perf_counter() - started
    for error in failed.values():
        print(f"liquidvision: {error}", file=sys.stderr)
    done = (len(paths) - len(failed)) * len(names)
    if not quiet:
        pace = f"{frames} frames in {spent:.1f} s ({frames / spent:.0f} frames/s)" if new else "nothing to embed"
        typer.echo(f"{len(paths)} videos, views {', '.join(names)}: {pace}; {done - new} of {done} were there already")
        typer.echo(f"  → {store.folder}")
    raise typer.Exit(0 if not failed else 1 if len(failed) == len(paths) else 3)


def paths_of(sources: Sequence[str]) -> list[Path]:
    """The files that the arguments stand for: of annotated data those it names, of a folder the videos at any depth.

    Raises:
        UsageError: a URL, a folder without videos, or data that cannot be read, see `read_dataset`.
    """
    from liquidvision.data.formats import EXAMPLES_INDEX, find_videos, read_dataset

    paths: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.suffix.lower() in (".csv", ".tsv", ".json") or (path / EXAMPLES_INDEX).is_file():
            paths += [clip.path for clip in read_dataset(path).clips]
        elif path.is_dir():
            videos = find_videos(path)
            if not videos:
                raise UsageError(f"{path} holds no videos; expected some in it, or in class folders")
            paths += videos
        else:
            for name in io_paths.expand_sources([source]):
                if "://" in name:
                    raise UsageError(f"{io_paths.output_stem(name)} is a URL; embeddings are kept of files alone")
                paths.append(Path(name))
    return list(dict.fromkeys(paths))
