"""Cross-validation by group of heads and baselines: every clip is judged by models that were not trained on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from liquidvision.data.dataset import Dataset, labels_in
from liquidvision.data.splits import has_given_split, make_folds
from liquidvision.errors import UsageError
from liquidvision.evaluation.baselines import Baseline, fit_baselines
from liquidvision.evaluation.forgetting import forgetting_curves
from liquidvision.evaluation.results import Results, SeedScores, read_fold, save_fold
from liquidvision.evaluation.stress import StressTest
from liquidvision.metrics.classification import ClipScores
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.models.tasks import MULTICLASS
from liquidvision.training import probe
from liquidvision.training.optimise import EpochLoop, fit_statistics
from liquidvision.training.recipe import Recipe
from liquidvision.training.scoring import ClipLogits, clip_logits
from liquidvision.training.sequences import ClipSequence, EveryNthFrame, SequenceDataset

RESET_SUFFIX = "reset"  # ends the name of a head that is judged with its state reset at every frame
SINGLE_FRAME_BATCH = 512  # sequences of one frame side by side
FEW_GROUPS = 50  # see docs/research/refit.md
DEFAULT_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is cross-validated.

    Attributes:
        heads: configurations by name; all share layouts, components, traces and appearance.
        recipe: the recipe of all heads.
        first_dt: see `Model`.
        seeds: number of repetitions, each with its own folds, weights and random draws.
        without_state: names of heads that are also judged with their state reset at every frame.
        baselines: whether the baselines are trained and judged too.
        stress_tests: further tests by name: a function from all clips, in their order, to the clips to judge. Frames
            of class -1 are seen and not judged.
        forgetting: whether to measure how fast the heads forget, see `forgetting_curves`.
        learn_every: heads and baselines learn from every nth frame of the clips.
    """

    heads: Mapping[str, LiquidHeadConfig]
    recipe: Recipe
    first_dt: float
    seeds: int
    without_state: Sequence[str] = ()
    baselines: bool = False
    stress_tests: Mapping[str, StressTest] = field(default_factory=dict)
    forgetting: bool = False
    learn_every: int = 1


def cross_validate(
    sequences: SequenceDataset,
    experiment: Experiment,
    k: int,
    *,
    seed: int = 0,
    given_test: Sequence[str] | None = None,
    fold_folder: Path | None = None,
    on_fold: Callable[[int], None] = lambda _: None,
) -> Results:
    """Judge every clip, for each seed, by models trained on the other folds.

    Args:
        sequences: the whole dataset.
        experiment: what to train and judge.
        k: number of folds.
        seed: the first seed.
        given_test: names of the clips that a given split tests. These are the one fold then: they are judged by models
            trained on all others, and `k` has no effect.
        fold_folder: where the results of each fold are saved. Folds that are found there, of the same dataset and
            experiment, are not computed again.
        on_fold: called with the number of folds done, of `k` × `experiment.seeds`.

    Raises:
        UsageError: fewer groups than folds.
        SinkError: the folder cannot be written.
    """
    results = Results()
    names = [clip.name for clip in sequences.dataset.clips]
    judged = names if given_test is None else [name for name in names if name in set(given_test)]
    done = 0
    for number in range(experiment.seeds):
        folds = make_folds(sequences.dataset, k, seed=seed + number) if given_test is None else [tuple(judged)]
        for test in folds:
            held_out = set(test)
            train = sequences.select([name for name in names if name not in held_out])
            path = None if fold_folder is None else fold_folder / f"{done + 1}.safetensors"
            fold = None if path is None else read_fold(path)
            if fold is None:
                with torch.random.fork_rng():
                    fold = run_fold(train, sequences.select(test), experiment, seed + number)
                if path is not None:
                    save_fold(path, fold)
            test_indices = [index for index, name in enumerate(judged) if name in held_out]
            results.merge_fold(fold, number, test_indices, len(judged))
            done += 1
            on_fold(done)
    return results


def run_fold(train: SequenceDataset, test: SequenceDataset, experiment: Experiment, seed: int) -> Results:
    """Train all heads side by side, and the baselines, on `train`; judge them on `test`. One fold of one seed."""
    if experiment.learn_every > 1:
        train = EveryNthFrame(train, experiment.learn_every)
    torch.manual_seed(seed)
    device = train.store.backbone.device
    heads = {name: LiquidHead(config).to(device) for name, config in experiment.heads.items()}
    fit_statistics(list(heads.values()), train, experiment.first_dt)
    inner_train, inner_test = probe.inner_split(train)
    all_views, inner = train.all_views(), (inner_train.all_views(), inner_test)
    classes = len(train.dataset.labels)
    penalty = probe.tune_penalty(*inner, classes)
    frame_probe = probe.fit_probe(all_views, penalty)
    for head in heads.values():
        probe.set_frame_readout(head, frame_probe)
    torch.manual_seed(seed)
    loop = EpochLoop(list(heads.values()), train, experiment.recipe, first_dt=experiment.first_dt)
    for _ in range(experiment.recipe.epochs):
        loop.run_epoch()
    baselines = fit_baselines(frame_probe, penalty, all_views, inner, classes) if experiment.baselines else {}
    contestants = _Contestants(experiment, heads, baselines, classes)
    scores, frame_scores = contestants.predict(list(test))
    results = Results(scores=scores, frame_scores=[frame_scores])
    for name, make_stressed in experiment.stress_tests.items():
        torch.manual_seed(seed)
        stressed = make_stressed(list(test))
        # -1 is no class index; labelled_frames removes these frames again.
        with_dummy_targets = [replace(sequence, targets=sequence.targets.clamp_min(0)) for sequence in stressed]
        scores, _ = contestants.predict(with_dummy_targets)
        results.stressed[name] = {
            contestant: [list(map(labelled_frames, clips, stressed))] for contestant, (clips,) in scores.items()
        }
    if experiment.forgetting:
        results.forgetting = [forgetting_curves(heads, list(test), experiment.first_dt)]
    results.tuned = {name: [baseline.tuned] for name, baseline in baselines.items() if baseline.tuned}
    for name, head in heads.items():
        # The frame readout is the baseline's, not part of the compared cell.
        frame_readout = sum(p.numel() for p in head.frame_readout.parameters())
        results.parameters[name] = sum(p.numel() for p in head.parameters()) - frame_readout
    return results


@dataclass(frozen=True, slots=True)
class _Contestants:
    """The trained models of one fold."""

    experiment: Experiment
    heads: Mapping[str, LiquidHead]
    baselines: Mapping[str, Baseline]
    classes: int

    def predict(self, sequences: Sequence[ClipSequence]) -> tuple[dict[str, SeedScores], list[ClipScores]]:
        """Return the scores of every contestant by name, and those of each frame alone."""
        first_dt = self.experiment.first_dt
        scores: dict[str, SeedScores] = {}
        logits_by_head = clip_logits(list(self.heads.values()), sequences, first_dt)
        for (name, head), clips in zip(self.heads.items(), logits_by_head, strict=True):
            scores[name] = [scores_from_logits(sequences, [clip.memory for clip in clips])]
            if name in self.experiment.without_state:
                logits = logits_without_state(head, sequences, first_dt)
                scores[f"{name} {RESET_SUFFIX}"] = [scores_from_logits(sequences, logits)]
        for name, baseline in self.baselines.items():
            scores[name] = [baseline.predict(sequences, self.classes)]
        # The readout of single frames is the same in all heads.
        return scores, scores_from_logits(sequences, [clip.frame for clip in logits_by_head[0]])


def check_folds(dataset: Dataset, k: int, seeds: int, seed: int) -> None:
    """Check that a dataset can be cross-validated, before anything that takes long.

    Raises:
        UsageError: no seeds, fewer than 2 folds, more folds than groups, or a training part with one class or group.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; expected 1 or more")
    for number in range(seeds):
        for held_out in make_folds(dataset, k, seed=seed + number):
            rest = [clip for clip in dataset.clips if clip.name not in set(held_out)]
            if len(labels_in(rest, dataset.background)) < 2 or len({clip.group for clip in rest}) < 2:
                raise UsageError(
                    f"with {k} folds, the training part of a fold has only one class or one group; choose more folds, "
                    "or add groups that contain several classes"
                )


def check_given_test(dataset: Dataset, given_test: Sequence[str], seeds: int) -> None:
    """Check that models can be trained on all clips but those of a given test part.

    Raises:
        UsageError: no seeds, or what is left has one class or group.
    """
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}; expected 1 or more")
    rest = [clip for clip in dataset.clips if clip.name not in set(given_test)]
    if len(labels_in(rest, dataset.background)) < 2 or len({clip.group for clip in rest}) < 2:
        raise UsageError(
            f"outside its part test, {dataset.root} has only one class or one group; expected two or more to compare "
            "heads that are trained on them"
        )


def choose_folds(dataset: Dataset, seed: int) -> int:
    """Return the number of folds for data whose user names none: 0, one split, where that is enough or is given.

    With fewer groups than `FEW_GROUPS`, the test part of one split is too small for its score to mean much.
    """
    groups = len({clip.group for clip in dataset.clips})
    if has_given_split(dataset) or groups >= FEW_GROUPS:
        return 0
    folds = min(groups, DEFAULT_FOLDS)
    try:
        check_folds(dataset, folds, 1, seed)
    except UsageError:  # too few groups: one split says what it needs
        return 0
    return folds


def logits_without_state(head: LiquidHead, sequences: Sequence[ClipSequence], first_dt: float) -> list[Tensor]:
    """Return the logits of each clip (n, classes) when every frame is the first of a stream."""
    frames = [sequence.select(slice(i, i + 1)) for sequence in sequences for i in range(len(sequence))]
    (by_frame,) = clip_logits([head], frames, first_dt, batch=SINGLE_FRAME_BATCH)
    remaining: list[ClipLogits] = list(by_frame)
    logits = []
    for sequence in sequences:
        clip_frames, remaining = remaining[: len(sequence)], remaining[len(sequence) :]
        logits.append(torch.cat([frame.memory for frame in clip_frames]))
    return logits


def scores_from_logits(sequences: Sequence[ClipSequence], logits: Sequence[Tensor]) -> list[ClipScores]:
    """Return the scores of each clip from its logits (n, classes)."""
    return [
        ClipScores(sequence.targets.numpy(), MULTICLASS.scores(values).numpy(), sequence.times.numpy())
        for sequence, values in zip(sequences, logits, strict=True)
    ]


def labelled_frames(clip: ClipScores, sequence: ClipSequence) -> ClipScores:
    """Return the scores of those frames of a clip that have a label."""
    known = sequence.targets.numpy() >= 0
    return ClipScores(clip.truth[known], clip.scores[known], clip.times[known])
