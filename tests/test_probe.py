"""The linear probe of single frames: its fit, its tuning, and the head that computes the same."""

import numpy as np
import pytest
import torch
from made_sequences import tiny_head

from liquidvision.training import probe
from liquidvision.training.optimise import fit_statistics
from liquidvision.training.scoring import clip_logits
from liquidvision.training.sequences import ClipSequence


def stills(count: int, classes: int, seed: int = 0) -> list[ClipSequence]:
    """Clips whose class is visible in one number of each frame's embedding, with noise."""
    random = torch.Generator().manual_seed(seed)
    sequences = []
    for i in range(count):
        embeddings = torch.randn(6, 12, generator=random) * torch.linspace(0.1, 9, 12)
        embeddings[:, i % classes] += 8
        sequences.append(
            ClipSequence(f"{i}", embeddings, torch.arange(6.0).double(), torch.full((6,), i % classes), whole_clip=True)
        )
    return sequences


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_computes_the_scores_of_the_probe(classes):
    """A head's readout of single frames set to a probe gives the probe's scores, for two or more classes."""
    sequences = stills(24, classes)
    fitted = probe.fit_probe(sequences, 0.1)
    head = tiny_head(cell="gated", classes=classes)
    fit_statistics([head], sequences, 1.0)
    probe.set_frame_readout(head.eval(), fitted)
    unseen = stills(9, classes, seed=1)
    (said,) = clip_logits([head], unseen, 1.0)
    for logits, track in zip(said, probe.probe_scores(fitted, unseen, classes), strict=True):
        np.testing.assert_allclose(logits.frame.softmax(-1).numpy(), track.scores, atol=1e-5)
        assert (track.predicted == track.truth).mean() > 0.6


def test_an_unseen_class_scores_zero():
    """A class without a training frame scores 0 in the probe, and almost 0 in the head."""
    sequences = stills(12, 2)
    fitted = probe.fit_probe(sequences, 0.1)
    head = tiny_head(classes=3)
    fit_statistics([head], sequences, 1.0)
    probe.set_frame_readout(head.eval(), fitted)
    (said,) = clip_logits([head], sequences, 1.0)
    assert all(float(logits.frame.softmax(-1)[:, 2].max()) < 1e-6 for logits in said)
    assert all((track.scores[:, 2] == 0).all() for track in probe.probe_scores(fitted, sequences, 3))


def test_the_penalty_has_the_best_accuracy():
    """Tuning takes a penalty with the best accuracy on the other clips; with a single class, the first."""
    train, judge = stills(10, 2), stills(60, 2, seed=3)
    c = probe.tune_penalty(train, judge, 2)

    def right(c: float) -> int:
        return sum(
            int(t.clip_scores.argmax() == t.truth[0]) for t in probe.probe_scores(probe.fit_probe(train, c), judge, 2)
        )

    assert right(c) == max(right(other) for other in probe.PENALTIES)
    alone = [sequence for sequence in train if int(sequence.targets[0]) == 0]
    assert probe.tune_penalty(alone, judge, 2) == probe.PENALTIES[0]


def test_frames_are_sampled_from_every_clip():
    """If there are too many frames, some are taken of every clip, long or short, so the rarest class is learnt."""
    sequences = stills(41, 2)
    long = [sequence.select(torch.arange(6).repeat(400)) for sequence in sequences[:40]]
    rare = ClipSequence(
        "rare", torch.full((3, 12), 40.0), torch.arange(3.0).double(), torch.full((3,), 2), whole_clip=True
    )
    assert probe.fit_probe([*long, rare], 0.01)[-1].classes_.tolist() == [0, 1, 2]
