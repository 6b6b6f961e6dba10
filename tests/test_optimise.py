"""Training: heads learn, windows carry the state, padding counts for nothing, heads side by side do not mix."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from lessons import Shelf, swings, tiny_head

from liquidvision.errors import UsageError
from liquidvision.evaluation.compare import after_other_clips
from liquidvision.training.optimise import (
    EpochLoop,
    class_weights,
    cut_excerpt,
    drop_frames,
    fit_statistics,
    join_after,
)
from liquidvision.training.recipe import Recipe, default_plan
from liquidvision.training.scoring import clip_logits, score_logits
from liquidvision.training.sequences import collate_sequences

STILL = Recipe(epochs=1, batch=4, noise=0.0, most_dropped=0.0, preceded=0.0, smoothing=0.0, calm=0.0)


def fitted(heads, lessons, recipe):
    fit_statistics(heads, lessons, 1.0)
    torch.manual_seed(recipe.seed)
    return EpochLoop(heads, lessons, recipe, first_dt=1.0)


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("cell", ["gated", "ltc", "gru"])
def test_a_head_learns_what_one_frame_cannot_tell(cell, changes):
    """After a short training rising and falling are told apart in clips that the head has not seen."""
    head, recipe = tiny_head(cell=cell), Recipe(epochs=40, batch=16, most_dropped=0.3, noise=0.1, seed=1)
    steps = (40, 30) if changes else (12, 20)
    training = fitted([head], swings(128, steps=steps, changes=changes), recipe)
    for _ in range(recipe.epochs):
        training.epoch()
    unseen = swings(96, steps=steps[1:], changes=changes, seed=5)
    result = score_logits(unseen, clip_logits([head], unseen, 1.0)[0])
    assert result.accuracy > (0.65 if changes else 0.75), result
    assert result.frame_accuracy < 0.7, result


def test_the_loss_of_a_clip_is_the_same_in_windows_and_whole():
    """Cut into windows, a clip's last loss is that of the mean of all its frames' logits, with the state carried on."""
    lessons = swings(4, steps=(24,))
    whole = fitted([tiny_head()], lessons, replace(STILL, learning_rate=0.0))
    batch = collate_sequences(list(lessons), 1.0)
    kept = []

    def keep(fit):
        step = fit.step
        fit.step = lambda losses: (kept.append(losses[0].item()), step(losses))

    keep(whole)
    whole.learn(batch)
    (uncut,) = kept
    kept.clear()
    cut = fitted([tiny_head()], lessons, replace(STILL, learning_rate=0.0, window=8))
    keep(cut)
    cut.learn(batch)
    assert len(kept) == 3
    assert kept[-1] == pytest.approx(uncut, abs=1e-5)


def test_padding_counts_for_nothing():
    """Clips of unequal length give the mean of the losses that each has alone, in a batch or by itself."""
    for changes in (False, True):
        lessons = swings(2, steps=(9, 21), changes=changes)
        fit = fitted([tiny_head()], lessons, replace(STILL, learning_rate=0.0, balance=0.0))
        together = float(fit.learn(collate_sequences(list(lessons), 1.0))[0])
        single = [float(fit.learn(collate_sequences([lesson], 1.0))[0]) for lesson in lessons]
        assert together == pytest.approx(sum(single) / 2, abs=1e-5)


def test_a_head_keeps_its_judgement_after_another_clip():
    """Taught with clips after the end of others, a head tells clips in a stream better than one taught without."""
    lessons, unseen = swings(128), after_other_clips(swings(96, seed=5))
    unseen = [replace(lesson, targets=lesson.targets[-1:].expand(len(lesson))) for lesson in unseen]
    right = {}
    for preceded in (0.0, 0.5):
        head = tiny_head()
        training = fitted([head], lessons, Recipe(epochs=40, batch=16, noise=0.1, preceded=preceded))
        for _ in range(40):
            training.epoch()
        said = clip_logits([head], unseen, 1.0)[0]
        own = [v.memory[-12:].mean(0).argmax() == lesson.targets[0] for v, lesson in zip(said, unseen, strict=True)]
        right[preceded] = sum(map(int, own)) / len(own)
    assert right[0.5] > right[0.0] + 0.05 and right[0.5] > 0.7, right


def test_what_came_before_is_not_judged():
    """A clip after another keeps its own times and targets; what came before is as far away as frames are, unjudged."""
    first, second = swings(2, steps=(9, 21))
    joined = join_after(first, second)
    assert torch.equal(joined.times[9:], second.times) and torch.equal(joined.targets[9:], second.targets)
    assert (joined.targets[:9] == -1).all() and torch.equal(joined.embeddings[:9], first.embeddings)
    assert torch.allclose(joined.times[:9].diff(), first.times.diff())
    assert 0.05 <= joined.times[9] - joined.times[8] <= 0.15 and joined.whole
    one = join_after(first.only(slice(0, 1)), second.only(slice(0, 1)))
    assert len(one) == 2 and one.times[1] > one.times[0]


def test_windows_that_nobody_judges_teach_nothing():
    """Where no frame of a window is judged the head stays as it is, and the loss is that of the others."""
    (lesson,) = swings(1, steps=(24,))
    for last in (-1, 1):
        targets = torch.full((24,), -1)
        targets[-4:] = last
        head = tiny_head()
        fit = fitted([head], swings(4), replace(STILL, batch=1, window=8))
        before = {name: value.clone() for name, value in head.state_dict().items()}
        loss = fit.learn(collate_sequences([replace(lesson, targets=targets)], 1.0))
        assert torch.isfinite(loss).all() and bool(loss > 0) == (last == 1)
        assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items()) == (last == -1)


def test_heads_side_by_side_learn_as_if_alone():
    """Without dropout a head ends with the same weights whether or not another is trained beside it."""
    recipe, lessons = Recipe(epochs=3, batch=8), swings(16)
    together, alone = [tiny_head(seed=1), tiny_head(seed=2, cell="gru")], [tiny_head(seed=1)]
    for heads in (together, alone):
        fit = fitted(heads, lessons, recipe)
        for _ in range(3):
            fit.epoch()
    for one, other in zip(together[0].parameters(), alone[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_calm_training_makes_labels_flicker_less():
    """With the penalty on change, the same training ends with probabilities that change less while a label holds."""
    changes = {}
    for calm in (0.0, 5.0):
        head, lessons = tiny_head(), swings(24, steps=(12, 16))
        course = fitted([head], lessons, Recipe(epochs=15, batch=8, calm=calm))
        for _ in range(15):
            course.epoch()
        (said,) = clip_logits([head], lessons, 1.0)
        moves = [verdict.memory.softmax(-1).diff(dim=0).abs().sum(-1).mean() for verdict in said]
        changes[calm] = float(torch.stack(moves).mean())
    assert changes[5.0] < 0.7 * changes[0.0]


def test_long_videos_are_cut_into_passages_that_cover_them():
    """Every frame of every clip is in one passage of every epoch, and none is longer than twice the limit."""
    lessons = swings(5, steps=(7, 100), changes=True)
    fit = fitted([tiny_head()], lessons, replace(STILL, passage=30, batch=3))
    for _ in range(5):
        passages = [p for batch in fit.batches() for p in batch]
        for clip, lesson in enumerate(lessons):
            covered = sorted((p.start, p.stop) for p in passages if p.clip == clip)
            assert covered[0][0] == 0 and covered[-1][1] == len(lesson)
            assert all(a[1] == b[0] for a, b in pairwise(covered))
            assert all(0 < stop - start <= 60 for start, stop in covered)
    assert fit.epoch()[0] > 0


def test_mixup_and_noise_change_the_loss_only_in_training():
    """Mixup blends targets: no clip's loss reaches that of its own label, and evaluation sees nothing of it."""
    lessons = swings(8)
    torch.manual_seed(0)
    plain = fitted([tiny_head()], lessons, replace(STILL, batch=8, learning_rate=0.0))
    mixed = fitted([tiny_head()], lessons, replace(STILL, batch=8, learning_rate=0.0, mixup=1.0))
    kept = mixed.blending(torch.ones(8, 12, dtype=torch.bool), torch.arange(8).flip(0))
    assert ((kept > 0) & (kept < 1)).all()
    assert torch.equal(plain.blending(torch.ones(8, 12, dtype=torch.bool), torch.arange(8)), torch.ones(8, 12))
    ended = torch.ones(2, 6, dtype=torch.bool)
    ended[1, 3:] = False
    assert (mixed.blending(ended, torch.tensor([1, 0]))[0, 3:] == 1).all()
    one, other = (clip_logits(fit.heads, lessons, 1.0)[0] for fit in (plain, mixed))
    assert all(torch.equal(a.memory, b.memory) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_shortest_training_has_a_learning_rate(epochs):
    """A training of so few batches that warming up takes one of them at most ends like any other, near rate 0."""
    fit = fitted([tiny_head()], swings(4), replace(STILL, epochs=epochs))
    for _ in range(epochs):
        assert fit.epoch()[0] > 0
    assert fit.optimiser.param_groups[0]["lr"] < fit.recipe.learning_rate / 2 or epochs == 1


def test_statistics_are_of_all_clips_however_long():
    """Of a few long videos as of many short ones a run is taken from each, and no more frames than wanted."""
    for lengths in ((5000, 5000, 5000), (40,) * 50, (10, 20, 9000)):
        lessons = swings(len(lengths), steps=lengths)
        taken = cut_excerpt(lessons, 1000)
        assert {lesson.name for lesson in taken} <= {lesson.name for lesson in lessons}
        assert len(taken) >= min(len(lengths), 1000 // 64) // 2 and len(taken) in (3, 13)
        assert 500 < sum(len(lesson) for lesson in taken) <= 1000
        for run in taken:
            (whole,) = (lesson for lesson in lessons if lesson.name == run.name)
            assert len(run) in (len(whole), max(len(r) for r in taken))


def test_rare_classes_weigh_more():
    """Class weights are inverse frequencies to a power, of mean 1 over the data; an absent class has none."""
    lessons = Shelf(lesson for i, lesson in enumerate(swings(16)) if i % 2 or i == 0)
    assert torch.allclose(class_weights(lessons, 3, 1.0), torch.tensor([9 / 2, 9 / 16, 0.0]))
    assert torch.allclose(class_weights(lessons, 2, 0.0), torch.ones(2))


def test_dropped_frames_keep_the_times_of_the_others():
    """Frames are left out with their times, so that Δt tells of the gap; one always stays, the first on request."""
    (lesson,) = swings(1, steps=(50,))
    torch.manual_seed(0)
    fewer = drop_frames(lesson, 0.5)
    assert 10 < len(fewer) < 40 and set(fewer.times.tolist()) < set(lesson.times.tolist())
    assert len(drop_frames(lesson, 1.0)) == 1
    assert drop_frames(lesson, 1.0, but_first=True).times.tolist() == [lesson.times[0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("batch", 1.5), ("smoothing", 2.0), ("learning_rate", float("nan")), ("noise", -1)],
)
def test_a_recipe_refuses_what_cannot_be(name, value):
    """A number outside its range is told with its name."""
    with pytest.raises(UsageError, match=name):
        Recipe(**{name: value})


def test_the_plan_goes_by_the_data_and_the_backbone():
    """Few clips get few dimensions and many epochs, each grid its own; of what moves the frame alone says more."""
    few, many = default_plan(100), default_plan(5000)
    assert (few.head["components"], many.head["components"]) == (48, 128)
    assert few.recipe.epochs > many.recipe.epochs >= 10
    assert default_plan(100, grids=2).head["components"] == 96 and default_plan(100, grids=2).head["straight"]
    assert not few.head["straight"]
    assert default_plan(100, grids=0).head["components"] == 48
    assert default_plan(100, motion_crop=True).head["frame_share"] > few.head["frame_share"]
