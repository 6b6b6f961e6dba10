"""Few-shot training: a head from a few recorded examples within seconds."""

import pytest
import torch

from liquidvision.errors import UsageError
from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.training.few_shot import MAX_CONTEXT_FRAMES, Example, ExampleSequences, teach
from liquidvision.training.optimise import EpochLoop, class_weights
from liquidvision.training.recipe import Recipe
from liquidvision.training.sequences import UNLABELLED

LAYOUTS = (Layout(6, 1),)
LABELS = ("falls", "rises")


def ramp(label: str, seed: int, frames: int = 14, lead: int = 0) -> Example:
    """A number that rises or falls from -1 to 1, with noise: each value occurs in both classes."""
    noise = torch.randn(lead + frames, 6, generator=torch.Generator().manual_seed(seed)) * 0.05
    way = torch.linspace(-1, 1, frames) * (1 if label == "rises" else -1)
    noise[lead:, 0] += way
    noise[:lead, 1] += 3  # no example has it
    return Example(label, noise, (torch.arange(lead + frames, dtype=torch.float64) - lead) * 0.08)


def examples(each: int, lead: int = 8) -> list[Example]:
    return [ramp(label, 10 * i + k, lead=lead) for i, label in enumerate(LABELS) for k in range(each)]


def final_labels(head: LiquidHead, parts: list[Example]) -> list[str]:
    """The labels that a head gives at the end of each of several examples in a stream, with their leads."""
    state, labels = None, []
    with torch.inference_mode():
        for part in parts:
            dts = torch.cat([torch.full((1,), 0.08), part.times.diff().float()])
            out = head(part.embeddings[None], dts[None], state)
            state = out.state
            labels.append(LABELS[int(out.logits[0, -4:].mean(0).argmax())])
    return labels


def test_classes_that_differ_only_in_time() -> None:
    """Three examples each suffice to classify a stream of others, with unknown frames in between."""
    calls: list[tuple[int, int]] = []
    taught = teach(LAYOUTS, examples(3), LABELS, seconds=3.0, on_epoch=lambda *row: calls.append(row))
    order = ["rises", "falls", "falls", "rises", "rises", "falls"]
    assert final_labels(taught.head, [ramp(label, 100 + i, lead=8) for i, label in enumerate(order)]) == order
    assert taught.right == 6 and not taught.head.training
    assert calls == [(i, taught.epochs) for i in range(taught.epochs + 1)]


def test_the_same_examples_the_same_head() -> None:
    """Training neither uses nor changes the global generator; the same epochs give the same head."""
    heads = []
    for _ in range(2):
        torch.rand(3)
        state = torch.get_rng_state()
        heads.append(teach(LAYOUTS, examples(3), LABELS, seconds=0.0).head.state_dict())
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_without_time_there_are_the_minimum_epochs() -> None:
    """Without time, training takes the minimum number of epochs."""
    assert teach(LAYOUTS, examples(3), LABELS, seconds=0.0).epochs == 8


def test_preceding_frames_are_seen_and_not_judged() -> None:
    """A sequence begins with the end of another example and its own lead, both without targets."""
    shown = ExampleSequences([ramp(label, 1, frames=80, lead=60) for label in LABELS], LABELS)
    for sequence, example in zip(shown, shown.alone, strict=True):
        free = sequence.targets == UNLABELLED
        assert (
            int(free.sum()) == 7 + 12
        )  # the last second of the other example (13 frames, thinned to 7) and of the lead (12)
        assert not bool(free[19:].any()) and torch.equal(sequence.embeddings[19:], example.embeddings)
        assert bool((sequence.times.diff() > 0).all()) and len(example) == 80
    quick = [Example(label, torch.zeros(300, 6), torch.arange(300).double() / 300 - 0.5) for label in LABELS]
    assert all(
        int((sequence.targets == UNLABELLED).sum()) <= 2 * MAX_CONTEXT_FRAMES
        for sequence in ExampleSequences(quick, LABELS)
    )


def test_frames_without_a_target_weigh_nothing() -> None:
    """Class weights and losses use frames with a target only; a clip without any breaks nothing."""
    shown = ExampleSequences(examples(2), LABELS)
    assert torch.equal(class_weights(shown, 2, 0.5), torch.ones(2))
    torch.manual_seed(0)
    head = LiquidHead(LiquidHeadConfig(LAYOUTS, 2, components=4, width=8, units=6))
    loop = EpochLoop([head], shown, Recipe(epochs=2, batch=4, noise=0.0), first_dt=1.0)
    batch = loop.load_batch(loop.make_batches()[0])
    batch.targets[0] = UNLABELLED
    before = {name: value.clone() for name, value in head.state_dict().items()}
    assert bool(torch.isfinite(loop.train_batch(batch)).all())
    assert any(not torch.equal(before[name], value) for name, value in head.state_dict().items())


@pytest.mark.parametrize(
    ("parts", "labels", "message"),
    [([ramp("rises", 0)], ("rises",), "two or more"), ([ramp("rises", 0)], LABELS, "falls has no examples")],
)
def test_missing_classes_are_refused(parts: list[Example], labels: tuple[str, ...], message: str) -> None:
    """A single class, or a class without an example, is refused."""
    with pytest.raises(UsageError, match=message):
        teach(LAYOUTS, parts, labels, seconds=1.0)


def test_a_callback_can_end_the_training() -> None:
    """An exception of `on_epoch` ends a training at once."""

    class Enough(Exception):  # noqa: N818
        pass

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        teach(LAYOUTS, examples(3), LABELS, seconds=3.0, on_epoch=stop)
