"""`liquidvision eval`: how well a model does on annotated clips, and whether its memory helped."""

import logging
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from liquidvision.cli.startup import import_torch
from liquidvision.errors import SinkError, UsageError

PARTS = ("auto", "all", "train", "validation", "test")


def evaluate_command(
    data: Annotated[
        Path, typer.Argument(help="A folder of class folders, a CSV or a JSON; see docs/train.md.", show_default=False)
    ],
    model: Annotated[str, typer.Option("-m", "--model", help="A model folder or a bundled model.")],
    part: Annotated[
        str,
        typer.Option(help="auto, all, train, validation or test of the model's own split. auto: what it did not see."),
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
        bool,
        typer.Option(
            "--degrade",
            help="Also with noise, blur and darkness, and with frames lost where the model looks at what moves: "
            "embeds every clip nine or eighteen times more.",
        ),
    ] = False,
    background: Annotated[str, typer.Option(help="The class of what no interval covers.")] = "background",
    cache: Annotated[Path | None, typer.Option(help="Where embeddings are kept.", show_default=False)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.")] = "auto",
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
    import_torch()
    import liquidvision
    from liquidvision.cli.training_output import TrainingOutput, content_hashes, embed_dataset, usable_clips
    from liquidvision.data.embeddings import EmbeddingStore
    from liquidvision.data.formats import read_dataset
    from liquidvision.data.splits import read_split
    from liquidvision.evaluation import crossval
    from liquidvision.evaluation.compare import compare_heads as run_compare
    from liquidvision.evaluation.evaluate import count_passes, measure_latency, with_model_labels
    from liquidvision.evaluation.evaluate import evaluate_model as run_evaluate
    from liquidvision.evaluation.evaluation_file import encode_evaluation
    from liquidvision.files import write_atomic
    from liquidvision.models.folder import find_model
    from liquidvision.models.model import Model
    from liquidvision.report.report import describe_training_overlap, write_report
    from liquidvision.training.sequences import SequenceDataset
    from liquidvision.workflows.train import SCORES_FILE, SPLIT_FILE
    from liquidvision.workflows.training_record import read_training_record, recipe_of_record

    folder = find_model(model)
    loaded = Model.from_pretrained(folder, device=device)
    config = loaded.head_config if compare else None  # only heads have rivals: said before anything takes long
    progress = TrainingOutput(quiet=quiet)
    store = EmbeddingStore(loaded.backbone, folder=cache)
    whole = with_model_labels(read_dataset(data, background=background), loaded.labels)
    training = read_training_record(folder / SCORES_FILE)
    recipe, views, stride = recipe_of_record(training, len(whole.clips))
    if compare:
        crossval.check_folds(whole, folds, seeds, recipe.seed)
    split = read_split(folder / SPLIT_FILE) if (folder / SPLIT_FILE).is_file() else None
    inside = {} if split is None else split.find(content_hashes(whole, store))
    seen = {name for name, parts in inside.items() if parts & {"train", "validation"}}
    chosen = {clip.name for clip in whole.clips}
    if part not in ("auto", "all"):
        chosen = {name for name, parts in inside.items() if part in parts}
        if not chosen:
            raise UsageError(f"no video of {data} is in the part {part!r} of what {model} was trained on")
    elif part == "auto":
        chosen = chosen - seen or chosen
    ready, skipped = usable_clips(whole if compare else whole.only(chosen), store, ("plain",), progress)
    if compare:
        crossval.check_folds(ready, folds, seeds, recipe.seed)  # again: files may have been left out
        learnt = EmbeddingStore(loaded.backbone, folder=cache, stride=stride)
        embed_dataset(ready, learnt, views, progress)
    dataset = ready.only(chosen)
    judged = {clip.name for clip in dataset.clips}
    if part == "auto":
        of_test = all("test" in inside.get(name, ()) for name in judged)
        part = "test" if of_test else "unseen" if seen and not judged & seen else "all"
    with progress.bar("evaluating", len(dataset.clips) * count_passes(loaded, degrade=degrade)) as advance:
        evaluation = run_evaluate(loaded, dataset, store, degrade=degrade, on_clip=advance)
    evaluation |= {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "liquidvision": liquidvision.__version__,
        "timing": measure_latency(loaded, dataset.clips[0].path),
    }
    evaluation["data"] |= {
        "part": part,
        "skipped": [file for file in skipped if file["name"] in chosen],
        "seen_in_training": len(judged & seen),
    }
    if split is not None and any(inside.get(name) for name in judged):
        evaluation["data"]["split_by"] = split.by
    if training:
        evaluation["training"] = training
    if config is not None:
        with progress.bar("comparing", folds * seeds) as advance:
            evaluation["compare"] = run_compare(
                SequenceDataset(ready, learnt, views),
                config,
                recipe,
                first_dt=loaded.first_dt,
                k=folds,
                seeds=seeds,
                on_fold=lambda done: advance(f"fold {done} of {folds * seeds}"),
            )
    progress.scores(evaluation)
    if judged & seen:
        progress.say(f"  {describe_training_overlap(evaluation['data'])}")
        if training and split is not None and set(split.parts) == {"train"}:
            progress.say(
                f"  It was trained on all of its clips; {folder / SCORES_FILE} has the cross-validated scores on "
                "held-out clips, and --compare computes them again"
            )
    progress.table(evaluation)
    try:
        if json_path is not None:
            json_path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(json_path, encode_evaluation(evaluation))
            progress.say(f"  → {json_path}")
    except OSError as error:
        raise SinkError(f"cannot write {json_path}: {error.strerror or error}") from error
    if report is not None:
        write_report(report, evaluation)
        progress.say(f"  → {report}")
