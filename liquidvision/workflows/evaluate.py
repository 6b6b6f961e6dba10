"""evaluate(): how well a model does on annotated clips, and whether its memory helped, in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from liquidvision import __version__
from liquidvision.data.dataset import Dataset
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.formats import read_clips
from liquidvision.data.splits import FITTED, has_given_split, split_as_given
from liquidvision.data.views import PLAIN_VIEW
from liquidvision.errors import UsageError
from liquidvision.evaluation.compare import compare_heads
from liquidvision.evaluation.crossval import check_folds, check_given_test
from liquidvision.evaluation.evaluate import count_passes, evaluate_model, measure_latency, with_model_labels
from liquidvision.inference.session import check_adapts
from liquidvision.models.folder import find_model
from liquidvision.models.model import Model
from liquidvision.report.report import describe_refit, describe_training_overlap
from liquidvision.training.sequences import SequenceDataset
from liquidvision.video.read.file_options import FileOptions
from liquidvision.workflows.evaluation_result import Evaluation
from liquidvision.workflows.io_paths import refuse_overwriting
from liquidvision.workflows.jobs import EvaluateJob
from liquidvision.workflows.prepare_clips import embed_dataset, hash_clips, prepare_clips
from liquidvision.workflows.progress import ProgressListener
from liquidvision.workflows.training_record import EVALUATION_FILE, TrainingHistory, load_split_model

PARTS = ("auto", "all", "train", "validation", "test")


def evaluate(
    data: str | Path,
    model: Model | str | Path,
    *,
    part: str = "auto",
    save_json: str | Path | None = None,
    report: str | Path | None = None,
    compare: bool = False,
    folds: int = 5,
    seeds: int = 3,
    degrade: bool = False,
    two_pass: bool = False,
    adapt: bool = False,
    background: str = "background",
    rate: float | None = None,
    deinterlace: str = "auto",
    cache: str | Path | None = None,
    device: str = "auto",
    exist_ok: bool = False,
    listener: ProgressListener | None = None,
) -> Evaluation:
    """Measure a model on annotated clips: accuracy, segments, flips, delays, calibration, robustness, speed.

    On the data that the model was trained on, only clips that training did not see are evaluated, unless `part` says
    otherwise. Clips are recognised by their content, so they may have been moved or renamed. The options are those of
    `liquidvision eval`.

    Args:
        data: see `train`; its labels are among the model's.
        model: a model folder, a bundled model's name, or a loaded model.
        part: all, or the train, validation or test part of the split that the data gives, else of the model's own
            split. auto: those clips that training did not see; all, if it saw every clip. Where the saved model was
            trained again on the test part, `auto` and `test` judge the model from before, which is kept for this.
        save_json: a file to write all figures to.
        report: a file (.html) to write the report to, a page that needs no network.
        compare: also compare the head with other heads and simpler methods: cross-validated, or where the data gives a
            split, trained on its other parts and tested on its part test.
        folds: number of folds of the comparison, where the data gives no split.
        seeds: repetitions of the comparison, each with its own folds and initial weights.
        degrade: also evaluate with noise, blur and darkness, and with lost frames where the backbone crops around
            motion. Embeds every clip 9 more times, 18 with a motion crop.
        two_pass: also evaluate two passes over each clip, see `predict`; the model needs a backward head.
        adapt: also evaluate a memory that adapts to the clips of each group, one after the other, see `Session`.
        background: the class of the time outside all intervals.
        rate: pictures per second; folders of pictures (`clips/CLASS/CLIP/0001.jpg`) are then clips too.
        deinterlace: see `open_video`.
        cache: the folder where embeddings are kept. None: $LIQUIDVISION_CACHE, else the user's cache folder.
        device: auto, cpu, cuda, mps or openvino; a loaded model stays where it is.
        exist_ok: replace outputs that already exist.
        listener: receives progress and warnings, such as clips left out. None: warnings are logged.

    Returns:
        An `Evaluation`, indexed by "memory" and "frame" (the metrics with memory and of each frame alone), "data",
        "model", "videos", "robustness" and, where they apply, "two_pass", "adapted", "training" and "compare". `print`
        shows a summary.

    Raises:
        UsageError: data, labels or options that cannot be used, or an output that already exists.
        SourceError: none of the videos can be read.
        SinkError: an output or the cache cannot be written.
        ModelError: no such model.

    Examples:
        >>> evaluation = lv.evaluate("clips/", "my-model", report="report.html")
        >>> print(evaluation)
        >>> evaluation["memory"]["flips_per_minute"], evaluation["frame"]["flips_per_minute"]
    """
    loaded = model if isinstance(model, Model) else None
    job = EvaluateJob(
        Path(data),
        model=str(model) if loaded is None else loaded.name,
        part=part,
        save_json=None if save_json is None else Path(save_json),
        report=None if report is None else Path(report),
        compare=compare,
        folds=folds,
        seeds=seeds,
        degrade=degrade,
        two_pass=two_pass,
        adapt=adapt,
        background=background,
        rate=rate,
        deinterlace=deinterlace,
        cache=None if cache is None else Path(cache),
        device=device,
        exist_ok=exist_ok,
    )
    return run_evaluate(job, listener, model=loaded)


def run_evaluate(
    job: EvaluateJob, listener: ProgressListener | None = None, *, model: Model | None = None
) -> Evaluation:
    """Run an evaluation from its description; see `evaluate` for the options and errors.

    Args:
        job: the description.
        listener: receives progress and warnings.
        model: the model, loaded already; None: the one that the job names.
    """
    listener = listener or ProgressListener()
    check_evaluate_job(job)
    if model is None:
        model = Model.from_pretrained(find_model(job.model), device=job.device)
    if job.two_pass:
        _ = model.required_backward_head
    if job.adapt:
        check_adapts(model)
    if job.compare:
        _ = model.head_config  # only trained heads can be compared: refused before anything takes long
    files = FileOptions(job.rate, job.deinterlace)
    store = EmbeddingStore(model.backbone, folder=job.cache, files=files)
    whole = with_model_labels(read_clips(job.data, job.background, files), model.labels)
    training = TrainingHistory.of_model(model, len(whole.clips))
    if job.compare:
        check_comparison(job, whole, training)
    selection = select_clips(job, whole, store, training)
    wanted = whole if job.compare else whole.select(selection.names)
    usable, skipped = prepare_clips(wanted, store, (PLAIN_VIEW,), listener)
    sequences = None
    if job.compare:
        check_comparison(job, usable, training)  # again: files may have been left out
        sequences = embed_for_comparison(job, usable, store, training, listener)
    dataset = usable.select(selection.names)
    judged = model
    if selection.by_split_model:
        assert training.folder is not None
        judged = load_split_model(model, training.folder)
    figures = measure_model(job, judged, dataset, store, listener)
    skipped = [file for file in skipped if file["name"] in selection.names]
    figures["data"] |= describe_selection(job, dataset, selection, training, skipped)
    if training.figures:
        figures["training"] = training.figures
    if sequences is not None:
        figures["compare"] = compare_model(job, model, sequences, training, listener)
    evaluation = Evaluation(figures, notes_on_seen_clips(figures, training))
    if job.save_json is not None:
        evaluation.save_json(job.save_json)
    if job.report is not None:
        evaluation.save_report(job.report)
    return evaluation


def check_comparison(job: EvaluateJob, dataset: Dataset, training: TrainingHistory) -> None:
    """Raise UsageError where heads cannot be compared on a dataset."""
    given_test = find_given_test(dataset, training)
    if given_test is None:
        check_folds(dataset, job.folds, job.seeds, training.recipe.seed)
    else:
        check_given_test(dataset, given_test, job.seeds)


def find_given_test(dataset: Dataset, training: TrainingHistory) -> tuple[str, ...] | None:
    """Return the names of the clips that the data's own split tests; None if it gives no split.

    Raises:
        UsageError: see `split_as_given`.
    """
    return split_as_given(dataset, seed=training.recipe.seed)["test"] if has_given_split(dataset) else None


def check_evaluate_job(job: EvaluateJob) -> None:
    """Raise UsageError where the part is unknown or an output already exists."""
    if job.part not in PARTS:
        raise UsageError(f"--part is {job.part!r}; expected one of {', '.join(PARTS)}")
    for path in (job.save_json, job.report):
        if path is not None:
            refuse_overwriting(path, exist_ok=job.exist_ok)


@dataclass(frozen=True, slots=True)
class ClipSelection:
    """Which clips of a dataset are evaluated.

    Attributes:
        names: the names of these clips.
        parts: the parts of the training's split in which each clip of the dataset is, by name.
        seen: names of all clips of the dataset that training saw.
        by_split_model: whether the model of the split is evaluated in place of the saved one, which saw them all.
    """

    names: frozenset[str]
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    by_split_model: bool = False


def select_clips(job: EvaluateJob, dataset: Dataset, store: EmbeddingStore, training: TrainingHistory) -> ClipSelection:
    """Select the clips of the part that is asked for.

    Raises:
        UsageError: the part has no clip of this dataset.
    """
    every = frozenset(clip.name for clip in dataset.clips)
    parts = {} if training.split is None else training.split.find_parts(hash_clips(dataset, store))
    seen = frozenset(name for name, own in parts.items() if training.split and own & set(training.split.seen))
    if job.part == "all":
        return ClipSelection(every, parts, seen)
    if training.keeps_split_model and job.part in ("auto", "test"):
        before = frozenset(name for name, own in parts.items() if own & set(FITTED))
        test = frozenset(name for name, own in parts.items() if "test" in own)
        if test:
            names = test if job.part == "test" else every - before or test
            return ClipSelection(names, parts, before, by_split_model=True)
    if job.part == "auto":
        return ClipSelection(every - seen or every, parts, seen)
    names = frozenset(clip.name for clip in dataset.clips if clip.part == job.part)
    names = names or frozenset(name for name, own in parts.items() if job.part in own)
    if not names:
        raise UsageError(
            f"no video of {job.data} is in the part {job.part!r}, neither of a split that the data gives nor of what "
            f"{job.model} was trained on"
        )
    return ClipSelection(names, parts, seen)


def measure_model(
    job: EvaluateJob, model: Model, dataset: Dataset, store: EmbeddingStore, listener: ProgressListener
) -> dict[str, Any]:
    """Return all figures of a model on a dataset, with the time of a frame."""
    done, total = 0, len(dataset.clips) * count_passes(model, degrade=job.degrade)

    def on_clip(name: str) -> None:
        nonlocal done
        done += 1
        listener.progress("evaluating", done, total, name)

    listener.progress("evaluating", 0, total)
    ways = {"degrade": job.degrade, "two_pass": job.two_pass, "adapt": job.adapt}
    return evaluate_model(model, dataset, store, **ways, on_clip=on_clip) | {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "liquidvision": __version__,
        "timing": measure_latency(model, dataset.clips[0].path, store.files),
    }


def describe_selection(
    job: EvaluateJob,
    dataset: Dataset,
    selection: ClipSelection,
    training: TrainingHistory,
    skipped: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return what the evaluation's "data" says of the clips in relation to the training."""
    names = {clip.name for clip in dataset.clips}
    part = job.part
    if part == "auto":
        all_test = all("test" in selection.parts.get(name, ()) for name in names)
        part = "test" if all_test else "unseen" if selection.seen and not names & selection.seen else "all"
    facts = {"part": part, "skipped": list(skipped), "seen_in_training": len(names & selection.seen)}
    if selection.by_split_model:
        facts["refit_clips"] = training.figures["refit"]["clips"]
    if training.split is not None and any(selection.parts.get(name) for name in names):
        facts["split_by"] = training.split.by
    return facts


def embed_for_comparison(
    job: EvaluateJob, dataset: Dataset, store: EmbeddingStore, training: TrainingHistory, listener: ProgressListener
) -> SequenceDataset:
    """Embed a dataset in the views and with the stride of the model's own training."""
    own_store = EmbeddingStore(store.backbone, folder=job.cache, stride=training.stride, files=store.files)
    embed_dataset(dataset, own_store, training.views, listener)
    return SequenceDataset(dataset, own_store, training.views)


def compare_model(
    job: EvaluateJob, model: Model, sequences: SequenceDataset, training: TrainingHistory, listener: ProgressListener
) -> dict[str, Any]:
    """Compare a model's head with other heads and simpler methods: cross-validated, or on the data's own split."""
    given_test = find_given_test(sequences.dataset, training)
    total = job.seeds * (job.folds if given_test is None else 1)

    def on_fold(done: int) -> None:
        listener.progress("comparing", done, total, f"{'fold' if given_test is None else 'seed'} {done} of {total}")

    listener.progress("comparing", 0, total)
    return compare_heads(
        sequences,
        model.head_config,
        training.recipe,
        first_dt=model.first_dt,
        k=job.folds,
        seeds=job.seeds,
        given_test=given_test,
        on_fold=on_fold,
    )


def notes_on_seen_clips(figures: Mapping[str, Any], training: TrainingHistory) -> tuple[str, ...]:
    """Return sentences on clips that training saw, and on which model was evaluated; none where both are plain."""
    notes = [describe_refit(figures["data"])] if figures["data"].get("refit_clips") else []
    if not figures["data"]["seen_in_training"]:
        return tuple(notes)
    notes.append(describe_training_overlap(figures["data"]))
    if training.figures and training.split is not None and set(training.split.parts) == {"train"}:
        assert training.folder is not None
        notes.append(
            f"It was trained on all of its clips; {training.folder / EVALUATION_FILE} has the cross-validated scores "
            "on held-out clips, and --compare computes them again"
        )
    return tuple(notes)
