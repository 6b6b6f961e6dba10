"""Trains a head within seconds on a few examples that are embedded already, as the web page records them."""

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
from liquidvision.models.tasks import MULTICLASS
from liquidvision.training import probe
from liquidvision.training.optimise import EpochLoop, fit_statistics, join_after
from liquidvision.training.recipe import Plan, default_plan
from liquidvision.training.scoring import ClipLogits, clip_logits
from liquidvision.training.sequences import UNLABELLED, ClipSequence, SequenceDataset
from liquidvision.training.trainer import Trainer

PENALTY = probe.PENALTIES[0]  # there are too few examples to tune it
MIN_EPOCHS = 8
TARGET_EPOCHS, TARGET_STEPS = 24, 80  # training plans whichever takes longer, if there is time
CONTEXT_SECONDS = 1.0  # seconds kept of an example's lead-in, and of the example before it
MAX_CONTEXT_FRAMES = 12  # of each of the two


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One recorded example of one class, and what was seen just before it.

    Attributes:
        label: the class.
        embeddings: (n, d) float32, on the CPU.
        times: (n,) float64 seconds, non-decreasing: 0 at the example's first frame, below 0 before it.
    """

    label: str
    embeddings: Tensor
    times: Tensor

    @property
    def lead(self) -> int:
        """Number of frames before the example."""
        return int((self.times < 0).sum())


class ExampleSequences(SequenceDataset):
    """Examples as training sequences, each after the end of another and after its own lead, as in a stream.

    So a head learns to forget what came before, and its statistics cover what lies between examples. Draws from
    torch's generator.

    Args:
        examples: at least one example of each label.
        labels: the classes.

    Attributes:
        alone: each example without anything before it.
    """

    def __init__(self, examples: Sequence[Example], labels: Sequence[str]) -> None:
        clips = [Clip(Path(), f"{i:05d}", f"{i:05d}", example.label) for i, example in enumerate(examples)]
        self.dataset, self.views = Dataset(Path(), tuple(clips), tuple(labels), None, grouped=False), ("recorded",)
        whole = [example_sequence(example, clip.name, labels) for example, clip in zip(examples, clips, strict=True)]
        self.alone = [sequence.select(sequence.targets >= 0) for sequence in whole]
        before = torch.randperm(len(clips)).tolist()
        self._joined = [
            join_after(last_second(self.alone[i]), sequence) for i, sequence in zip(before, whole, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._joined)

    def sequence(self, index: int, view: str) -> ClipSequence:
        """Return one example with what precedes it."""
        return self._joined[index]


def example_sequence(example: Example, name: str, labels: Sequence[str]) -> ClipSequence:
    """Return an example as a sequence, with the last part of its lead."""
    targets = torch.full((len(example.times),), labels.index(example.label))
    targets[: example.lead] = UNLABELLED
    sequence = ClipSequence(name, example.embeddings, example.times, targets, whole_clip=True)
    near = thin_frames(torch.arange(example.lead)[example.times[: example.lead] >= -CONTEXT_SECONDS])
    return sequence.select(torch.cat([near, torch.arange(example.lead, len(sequence))]))


def last_second(sequence: ClipSequence) -> ClipSequence:
    """Return the last `CONTEXT_SECONDS` of a sequence, thinned."""
    return sequence.select(
        thin_frames(torch.arange(len(sequence))[sequence.times >= sequence.times[-1] - CONTEXT_SECONDS])
    )


def thin_frames(frames: Tensor) -> Tensor:
    """Return at most `MAX_CONTEXT_FRAMES` of these frame numbers, evenly spaced, the last one included."""
    step = math.ceil(len(frames) / MAX_CONTEXT_FRAMES) or 1
    return frames.flip(0)[::step].flip(0)


@dataclass(frozen=True, slots=True, eq=False)
class TeachResult:
    """The result of `teach`.

    Attributes:
        head: the head, in eval mode.
        plan: the plan of its training.
        epochs: number of epochs.
        right: number of examples that the head classifies correctly by the mean of their frames.
        seconds: duration of the training.
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
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> TeachResult:
    """Train a head on all examples, for as many epochs as fit into the time, `MIN_EPOCHS` or more.

    Args:
        layouts: the layouts of the embeddings.
        examples: examples of at least two classes.
        labels: the classes in the order of the logits; each has an example.
        seconds: approximate duration, on an otherwise idle machine; estimated from a first epoch.
        on_epoch: called with epochs done and planned; an exception that it raises ends the training.

    Raises:
        UsageError: fewer than two classes, or a class without an example.
    """
    shown = {example.label for example in examples}
    if len(labels) < 2:
        raise UsageError(f"there is {len(labels)} class to learn; expected two or more")
    if missing := [label for label in labels if label not in shown]:
        raise UsageError(f"{missing[0]} has no examples; show one, or delete the class")
    began = time.perf_counter()
    plan = default_plan(len(examples))
    # The probe of so few examples is too confident to have a share in the logits.
    # Each example already follows another one, see `ExampleSequences`; where two meet is no cut of the camera's.
    head_fields = {**plan.head, "frame_share": 0.0, "restart_at_cuts": False}
    plan = replace(plan, head=head_fields, recipe=replace(plan.recipe, preceded=0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.recipe.seed)
        sequences = ExampleSequences(examples, labels)
        head = LiquidHead(LiquidHeadConfig(layouts, len(labels), **plan.head))
        fit_statistics([head], sequences, plan.first_dt)
        probe.set_frame_readout(head, probe.fit_probe(sequences.alone, PENALTY))
        target = max(TARGET_EPOCHS, math.ceil(TARGET_STEPS / math.ceil(len(examples) / plan.recipe.batch)))
        took = time_epoch(head, sequences, plan)
        epochs = max(MIN_EPOCHS, min(target, int((began + seconds - time.perf_counter()) / took)))
        plan = replace(plan, recipe=replace(plan.recipe, epochs=epochs))
        trainer = Trainer(EpochLoop([head], sequences, plan.recipe, first_dt=plan.first_dt))
        on_epoch(0, epochs)
        trainer.run(lambda row: on_epoch(row.epoch, epochs))
    (logits,) = clip_logits([head], list(sequences), plan.first_dt)
    right = sum(is_right(own, sequence) for own, sequence in zip(logits, sequences, strict=True))
    return TeachResult(head.eval(), plan, epochs, right, time.perf_counter() - began)


def is_right(logits: ClipLogits, sequence: ClipSequence) -> bool:
    """Return whether the mean logits of a sequence's judged frames are highest for its class."""
    judged = sequence.targets >= 0
    return int(MULTICLASS.decide(logits.memory[judged].mean(0))) == int(sequence.targets[judged][0])


def time_epoch(head: LiquidHead, sequences: ExampleSequences, plan: Plan) -> float:
    """Return the seconds that an epoch takes, measured on a copy of the head."""
    trial = LiquidHead(head.config)
    trial.load_state_dict(head.state_dict())
    loop = EpochLoop([trial], sequences, plan.recipe, first_dt=plan.first_dt)
    began = time.perf_counter()
    loop.run_epoch()
    return time.perf_counter() - began


def warm_up(layouts: tuple[Layout, ...]) -> None:
    """Run a tiny training, so that the first real one need not import and compile."""
    dim = sum(layout.channels * layout.cells for layout in layouts)
    rows = torch.linspace(0, 1, 4 * dim).view(4, dim)
    times = torch.arange(4, dtype=torch.float64) / 15
    teach(layouts, [Example("a", rows, times), Example("b", -rows, times)], ("a", "b"), seconds=0.0)
