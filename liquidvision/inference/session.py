"""One stream's memory: its clock, its gaps, its state."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from liquidvision.errors import ModelError
from liquidvision.inference.clock import Clock, Step
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.models.heads.base import HeadOutput, State
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop, MotionState
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

log = logging.getLogger(__name__)
MOTION_CROP_TENSOR = "gaze"  # its name in a saved state


class Session:
    """The memory of one stream. Use one per video, camera or connection, and never share it.

    Args:
        model: shared by any number of sessions; it remembers nothing itself.
        max_gap: a step longer than this many seconds is a gap.
        gap_policy: what a gap does to the memory. "decay": it is stepped by the true seconds, and forgets as its time
            constants say. "carry": it is stepped by `max_gap`. "reset": it starts again.

    Attributes:
        clock: turns frame times into steps and counts repeated frames, gaps and steps back.
        motion_crop: where the backbone looks in this stream.

    Raises:
        UsageError: a gap that is not positive, or an unknown policy.
    """

    def __init__(self, model: Model, *, max_gap: float = 5.0, gap_policy: str = "decay") -> None:
        self.model = model
        self.clock = Clock(model.first_dt, max_gap=max_gap, gap_policy=gap_policy)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the counts stay."""
        self._state = self.model.head.initial(1)
        self.clock.restart()
        self.motion_crop = MotionCrop(self.model.backbone)  # a new object: pipelines that read ahead notice it

    @property
    def repeated(self) -> int:
        """Frames with the time of the one before; they do not step the memory."""
        return self.clock.repeated

    @property
    def backwards(self) -> int:
        """How often the source's clock stepped back."""
        return self.clock.backwards

    @property
    def gaps(self) -> int:
        """Steps longer than `max_gap`."""
        return self.clock.gaps

    def push(self, frame: Frame) -> Prediction:
        """Take in one frame and return its prediction."""
        return self.push_many([frame])[0]

    def push_many(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Take in frames in order and return their predictions; the same numbers as one at a time, but faster."""
        return self.push_embeddings(frames, self.motion_crop.embed(frames)) if frames else []

    @torch.inference_mode()
    def push_embeddings(
        self, frames: Sequence[Frame], embeddings: Tensor, crop: MotionState | None = None
    ) -> list[Prediction]:
        """Take in frames whose embeddings are known already; see `push_many`.

        Args:
            frames: n frames.
            embeddings: (n, d).
            crop: the state of the motion crop after the last of these frames, where a copy of `motion_crop` prepared
                them.
        """
        if not frames:
            return []
        steps = [self._step(frame) for frame in frames]
        outputs, self._state = run_head(self.model, embeddings[: len(frames)], steps, self._state)
        if crop is not None:
            self.motion_crop.last = crop
        task = self.model.task
        rows: list[tuple[np.ndarray, ...]] = []
        for out in outputs:
            scores, frame_scores = (task.scores(logits[0]).cpu().numpy() for logits in (out.logits, out.frame_logits))
            taus, hidden = out.time_constants[0].cpu().numpy(), out.hidden[0].cpu().numpy()
            rows += zip(scores, frame_scores, taus, hidden, strict=True)
        # Rows are copied: a prediction that is kept would otherwise keep its whole chunk.
        return [
            Prediction(
                frame.index,
                frame.time,
                step.dt,
                self.model.labels,
                scores.copy(),
                frame_scores.copy(),
                time_constants=taus.copy() if len(taus) else None,
                hidden_state=hidden.copy() if len(hidden) else None,
            )
            for frame, step, (scores, frame_scores, taus, hidden) in zip(frames, steps, rows, strict=True)
        ]

    def _step(self, frame: Frame) -> Step:
        last, backwards = self.clock.last_time, self.clock.backwards
        step = self.clock.tick(frame.time, frame.duration_seconds)
        if self.clock.backwards > backwards == 0:
            log.warning("time runs backwards at frame %d: %.3f s after %.3f s", frame.index, frame.time, last)
        return step

    def state_dict(self) -> dict[str, Tensor]:
        """The memory and the clock as tensors, and where a backbone looks that follows what moves."""
        state = {key: value.clone() for key, value in self._state.items()}
        state["clock"] = torch.tensor(self.clock.state(), dtype=torch.float64)
        if self.model.backbone.motion_crop:
            state[MOTION_CROP_TENSOR] = self.motion_crop.to_tensor()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where a session of the same model stopped.

        The next frame may carry on the old clock or start a new one, as the segments of a recorded
        feed do: then it is taken to follow the last frame at once.

        Raises:
            ModelError: tensors missing, or of another model's shapes.
        """
        memory = self.model.head.initial(1)
        wanted = {**memory, "clock": torch.zeros(2)}
        if self.model.backbone.motion_crop:
            wanted[MOTION_CROP_TENSOR] = self.motion_crop.to_tensor()
        for key, value in wanted.items():
            if key not in state or state[key].shape != value.shape:
                raise ModelError(f"the saved state does not fit this model: {key} is missing or has another shape")
        device = self.model.device
        self._state = {key: state[key].to(device) for key in memory}
        if MOTION_CROP_TENSOR in wanted:
            self.motion_crop.load(state[MOTION_CROP_TENSOR])
        self.clock.resume(*state["clock"].tolist())

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file."""
        metadata = {"format": "liquidvision-state", "model": self.model.fingerprint()}
        write_tensors(Path(path), self.state_dict(), metadata)

    def load(self, path: str | Path) -> None:
        """Read the memory that `save` wrote.

        Raises:
            ModelError: the file is missing, cut short, or was written with another model.
        """
        tensors, metadata = read_session_state(Path(path))
        if metadata.get("model") != self.model.fingerprint():
            raise ModelError(
                f"{path} was written with another model than {self.model.name}; use the same, or start anew"
            )
        self.load_state_dict(tensors)


def run_head(model: Model, embeddings: Tensor, steps: Sequence[Step], state: State) -> tuple[list[HeadOutput], State]:
    """Run a model's head over consecutive frames of one stream.

    Args:
        model: whose head to run.
        embeddings: (n, d), n of 1 or more.
        steps: n, see `Clock.tick`; the state starts from scratch with each that resets.
        state: of one stream, see `Head.initial`; it is not changed.

    Returns:
        Outputs of (1, steps) frames, one for each stretch between resets, and the new state.
    """
    starts = [0, *(i for i, step in enumerate(steps) if i and step.reset)]
    outputs = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        if steps[start].reset:
            state = model.head.initial(1)
        dts = torch.tensor([[step.dt for step in steps[start:end]]], device=embeddings.device)
        outputs.append(model.head(embeddings[None, start:end], dts, state))
        state = outputs[-1].state
    return outputs, state


def read_session_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `Session.save` wrote, or ModelError where it is another."""
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "liquidvision-state":
        raise ModelError(f"{path} is not a saved state; expected a file that --state-out or Session.save wrote")
    return tensors, metadata
