"""The memory of one stream: its clock and its state."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liquidvision.errors import ModelError, UsageError
from liquidvision.inference.clock import Clock, Step
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.models.heads.base import ADAPTATION, Head, HeadOutput, State
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop, MotionState
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

log = logging.getLogger(__name__)
MOTION_CROP_TENSOR = "gaze"  # an earlier name, kept so that older saved states load


class Session:
    """The memory of one stream. Use one session per video, camera or connection.

    A session is not thread-safe. Its state can be saved and continued by another session of the same model.

    Example:
        >>> session = Session(model)
        >>> with open_video("clip.mp4") as video:
        ...     for frame in video:
        ...         print(session.push(frame).label)

    Args:
        model: any number of sessions can share a model.
        max_gap: the longest step, in seconds, that is not a gap; above 0.
        gap_policy: the effect of a gap. "decay": the memory advances by the full gap and decays accordingly. "carry":
            it advances by `max_gap` only, so that it survives. "reset": it starts from scratch.
        adapt: adapt, without labels, to what is lastingly different in this stream, such as a new person, place or
            light; see the guide "Adapt to a scene". For models that were trained with class means.

    Attributes:
        model: the model.
        adapt: whether it adapts to the stream.
        clock: turns frame times into steps; counts repeated frames, gaps and steps back of the source's clock.
        motion_crop: the motion crop of this stream; passes whole frames through if the model has none.
        unfinished_intervals: the state of an `IntervalTracker`, saved and loaded with the memory; None: there is none.

    Raises:
        UsageError: `max_gap` is not positive, the policy is unknown, or the model cannot adapt.
    """

    def __init__(self, model: Model, *, max_gap: float = 5.0, gap_policy: str = "decay", adapt: bool = False) -> None:
        if adapt:
            check_adapts(model)
        self.model, self.adapt = model, adapt
        self.clock = Clock(model.first_dt, max_gap=max_gap, gap_policy=gap_policy)
        self._state: State = {}
        self.reset()

    def reset(self, *, keep_adaptation: bool = False) -> None:
        """Start from scratch, as for a new stream. The counts of the clock stay.

        Args:
            keep_adaptation: keep what the session has adapted to, as for the next clip of the same person and place.
        """
        kept = {ADAPTATION: self._state[ADAPTATION]} if keep_adaptation and self.adapt else {}
        self._state = self.model.head.initial(1, adapt=self.adapt) | kept
        self.unfinished_intervals: Mapping[str, Any] | None = None
        self.clock.restart()
        # A new object, by which pipelines that read ahead notice the reset.
        self.motion_crop = MotionCrop(self.model.backbone)

    @property
    def repeated(self) -> int:
        """Number of frames with the same time as the frame before; they leave the memory as it is."""
        return self.clock.repeated

    @property
    def backwards(self) -> int:
        """How often the source's clock stepped back; such a frame leaves the memory as it is."""
        return self.clock.backwards

    @property
    def gaps(self) -> int:
        """Number of steps longer than `max_gap`."""
        return self.clock.gaps

    def push(self, frame: Frame) -> Prediction:
        """Process the next frame and return its prediction.

        Raises:
            SourceError: the frame's pixel format cannot be turned into RGB.
        """
        return self.push_many([frame])[0]

    def push_many(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Process consecutive frames in one batch and return their predictions.

        The predictions equal those of `push` for each frame, but are computed faster.

        Args:
            frames: the next frames, in order; may be empty.

        Raises:
            SourceError: a frame's pixel format cannot be turned into RGB.
        """
        return self.push_embeddings(frames, self.motion_crop.embed(frames)) if frames else []

    @torch.inference_mode()
    def push_embeddings(
        self, frames: Sequence[Frame], embeddings: Tensor, crop: MotionState | None = None
    ) -> list[Prediction]:
        """Process consecutive frames whose embeddings are already computed, and return their predictions.

        Args:
            frames: n frames, in order.
            embeddings: (n, backbone.dim), of these frames.
            crop: the state of the motion crop after the last frame, if the frames were prepared by a copy of
                `motion_crop`.
        """
        if not frames:
            return []
        steps, outputs = self.run(frames, embeddings, crop)
        return make_predictions(self.model, frames, steps, outputs)

    @torch.inference_mode()
    def run(
        self, frames: Sequence[Frame], embeddings: Tensor, crop: MotionState | None = None
    ) -> tuple[list[Step], list[HeadOutput]]:
        """Process consecutive frames as `push_embeddings` does, and return the steps and the head's outputs.

        Args:
            frames: 1 or more frames, in order.
            embeddings: see `push_embeddings`.
            crop: see `push_embeddings`.

        Returns:
            The step to each frame, and one output with a batch of 1 for each stretch of frames between resets.
        """
        steps = [self._step(frame) for frame in frames]
        outputs, self._state = run_head(self.model.head, embeddings[: len(frames)], steps, self._state)
        if crop is not None:
            self.motion_crop.last = crop
        return steps, outputs

    def _step(self, frame: Frame) -> Step:
        last, backwards = self.clock.last_time, self.clock.backwards
        step = self.clock.tick(frame.time, frame.duration_seconds)
        if backwards == 0 and self.clock.backwards > 0:  # warn once
            log.warning("the clock steps back at frame %d: %.3f s after %.3f s", frame.index, frame.time, last)
        return step

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory, the clock and, for a model with a motion crop, the crop's position as named tensors."""
        state = {key: value.clone() for key, value in self._state.items()}
        state["clock"] = torch.tensor(self.clock.state(), dtype=torch.float64)
        if self.model.backbone.motion_crop:
            state[MOTION_CROP_TENSOR] = self.motion_crop.to_tensor()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state of the same model.

        If the next frame's time is not later than the saved one, it is treated as the start of a new segment that
        directly follows.

        Args:
            state: what `state_dict` returned.

        Raises:
            ModelError: a tensor is missing or has another shape.
        """
        memory = self.model.head.initial(1, adapt=self.adapt)
        if self.adapt and ADAPTATION not in state:  # saved by a session that did not adapt
            state = {**state, ADAPTATION: memory[ADAPTATION]}
        expected = {**memory, "clock": torch.zeros(2)}
        if self.model.backbone.motion_crop:
            expected[MOTION_CROP_TENSOR] = self.motion_crop.to_tensor()
        for key, value in expected.items():
            if key not in state or state[key].shape != value.shape:
                raise ModelError(f"the saved state does not fit this model: {key} is missing or has another shape")
        device = self.model.device
        self._state = {key: state[key].to(device) for key in memory}
        if MOTION_CROP_TENSOR in expected:
            self.motion_crop.load(state[MOTION_CROP_TENSOR])
        self.clock.resume(*state["clock"].tolist())

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file, together with the model's fingerprint and unfinished intervals.

        Raises:
            SinkError: the file cannot be written.
        """
        metadata = {"format": "liquidvision-state", "model": self.model.fingerprint()}
        if self.unfinished_intervals is not None:
            metadata["intervals"] = json.dumps(self.unfinished_intervals)
        write_tensors(Path(path), self.state_dict(), metadata)

    def load(self, path: str | Path) -> None:
        """Continue from a file that `save` wrote, see `load_state_dict`.

        Raises:
            ModelError: the file is missing, truncated, or was written with another model.
        """
        tensors, metadata = read_session_state(Path(path))
        if metadata.get("model") != self.model.fingerprint():
            raise ModelError(
                f"{path} was written with another model than {self.model.name}; use the same model, or start without it"
            )
        self.load_state_dict(tensors)
        try:
            self.unfinished_intervals = json.loads(metadata.get("intervals", "null"))
        except ValueError as error:
            raise ModelError(f"{path} has intervals that cannot be read: {error}; start without it") from error


@torch.inference_mode()
def make_predictions(
    model: Model, frames: Sequence[Frame], steps: Sequence[Step], outputs: Sequence[HeadOutput]
) -> list[Prediction]:
    """Return the predictions of frames from what `Session.run` returned for them."""
    task = model.task
    rows: list[tuple[np.ndarray, ...]] = []
    adapted = any(ADAPTATION in out.state for out in outputs)
    for out in outputs:
        scores, frame_scores = (task.scores(logits[0]).cpu().numpy() for logits in (out.logits, out.frame_logits))
        taus, hidden = out.time_constants[0].cpu().numpy(), out.hidden[0].cpu().numpy()
        rows += zip(scores, frame_scores, taus, hidden, strict=True)
    # Rows are copied, since a view would keep the arrays of the whole chunk in memory.
    return [
        Prediction(
            frame.index,
            frame.time,
            step.dt,
            model.labels,
            scores.copy(),
            frame_scores.copy(),
            time_constants=taus.copy() if len(taus) else None,
            hidden_state=hidden.copy() if len(hidden) else None,
            adapted=adapted,
        )
        for frame, step, (scores, frame_scores, taus, hidden) in zip(frames, steps, rows, strict=True)
    ]


def run_head(head: Head, embeddings: Tensor, steps: Sequence[Step], state: State) -> tuple[list[HeadOutput], State]:
    """Run a head over consecutive frames of one stream.

    Args:
        head: the head of a model.
        embeddings: (n, d) with n of 1 or more.
        steps: n steps, see `Clock.tick`. A step that resets starts the state from scratch.
        state: the state of one stream, see `Head.initial`; it is not modified.

    Returns:
        One output with a batch of 1 for each stretch of frames between resets, and the new state.
    """
    starts = [0, *(i for i, step in enumerate(steps) if i and step.reset)]
    outputs = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        if steps[start].reset:
            state = head.initial(1, adapt=ADAPTATION in state)
        dts = torch.tensor([[step.dt for step in steps[start:end]]], device=embeddings.device)
        outputs.append(head(embeddings[None, start:end], dts, state))
        state = outputs[-1].state
    return outputs, state


def session_of(model: Model, session: Session | None, *, adapt: bool) -> Session:
    """Return the session that a caller gave for a model, or a new one.

    Raises:
        UsageError: the session belongs to another model; or it does not adapt, and should; or the model cannot.
    """
    if session is None:
        return Session(model, adapt=adapt)
    if session.model is not model:
        raise UsageError(f"the session belongs to another model than {model.name}; use the model it was made with")
    if adapt and not session.adapt:
        raise UsageError("adapt is set, and the session does not adapt; make it as Session(model, adapt=True)")
    return session


def check_adapts(model: Model) -> None:
    """Raise UsageError if a model cannot adapt to a stream."""
    if not model.head.adapts:
        reason = "its memory is a filter over a classifier" if model.head.reads_logits else "it has no class means"
        raise UsageError(
            f"{model.name} cannot adapt to a stream: {reason}; leave out --adapt, or train a model of your own with "
            "this version of liquidvision"
        )


def read_session_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of a file that `Session.save` wrote.

    Raises:
        ModelError: the file is missing, truncated, or another kind of file.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "liquidvision-state":
        raise ModelError(f"{path} is not a saved state; expected a file that --state-out or Session.save wrote")
    return tensors, metadata
