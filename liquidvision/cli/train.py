"""`liquidvision train`: a head of your own from annotated clips."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.errors import UsageError

DATA, HEAD, RUN = "Data", "Head", "Training"


def train(
    data: Annotated[
        Path, typer.Argument(help="A folder of class folders, a CSV or a JSON; see docs/train.md.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model folder to make.", show_default=False)],
    background: Annotated[
        str, typer.Option(help="The class of what no interval covers.", rich_help_panel=DATA)
    ] = "background",
    cache: Annotated[
        Path | None, typer.Option(help="Where embeddings are kept.", rich_help_panel=DATA, show_default=False)
    ] = None,
    vid_stride: Annotated[int, typer.Option(help="Take every how-manieth frame.", rich_help_panel=DATA)] = 1,
    mirror: Annotated[
        bool | None,
        typer.Option(
            "--mirror/--no-mirror",
            help="Learn from mirrored clips too. Default: where mirroring changes no label, by trial.",
            rich_help_panel=DATA,
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="A torchvision model, or a liquidvision model to take it from.", rich_help_panel=HEAD)
    ] = "mobilenet_v2",
    weights: Annotated[
        Path | None,
        typer.Option(help="The backbone's weights. Default: ImageNet's.", rich_help_panel=HEAD, show_default=False),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Nodes of the backbone and their grids, NODE:SIDE,...", rich_help_panel=HEAD, show_default=False
        ),
    ] = None,
    traces: Annotated[
        str | None,
        typer.Option(help="Time constants in seconds, S,S,...", rich_help_panel=HEAD, show_default=False),
    ] = None,
    head: Annotated[
        str, typer.Option(help="gated, ltc, conductance, cfc, gru, lstm or none.", rich_help_panel=HEAD)
    ] = "gated",
    epochs: Annotated[
        int | None, typer.Option(help="Default: by the size of the data.", rich_help_panel=RUN, show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", rich_help_panel=RUN)] = 0,
    folds: Annotated[
        int, typer.Option(help="Cross-validate, and train on all clips; 0: one split.", rich_help_panel=RUN)
    ] = 0,
    seeds: Annotated[int, typer.Option(help="Heads for each fold.", rich_help_panel=RUN)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=RUN)] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was begun in the model folder.", rich_help_panel=RUN)
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Write TensorBoard's logs too (an extra).", rich_help_panel=RUN),
    ] = False,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Replace a model that is there.", rich_help_panel=RUN)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Teach a head your own classes, on a frozen backbone.

    Examples: liquidvision train clips/ -o my-model · liquidvision train clips.csv -o my-model --folds 5 --seeds 3
    """
