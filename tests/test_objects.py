"""The programs behind `objects`: simulated video, and a filter that learns from a little of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import DATA

from liquidvision import Model
from liquidvision.models.heads.liquid_filter import LiquidFilterConfig
from liquidvision.training.sequences import ClipSequence
from tools.bench_objects import compare_filters, markdown
from tools.objects.clips import halves, names
from tools.objects.fit import Recipe, fit, tracks
from tools.objects.simulate import SECONDS, SIDE, SPELLS, clip

FEATURES, CLASSES = 8, 4


def pictures(count: int) -> list[tuple[np.ndarray, int]]:
    draw = np.random.default_rng(0)
    return [(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8), label) for label in range(count)]


def test_a_simulated_clip_is_made_again_by_its_seed():
    """The same seed gives the same frames; another gives others."""
    first, again, other = (list(clip(pictures(2), seed, "train")) for seed in (3, 3, 4))
    assert [shot.time for shot in first] == [shot.time for shot in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].image, other[0].image)


def test_a_simulated_clip_shows_its_pictures_in_turn():
    """Labels follow the pictures, in their order, over about the given seconds; times rise; frames have their size."""
    shots = list(clip(pictures(3), 5, "test"))
    labels = [shot.label for shot in shots]
    assert labels == sorted(labels)
    assert set(labels) == {0, 1, 2}
    assert (np.diff([shot.time for shot in shots]) > 0).all()
    assert SECONDS * 0.8 < shots[-1].time < SECONDS * 1.2
    assert all(shot.image.shape == (SIDE, SIDE, 3) and shot.image.dtype == np.uint8 for shot in shots)


def test_the_test_has_damage_of_its_own():
    """What comes over test clips never comes over those that a filter learns from."""
    assert not set(SPELLS["train"]) & set(SPELLS["test"])


@pytest.mark.parametrize("change", [*SPELLS["train"], *SPELLS["test"]], ids=lambda change: change.__name__)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_damage_leaves_a_picture(change, strength):
    """Damage keeps a picture's shape, holds no NaN, and changes it."""
    image = pictures(1)[0][0].repeat(3, 0)[:SIDE].repeat(3, 1)[:, :SIDE].astype(np.float32)
    seen = change(image.copy(), strength, np.random.default_rng(0))
    assert seen.shape == image.shape
    assert np.isfinite(seen).all()
    assert not np.array_equal(seen, image)


def made_up(count: int, seed: int) -> list[ClipSequence]:
    """Embedded clips of two scenes each; a third of the frames is damaged: the classifier is unsure and wrong."""
    draw = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        labels = np.repeat(draw.permutation(CLASSES)[:2], 30)
        scenes = np.repeat(np.abs(draw.normal(size=(2, FEATURES))), 30, axis=0)
        damaged = draw.random(60) < 0.35
        shown = np.where(damaged, draw.integers(0, CLASSES, 60), labels)
        logits = np.where(damaged, 1.0, 4.0)[:, None] * np.eye(CLASSES)[shown] + draw.normal(0, 0.2, (60, CLASSES))
        features = scenes + draw.normal(0, 0.02, scenes.shape)
        values = torch.from_numpy(np.concatenate([features, logits], 1)).half()
        times = torch.arange(60, dtype=torch.float64) / 25
        clips.append(ClipSequence("clip", values, times, torch.from_numpy(labels), whole_clip=False))
    return clips


def right(said) -> float:
    return float(np.mean([track.predicted == track.truth for track in said]))


@pytest.fixture(scope="module")
def head():
    return fit(LiquidFilterConfig(FEATURES, CLASSES), made_up(32, 0), Recipe(epochs=6))


def test_a_filter_learns_to_hold_through_damage(head):
    """On clips that it has not seen it is right far more often than each frame alone, and calmer."""
    with_memory, alone = tracks(head, made_up(16, 1))
    assert right(with_memory) > right(alone) + 0.1

    def flips(said):
        return sum(int((np.diff(track.predicted) != 0).sum()) for track in said)

    assert flips(with_memory) < 0.5 * flips(alone)


def test_the_bench_tells_everybody_apart(head):
    """One row for each frame, the filter, EMA and the HMM, with figures of what was measured; as a table too."""
    labelled = SimpleNamespace(head=head, labels=[str(i) for i in range(CLASSES)])
    table = compare_filters(labelled, made_up(4, 2), made_up(6, 3))
    assert list(table) == ["each frame alone", "liquid filter", "EMA", "sticky HMM, forward filter"]
    assert table["liquid filter"]["accuracy"] > table["each frame alone"]["accuracy"]
    assert table["EMA"]["tuned"].startswith("tau ")
    assert len(markdown(table).splitlines()) == 6


def test_halves_share_no_picture():
    """What filters learn from and what they are judged by are two halves of the pictures."""
    pool = np.arange(7), np.arange(7) * 10
    (learn, _), (judge, labels) = halves(pool)
    assert not set(learn) & set(judge)
    assert sorted([*learn, *judge]) == list(range(7))
    assert (labels == judge * 10).all()


def test_classes_have_readable_names_of_their_own():
    """The 200 classes are called by 200 different names, and `objects` has them as its labels."""
    if not (DATA / "images").is_dir():
        pytest.skip(f"no {DATA / 'images'}")
    called = names(DATA / "images")
    assert len(set(called.values())) == len(called) == 200
    assert called["n01443537"] == "goldfish"
    assert Model.from_pretrained("objects", device="cpu").labels == tuple(called.values())
