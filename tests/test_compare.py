"""Cross-validation and the comparison: who is judged by what, fairly, and what the table says of it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lessons import swings

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.errors import UsageError
from liquidvision.evaluation import compare as comparing
from liquidvision.evaluation import crossval
from liquidvision.evaluation.baselines import BASELINES
from liquidvision.evaluation.compare import compare_heads, match_parameters
from liquidvision.evaluation.crossval import Experiment, cross_validate
from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHeadConfig, make_cell
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import ClipSequence, SequenceDataset

CONFIG = LiquidHeadConfig(
    (Layout(4, 1), Layout(2, 4)), 2, components=4, taus=(0.2, 1.0), width=8, units=8, cell="gated"
)
RECIPE = Recipe(epochs=20, batch=16, noise=0.1, most_dropped=0.3)


class Made(SequenceDataset):
    """Lessons that are made, not read: each clip's is found by its name."""

    def __init__(self, made: list[ClipSequence], look: str = "whole") -> None:
        self.made = {lesson.name: lesson for lesson in made}
        clips = tuple(
            Clip(Path(name), name, name, ("falls", "rises")[int(lesson.targets[0])])
            for name, lesson in sorted(self.made.items())
        )
        dataset = Dataset(Path("."), clips, ("falls", "rises"), None, False)
        super().__init__(dataset, SimpleNamespace(backbone=SimpleNamespace(device=torch.device("cpu"), look=look)))

    def lesson(self, index: int, view: str) -> ClipSequence:
        return self.made[self.dataset.clips[index].name]


@pytest.fixture(scope="module")
def table() -> dict:
    """The comparison on clips that rise or fall, which no frame alone tells."""
    return compare_heads(Made(swings(48)), CONFIG, RECIPE, first_dt=1.0, k=3, seeds=2)


def test_the_table_has_everybody(table):
    """The head, its rivals, itself reset at every frame, and every control have a row, the reference first."""
    names = [row["name"] for row in table["rows"]]
    assert names == ["gated", "ltc", "cfc", "gru", "lstm", "none", "gated reset", *BASELINES]
    assert table["reference"] == "gated" and (table["folds"], table["seeds"], table["dropped"]) == (3, 2, 0.75)


def test_memory_wins_where_only_time_tells(table):
    """On clips that only time tells apart every cell beats the probe, and the head that is reset is at chance."""
    right = {row["name"]: row["mean"] for row in table["rows"]}
    assert min(right["gated"], right["ltc"], right["gru"]) > 0.75
    assert max(right["probe"], right["hmm_forward"], right["gated reset"]) < 0.7
    for row in table["rows"]:
        assert row["low"] <= row["mean"] <= row["high"] and min(row["mean_dropped"], row["mean_after"]) >= 0
        if row["name"] != "gated":
            assert row["minus_reference"]["mean"] == pytest.approx(row["mean"] - right["gated"])


def test_where_it_looks_is_not_pretended_to_be_the_same():
    """Of a backbone that follows what moves, embeddings of other frames are not taken for those of fewer frames."""
    quick = replace(RECIPE, epochs=1)
    table = compare_heads(Made(swings(12), look="moving"), CONFIG, quick, first_dt=1.0, k=2, seeds=1)
    assert table["dropped"] is None and not table["after"]
    assert not any("mean_dropped" in row or "mean_after" in row for row in table["rows"])


@pytest.mark.parametrize("cell", ["ltc", "conductance", "cfc", "gru", "lstm", "none"])
@pytest.mark.parametrize("units", [8, 64])
def test_rivals_have_as_many_parameters(cell, units):
    """A rival's cell has the parameters of the reference's, to what one unit more or less would change."""
    config = replace(CONFIG, width=32, units=units)

    def count(asked: LiquidHeadConfig) -> int:
        return sum(p.numel() for p in make_cell(asked).parameters())

    rival, wanted = match_parameters(config, cell), count(config)
    off = abs(count(rival) - wanted)
    for other in (rival.units - 1, rival.units + 1):
        assert off <= abs(count(replace(rival, units=other)) - wanted)
    assert off < 0.1 * wanted
    assert match_parameters(config, "gated") == config


def test_each_seed_has_folds_and_weights_of_its_own():
    """Every clip is judged once for each seed, by heads that differ; the same seed gives the same again."""
    lessons = Made(swings(24))
    harder = {"dropped": partial(comparing.with_dropped_frames, False), "after": comparing.interleaved}
    contest = Experiment({"gated": CONFIG}, replace(RECIPE, epochs=2), 1.0, 2, harder=harder)
    done: list[int] = []
    first, again = (cross_validate(lessons, contest, 3, seed=5, on_fold=done.append) for _ in range(2))
    assert done == [1, 2, 3, 4, 5, 6] * 2
    for mine, other in (
        (first.tracks, again.tracks),
        *((first.harder[kind], again.harder[kind]) for kind in harder),
    ):
        seeds, others = mine["gated"], other["gated"]
        assert len(seeds) == 2 and all(len(tracks) == 24 for tracks in seeds)
        for tracks, same in zip(seeds, others, strict=True):
            assert all(np.array_equal(a.scores, b.scores) for a, b in zip(tracks, same, strict=True))
        assert not np.array_equal(seeds[0][0].scores, seeds[1][0].scores)
    for whole, sparse in zip(first.tracks["gated"][0], first.harder["dropped"]["gated"][0], strict=True):
        assert len(sparse.times) < len(whole.times) and set(sparse.times) <= set(whole.times)
    for whole, later in zip(first.tracks["gated"][0], first.harder["after"]["gated"][0], strict=True):
        assert np.array_equal(later.times, whole.times) and not np.allclose(later.scores, whole.scores)
    assert len(first.alone) == 2 and "gated" in first.parameters and not first.tuned


def test_a_clip_may_begin_where_it_began():
    """Of clips of which frames are left out the first frame stays on request, and else seldom."""
    lessons = list(swings(24))
    begun = {}
    for but_first in (False, True):
        fewer = comparing.with_dropped_frames(but_first, lessons)
        assert sum(map(len, fewer)) < 0.5 * sum(map(len, lessons))
        begun[but_first] = sum(a.times[0] == b.times[0] for a, b in zip(lessons, fewer, strict=True))
    assert begun[True] == 24 > 2 * begun[False]


def test_clips_in_turn_come_after_another_and_are_judged_alone():
    """In turn, every clip comes after the whole of another one, of which nothing is judged."""
    lessons = list(swings(24))
    torch.manual_seed(0)
    joined = comparing.interleaved(lessons)
    befores = set()
    for lesson, longer in zip(lessons, joined, strict=True):
        n = len(longer) - len(lesson)
        assert n and (longer.targets[:n] == -1).all() and torch.equal(longer.targets[n:], lesson.targets)
        assert torch.equal(longer.embeddings[n:], lesson.embeddings) and torch.equal(longer.times[n:], lesson.times)
        (before,) = [other.name for other in lessons if torch.equal(other.embeddings, longer.embeddings[:n])]
        assert before != lesson.name and (longer.times.diff() > 0).all()
        befores.add(before)
    assert len(befores) == 24


def test_heads_never_see_what_they_are_judged_on(monkeypatch):
    """In every fold what is fitted to, statistics and probes too, is of other groups than what is judged."""
    seen: list[tuple[set[str], set[str]]] = []
    run_fold = crossval.run_fold

    def watched(train, test, contest, seed):
        learnt = {train.lesson(i, "plain").name for i in range(len(train))}
        seen.append((learnt, {lesson.name for lesson in test}))
        return run_fold(train, test, contest, seed)

    monkeypatch.setattr(crossval, "run_fold", watched)
    contest = Experiment({"none": replace(CONFIG, cell="none")}, replace(RECIPE, epochs=1), 1.0, 1)
    cross_validate(Made(swings(12)), contest, 4)
    assert len(seen) == 4 and all(not learnt & judged and len(learnt | judged) == 12 for learnt, judged in seen)


def test_what_cannot_be_cross_validated_is_told():
    """Too few folds or seeds, more folds than clips, or folds that leave one class to learn from are refused."""
    dataset = Made(swings(4)).dataset
    for k, seeds, said in ((1, 1, "expected 2 or more"), (5, 1, "4 videos"), (2, 0, "seeds is 0")):
        with pytest.raises(UsageError, match=said):
            crossval.check_folds(dataset, k, seeds, 0)
    two = dataset.only([dataset.clips[0].name, dataset.clips[1].name])
    with pytest.raises(UsageError, match="one class or one group alone"):
        crossval.check_folds(two, 2, 1, 0)


class Turned(Made):
    """Lessons whose second view shows all that tells the classes apart the other way about."""

    def __init__(self, made: list[ClipSequence]) -> None:
        super().__init__(made)
        self.views = ("plain", "mirror")

    def lesson(self, index: int, view: str) -> ClipSequence:
        lesson = super().lesson(index, view)
        return lesson if view == "plain" else replace(lesson, embeddings=-lesson.embeddings)


def test_single_frames_are_read_by_what_all_views_show():
    """What one view of a clip says and another denies, no probe learns: it sees the views that heads learn from."""
    made = [replace(lesson, embeddings=lesson.embeddings.clone()) for lesson in swings(40)]
    for lesson in made:
        lesson.embeddings[:, 1] = 2.0 * lesson.targets - 1
    contest = Experiment({"gated": CONFIG}, replace(RECIPE, epochs=1), 1.0, 1, controls=True)
    for lessons, least, most in ((Made(made), 0.95, 1.0), (Turned(made), 0.0, 0.8)):
        outcome = cross_validate(lessons, contest, 4)
        for tracks in (outcome.alone[0], outcome.tracks["probe"][0], outcome.tracks["pooled"][0]):
            assert least <= np.mean([track.clip_scores.argmax() == track.truth[0] for track in tracks]) <= most
