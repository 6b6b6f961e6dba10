"""`liquidvision eval`: how well a model does on annotated clips, and whether its memory helped."""

import json
import logging
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.errors import SinkError, UsageError

PARTS = ("auto", "all", "train", "validation", "test")


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="A folder of class folders, a CSV or a JSON; see docs/train.md.", show_default=False)
    ],
    model: Annotated[str, typer.Option("-m", "--model", help="A model folder or a bundled model.")],
    part: Annotated[
        str,
        typer.Option(help="auto, all, train, validation or test. auto: what the model's own split left for the test."),
    ] = "auto",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write every figure here.", show_default=False)
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page (.html) to look at.", show_default=False)] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Cross-validate the head against its rivals and simpler remedies.")
    ] = False,
    folds: Annotated[int, typer.Option(help="Of --compare.")] = 5,
    seeds: Annotated[int, typer.Option(help="Of --compare: heads of each kind for each fold.")] = 3,
    degrade: Annotated[
        bool, typer.Option("--degrade", help="Also with noise, blur and darkness: embeds every clip nine times more.")
    ] = False,
    background: Annotated[str, typer.Option(help="The class of what no interval covers.")] = "background",
    cache: Annotated[Path | None, typer.Option(help="Where embeddings are kept.", show_default=False)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Replace outputs that are there.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Measure a model on annotated clips: accuracy, segments, flips, delays, calibration, robustness, speed.

    Example: liquidvision eval clips/ -m my-model --json scores.json --report scores.html
    """
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="liquidvision: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if part not in PARTS:
        raise UsageError(f"--part is {part!r}; expected one of {', '.join(PARTS)}")
    for path in (json_path, report):
        if path is not None and path.exists() and not exist_ok:
            raise UsageError(f"{path} is there already; choose another name, or allow replacing it with --exist-ok")
    # What is heavy is imported only now, so that --help is quick.
    import liquidvision
    from liquidvision.checkpoint import find, replace
    from liquidvision.cli.lessons import Progress, usable
    from liquidvision.learn.annotations import read_data
    from liquidvision.learn.compare import compare as run_compare
    from liquidvision.learn.evaluation import evaluate as run_evaluate
    from liquidvision.learn.evaluation import labelled_as, timing
    from liquidvision.learn.features import FeatureStore
    from liquidvision.learn.lessons import Lessons
    from liquidvision.learn.recipe import default_plan
    from liquidvision.learn.report import write_report
    from liquidvision.learn.splits import read_split
    from liquidvision.learn.training import SPLIT
    from liquidvision.model import Model

    loaded = Model.from_pretrained(model, device=device)
    whole = dataset = labelled_as(read_data(data, background=background), loaded.labels)
    split = find(model) / SPLIT
    parts = read_split(split) if split.is_file() else {}
    names = {clip.name for clip in dataset.clips}
    own = names <= {name for known in parts.values() for name in known}
    if part not in ("auto", "all") and not own:
        raise UsageError(f"{data} is not what {model} was trained on, so it has no part {part!r}; leave out --part")
    if own and part != "all":
        chosen = part if part != "auto" else "test" if parts.get("test") else "train"
        dataset = dataset.only(parts[chosen])
    else:
        chosen = "all"
    progress = Progress(quiet=quiet)
    store = FeatureStore(loaded.backbone, folder=cache)
    dataset = usable(dataset, store, ("plain",), progress)
    with progress.bar("evaluating", len(dataset.clips)) as advance:
        evaluation = run_evaluate(loaded, dataset, store, degrade=degrade, on_clip=advance)
    evaluation |= {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "liquidvision": liquidvision.__version__,
        "timing": timing(loaded, dataset.clips[0].path),
    }
    seen = {name for known in ("train", "validation") for name in parts.get(known, ())} if own else set()
    evaluation["data"] |= {"part": chosen, "seen_in_training": sum(clip.name in seen for clip in dataset.clips)}
    if compare:
        everything = usable(whole, store, ("plain",), progress)
        plan = default_plan(len(everything.clips))
        with progress.bar("comparing", folds) as advance:
            evaluation["compare"] = run_compare(
                Lessons(everything, store),
                loaded.head.config,
                plan.recipe,
                first_dt=loaded.first_dt,
                k=folds,
                seeds=seeds,
                on_fold=lambda done: advance(f"fold {done} of {folds}"),
            )
    progress.scores(evaluation)
    progress.table(evaluation)
    try:
        if json_path is not None:
            json_path.parent.mkdir(parents=True, exist_ok=True)
            replace(json_path, json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            progress.say(f"  → {json_path}")
    except OSError as error:
        raise SinkError(f"cannot write {json_path}: {error.strerror or error}") from error
    if report is not None:
        write_report(report, evaluation)
        progress.say(f"  → {report}")
