"""`liquidvision train`: a head of your own from annotated clips."""

import logging
import math
import os
import shlex
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liquidvision.cli.startup import import_torch
from liquidvision.errors import UsageError

if TYPE_CHECKING:
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.training.trainer import EpochRow

DATA, HEAD, RUN = "Data", "Head", "Training"


def train_command(
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
    views: Annotated[
        str,
        typer.Option(help="Learn from these too: mirror, crop:SEED, light:SEED.", rich_help_panel=DATA),
    ] = "plain",
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
    look: Annotated[
        str | None,
        typer.Option(
            help="What the backbone sees of a frame: whole, moving.", rich_help_panel=HEAD, show_default=False
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.", rich_help_panel=RUN)] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was begun in the model folder.", rich_help_panel=RUN)
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard's scalars beside metrics.csv.", rich_help_panel=RUN)
    ] = False,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Replace a model that is there.", rich_help_panel=RUN)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Teach a head your own classes, on a frozen backbone.

    The clips are split by group into training, validation and test; with --folds every clip is judged by heads that
    never saw it, and the model is trained on all of them. Embeddings are computed once and kept.

    Examples: liquidvision train clips/ -o my-model · liquidvision train clips.csv -o my-model --folds 5 --seeds 3
    """
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is heavy is imported only now, so that --help is quick.
    import_torch()
    import torch

    from liquidvision.cli.training_output import TrainingOutput, usable_clips
    from liquidvision.data.embeddings import EmbeddingStore
    from liquidvision.data.formats import read_dataset
    from liquidvision.data.views import parse_views
    from liquidvision.models.folder import CONFIG_FILE
    from liquidvision.training.recipe import TAUS, default_plan
    from liquidvision.training.tensorboard import TensorBoardLog
    from liquidvision.workflows.backbone_options import load_backbone, parse_look
    from liquidvision.workflows.train import STATE_FILE, TrainingCallbacks, check_training
    from liquidvision.workflows.train import train_model as run_train

    taken = out.exists() and (not out.is_dir() or any(file.suffix != ".part" for file in out.iterdir()))
    there = any((out / name).is_file() for name in (STATE_FILE, CONFIG_FILE))
    if taken and not exist_ok and not (resume and there):
        what = "is there already; go on with it by --resume"
        if resume:
            what = "holds no training to go on with; choose another folder"
        raise UsageError(f"{out} {what}, or allow replacing it with --exist-ok")
    scalars = TensorBoardLog(out) if tensorboard else None
    dataset = read_dataset(data, background=background)
    taus, shown = TAUS if traces is None else parse_taus(traces), parse_views(f"plain,{views}")
    own = load_backbone(backbone, weights, features, parse_look(look), device)
    plan = default_plan(len(dataset.clips), cell=head, taus=taus, motion_crop=own.motion_crop, grids=own.grids)
    recipe = replace(plan.recipe, seed=seed, epochs=plan.recipe.epochs if epochs is None else epochs)
    plan = replace(plan, recipe=recipe, folds=folds, seeds=seeds, views=shown)
    store = EmbeddingStore(own, folder=cache, stride=vid_stride)
    check_training(dataset, out, own, plan, resume=resume)
    progress = TrainingOutput(quiet=quiet)
    threads = torch.get_num_threads()
    # The other half of the cores decode and prepare; small networks gain nothing from more.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    dataset, skipped = usable_clips(dataset, store, plan.views, progress)
    torch.set_num_threads(threads)
    begun = ended = time.perf_counter()
    with closing(TrainingBars(progress)) as stages, closing(scalars) if scalars else nullcontext():

        def on_epoch(row: "EpochRow", of: int) -> None:
            nonlocal ended
            ended = time.perf_counter()
            if scalars is not None:
                scalars.write(row)
            right = "" if row.validation_accuracy is None else f" · validation {row.validation_accuracy:.0%}"
            stages.show("training", row.epoch, of, f"epoch {row.epoch} · loss {row.loss:.3f}{right}")

        listener = TrainingCallbacks(
            epoch=on_epoch,
            fold=lambda done, of: stages.show("cross-validating", done, of, f"fold {done} of {of}"),
            judged=lambda name, of: stages.show("evaluating", None, of, name),
        )
        stages.show("training", 0, recipe.epochs, "")
        _, evaluation = run_train(dataset, out, own, store, plan, resume=resume, skipped=skipped, listener=listener)
    told = evaluation["training"]
    best = "" if told["best"] == told["epochs"][-1] else f", best at {told['best']}"
    progress.say(f"trained: {len(told['epochs'])} epochs{best}, {ended - begun:.0f} s")
    progress.scores(evaluation)
    if seeds > 1:
        progress.say(f"  these of the first seed; of all {seeds}:")
    progress.table(evaluation)
    progress.say(f"  → {out}: liquidvision infer clip.mp4 -m {shlex.quote(str(out))}")


class TrainingBars:
    """The bars of what a training does in turn, one after another."""

    def __init__(self, progress: "TrainingOutput") -> None:
        self._progress, self._bar = progress, ExitStack()
        self._what, self._done = "", 0
        self._advance: Callable[[str], None] = lambda said: None

    def show(self, what: str, done: int | None, of: int, said: str) -> None:
        """So many steps of `of` are done, None: one more; steps of an earlier run count at once."""
        if what != self._what:
            self.close()
            self._what, self._done = what, 0
            self._advance = self._bar.enter_context(self._progress.bar(what, of))
        for _ in range((self._done + 1 if done is None else done) - self._done):
            self._advance(said)
            self._done += 1

    def close(self) -> None:
        self._bar.close()


def parse_taus(text: str) -> tuple[float, ...]:
    """Time constants of `--traces`."""
    try:
        seconds = tuple(float(part) for part in text.split(","))
    except ValueError:
        seconds = ()
    if not seconds or not all(0 < value < math.inf for value in seconds):
        raise UsageError(f"--traces is {text!r}; expected seconds above 0 between commas, as .1,.4,1.5")
    return seconds
