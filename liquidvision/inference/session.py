"""One stream's memory: its clock, its gaps, its state."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from liquidvision.errors import ModelError, UsageError
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

GAP_POLICIES = ("decay", "carry", "reset")
log = logging.getLogger(__name__)


class Session:
    """What one stream remembers. Use one for each video, camera or connection, and never share it.

    Args:
        model: shared by any number of sessions; it remembers nothing itself.
        max_gap: a step longer than this many seconds is a gap.
        gap_policy: what a gap does. "decay": the cell and the traces are stepped by the seconds that
            really passed, and forget as their time constants say. "carry": stepped by no more than
            `max_gap`, so that what was known before the gap lives on. "reset": as a new stream.

    Attributes:
        gaze: where the backbone looks in this stream.
        repeated: frames that came with the time of the one before; they do not step the memory.
        backwards: times that ran backwards; the step is clamped to 0, and the clock starts anew there.
        gaps: steps longer than `max_gap`.

    Raises:
        UsageError: a gap that is not positive, or an unknown policy.
    """

    def __init__(self, model: Model, *, max_gap: float = 5.0, gap_policy: str = "decay") -> None:
        if not max_gap > 0:
            raise UsageError(f"max_gap is {max_gap}; expected seconds above 0")
        if gap_policy not in GAP_POLICIES:
            raise UsageError(f"gap_policy is {gap_policy!r}; expected one of {', '.join(GAP_POLICIES)}")
        self.model, self.max_gap, self.gap_policy = model, max_gap, gap_policy
        self.repeated = self.backwards = self.gaps = 0
        self.gaze = MotionCrop(model.backbone)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the counts stay."""
        self._state = self.model.head.initial(1)
        self.gaze.reset()
        self._last_time: float | None = None
        self._last_seconds = 0.0  # how long the last frame is shown, as far as is known
        self._handed_over = False  # True until the first frame after a saved state was loaded

    def push(self, frame: Frame) -> Prediction:
        """Take in one frame and say what the stream shows."""
        return self.push_many([frame])[0]

    def push_many(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Take in frames in their order; the same numbers as one at a time, but quicker."""
        if not frames:
            return []
        return self.push_embeddings(frames, self.gaze.embed(frames))

    @torch.inference_mode()
    def push_embeddings(self, frames: Sequence[Frame], embeddings: Tensor) -> list[Prediction]:
        """As `push_many`, with the frames' embeddings (n, d) at hand."""
        predictions: list[Prediction] = []
        chunk: list[Frame] = []
        dts: list[float] = []
        for frame in frames:
            dt, new_stream = self._tick(frame)
            if new_stream and chunk:  # what came before belongs to the old memory
                predictions += self._run(chunk, embeddings[len(predictions) :], dts)
                chunk, dts = [], []
            if new_stream:
                self._state = self.model.head.initial(1)
            chunk.append(frame)
            dts.append(dt)
        return predictions + self._run(chunk, embeddings[len(predictions) :], dts)

    def _tick(self, frame: Frame) -> tuple[float, bool]:
        """The seconds to step for this frame, and whether the memory starts anew with it."""
        last, time = self._last_time, frame.time
        handed_over, self._handed_over = self._handed_over, False
        step = 0.0 if last is None else time - last
        if handed_over and step <= 0:
            # The next segment of a feed, with a clock that starts again: it follows at once.
            step = self._last_seconds
        seconds = frame.duration_seconds
        self._last_seconds = seconds if seconds is not None else max(step, 0.0) or self._last_seconds
        self._last_time = time
        if last is None:
            return self.model.first_dt, False
        if step < 0:
            if not self.backwards:
                log.warning("time runs backwards at frame %d: %.3f s after %.3f s", frame.index, time, last)
            self.backwards += 1
            return 0.0, False
        if step == 0:
            self.repeated += 1
        if step > self.max_gap:
            self.gaps += 1
            if self.gap_policy == "carry":
                return self.max_gap, False
            if self.gap_policy == "reset":
                return self.model.first_dt, True
        return step, False

    def _run(self, frames: Sequence[Frame], embeddings: Tensor, dts: Sequence[float]) -> list[Prediction]:
        xs = embeddings[None, : len(frames)]
        out = self.model.head(xs, torch.tensor([dts], device=xs.device), self._state)
        self._state = out.state
        scores = out.logits[0].softmax(-1).cpu().numpy()
        frame_scores = out.frame_logits[0].softmax(-1).cpu().numpy()
        taus = out.time_constants[0].cpu().numpy()
        hidden = out.hidden[0].cpu().numpy()
        # Rows are copied, or a prediction that is kept would keep its whole chunk.
        return [
            Prediction(
                frame.index,
                frame.time,
                dt,
                self.model.labels,
                scores[i].copy(),
                frame_scores[i].copy(),
                time_constants=taus[i].copy() if taus.shape[1] else None,
                hidden_state=hidden[i].copy() if hidden.shape[1] else None,
            )
            for i, (frame, dt) in enumerate(zip(frames, dts, strict=True))
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """The memory and the clock as tensors, and where a backbone looks that follows what moves."""
        last = float("nan") if self._last_time is None else self._last_time
        clock = torch.tensor([last, self._last_seconds], dtype=torch.float64)
        gaze = {} if self.model.backbone.look == "whole" else {"gaze": self.gaze.state(self._last_time)}
        return {**{key: value.clone() for key, value in self._state.items()}, "clock": clock, **gaze}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where a session of the same model stopped.

        The next frame may carry on the old clock or start a new one, as the segments of a recorded
        feed do: then it is taken to follow the last frame at once.

        Raises:
            ModelError: tensors missing, or of another model's shapes.
        """
        memory = self.model.head.initial(1)
        wanted = {**memory, "clock": torch.zeros(2)}
        if self.model.backbone.look != "whole":
            wanted["gaze"] = self.gaze.state(None)
        for key, value in wanted.items():
            if key not in state or state[key].shape != value.shape:
                raise ModelError(f"the saved state does not fit this model: {key} is missing or has another shape")
        device = self.model.device
        self._state = {key: state[key].to(device) for key in memory}
        if "gaze" in wanted:
            self.gaze.load(state["gaze"])
        last, self._last_seconds = state["clock"].tolist()
        self._last_time = None if last != last else last
        self._handed_over = True

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


def read_session_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `Session.save` wrote, or ModelError where it is another."""
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "liquidvision-state":
        raise ModelError(f"{path} is not a saved state; expected a file that --state-out or Session.save wrote")
    return tensors, metadata
