"""Cross-validation and comparison: which models judge which clips, and what the table contains."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_sequences import rising_and_falling

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.errors import UsageError
from liquidvision.evaluation import crossval
from liquidvision.evaluation.baselines import BASELINES
from liquidvision.evaluation.compare import compare_heads, match_parameters, name_rows
from liquidvision.evaluation.crossval import Experiment, cross_validate
from liquidvision.evaluation.forgetting import SECONDS, STRIDES, forgetting_curves
from liquidvision.evaluation.stress import (
    STRESS_TITLES,
    after_other_clips,
    stress_tests,
    with_dropped_frames,
    with_every_nth_frame,
    with_irregular_frames,
)
from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig, make_cell
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import ClipSequence, SequenceDataset

CONFIG = LiquidHeadConfig(
    (Layout(4, 1), Layout(2, 4)), 2, components=4, taus=(0.2, 1.0), width=8, units=8, cell="gated"
)
RECIPE = Recipe(epochs=20, batch=16, noise=0.1, most_dropped=0.3)


class Made(SequenceDataset):
    """Synthetic sequences, found by clip name."""

    def __init__(self, made: list[ClipSequence], motion_crop: bool = False) -> None:
        self.made = {sequence.name: sequence for sequence in made}
        clips = tuple(
            Clip(Path(name), name, name, ("falls", "rises")[int(sequence.targets[0])])
            for name, sequence in sorted(self.made.items())
        )
        dataset = Dataset(Path("."), clips, ("falls", "rises"), None, False)
        backbone = SimpleNamespace(device=torch.device("cpu"), motion_crop=motion_crop)
        super().__init__(dataset, SimpleNamespace(backbone=backbone))

    def sequence(self, index: int, view: str) -> ClipSequence:
        return self.made[self.dataset.clips[index].name]


@pytest.fixture(scope="module")
def table() -> dict:
    """The comparison on clips that rise or fall, which no single frame distinguishes."""
    return compare_heads(Made(rising_and_falling(48)), CONFIG, RECIPE, first_dt=1.0, k=3, seeds=2)


def test_the_table_has_every_contestant(table):
    """The reference, the other cells, the head without state and every baseline have a row, in this order."""
    names = [row["name"] for row in table["rows"]]
    assert names == ["gated", "ltc", "cfc", "gru", "lstm", "none", "gated reset", *BASELINES]
    assert table["reference"] == "gated" and (table["folds"], table["seeds"], table["dropped"]) == (3, 2, 0.75)


def test_a_cell_without_a_text_is_called_by_its_name():
    """A new cell can be compared, and be the reference, before the table has a text for it."""
    names = name_rows(["new", "gru"], "new")
    assert (names["new"], names["gru"], names["new reset"]) == ("new", "GRU", "new, reset at every frame")


def test_memory_wins_where_only_order_distinguishes(table):
    """Every cell beats the probe where only the order of frames differs, and a head that is reset is at chance."""
    right = {row["name"]: row["mean"] for row in table["rows"]}
    assert min(right["gated"], right["ltc"], right["gru"]) > 0.75
    assert max(right["probe"], right["hmm_forward"], right["gated reset"]) < 0.7
    for row in table["rows"]:
        assert row["low"] <= row["mean"] <= row["high"] and min(row["mean_dropped"], row["mean_after"]) >= 0
        if row["name"] != "gated":
            assert row["minus_reference"]["mean"] == pytest.approx(row["mean"] - right["gated"])


def test_every_stress_test_has_an_interval(table):
    """Each row has its mean with an interval and, paired by clip, its difference from the reference in every test."""
    assert list(table["stress_tests"]) == list(STRESS_TITLES)
    reference = table["rows"][0]["stressed"]
    for row in table["rows"]:
        for test in STRESS_TITLES:
            found = row["stressed"][test]
            assert found["low"] <= found["mean"] <= found["high"] and found["mean"] == row[f"mean_{test}"]
            if row["name"] == "gated":
                assert found["minus_reference"] is None
            else:
                difference = found["minus_reference"]
                assert difference["low"] <= difference["mean"] <= difference["high"]
                assert difference["mean"] == pytest.approx(found["mean"] - reference[test]["mean"])


def test_the_table_shows_how_fast_heads_forget(table):
    """Each cell with a state has the share of a disturbance that is left, by rate and by seconds."""
    curves = table["forgetting"]
    assert set(curves["left"]) == {"gated", "ltc", "cfc", "gru", "lstm"}
    for rows in curves["left"].values():
        assert len(rows) == len(STRIDES) and all(len(row) == len(SECONDS) for row in rows)


def test_a_leaky_state_forgets_by_its_time_constant_at_every_rate():
    """What is left of a disturbance of a cell with one fixed time constant is exp(-t/τ), whatever the frame rate."""
    torch.manual_seed(0)
    head = LiquidHead(replace(CONFIG, cell="selective")).eval()
    with torch.no_grad():
        head.cell.inputs.weight[:8] = 0.0  # gates half open for all inputs: 1/τ + f = 0.5 + 0.5 per second
        head.cell.inputs.bias[:8] = 0.0
        head.cell.log_tau.fill_(np.log(2.0))
        head.cell.log_gain.fill_(0.0)
    for row in forgetting_curves({"one": head}, rising_and_falling(8, steps=(240,)), 1.0)["one"]:
        assert row == pytest.approx(np.exp(-np.array(SECONDS)), rel=1e-3)


def test_lower_rates_keep_the_frames_times():
    """Every nth frame is kept with its time, from the first on; irregular strides are of 1 to 8 frames."""
    made = rising_and_falling(6)
    for whole, part in zip(made, with_every_nth_frame(made, 3), strict=True):
        assert torch.equal(part.times, whole.times[::3]) and torch.equal(part.embeddings, whole.embeddings[::3])
    torch.manual_seed(0)
    for whole, part in zip(made, with_irregular_frames(made), strict=True):
        places = torch.searchsorted(whole.times, part.times)
        assert torch.equal(whole.times[places], part.times) and 1 <= len(part) < len(whole)
        assert not len(places[1:]) or 1 <= places.diff().min() <= places.diff().max() <= 8


def test_heads_can_learn_at_a_lower_rate(monkeypatch):
    """With `learn_every`, training sees every nth frame, and the clips that are judged are whole."""
    seen = []

    class Watched(crossval.EpochLoop):
        def __init__(self, heads, sequences, *given, **options):
            seen.append([len(sequence) for sequence in sequences])
            super().__init__(heads, sequences, *given, **options)

    monkeypatch.setattr(crossval, "EpochLoop", Watched)
    made = Made(rising_and_falling(12))
    experiment = Experiment({"none": replace(CONFIG, cell="none")}, replace(RECIPE, epochs=1), 1.0, 1, learn_every=4)
    results = cross_validate(made, experiment, 2)
    lengths = {len(clip.times) for clip in results.scores["none"][0]}
    assert max(max(own) for own in seen) <= (max(lengths) + 3) // 4
    assert lengths == {len(sequence) for sequence in made}


def test_no_stress_tests_with_a_motion_crop():
    """With a motion crop, clips are not judged with dropped frames or after another clip."""
    one_epoch = replace(RECIPE, epochs=1)
    table = compare_heads(Made(rising_and_falling(12), motion_crop=True), CONFIG, one_epoch, first_dt=1.0, k=2, seeds=1)
    assert table["dropped"] is None and not table["after"]
    assert not any("mean_dropped" in row or "mean_after" in row for row in table["rows"])


@pytest.mark.parametrize(
    "cell", ["ltc", "conductance", "cfc", "selective", "resonant", "lru", "gru", "gru-d", "gru-power", "lstm", "none"]
)
@pytest.mark.parametrize("units", [8, 64])
def test_cells_have_matching_parameter_counts(cell, units):
    """A compared cell has the parameter count of the reference, as closely as whole units allow."""
    config = replace(CONFIG, width=32, units=units)

    def count(asked: LiquidHeadConfig) -> int:
        return sum(p.numel() for p in make_cell(asked).parameters())

    match, wanted = match_parameters(config, cell), count(config)
    off = abs(count(match) - wanted)
    for other in (match.units - 1, match.units + 1):
        assert off <= abs(count(replace(match, units=other)) - wanted)
    assert off < 0.1 * wanted
    assert match_parameters(config, "gated") == config


def test_each_seed_has_its_own_folds_and_weights():
    """Every clip is judged once per seed, by different heads; the same seed reproduces the scores."""
    sequences = Made(rising_and_falling(24))
    tests = {name: test for name, test in stress_tests().items() if name in ("dropped", "after")}
    experiment = Experiment({"gated": CONFIG}, replace(RECIPE, epochs=2), 1.0, 2, stress_tests=tests, forgetting=True)
    done: list[int] = []
    first, again = (cross_validate(sequences, experiment, 3, seed=5, on_fold=done.append) for _ in range(2))
    assert done == [1, 2, 3, 4, 5, 6] * 2
    for mine, other in (
        (first.scores, again.scores),
        *((first.stressed[kind], again.stressed[kind]) for kind in tests),
    ):
        seeds, others = mine["gated"], other["gated"]
        assert len(seeds) == 2 and all(len(clips) == 24 for clips in seeds)
        for clips, same in zip(seeds, others, strict=True):
            assert all(np.array_equal(a.scores, b.scores) for a, b in zip(clips, same, strict=True))
        assert not np.array_equal(seeds[0][0].scores, seeds[1][0].scores)
    for whole, sparse in zip(first.scores["gated"][0], first.stressed["dropped"]["gated"][0], strict=True):
        assert len(sparse.times) < len(whole.times) and set(sparse.times) <= set(whole.times)
    for whole, later in zip(first.scores["gated"][0], first.stressed["after"]["gated"][0], strict=True):
        assert np.array_equal(later.times, whole.times) and not np.allclose(later.scores, whole.scores)
    assert len(first.frame_scores) == 2 and "gated" in first.parameters and not first.tuned


def test_dropping_can_keep_the_first_frame():
    """The first frame survives dropping on request, and seldom otherwise."""
    sequences = list(rising_and_falling(24))
    torch.manual_seed(0)
    first_kept = {}
    for keep_first in (False, True):
        fewer = with_dropped_frames(sequences, 0.75, keep_first=keep_first)
        assert sum(map(len, fewer)) < 0.5 * sum(map(len, sequences))
        first_kept[keep_first] = sum(a.times[0] == b.times[0] for a, b in zip(sequences, fewer, strict=True))
    assert first_kept[True] == 24 > 2 * first_kept[False]


def test_clips_follow_another_and_are_judged_alone():
    """Every clip follows the whole of another one, whose frames are not judged."""
    sequences = list(rising_and_falling(24))
    torch.manual_seed(0)
    joined = after_other_clips(sequences)
    befores = set()
    for sequence, longer in zip(sequences, joined, strict=True):
        n = len(longer) - len(sequence)
        assert n and (longer.targets[:n] == -1).all() and torch.equal(longer.targets[n:], sequence.targets)
        assert torch.equal(longer.embeddings[n:], sequence.embeddings) and torch.equal(longer.times[n:], sequence.times)
        (before,) = [other.name for other in sequences if torch.equal(other.embeddings, longer.embeddings[:n])]
        assert before != sequence.name and (longer.times.diff() > 0).all()
        befores.add(before)
    assert len(befores) == 24


def test_no_clip_is_judged_by_a_model_trained_on_it(monkeypatch):
    """In every fold the clips used for training and those judged are disjoint."""
    folds: list[tuple[set[str], set[str]]] = []
    run_fold = crossval.run_fold

    def watched(train, test, experiment, seed):
        trained_on = {train.sequence(i, "plain").name for i in range(len(train))}
        folds.append((trained_on, {sequence.name for sequence in test}))
        return run_fold(train, test, experiment, seed)

    monkeypatch.setattr(crossval, "run_fold", watched)
    experiment = Experiment({"none": replace(CONFIG, cell="none")}, replace(RECIPE, epochs=1), 1.0, 1)
    cross_validate(Made(rising_and_falling(12)), experiment, 4)
    assert len(folds) == 4 and all(
        not trained_on & judged and len(trained_on | judged) == 12 for trained_on, judged in folds
    )


def test_impossible_cross_validations_are_refused():
    """Too few folds or seeds, more folds than clips, and folds that leave one class are refused."""
    dataset = Made(rising_and_falling(4)).dataset
    for k, seeds, reason in ((1, 1, "expected 2 or more"), (5, 1, "4 videos"), (2, 0, "seeds is 0")):
        with pytest.raises(UsageError, match=reason):
            crossval.check_folds(dataset, k, seeds, 0)
    two = dataset.select([dataset.clips[0].name, dataset.clips[1].name])
    with pytest.raises(UsageError, match="only one class or one group"):
        crossval.check_folds(two, 2, 1, 0)


class NegatedView(Made):
    """Sequences whose second view has all embeddings negated."""

    def __init__(self, made: list[ClipSequence]) -> None:
        super().__init__(made)
        self.views = ("plain", "mirror")

    def sequence(self, index: int, view: str) -> ClipSequence:
        sequence = super().sequence(index, view)
        return sequence if view == "plain" else replace(sequence, embeddings=-sequence.embeddings)


def test_probes_are_fitted_to_all_views():
    """A probe does not learn what one view shows and another contradicts."""
    made = [replace(sequence, embeddings=sequence.embeddings.clone()) for sequence in rising_and_falling(40)]
    for sequence in made:
        sequence.embeddings[:, 1] = 2.0 * sequence.targets - 1
    experiment = Experiment({"gated": CONFIG}, replace(RECIPE, epochs=1), 1.0, 1, baselines=True)
    for sequences, least, most in ((Made(made), 0.95, 1.0), (NegatedView(made), 0.0, 0.8)):
        results = cross_validate(sequences, experiment, 4)
        for clips in (results.frame_scores[0], results.scores["probe"][0], results.scores["pooled"][0]):
            assert least <= np.mean([clip.clip_scores.argmax() == clip.truth[0] for clip in clips]) <= most
