"""Cross-validation by group: heads of every kind and seed, and controls; a clip is judged by what never saw it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from liquidvision.learn.controls import controls
from liquidvision.learn.fit import Fit, fit_statistics
from liquidvision.learn.lessons import Lesson, Lessons
from liquidvision.learn.metrics import Track
from liquidvision.learn.recipe import Recipe
from liquidvision.learn.scoring import Verdict, verdicts
from liquidvision.learn.splits import folds
from liquidvision.liquid.head import Head, HeadConfig

RESET = "reset"  # a name's ending: the state set back at every frame
INNER_FOLDS = 4  # of a training part, one of which tunes the controls


@dataclass(frozen=True, slots=True)
class Contest:
    """What is cross-validated.

    Attributes:
        heads: configurations by name; all with the same layouts, components, traces and appearance.
        recipe: of all heads; its seed is the first of `seeds`.
        first_dt: see `Model`.
        seeds: heads of each configuration.
        reset: the names of heads that are also judged with their state set back at every frame.
        controls: whether the controls compete too.
    """

    heads: Mapping[str, HeadConfig]
    recipe: Recipe
    first_dt: float
    seeds: int
    reset: Sequence[str] = ()
    controls: bool = False


@dataclass(slots=True)
class Outcome:
    """What competitors said: for each, by seed (controls have one), the track of every clip of the dataset.

    Attributes:
        tracks: by name: (seeds, clips).
        alone: by head's name: the same by each frame alone, through the head's own readout.
        tuned: by control: what was tuned, fold by fold.
        parameters: by head's name: numbers that were trained.
    """

    tracks: dict[str, list[list[Track]]] = field(default_factory=dict)
    alone: dict[str, list[list[Track]]] = field(default_factory=dict)
    tuned: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)


def cross_validate(
    lessons: Lessons, contest: Contest, k: int, *, seed: int = 0, on_fold: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Judge every clip by models trained on the other folds.

    Args:
        lessons: the whole dataset.
        contest: what competes.
        k: number of folds.
        seed: of the folds.
        on_fold: called with the number of folds done.

    Raises:
        UsageError: fewer groups than folds.
    """
    outcome = Outcome()
    clips = [clip.name for clip in lessons.dataset.clips]
    for done, test in enumerate(folds(lessons.dataset, k, seed=seed), 1):
        held_out = set(test)
        train = lessons.only([name for name in clips if name not in held_out])
        with torch.random.fork_rng():
            fold = run_fold(train, lessons.only(test), contest)
        merge(outcome, fold, [place for place, name in enumerate(clips) if name in held_out], len(clips))
        on_fold(done)
    return outcome


def run_fold(train: Lessons, test: Lessons, contest: Contest) -> Outcome:
    """One fold: every head trained on `train` at once, each control tuned within it; all judged on `test`."""
    heads: list[Head] = []
    owners: list[str] = []
    for name, config in contest.heads.items():
        for number in range(contest.seeds):
            torch.manual_seed(contest.recipe.seed + number)
            heads.append(Head(config))
            owners.append(name)
    fit_statistics(heads, train, contest.first_dt)
    torch.manual_seed(contest.recipe.seed)
    course = Fit(heads, train, contest.recipe, first_dt=contest.first_dt)
    for _ in range(contest.recipe.epochs):
        course.epoch()
    lessons = list(test)
    outcome = Outcome()
    said = verdicts(heads, lessons, contest.first_dt)
    for name, head, verdict in zip(owners, heads, said, strict=True):
        outcome.tracks.setdefault(name, []).append(tracks_of(lessons, [v.memory for v in verdict]))
        outcome.alone.setdefault(name, []).append(tracks_of(lessons, [v.frame for v in verdict]))
        outcome.parameters[name] = sum(p.numel() for p in head.parameters())
        if name in contest.reset:
            reset = tracks_of(lessons, memoryless(head, lessons, contest.first_dt))
            outcome.tracks.setdefault(f"{name} {RESET}", []).append(reset)
    if contest.controls:
        inner = folds(train.dataset, min(INNER_FOLDS, len({clip.group for clip in train.dataset.clips})), seed=0)[0]
        rest = [clip.name for clip in train.dataset.clips if clip.name not in set(inner)]
        classes = len(train.dataset.labels)
        plain = list(train)
        results = controls(plain, (list(train.only(rest)), list(train.only(inner))), lessons, classes)
        for name, result in results.items():
            outcome.tracks[name] = [result.tracks]
            outcome.tuned[name] = [result.tuned] if result.tuned else []
    return outcome


def memoryless(head: Head, lessons: Sequence[Lesson], first_dt: float) -> list[Tensor]:
    """Logits of each lesson where every frame is the first of a stream."""
    frames = [lesson.only(slice(i, i + 1)) for lesson in lessons for i in range(len(lesson))]
    (said,) = verdicts([head], frames, first_dt, batch=512)
    rows: list[Verdict] = list(said)
    logits = []
    for lesson in lessons:
        own, rows = rows[: len(lesson)], rows[len(lesson) :]
        logits.append(torch.cat([verdict.memory for verdict in own]))
    return logits


def tracks_of(lessons: Sequence[Lesson], logits: Sequence[Tensor]) -> list[Track]:
    """Tracks of probabilities."""
    return [
        Track(lesson.targets.numpy(), values.softmax(-1).numpy(), lesson.times.numpy())
        for lesson, values in zip(lessons, logits, strict=True)
    ]


def merge(outcome: Outcome, fold: Outcome, places: Sequence[int], clips: int) -> None:
    """Put a fold's tracks in their places among all clips."""
    for whole, part in ((outcome.tracks, fold.tracks), (outcome.alone, fold.alone)):
        for name, seeds in part.items():
            rows = whole.setdefault(name, [[None] * clips for _ in seeds])  # type: ignore[list-item]
            for row, tracks in zip(rows, seeds, strict=True):
                for place, track in zip(places, tracks, strict=True):
                    row[place] = track
    for name, tuned in fold.tuned.items():
        outcome.tuned.setdefault(name, []).extend(tuned)
    outcome.parameters |= fold.parameters
