"""Training epochs: heads learn, windows carry the state, padding does not count, heads do not mix."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from made_sequences import SequenceList, rising_and_falling, tiny_head

from liquidvision.errors import UsageError
from liquidvision.evaluation.stress import after_other_clips
from liquidvision.training.optimise import (
    EpochLoop,
    class_weights,
    drop_frames,
    fit_statistics,
    join_after,
    sample_excerpts,
)
from liquidvision.training.recipe import Recipe, default_plan
from liquidvision.training.scoring import clip_logits, score_logits
from liquidvision.training.sequences import collate_sequences

PLAIN_RECIPE = Recipe(epochs=1, batch=4, noise=0.0, most_dropped=0.0, preceded=0.0, smoothing=0.0, calm=0.0)


def fitted(heads, sequences, recipe):
    fit_statistics(heads, sequences, 1.0)
    torch.manual_seed(recipe.seed)
    return EpochLoop(heads, sequences, recipe, first_dt=1.0)


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("cell", ["gated", "ltc", "gru"])
def test_a_head_learns_what_no_single_frame_shows(cell, changes):
    """After a short training a head distinguishes rising from falling in new clips."""
    head, recipe = tiny_head(cell=cell), Recipe(epochs=40, batch=16, most_dropped=0.3, noise=0.1, seed=1)
    steps = (40, 30) if changes else (12, 20)
    loop = fitted([head], rising_and_falling(128, steps=steps, changes=changes), recipe)
    for _ in range(recipe.epochs):
        loop.run_epoch()
    unseen = rising_and_falling(96, steps=steps[1:], changes=changes, seed=5)
    result = score_logits(unseen, clip_logits([head], unseen, 1.0)[0])
    assert result.accuracy > (0.65 if changes else 0.75), result
    assert result.frame_accuracy < 0.7, result


def test_the_loss_of_a_clip_is_the_same_in_windows_and_whole():
    """In windows, a clip's last loss is that of the mean of all its frames' logits, with the state carried on."""
    sequences = rising_and_falling(4, steps=(24,))
    whole = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, learning_rate=0.0))
    batch = collate_sequences(list(sequences), 1.0)
    kept = []

    def keep(loop):
        step = loop.step
        loop.step = lambda losses: (kept.append(losses[0].item()), step(losses))

    keep(whole)
    whole.train_batch(batch)
    (uncut,) = kept
    kept.clear()
    cut = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, learning_rate=0.0, window=8))
    keep(cut)
    cut.train_batch(batch)
    assert len(kept) == 3
    assert kept[-1] == pytest.approx(uncut, abs=1e-5)


def test_padding_does_not_count():
    """The loss of a batch of clips of unequal length is the mean of their losses alone."""
    for changes in (False, True):
        sequences = rising_and_falling(2, steps=(9, 21), changes=changes)
        loop = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, learning_rate=0.0, balance=0.0))
        together = float(loop.train_batch(collate_sequences(list(sequences), 1.0))[0])
        single = [float(loop.train_batch(collate_sequences([sequence], 1.0))[0]) for sequence in sequences]
        assert together == pytest.approx(sum(single) / 2, abs=1e-5)


def test_a_head_keeps_its_judgement_after_another_clip():
    """Trained with clips after the end of others, a head is better in a stream than one trained without."""
    sequences, unseen = rising_and_falling(128), after_other_clips(rising_and_falling(96, seed=5))
    unseen = [replace(sequence, targets=sequence.targets[-1:].expand(len(sequence))) for sequence in unseen]
    right = {}
    for preceded in (0.0, 0.5):
        head = tiny_head()
        loop = fitted([head], sequences, Recipe(epochs=40, batch=16, noise=0.1, preceded=preceded))
        for _ in range(40):
            loop.run_epoch()
        logits_of_all = clip_logits([head], unseen, 1.0)[0]
        own = [
            v.memory[-12:].mean(0).argmax() == sequence.targets[0]
            for v, sequence in zip(logits_of_all, unseen, strict=True)
        ]
        right[preceded] = sum(map(int, own)) / len(own)
    assert right[0.5] > right[0.0] + 0.05 and right[0.5] > 0.7, right


def test_preceding_clips_are_not_judged():
    """A joined clip keeps its times and targets; the clip before is one median step away, and not judged."""
    first, second = rising_and_falling(2, steps=(9, 21))
    joined = join_after(first, second)
    assert torch.equal(joined.times[9:], second.times) and torch.equal(joined.targets[9:], second.targets)
    assert (joined.targets[:9] == -1).all() and torch.equal(joined.embeddings[:9], first.embeddings)
    assert torch.allclose(joined.times[:9].diff(), first.times.diff())
    assert 0.05 <= joined.times[9] - joined.times[8] <= 0.15 and joined.whole_clip
    one = join_after(first.select(slice(0, 1)), second.select(slice(0, 1)))
    assert len(one) == 2 and one.times[1] > one.times[0]


def test_windows_without_judged_frames_change_nothing():
    """A window without judged frames does not change the head, and the loss is that of the other windows."""
    (sequence,) = rising_and_falling(1, steps=(24,))
    for last in (-1, 1):
        targets = torch.full((24,), -1)
        targets[-4:] = last
        head = tiny_head()
        loop = fitted([head], rising_and_falling(4), replace(PLAIN_RECIPE, batch=1, window=8))
        before = {name: value.clone() for name, value in head.state_dict().items()}
        loss = loop.train_batch(collate_sequences([replace(sequence, targets=targets)], 1.0))
        assert torch.isfinite(loss).all() and bool(loss > 0) == (last == 1)
        assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items()) == (last == -1)


def test_heads_side_by_side_learn_as_if_alone():
    """Without dropout a head ends with the same weights whether or not another is trained with it."""
    recipe, sequences = Recipe(epochs=3, batch=8), rising_and_falling(16)
    together, alone = [tiny_head(seed=1), tiny_head(seed=2, cell="gru")], [tiny_head(seed=1)]
    for heads in (together, alone):
        loop = fitted(heads, sequences, recipe)
        for _ in range(3):
            loop.run_epoch()
    for one, other in zip(together[0].parameters(), alone[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_calm_training_makes_labels_flicker_less():
    """With the penalty on change, probabilities change less while a label holds."""
    changes = {}
    for calm in (0.0, 5.0):
        head, sequences = tiny_head(), rising_and_falling(24, steps=(12, 16))
        loop = fitted([head], sequences, Recipe(epochs=15, batch=8, calm=calm))
        for _ in range(15):
            loop.run_epoch()
        (logits_of_all,) = clip_logits([head], sequences, 1.0)
        moves = [logits.memory.softmax(-1).diff(dim=0).abs().sum(-1).mean() for logits in logits_of_all]
        changes[calm] = float(torch.stack(moves).mean())
    assert changes[5.0] < 0.7 * changes[0.0]


def test_long_videos_are_cut_into_passages_that_cover_them():
    """Each frame is in one passage per epoch, and no passage is longer than twice the limit."""
    sequences = rising_and_falling(5, steps=(7, 100), changes=True)
    loop = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, passage=30, batch=3))
    for _ in range(5):
        passages = [p for batch in loop.make_batches() for p in batch]
        for clip, sequence in enumerate(sequences):
            covered = sorted((p.start, p.stop) for p in passages if p.clip == clip)
            assert covered[0][0] == 0 and covered[-1][1] == len(sequence)
            assert all(a[1] == b[0] for a, b in pairwise(covered))
            assert all(0 < stop - start <= 60 for start, stop in covered)
    assert loop.run_epoch()[0] > 0


def test_mixup_and_noise_change_the_loss_only_in_training():
    """Mixup blends frames while both clips last, and evaluation does not use it."""
    sequences = rising_and_falling(8)
    torch.manual_seed(0)
    plain = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, batch=8, learning_rate=0.0))
    mixed = fitted([tiny_head()], sequences, replace(PLAIN_RECIPE, batch=8, learning_rate=0.0, mixup=1.0))
    kept = mixed.mixup_share(torch.ones(8, 12, dtype=torch.bool), torch.arange(8).flip(0))
    assert ((kept > 0) & (kept < 1)).all()
    assert torch.equal(plain.mixup_share(torch.ones(8, 12, dtype=torch.bool), torch.arange(8)), torch.ones(8, 12))
    ended = torch.ones(2, 6, dtype=torch.bool)
    ended[1, 3:] = False
    assert (mixed.mixup_share(ended, torch.tensor([1, 0]))[0, 3:] == 1).all()
    one, other = (clip_logits(loop.heads, sequences, 1.0)[0] for loop in (plain, mixed))
    assert all(torch.equal(a.memory, b.memory) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_shortest_training_has_a_learning_rate(epochs):
    """A training of very few batches also ends at a low learning rate."""
    loop = fitted([tiny_head()], rising_and_falling(4), replace(PLAIN_RECIPE, epochs=epochs))
    for _ in range(epochs):
        assert loop.run_epoch()[0] > 0
    assert loop.optimiser.param_groups[0]["lr"] < loop.recipe.learning_rate / 2 or epochs == 1


def test_excerpts_cover_all_clips():
    """Excerpts are taken of long and of short videos alike, with at most the wanted number of frames."""
    for lengths in ((5000, 5000, 5000), (40,) * 50, (10, 20, 9000)):
        sequences = rising_and_falling(len(lengths), steps=lengths)
        taken = sample_excerpts(sequences, 1000)
        assert {sequence.name for sequence in taken} <= {sequence.name for sequence in sequences}
        assert len(taken) >= min(len(lengths), 1000 // 64) // 2 and len(taken) in (3, 13)
        assert 500 < sum(len(sequence) for sequence in taken) <= 1000
        for run in taken:
            (whole,) = (sequence for sequence in sequences if sequence.name == run.name)
            assert len(run) in (len(whole), max(len(r) for r in taken))


def test_rare_classes_weigh_more():
    """Class weights are inverse frequencies to a power, with mean 1 over the data; an absent class has 0."""
    sequences = SequenceList(sequence for i, sequence in enumerate(rising_and_falling(16)) if i % 2 or i == 0)
    assert torch.allclose(class_weights(sequences, 3, 1.0), torch.tensor([9 / 2, 9 / 16, 0.0]))
    assert torch.allclose(class_weights(sequences, 2, 0.0), torch.ones(2))


def test_dropped_frames_keep_the_times_of_the_others():
    """The remaining frames keep their times, so Δt covers the gap; one always stays, the first on request."""
    (sequence,) = rising_and_falling(1, steps=(50,))
    torch.manual_seed(0)
    fewer = drop_frames(sequence, 0.5)
    assert 10 < len(fewer) < 40 and set(fewer.times.tolist()) < set(sequence.times.tolist())
    assert len(drop_frames(sequence, 1.0)) == 1
    assert drop_frames(sequence, 1.0, keep_first=True).times.tolist() == [sequence.times[0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch", 1.5), ("smoothing", 2.0), ("learning_rate", float("nan")), ("noise", -1)],
)
def test_a_recipe_refuses_invalid_numbers(name, value):
    """A number outside its range is refused with its name."""
    with pytest.raises(UsageError, match=name):
        Recipe(**{name: value})


def test_the_plan_depends_on_data_and_backbone():
    """Few clips get few dimensions and many epochs; grids add dimensions; motion crops weigh single frames more."""
    few, many = default_plan(100), default_plan(5000)
    assert (few.head["components"], many.head["components"]) == (48, 128)
    assert few.recipe.epochs > many.recipe.epochs >= 10
    assert default_plan(100, grids=2).head["components"] == 96 and default_plan(100, grids=2).head["straight"]
    assert not few.head["straight"]
    assert default_plan(100, grids=0).head["components"] == 48
    assert default_plan(100, motion_crop=True).head["frame_share"] > few.head["frame_share"]
