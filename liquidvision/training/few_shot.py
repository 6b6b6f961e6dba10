"""Teaching by showing: a head from a few examples that are embedded already, within seconds."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.errors import UsageError
from liquidvision.liquid.traces import Layout
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
from liquidvision.training import probe
from liquidvision.training.optimise import EpochLoop, fit_statistics, join_after
from liquidvision.training.recipe import Plan, default_plan
from liquidvision.training.scoring import ClipLogits, clip_logits
from liquidvision.training.sequences import ClipSequence, SequenceDataset
from liquidvision.training.trainer import Trainer

PENALTY = probe.PENALTIES[0]  # too few examples to tune it by
FEWEST_EPOCHS, EPOCHS, STEPS = 8, 24, 80  # epochs or steps, whichever are more, are enough
BEFORE = 1.0  # seconds of another example, and of what was before it, that each is seen after
CONTEXT = 12  # frames of each of the two, at most
NOBODY = -1  # target of frames of which nobody said what they show


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One showing of one class, and what was seen just before it.

    Attributes:
        label: what it shows.
        embeddings: (n, d) float32, on the CPU.
        times: (n,) float64 seconds, never falling, 0 at the example's first frame; below 0 before it.
    """

    label: str
    embeddings: Tensor
    times: Tensor

    @property
    def lead(self) -> int:
        """How many frames were seen before it."""
        return int((self.times < 0).sum())


class ShownClip(SequenceDataset):
    """Examples as lessons: each after the end of another and what was seen before it, as in a stream that goes on.

    So a head learns to let go of what was before, and not only to know a class from a stream's first frame; and its
    statistics are also of what lies between.

    Args:
        examples: at least one of each label.
        labels: the classes.

    Attributes:
        alone: each example by itself.
    """

    def __init__(self, examples: Sequence[Example], labels: Sequence[str]) -> None:
        clips = [Clip(Path(), f"{i:05d}", f"{i:05d}", example.label) for i, example in enumerate(examples)]
        self.dataset, self.views = Dataset(Path(), tuple(clips), tuple(labels), None, grouped=False), ("shown",)
        whole = [as_sequence(example, clip.name, labels) for example, clip in zip(examples, clips, strict=True)]
        self.alone = [lesson.only(lesson.targets >= 0) for lesson in whole]
        before = torch.randperm(len(clips)).tolist()
        self._joined = [join_after(ending(self.alone[i]), lesson) for i, lesson in zip(before, whole, strict=True)]

    def __len__(self) -> int:
        return len(self._joined)

    def lesson(self, index: int, view: str) -> ClipSequence:
        return self._joined[index]


def as_sequence(example: Example, name: str, labels: Sequence[str]) -> ClipSequence:
    """An example with no more of what was before than counts."""
    targets = torch.full((len(example.times),), labels.index(example.label))
    targets[: example.lead] = NOBODY
    lesson = ClipSequence(name, example.embeddings, example.times, targets, whole=True)
    near = subsample(torch.arange(example.lead)[example.times[: example.lead] >= -BEFORE])
    return lesson.only(torch.cat([near, torch.arange(example.lead, len(lesson))]))


def ending(lesson: ClipSequence) -> ClipSequence:
    """The end of an example, with no more frames than count."""
    return lesson.only(subsample(torch.arange(len(lesson))[lesson.times >= lesson.times[-1] - BEFORE]))


def subsample(frames: Tensor) -> Tensor:
    """At most `CONTEXT` of these frames, spread evenly, the last among them; Δt tells what passed between."""
    step = math.ceil(len(frames) / CONTEXT) or 1
    return frames.flip(0)[::step].flip(0)


@dataclass(frozen=True, slots=True, eq=False)
class TeachResult:
    """What came of it.

    Attributes:
        head: in eval mode.
        plan: its training.
        epochs: how many there were.
        right: how many of the examples it knows by the mean of their frames.
        seconds: that it took.
    """

    head: LiquidHead
    plan: Plan
    epochs: int
    right: int
    seconds: float


def teach(
    layouts: tuple[Layout, ...],
    examples: Sequence[Example],
    labels: Sequence[str],
    *,
    seconds: float,
    on_epoch: Callable[[int, int], None] = lambda done, of: None,
) -> TeachResult:
    """Train a head on all examples, with as many epochs as there is time for.

    Args:
        layouts: of the embeddings.
        examples: of two classes at least.
        labels: in the order of the logits; each is shown by an example.
        seconds: to be done in about so many, on a machine that does nothing else; the first epochs say how long
            each will take.
        on_epoch: called with epochs done and planned; what it raises ends the training.

    Raises:
        UsageError: fewer than two classes, or a class without an example.
    """
    shown = {example.label for example in examples}
    if len(labels) < 2:
        raise UsageError(f"there is {len(labels)} class to learn; expected two or more to tell apart")
    if missing := [label for label in labels if label not in shown]:
        raise UsageError(f"{missing[0]} has no examples; show one, or delete the class")
    began = time.perf_counter()
    plan = default_plan(len(examples))
    # The probe knows nothing but these few examples, and is too sure of them to have a say.
    # Each example comes after another one already, see `ShownClip`.
    plan = replace(plan, head={**plan.head, "frame_share": 0.0}, recipe=replace(plan.recipe, preceded=0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.recipe.seed)
        lessons = ShownClip(examples, labels)
        head = LiquidHead(LiquidHeadConfig(layouts, len(labels), **plan.head))
        fit_statistics([head], lessons, plan.first_dt)
        probe.set_frame_readout(head, probe.fit_probe(lessons.alone, PENALTY))
        enough = max(EPOCHS, math.ceil(STEPS / math.ceil(len(examples) / plan.recipe.batch)))
        took = frame_seconds(head, lessons, plan)
        epochs = max(FEWEST_EPOCHS, min(enough, int((began + seconds - time.perf_counter()) / took)))
        plan = replace(plan, recipe=replace(plan.recipe, epochs=epochs))
        course = Trainer(EpochLoop([head], lessons, plan.recipe, first_dt=plan.first_dt))
        on_epoch(0, epochs)
        course.run(lambda row: on_epoch(row.epoch, epochs))
    (said,) = clip_logits([head], list(lessons), plan.first_dt)
    right = sum(check_known(verdict, lesson) for verdict, lesson in zip(said, lessons, strict=True))
    return TeachResult(head.eval(), plan, epochs, right, time.perf_counter() - began)


def check_known(verdict: ClipLogits, lesson: ClipSequence) -> bool:
    """Whether a lesson's judged frames, by the mean of their logits, are what they are said to be."""
    judged = lesson.targets >= 0
    return int(verdict.memory[judged].mean(0).argmax()) == int(lesson.targets[judged][0])


def frame_seconds(head: LiquidHead, lessons: ShownClip, plan: Plan) -> float:
    """Seconds that an epoch takes, by one on a copy of the head."""
    trial = LiquidHead(head.config)
    trial.load_state_dict(head.state_dict())
    fit = EpochLoop([trial], lessons, plan.recipe, first_dt=plan.first_dt)
    began = time.perf_counter()
    fit.epoch()
    return time.perf_counter() - began


def warm_up(layouts: tuple[Layout, ...]) -> None:
    """Compile and import what `teach` needs at its first use, by a training of nothing in particular."""
    dim = sum(layout.channels * layout.cells for layout in layouts)
    rows = torch.linspace(0, 1, 4 * dim).view(4, dim)
    times = torch.arange(4, dtype=torch.float64) / 15
    teach(layouts, [Example("a", rows, times), Example("b", -rows, times)], ("a", "b"), seconds=0.0)
