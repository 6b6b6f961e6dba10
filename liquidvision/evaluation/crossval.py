"""Cross-validation by group: heads of every kind and seed, and controls; a clip is judged by what never saw it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from liquidvision.data.dataset import Dataset, labels_in
from liquidvision.data.splits import make_folds
from liquidvision.errors import ModelError, SinkError, UsageError
from liquidvision.evaluation.baselines import make_baselines
from liquidvision.metrics.classification import ClipScores
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.training import probe
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Recipe
from liquidvision.training.scoring import ClipLogits, clip_logits
from liquidvision.training.sequences import ClipSequence, SequenceDataset

FOLD_FORMAT = "liquidvision-fold-2"
HarderTest = Callable[[Sequence[ClipSequence]], list[ClipSequence]]
RESET_EACH_FRAME = "reset"  # a name's ending: the state set back at every frame


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is cross-validated.

    Attributes:
        heads: configurations by name; all with the same layouts, components, traces and appearance.
        recipe: of all heads.
        first_dt: see `Model`.
        seeds: how often all of it is done: another partition into folds, other weights, other draws.
        reset: the names of heads that are also judged with their state set back at every frame.
        controls: whether the controls compete too.
        harder: further judgements by name, and what becomes of the clips before each: of all of them, in their order;
            frames of class -1 are seen and not judged.
    """

    heads: Mapping[str, LiquidHeadConfig]
    recipe: Recipe
    first_dt: float
    seeds: int
    reset: Sequence[str] = ()
    controls: bool = False
    harder: Mapping[str, HarderTest] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """What competitors said: for each, by seed, the track of every clip of the dataset.

    Attributes:
        tracks: by name: (seeds, clips).
        harder: the same of each of `Experiment.harder`.
        alone: by each frame alone, through the readout that all heads share: (seeds, clips).
        tuned: by control: what was tuned, fold by fold.
        parameters: by head's name: numbers that were trained, without the readout of single frames.
    """

    tracks: dict[str, list[list[ClipScores]]] = field(default_factory=dict)
    harder: dict[str, dict[str, list[list[ClipScores]]]] = field(default_factory=dict)
    alone: list[list[ClipScores]] = field(default_factory=list)
    tuned: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)


def cross_validate(
    lessons: SequenceDataset,
    contest: Experiment,
    k: int,
    *,
    seed: int = 0,
    kept: Path | None = None,
    on_fold: Callable[[int], None] = lambda _: None,
) -> Results:
    """Judge every clip, for each seed, by models trained on the other folds.

    Args:
        lessons: the whole dataset.
        contest: what competes.
        k: number of folds.
        seed: the first.
        kept: a folder for what each fold gave; what lies there, of the same lessons and contest, is not done again.
        on_fold: called with the number of folds done, of `k` times `contest.seeds`.

    Raises:
        UsageError: fewer groups than folds.
        SinkError: the folder cannot be written.
    """
    outcome = Results()
    clips = [clip.name for clip in lessons.dataset.clips]
    done = 0
    for number in range(contest.seeds):
        for test in make_folds(lessons.dataset, k, seed=seed + number):
            held_out = set(test)
            train = lessons.only([name for name in clips if name not in held_out])
            path = None if kept is None else kept / f"{done + 1}.safetensors"
            fold = None if path is None else read_fold(path)
            if fold is None:
                with torch.random.fork_rng():
                    fold = run_fold(train, lessons.only(test), contest, seed + number)
                if path is not None:
                    save_fold(path, fold)
            merge_folds(
                outcome, fold, number, [place for place, name in enumerate(clips) if name in held_out], len(clips)
            )
            done += 1
            on_fold(done)
    return outcome


def run_fold(train: SequenceDataset, test: SequenceDataset, contest: Experiment, seed: int) -> Results:
    """One fold of one seed: heads trained on `train` side by side, controls tuned within it; all judged on `test`."""
    torch.manual_seed(seed)
    device = train.store.backbone.device
    heads = {name: LiquidHead(config).to(device) for name, config in contest.heads.items()}
    fit_statistics(list(heads.values()), train, contest.first_dt)
    rest, held_out = probe.inner_split(train)
    shown, inner = train.in_all_views(), (rest.in_all_views(), held_out)
    classes = len(train.dataset.labels)
    c = probe.tune_penalty(*inner, classes)
    frames = probe.fit_probe(shown, c)
    for head in heads.values():
        probe.set_frame_readout(head, frames)
    torch.manual_seed(seed)
    course = EpochLoop(list(heads.values()), train, contest.recipe, first_dt=contest.first_dt)
    for _ in range(contest.recipe.epochs):
        course.epoch()
    made = make_baselines(frames, c, shown, inner, classes) if contest.controls else {}
    outcome = Results()

    def judge(lessons: Sequence[ClipSequence], tracks: dict[str, list[list[ClipScores]]]) -> list[ClipScores]:
        """Put down what everybody says of lessons; what each frame alone says."""
        said = clip_logits(list(heads.values()), lessons, contest.first_dt)
        for (name, head), verdict in zip(heads.items(), said, strict=True):
            tracks[name] = [scores_of_logits(lessons, [v.memory for v in verdict])]
            if name in contest.reset:
                logits = reset_each_frame(head, lessons, contest.first_dt)
                tracks[f"{name} {RESET_EACH_FRAME}"] = [scores_of_logits(lessons, logits)]
        for name, control in made.items():
            tracks[name] = [control.judge(lessons, classes)]
        return scores_of_logits(lessons, [v.frame for v in said[0]])

    outcome.alone = [judge(list(test), outcome.tracks)]
    for kind, make in contest.harder.items():
        torch.manual_seed(seed)
        asked, said = make(list(test)), dict[str, list[list[ClipScores]]]()
        judge([replace(lesson, targets=lesson.targets.clamp_min(0)) for lesson in asked], said)
        outcome.harder[kind] = {name: [list(map(judged_clips, part, asked))] for name, (part,) in said.items()}
    outcome.tuned = {name: [control.tuned] for name, control in made.items() if control.tuned}
    for name, head in heads.items():
        unused = sum(p.numel() for p in head.frame_readout.parameters())
        outcome.parameters[name] = sum(p.numel() for p in head.parameters()) - unused
    return outcome


def save_fold(path: Path, fold: Results) -> None:
    """Write what a fold gave; raises SinkError where that cannot be."""
    told = {"tuned": fold.tuned, "parameters": fold.parameters}
    told |= {"tracks": list(fold.tracks), "harder": {kind: list(tracks) for kind, tracks in fold.harder.items()}}
    tensors = {}
    harder = [tracks for by_name in fold.harder.values() for tracks in by_name.values()]
    for i, (tracks,) in enumerate([fold.alone, *fold.tracks.values(), *harder]):
        tensors[f"{i}.lengths"] = torch.tensor([len(track.truth) for track in tracks])
        for part in ("truth", "scores", "times"):
            tensors[f"{i}.{part}"] = torch.from_numpy(np.concatenate([getattr(track, part) for track in tracks]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, {"format": FOLD_FORMAT, "fold": json.dumps(told)})
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error


def read_fold(path: Path) -> Results | None:
    """What `save_fold` wrote; None where there is no such file, or it is damaged: the fold is done again."""
    try:
        tensors, metadata = read_tensors(path)
    except ModelError:
        return None
    if metadata.get("format") != FOLD_FORMAT:
        return None
    told = json.loads(metadata["fold"])

    def tracks(i: int) -> list[list[ClipScores]]:
        edges = tensors[f"{i}.lengths"].cumsum(0)[:-1].numpy()
        parts = (np.split(tensors[f"{i}.{part}"].numpy(), edges) for part in ("truth", "scores", "times"))
        return [[ClipScores(*row) for row in zip(*parts, strict=True)]]

    numbers = count()
    return Results(
        alone=tracks(next(numbers)),
        tracks={name: tracks(next(numbers)) for name in told["tracks"]},
        harder={kind: {name: tracks(next(numbers)) for name in names} for kind, names in told["harder"].items()},
        tuned=told["tuned"],
        parameters=told["parameters"],
    )


def check_folds(dataset: Dataset, k: int, seeds: int, seed: int) -> None:
    """See whether a dataset can be cross-validated, before anything that takes long.

    Raises:
        UsageError: no seeds, fewer than 2 folds, more folds than groups, or a fold's training part with too little.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; expected 1 or more")
    for number in range(seeds):
        for held_out in make_folds(dataset, k, seed=seed + number):
            rest = [clip for clip in dataset.clips if clip.name not in set(held_out)]
            if len(labels_in(rest, dataset.background)) < 2 or len({clip.group for clip in rest}) < 2:
                raise UsageError(
                    f"with {k} folds heads would have to learn from one class or one group alone; choose more folds, "
                    "or add groups that hold several classes"
                )


def reset_each_frame(head: LiquidHead, lessons: Sequence[ClipSequence], first_dt: float) -> list[Tensor]:
    """Logits of each lesson where every frame is the first of a stream."""
    frames = [lesson.only(slice(i, i + 1)) for lesson in lessons for i in range(len(lesson))]
    (said,) = clip_logits([head], frames, first_dt, batch=512)
    rows: list[ClipLogits] = list(said)
    logits = []
    for lesson in lessons:
        own, rows = rows[: len(lesson)], rows[len(lesson) :]
        logits.append(torch.cat([verdict.memory for verdict in own]))
    return logits


def scores_of_logits(lessons: Sequence[ClipSequence], logits: Sequence[Tensor]) -> list[ClipScores]:
    """Tracks of probabilities."""
    return [
        ClipScores(lesson.targets.numpy(), values.softmax(-1).numpy(), lesson.times.numpy())
        for lesson, values in zip(lessons, logits, strict=True)
    ]


def judged_clips(track: ClipScores, lesson: ClipSequence) -> ClipScores:
    """The part of a lesson's track where somebody said what is true."""
    known = lesson.targets.numpy() >= 0
    return ClipScores(track.truth[known], track.scores[known], track.times[known])


def merge_folds(outcome: Results, fold: Results, number: int, places: Sequence[int], clips: int) -> None:
    """Put a fold's tracks in their places among all clips, as those of the seed of that number."""

    def put(whole: list[list[ClipScores]], part: Sequence[Sequence[ClipScores]]) -> None:
        if len(whole) == number:
            whole.append([None] * clips)  # type: ignore[list-item]
        for place, track in zip(places, part[0], strict=True):
            whole[number][place] = track

    put(outcome.alone, fold.alone)
    harder = ((outcome.harder.setdefault(kind, {}), tracks) for kind, tracks in fold.harder.items())
    for all_, some in ((outcome.tracks, fold.tracks), *harder):
        for name, tracks in some.items():
            put(all_.setdefault(name, []), tracks)
    for name, tuned in fold.tuned.items():
        outcome.tuned.setdefault(name, []).extend(tuned)
    outcome.parameters |= fold.parameters
