"""One client: its stream's memory, what it taught, and the model that came of it. Nothing here is shared."""

import secrets
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from liquidvision.errors import UsageError
from liquidvision.inference.session import Session
from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.training.few_shot import Example
from liquidvision.video.frame import Frame
from liquidvision.web.pictures import decode
from liquidvision.web.protocol import VERSION, Command, read_frame
from liquidvision.web.sight import SharedModel
from liquidvision.web.teach import Class, Teaching, does

MICRO = Fraction(1, 1_000_000)  # seconds; ticks of the clients' clocks
EMPTY = np.zeros((0, 0, 3), np.uint8)
TOP = 5  # labels of a prediction
MOST_TAUS = 64  # time constants of a prediction


class Connection:
    """What the server keeps for one client. All of it is called by one thread at a time.

    Args:
        sight: shared.

    Attributes:
        key: a secret, by which downloads, uploads and a client that lost its connection name it.
        teaching: what was shown.
        taught: the model that was taught, or None while the loaded one speaks.
    """

    def __init__(self, sight: SharedModel) -> None:
        self.key = secrets.token_urlsafe(24)
        self.teaching = Teaching()
        self.taught: Model | None = None
        self._numbers: tuple[int, ...] = ()  # of the taught model's classes
        self._sight, self._frames = sight, 0
        self._session, self._gaze = Session(sight.model), MotionCrop(sight.model.backbone)

    def see(self, message: bytes) -> list[dict[str, Any]]:
        """Take in a frame; what to answer.

        Raises:
            RefusedError: it is no frame.
        """
        time, jpeg = read_frame(message)
        frame = Frame(decode(jpeg), self._frames, round(time / MICRO), MICRO)
        self._frames += 1
        speaking, teachable = self._sight.look(
            self._gaze, frame, taught=self.taught is not None, teaching=bool(self.teaching.album.classes)
        )
        (said,) = self._session.push_embeddings([frame], speaking)
        answers = [self.prediction(said)]
        recording = self.teaching.recording
        try:
            if teachable is not None:
                self.teaching.see(teachable.cpu().clone(), time)
        except UsageError as error:
            answers.append(note(str(error)))
        if self.teaching.recording != recording:
            answers.append(self.state())
        return answers

    def do(self, command: Command) -> list[dict[str, Any]]:
        """Follow a command other than "train"; what to answer."""
        if command.name == "reset":
            self.come_again()
            return [self.state()]
        try:
            does(self.teaching)[command.name](**command.values)
        except UsageError as error:
            return [note(str(error)), self.state()]
        self._mind_names()
        return [self.state()]

    def come_again(self) -> None:
        """The stream starts anew; what was taught stays."""
        self._session.reset()
        self._gaze.reset()
        self.teaching.forget_stream()

    def adopt(self, head: LiquidHead, classes: Sequence[Class], first_dt: float) -> None:
        """Let a head that was taught speak from now on; its memory begins with the last seconds."""
        self._numbers = tuple(each.number for each in classes)
        labels = [each.label for each in classes]
        head = head.to(self._sight.model.device)
        self.taught = Model(self._sight.teachable, head, labels, name="taught", first_dt=first_dt)
        self._session = Session(self.taught)
        lately = self.teaching.lately
        if lately:
            frames = [Frame(EMPTY, i, round(time / MICRO), MICRO) for i, (_, time) in enumerate(lately)]
            rows = torch.cat([row for row, _ in lately]).to(self._sight.model.device)
            self._session.push_embeddings(frames, rows)
        self._mind_names()

    def bring(self, examples: list[Example], labels: list[str]) -> None:
        """Take examples from elsewhere; UsageError where there is no room."""
        self.teaching.bring(examples, labels)

    def bring_model(self, model: Model) -> None:
        """Take a model that was taught before, on the same backbone."""
        self.teaching.bring([], list(model.labels))
        of = {each.label: each for each in self.teaching.album.classes}
        self.adopt(model.head, [of[label] for label in model.labels], model.first_dt)  # type: ignore[arg-type]

    def hello(self) -> dict[str, Any]:
        """The first message."""
        preprocessing = self._sight.teachable.preprocessing  # the larger of the two inputs
        return {
            "type": "hello",
            "version": VERSION,
            "session": self.key,
            "model": self._sight.model.name,
            "labels": len(self._sight.model.labels),
            "side": preprocessing.shorter or max(preprocessing.size),
        }

    def state(self) -> dict[str, Any]:
        """What was taught so far, and which labels the model that speaks has learnt of it."""
        learnt = None if self.taught is None else list(self.taught.labels)
        return {"type": "teaching", **self.teaching.to_json(), "learnt": learnt}

    def prediction(self, said: Prediction) -> dict[str, Any]:
        """A prediction as its message."""
        taus = said.time_constants
        if taus is not None and len(taus) > MOST_TAUS:
            taus = taus[np.linspace(0, len(taus) - 1, MOST_TAUS).astype(int)]
        return {
            "type": "prediction",
            "index": said.index,
            "time": said.time,
            "dt": round(said.dt, 6),
            "top": [[label, round(score, 4)] for label, score in said.top(TOP)],
            "frame_top": [[label, round(score, 4)] for label, score in said.frame_top(TOP)],
            "time_constants": None if taus is None else [float(f"{tau:.3g}") for tau in taus],
        }

    def _mind_names(self) -> None:
        """Have the taught model call its classes as they are called now; without classes, the loaded one speaks."""
        if self.taught is None:
            return
        if not self.teaching.album.classes:
            self.taught, self._session = None, Session(self._sight.model)
            return
        now = {each.number: each.label for each in self.teaching.album.classes}
        old = self.taught
        labels = [now.get(number, label) for number, label in zip(self._numbers, old.labels, strict=True)]
        if tuple(labels) != old.labels:
            self.taught = Model(old.backbone, old.head, labels, name=old.name, first_dt=old.first_dt)
            self._session.model = self.taught


def note(text: str) -> dict[str, Any]:
    """Something that cannot be, told to the person; the connection goes on."""
    return {"type": "note", "text": text}
