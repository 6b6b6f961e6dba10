"""What one client has taught: classes, examples and undo steps. It holds embeddings and times, never pictures."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from liquidvision.errors import UsageError
from liquidvision.inference.clock import monotonic_times
from liquidvision.training.few_shot import Example
from liquidvision.web.protocol import MAX_CORRECTION_SECONDS

MAX_CLASSES, MAX_EXAMPLES = 30, 500
MIN_EXAMPLE_FRAMES, MAX_EXAMPLE_SECONDS = 3, 20.0
MAX_EMBEDDING_BYTES = 64 * 2**20  # of all examples, including those that undo could restore
LEAD_SECONDS = 1.0  # before an example, kept with it
MAX_UNDO_STEPS = 30
EmbeddedFrame = tuple[Tensor, float]  # an embedding (1, d), and the seconds of its frame


@dataclass(frozen=True, slots=True)
class TaughtClass:
    """A class; its number stays the same when it is renamed."""

    number: int
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class RecordedExample:
    """An example of a class; see `Example` for its tensors."""

    number: int
    class_number: int
    embeddings: Tensor
    times: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ExampleSet:
    """All classes and examples at one moment; replaced with every change."""

    classes: tuple[TaughtClass, ...] = ()
    examples: tuple[RecordedExample, ...] = ()


class Teaching:
    """What one connection teaches.

    A method that cannot do what it is asked raises UsageError, with a message for the user, and changes nothing.

    Attributes:
        example_set: the current classes and examples.
        recording: number of the class that is being recorded, or None.
    """

    def __init__(self) -> None:
        self.example_set = ExampleSet()
        self.recording: int | None = None
        self._undo_steps: deque[ExampleSet] = deque(maxlen=MAX_UNDO_STEPS)
        self._last_number = 0
        self._lead: list[EmbeddedFrame] = []  # before the example that is being recorded
        self._recorded: list[EmbeddedFrame] = []  # of the example itself
        self._recent: deque[EmbeddedFrame] = deque()

    def add_frame(self, embedding: Tensor, time: float) -> None:
        """Take in the next frame of the stream: its embedding (1, d) on the CPU, and its seconds."""
        if self._recent and time < self._recent[-1][1]:
            self._recent.clear()  # the clock was set back; earlier times no longer compare
        self._recent.append((embedding, time))
        while self._recent[-1][1] - self._recent[0][1] > MAX_CORRECTION_SECONDS + LEAD_SECONDS:
            self._recent.popleft()
        if self.recording is not None:
            self._recorded.append((embedding, time))
            if abs(time - self._recorded[0][1]) > MAX_EXAMPLE_SECONDS:
                self.stop()

    @property
    def recent(self) -> list[EmbeddedFrame]:
        """Embeddings (1, d) of the last seconds, with their times."""
        return list(self._recent)

    def restart_stream(self) -> None:
        """Start a new stream: earlier frames cannot be corrected any more, and a recording ends."""
        self._recent.clear()
        self.recording, self._recorded = None, []

    def add(self, label: str) -> None:
        """Add a class."""
        self._check_new(label)
        if len(self.example_set.classes) >= MAX_CLASSES:
            raise UsageError(f"there are already {MAX_CLASSES} classes, the maximum; delete one first")
        self._change(
            replace(self.example_set, classes=(*self.example_set.classes, TaughtClass(self._next_number(), label)))
        )

    def rename(self, label: str, to: str) -> None:
        """Rename a class."""
        old = self._find_class(label)
        if label == to:
            return
        self._check_new(to)
        classes = tuple(TaughtClass(old.number, to) if each == old else each for each in self.example_set.classes)
        self._change(replace(self.example_set, classes=classes))

    def delete(self, label: str) -> None:
        """Delete a class with its examples."""
        deleted = self._find_class(label)
        if self.recording == deleted.number:
            self.recording = None
        self._change(
            ExampleSet(
                tuple(each for each in self.example_set.classes if each != deleted),
                tuple(example for example in self.example_set.examples if example.class_number != deleted.number),
            )
        )

    def forget(self, example: int) -> None:
        """Delete an example by its number."""
        rest = tuple(each for each in self.example_set.examples if each.number != example)
        if len(rest) == len(self.example_set.examples):
            raise UsageError("this example is already deleted")
        self._change(replace(self.example_set, examples=rest))

    def record(self, label: str) -> None:
        """Start an example of a class; frames belong to it until `stop`."""
        self.recording, self._recorded = self._find_class(label).number, []
        self._lead = [frame for frame in self._recent if frame[1] > self._recent[-1][1] - LEAD_SECONDS]

    def stop(self) -> None:
        """End the example that is being recorded, if any."""
        number, frames = self.recording, self._recorded
        self.recording, self._recorded = None, []
        if number is not None:
            self._add_example(number, self._lead, frames)

    def correct(self, label: str, seconds: float) -> None:
        """Make the last `seconds` an example of a class."""
        number = self._find_class(label).number
        frames = [frame for frame in self._recent if frame[1] >= self._recent[-1][1] - seconds]
        self._add_example(number, self._frames_before(frames[0][1]) if frames else [], frames)

    def undo(self) -> None:
        """Undo the last change."""
        if not self._undo_steps:
            raise UsageError("there is nothing to undo")
        self.recording, self._recorded = None, []
        self.example_set = self._undo_steps.pop()

    def import_examples(self, examples: list[Example], labels: list[str]) -> None:
        """Add examples from elsewhere and the classes that they need, as one change."""
        classes = list(self.example_set.classes)
        known = {each.label for each in classes}
        classes += [TaughtClass(self._next_number(), label) for label in dict.fromkeys(labels) if label not in known]
        if len(classes) > MAX_CLASSES:
            raise UsageError(f"there would be {len(classes)} classes; at most {MAX_CLASSES} are allowed")
        numbers = {each.label: each.number for each in classes}
        added = [
            RecordedExample(self._next_number(), numbers[one.label], one.embeddings, one.times) for one in examples
        ]
        self._check_room(added)
        self._change(ExampleSet(tuple(classes), (*self.example_set.examples, *added)))

    @property
    def examples(self) -> list[Example]:
        """All examples, with the current names of their classes."""
        labels = {each.number: each.label for each in self.example_set.classes}
        return [
            Example(labels[example.class_number], example.embeddings, example.times)
            for example in self.example_set.examples
        ]

    @property
    def classes_with_examples(self) -> list[TaughtClass]:
        """The classes that have at least one example."""
        numbers = {example.class_number for example in self.example_set.examples}
        return [each for each in self.example_set.classes if each.number in numbers]

    def training_set(self) -> tuple[list[TaughtClass], list[Example]]:
        """Return the classes to learn and their examples."""
        return self.classes_with_examples, self.examples

    @property
    def embedding_bytes(self) -> int:
        """Bytes of all embeddings that are held."""
        sets = (self.example_set, *self._undo_steps)
        sizes = {example.number: example.embeddings.nbytes for one in sets for example in one.examples}
        return sum(sizes.values())

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        labels = {each.number: each.label for each in self.example_set.classes}
        return {
            "classes": [
                {
                    "label": each.label,
                    "examples": [
                        {
                            "example": example.number,
                            "seconds": round(float(example.times[-1]), 2),
                            "frames": int((example.times >= 0).sum()),
                        }
                        for example in self.example_set.examples
                        if example.class_number == each.number
                    ],
                }
                for each in self.example_set.classes
            ],
            "recording": labels.get(self.recording) if self.recording is not None else None,
            "can_undo": bool(self._undo_steps),
        }

    def _find_class(self, label: str) -> TaughtClass:
        for each in self.example_set.classes:
            if each.label == label:
                return each
        raise UsageError(f"there is no class {label}")

    def _check_new(self, label: str) -> None:
        if any(each.label == label for each in self.example_set.classes):
            raise UsageError(f"the class {label} already exists")

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _change(self, example_set: ExampleSet) -> None:
        self._undo_steps.append(self.example_set)
        self.example_set = example_set

    def _frames_before(self, time: float) -> list[EmbeddedFrame]:
        """Return the frames of the last `LEAD_SECONDS` before a time."""
        return [frame for frame in self._recent if time - LEAD_SECONDS <= frame[1] < time]

    def _add_example(self, class_number: int, lead: list[EmbeddedFrame], frames: list[EmbeddedFrame]) -> None:
        if len(frames) < MIN_EXAMPLE_FRAMES:
            raise UsageError(
                f"the example is too short: it has {len(frames)} of at least {MIN_EXAMPLE_FRAMES} frames; hold the "
                "button longer"
            )
        every = [*lead, *frames]
        times = seconds_since_start([time for _, time in every])
        embeddings = torch.cat([embedding for embedding, _ in every])
        example = RecordedExample(self._next_number(), class_number, embeddings, times - times[len(lead)])
        self._check_room([example])
        self._change(replace(self.example_set, examples=(*self.example_set.examples, example)))

    def _check_room(self, added: list[RecordedExample]) -> None:
        if len(self.example_set.examples) + len(added) > MAX_EXAMPLES:
            raise UsageError(f"at most {MAX_EXAMPLES} examples are allowed; delete some first")
        if self.embedding_bytes + sum(example.embeddings.nbytes for example in added) > MAX_EMBEDDING_BYTES:
            raise UsageError(
                f"examples may take at most {MAX_EMBEDDING_BYTES >> 20} MB; save them, reload the page, and use fewer"
            )


def seconds_since_start(times: list[float]) -> Tensor:
    """Return seconds since the first frame, (n,) float64, see `monotonic_times`."""
    seconds = monotonic_times(times)
    return torch.from_numpy(seconds - seconds[0])


def teaching_commands(teaching: Teaching) -> dict[str, Callable[..., None]]:
    """Return the commands of the protocol that change what is taught."""
    return {
        "add": teaching.add,
        "rename": teaching.rename,
        "delete": teaching.delete,
        "forget": teaching.forget,
        "record": teaching.record,
        "stop": teaching.stop,
        "correct": teaching.correct,
        "undo": teaching.undo,
    }
