"""The linear probe of single frames: what it learns, how it is tuned, and a head that says the same."""

import numpy as np
import pytest
import torch
from lessons import tiny_head

from liquidvision.training import probe
from liquidvision.training.optimise import fit_statistics
from liquidvision.training.scoring import clip_logits
from liquidvision.training.sequences import ClipSequence


def stills(count: int, classes: int, seed: int = 0) -> list[ClipSequence]:
    """Clips whose class each frame shows in one number of its embedding, amid noise."""
    random = torch.Generator().manual_seed(seed)
    lessons = []
    for i in range(count):
        embeddings = torch.randn(6, 12, generator=random) * torch.linspace(0.1, 9, 12)
        embeddings[:, i % classes] += 8
        lessons.append(
            ClipSequence(f"{i}", embeddings, torch.arange(6.0).double(), torch.full((6,), i % classes), whole=True)
        )
    return lessons


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_says_of_a_frame_what_the_probe_says(classes):
    """A probe put into a head's readout of single frames gives the same probabilities, of two classes or more."""
    lessons = stills(24, classes)
    fitted = probe.fit_probe(lessons, 0.1)
    head = tiny_head(cell="gated", classes=classes)
    fit_statistics([head], lessons, 1.0)
    probe.set_frame_readout(head.eval(), fitted)
    unseen = stills(9, classes, seed=1)
    (said,) = clip_logits([head], unseen, 1.0)
    for verdict, track in zip(said, probe.probe_scores(fitted, unseen, classes), strict=True):
        np.testing.assert_allclose(verdict.frame.softmax(-1).numpy(), track.scores, atol=1e-5)
        assert (track.predicted == track.truth).mean() > 0.6


def test_a_class_that_no_frame_shows_has_no_chance():
    """Of a class without a frame in training the probe says 0, and the head next to nothing."""
    lessons = stills(12, 2)
    fitted = probe.fit_probe(lessons, 0.1)
    head = tiny_head(classes=3)
    fit_statistics([head], lessons, 1.0)
    probe.set_frame_readout(head.eval(), fitted)
    (said,) = clip_logits([head], lessons, 1.0)
    assert all(float(verdict.frame.softmax(-1)[:, 2].max()) < 1e-6 for verdict in said)
    assert all((track.scores[:, 2] == 0).all() for track in probe.probe_scores(fitted, lessons, 3))


def test_the_penalty_is_the_one_that_judges_best():
    """Where few clips and much noise mislead a weak penalty, tuning takes one that is right on the other clips."""
    train, judge = stills(10, 2), stills(60, 2, seed=3)
    c = probe.tune_penalty(train, judge, 2)

    def right(c: float) -> int:
        return sum(
            int(t.clip_scores.argmax() == t.truth[0]) for t in probe.probe_scores(probe.fit_probe(train, c), judge, 2)
        )

    assert right(c) == max(right(other) for other in probe.PENALTIES)
    alone = [lesson for lesson in train if int(lesson.targets[0]) == 0]
    assert probe.tune_penalty(alone, judge, 2) == probe.PENALTIES[0]


def test_few_frames_of_many_stand_for_all():
    """Of more frames than a probe wants some are taken from every clip, long or short: the rarest class is learnt."""
    lessons = stills(41, 2)
    long = [lesson.only(torch.arange(6).repeat(400)) for lesson in lessons[:40]]
    rare = ClipSequence("rare", torch.full((3, 12), 40.0), torch.arange(3.0).double(), torch.full((3,), 2), whole=True)
    assert probe.fit_probe([*long, rare], 0.01)[-1].classes_.tolist() == [0, 1, 2]
