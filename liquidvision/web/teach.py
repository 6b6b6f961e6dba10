"""What one person has shown: classes, examples of them, what was undone. Embeddings and times; no pictures."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from liquidvision.errors import UsageError
from liquidvision.inference.clock import monotonic_times
from liquidvision.training.few_shot import Example
from liquidvision.web.protocol import LONGEST_CORRECTION

MOST_CLASSES, MOST_EXAMPLES = 30, 500
SHORTEST, LONGEST = 3, 20.0  # frames, seconds of an example
MOST_BYTES = 64 * 2**20  # of embeddings, those that undo could bring back among them
LEAD = 1.0  # seconds before an example that are kept with it
UNDONE = 30  # steps
Row = tuple[Tensor, float]  # an embedding (1, d), and its frame's seconds


@dataclass(frozen=True, slots=True)
class Class:
    """A class by its number, which stays when its name changes."""

    number: int
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One example of a class; see `Example` for its tensors."""

    number: int
    of: int
    embeddings: Tensor
    times: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """All classes and examples at one moment; never changed, but replaced."""

    classes: tuple[Class, ...] = ()
    shots: tuple[Shot, ...] = ()


class Teaching:
    """What one connection teaches.

    Every method raises UsageError, for the person, where what is asked cannot be; nothing is changed then.

    Attributes:
        album: the present classes and examples.
        recording: the number of the class that is being shown, or None.
    """

    def __init__(self) -> None:
        self.album = Album()
        self.recording: int | None = None
        self._past: deque[Album] = deque(maxlen=UNDONE)
        self._numbers = 0
        self._lead: list[Row] = []  # what was seen before the example that is being shown
        self._rows: list[Row] = []  # and of itself
        self._lately: deque[Row] = deque()

    def see(self, embedding: Tensor, time: float) -> None:
        """One frame: its embedding (1, d) on the CPU, and its seconds."""
        if self._lately and time < self._lately[-1][1]:
            self._lately.clear()  # the clock was set back; what was before has no place on it
        self._lately.append((embedding, time))
        while self._lately[-1][1] - self._lately[0][1] > LONGEST_CORRECTION + LEAD:
            self._lately.popleft()
        if self.recording is not None:
            self._rows.append((embedding, time))
            if abs(time - self._rows[0][1]) > LONGEST:
                self.stop()

    @property
    def lately(self) -> list[Row]:
        """Embeddings (1, d) of the last frames, with their seconds."""
        return list(self._lately)

    def forget_stream(self) -> None:
        """The stream starts anew: what came before cannot be corrected any more, and no example goes on."""
        self._lately.clear()
        self.recording, self._rows = None, []

    def add(self, label: str) -> None:
        if any(each.label == label for each in self.album.classes):
            raise UsageError(f"there is a class {label} already")
        if len(self.album.classes) >= MOST_CLASSES:
            raise UsageError(f"there are {MOST_CLASSES} classes, which is the most; delete one")
        self._change(replace(self.album, classes=(*self.album.classes, Class(self._number(), label))))

    def rename(self, label: str, to: str) -> None:
        old = self._class(label)
        if label == to:
            return
        if any(each.label == to for each in self.album.classes):
            raise UsageError(f"there is a class {to} already")
        classes = tuple(Class(old.number, to) if each == old else each for each in self.album.classes)
        self._change(replace(self.album, classes=classes))

    def delete(self, label: str) -> None:
        """A class goes with its examples."""
        gone = self._class(label)
        if self.recording == gone.number:
            self.recording = None
        self._change(
            Album(
                tuple(each for each in self.album.classes if each != gone),
                tuple(shot for shot in self.album.shots if shot.of != gone.number),
            )
        )

    def forget(self, example: int) -> None:
        left = tuple(shot for shot in self.album.shots if shot.number != example)
        if len(left) == len(self.album.shots):
            raise UsageError("this example is gone already")
        self._change(replace(self.album, shots=left))

    def record(self, label: str) -> None:
        """What is seen from now on, until `stop`, shows this class."""
        self.recording, self._rows = self._class(label).number, []
        self._lead = [row for row in self._lately if row[1] > self._lately[-1][1] - LEAD]

    def stop(self) -> None:
        """The example ends; nothing where none was begun."""
        of, rows = self.recording, self._rows
        self.recording, self._rows = None, []
        if of is not None:
            self._take(of, self._lead, rows)

    def correct(self, label: str, seconds: float) -> None:
        """The last `seconds` showed this class."""
        of = self._class(label).number
        rows = [row for row in self._lately if row[1] >= self._lately[-1][1] - seconds]
        self._take(of, self._before(rows[0][1]) if rows else [], rows)

    def undo(self) -> None:
        """The last change was none."""
        if not self._past:
            raise UsageError("there is nothing to undo")
        self.recording, self._rows = None, []
        self.album = self._past.pop()

    def bring(self, shown: list[Example], labels: list[str]) -> None:
        """Examples from elsewhere, and the classes that they need; one change for `undo`."""
        classes = list(self.album.classes)
        known = {each.label for each in classes}
        classes += [Class(self._number(), label) for label in dict.fromkeys(labels) if label not in known]
        if len(classes) > MOST_CLASSES:
            raise UsageError(f"there would be {len(classes)} classes; the most is {MOST_CLASSES}")
        of = {each.label: each.number for each in classes}
        shots = [Shot(self._number(), of[one.label], one.embeddings, one.times) for one in shown]
        self._check_room(shots)
        self._change(Album(tuple(classes), (*self.album.shots, *shots)))

    @property
    def examples(self) -> list[Example]:
        """All examples, with the names that their classes have now."""
        label = {each.number: each.label for each in self.album.classes}
        return [Example(label[shot.of], shot.embeddings, shot.times) for shot in self.album.shots]

    @property
    def shown(self) -> list[Class]:
        """The classes with examples."""
        there = {shot.of for shot in self.album.shots}
        return [each for each in self.album.classes if each.number in there]

    def both(self) -> tuple[list[Class], list[Example]]:
        """What a training learns from: classes that have examples, and these."""
        return self.shown, self.examples

    @property
    def bytes(self) -> int:
        """Of all embeddings that are held."""
        albums = (self.album, *self._past)
        return sum({shot.number: shot.embeddings.nbytes for album in albums for shot in album.shots}.values())

    def to_json(self) -> dict[str, Any]:
        """What the page shows of it."""
        numbers = {each.number: each.label for each in self.album.classes}
        return {
            "classes": [
                {
                    "label": each.label,
                    "examples": [
                        {
                            "example": shot.number,
                            "seconds": round(float(shot.times[-1]), 2),
                            "frames": int((shot.times >= 0).sum()),
                        }
                        for shot in self.album.shots
                        if shot.of == each.number
                    ],
                }
                for each in self.album.classes
            ],
            "recording": numbers.get(self.recording) if self.recording is not None else None,
            "can_undo": bool(self._past),
        }

    def _class(self, label: str) -> Class:
        for each in self.album.classes:
            if each.label == label:
                return each
        raise UsageError(f"there is no class {label}")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _change(self, album: Album) -> None:
        self._past.append(self.album)
        self.album = album

    def _before(self, time: float) -> list[Row]:
        """What was seen in the last moments up to a time."""
        return [row for row in self._lately if time - LEAD <= row[1] < time]

    def _take(self, of: int, lead: list[Row], rows: list[Row]) -> None:
        if len(rows) < SHORTEST:
            raise UsageError(f"that was too short: {len(rows)} frames of {SHORTEST}; hold the button while you show it")
        every = [*lead, *rows]
        times = never_falling([time for _, time in every])
        shot = Shot(self._number(), of, torch.cat([row for row, _ in every]), times - times[len(lead)])
        self._check_room([shot])
        self._change(replace(self.album, shots=(*self.album.shots, shot)))

    def _check_room(self, shots: list[Shot]) -> None:
        if len(self.album.shots) + len(shots) > MOST_EXAMPLES:
            raise UsageError(f"there are {MOST_EXAMPLES} examples at most; delete some")
        if self.bytes + sum(shot.embeddings.nbytes for shot in shots) > MOST_BYTES:
            raise UsageError(f"examples take {MOST_BYTES >> 20} MB at most; export them, and start anew with fewer")


def never_falling(times: list[float]) -> Tensor:
    """Seconds from the first frame on, (n,) float64; where a clock runs backwards, time stands still."""
    seconds = monotonic_times(times)
    return torch.from_numpy(seconds - seconds[0])


def does(teaching: Teaching) -> dict[str, Callable[..., None]]:
    """The commands of the protocol that change what is taught."""
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
