"""One client: the state of its stream, what it taught, and its taught model. Connections share nothing of this."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from liquidvision.errors import UsageError
from liquidvision.inference.look_ahead import LookAhead
from liquidvision.models.heads.liquid_head import LiquidHead
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.training.few_shot import Example
from liquidvision.video.frame import Frame
from liquidvision.web.jpeg import decode_jpeg
from liquidvision.web.protocol import PROTOCOL_VERSION, Command, read_frame
from liquidvision.web.shared_model import SharedModel
from liquidvision.web.teaching import TaughtClass, Teaching, teaching_commands

TIME_BASE = Fraction(1, 1_000_000)  # seconds; of the clients' clocks
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
TOP_LABELS = 5  # in a prediction message
MAX_TIME_CONSTANTS = 64  # in a prediction message


class Connection:
    """What the server keeps for one client. Only one thread at a time may call it.

    Args:
        shared: the networks of all connections.

    Attributes:
        key: a secret that identifies the client in downloads and uploads, and when it reconnects.
        teaching: classes and examples.
        taught: the taught model; None while the loaded one is in use.
    """

    def __init__(self, shared: SharedModel) -> None:
        self.key = secrets.token_urlsafe(24)
        self.teaching = Teaching()
        self.taught: Model | None = None
        self._class_numbers: tuple[int, ...] = ()  # of the taught model's labels
        self._shared, self._frames = shared, 0
        self._session, self._motion_crop = shared.new_session(shared.model), MotionCrop(shared.model.backbone)
        self._ahead = self._look_ahead()

    def handle_frame(self, message: bytes) -> list[dict[str, Any]]:
        """Process a frame; return the messages to send back.

        Raises:
            RefusedError: not a frame.
        """
        time, jpeg = read_frame(message)
        frame = Frame(decode_jpeg(jpeg), self._frames, round(time / TIME_BASE), TIME_BASE)
        self._frames += 1
        embedding, teachable = self._shared.embed(
            self._motion_crop,
            frame,
            taught=self.taught is not None,
            teaching=bool(self.teaching.example_set.classes),
        )
        if self._ahead is None:
            (prediction,) = self._session.push_embeddings([frame], embedding)
            answers = [prediction_message(prediction)]
        else:
            later = self._ahead.push([replace(frame, pixels=NO_PIXELS)], embedding)
            answers = [prediction_message(self._ahead.newest), *(ahead_message(each) for _, each in later)]
        recording = self.teaching.recording
        try:
            if teachable is not None:
                self.teaching.add_frame(teachable.cpu().clone(), time)
        except UsageError as error:
            answers.append(note_message(str(error)))
        if self.teaching.recording != recording:
            answers.append(self.teaching_message())
        return answers

    def handle_command(self, command: Command) -> list[dict[str, Any]]:
        """Execute a command other than "train"; return the messages to send back."""
        if command.name == "reset":
            self.restart_stream()
            return [self.teaching_message()]
        try:
            teaching_commands(self.teaching)[command.name](**command.values)
        except UsageError as error:
            return [note_message(str(error)), self.teaching_message()]
        self._update_labels()
        return [self.teaching_message()]

    def restart_stream(self) -> None:
        """Start a new stream; what was taught stays."""
        self._session.reset()
        self._ahead = self._look_ahead()
        self._motion_crop.reset()
        self.teaching.restart_stream()

    def use_head(self, head: LiquidHead, classes: Sequence[TaughtClass], first_dt: float) -> None:
        """Predict with a taught head from now on. Its memory starts from the last seconds of the stream."""
        self._class_numbers = tuple(each.number for each in classes)
        labels = [each.label for each in classes]
        head = head.to(self._shared.model.device)
        self.taught = Model(self._shared.teachable, head, labels, name="taught", first_dt=first_dt)
        self._session, self._ahead = self._shared.new_session(self.taught), None  # no backward head is taught
        recent = self.teaching.recent
        if recent:
            frames = [Frame(NO_PIXELS, i, round(time / TIME_BASE), TIME_BASE) for i, (_, time) in enumerate(recent)]
            embeddings = torch.cat([embedding for embedding, _ in recent]).to(self._shared.model.device)
            self._session.push_embeddings(frames, embeddings)
        self._update_labels()

    def import_examples(self, examples: list[Example], labels: list[str]) -> None:
        """Add uploaded examples.

        Raises:
            UsageError: too many classes or examples.
        """
        self.teaching.import_examples(examples, labels)

    def import_model(self, model: Model) -> None:
        """Predict with an uploaded model on the same backbone from now on."""
        self.teaching.import_examples([], list(model.labels))
        classes = {each.label: each for each in self.teaching.example_set.classes}
        self.use_head(model.head, [classes[label] for label in model.labels], model.first_dt)  # type: ignore[arg-type]

    def hello_message(self) -> dict[str, Any]:
        """Return the first message of a connection."""
        preprocessing = self._shared.teachable.preprocessing  # the larger of the two inputs
        return {
            "type": "hello",
            "version": PROTOCOL_VERSION,
            "session": self.key,
            "model": self._shared.model.name,
            "labels": len(self._shared.model.labels),
            "side": preprocessing.shorter or max(preprocessing.size),
            "look_ahead": self._shared.look_ahead,
        }

    def teaching_message(self) -> dict[str, Any]:
        """Return the message with all classes and examples, and the labels of the taught model."""
        learnt = None if self.taught is None else list(self.taught.labels)
        return {"type": "teaching", **self.teaching.to_json(), "learnt": learnt}

    def _look_ahead(self) -> LookAhead | None:
        """Return what looks ahead in the loaded model's session; None if that is not asked for."""
        seconds = self._shared.look_ahead
        return None if seconds is None else LookAhead(self._session, seconds)

    def _update_labels(self) -> None:
        """Give the taught model the current names of its classes; without classes, return to the loaded model."""
        if self.taught is None:
            return
        if not self.teaching.example_set.classes:
            self.taught, self._session = None, self._shared.new_session(self._shared.model)
            self._ahead = self._look_ahead()
            return
        names = {each.number: each.label for each in self.teaching.example_set.classes}
        old = self.taught
        labels = [names.get(number, label) for number, label in zip(self._class_numbers, old.labels, strict=True)]
        if tuple(labels) != old.labels:
            self.taught = Model(old.backbone, old.head, labels, name=old.name, first_dt=old.first_dt)
            self._session.model = self.taught


def prediction_message(prediction: Prediction) -> dict[str, Any]:
    """Return the message with a prediction."""
    taus = prediction.time_constants
    if taus is not None and len(taus) > MAX_TIME_CONSTANTS:
        taus = taus[np.linspace(0, len(taus) - 1, MAX_TIME_CONSTANTS).astype(int)]
    return {
        "type": "prediction",
        "index": prediction.index,
        "time": prediction.time,
        "dt": round(prediction.dt, 6),
        "top": [[label, round(score, 4)] for label, score in prediction.top(TOP_LABELS)],
        "frame_top": [[label, round(score, 4)] for label, score in prediction.frame_top(TOP_LABELS)],
        "time_constants": None if taus is None else [float(f"{tau:.3g}") for tau in taus],
    }


def ahead_message(prediction: Prediction) -> dict[str, Any]:
    """Return the message with an earlier frame's prediction that looks ahead."""
    return {
        "type": "ahead",
        "index": prediction.index,
        "time": prediction.time,
        "look_ahead": prediction.look_ahead,
        "top": [[label, round(score, 4)] for label, score in prediction.top(TOP_LABELS)],
    }


def note_message(text: str) -> dict[str, Any]:
    """Return the message with a note for the user; the connection stays open."""
    return {"type": "note", "text": text}
