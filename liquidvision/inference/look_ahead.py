"""Bounded look-ahead: predictions of a stream that wait for the seconds after their frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from liquidvision.errors import UsageError
from liquidvision.inference.session import Session, make_predictions
from liquidvision.models.motion_crop import MotionState
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

MAX_WAITING = 1000  # frames; more than these are never looked ahead, so that memory is bounded
BATCH_STEPS = 2048  # of all windows that the backward head runs at once
ROUNDING = 1e-6  # seconds: times are rounded fractions


@dataclass(slots=True)
class _Waiting:
    """A frame that waits for the seconds after it.

    Attributes:
        frame, prediction: with the causal scores.
        embedding: (d,).
        logits: (classes,) of the head.
        dt: seconds of the step to it.
        clock: seconds that have passed on the stream, never decreasing.
        segment: counts the resets of the memory.
    """

    frame: Frame
    prediction: Prediction
    embedding: Tensor
    logits: Tensor
    dt: float
    clock: float
    segment: int


class LookAhead:
    """Predict the frames of one stream with a backward pass over the seconds after each.

    The prediction of a frame at time t mixes the scores of the session, which has seen all frames up to it, with those
    of the model's backward head, which runs from the last frame until t + `seconds` back to it. It comes when a frame
    at or after t + `seconds` has come, when the memory is reset, or at the end of the stream. Memory is bounded: at
    most 1,000 frames wait, and then the oldest one is predicted with what is known.

    Args:
        session: the memory of the stream; it is ahead of the predictions by the frames that wait.
        seconds: above 0; infinity waits for the end of the stream, with any number of frames.

    Attributes:
        newest: the causal prediction of the newest frame, after the first call of `push`.

    Raises:
        UsageError: `seconds` is not above 0, the model has no backward head, or the session adapts.
    """

    def __init__(self, session: Session, seconds: float) -> None:
        if not seconds > 0:
            raise UsageError(f"look_ahead is {seconds}; expected seconds above 0")
        if session.adapt:
            raise UsageError(
                "a look-ahead sees too little of the stream to adapt to it; leave out --look-ahead or --adapt"
            )
        self._session, self.seconds = session, seconds
        self._head = session.model.required_backward_head
        self._waiting: list[_Waiting] = []
        self.newest: Prediction
        self._clock, self._segment, self._last_time = 0.0, 0, 0.0
        self._crop = session.motion_crop  # a new object after a reset of the session

    def push(
        self, frames: Sequence[Frame], embeddings: Tensor, crop: MotionState | None = None
    ) -> list[tuple[Frame, Prediction]]:
        """Process the next frames, and return those that waited long enough, with their predictions, in order.

        Args:
            frames: see `Session.push_embeddings`.
            embeddings: see `Session.push_embeddings`.
            crop: see `Session.push_embeddings`.
        """
        if not frames:
            return []
        if self._session.motion_crop is not self._crop:
            self._crop, self._segment = self._session.motion_crop, self._segment + 1
        steps, outputs = self._session.run(frames, embeddings, crop)
        predictions = make_predictions(self._session.model, frames, steps, outputs)
        self.newest = predictions[-1]
        logits = torch.cat([out.logits[0] for out in outputs])
        for i, (frame, prediction, step) in enumerate(zip(frames, predictions, steps, strict=True)):
            self._segment += step.reset
            self._clock += max(0.0, frame.time - self._last_time) if self._waiting else 0.0
            self._last_time = frame.time
            # Copies, since a view would keep the whole chunk in memory.
            row = embeddings[i].clone(), logits[i].clone()
            self._waiting.append(_Waiting(frame, prediction, *row, step.dt, self._clock, self._segment))
        newest = self._waiting[-1]
        ready = sum(self._is_ready(each, newest) for each in self._waiting)
        if self.seconds < float("inf"):
            ready = max(ready, len(self._waiting) - MAX_WAITING)
        return self._take(ready)

    def finish(self) -> list[tuple[Frame, Prediction]]:
        """Return the frames that still wait, with their predictions: the stream has ended."""
        return self._take(len(self._waiting))

    def _is_ready(self, waiting: _Waiting, newest: _Waiting) -> bool:
        passed = newest.clock - waiting.clock
        return newest.segment != waiting.segment or passed >= self.seconds - ROUNDING

    @torch.inference_mode()
    def _take(self, ready: int) -> list[tuple[Frame, Prediction]]:
        """Predict the `ready` oldest frames, and let them go."""
        stops = [self._window_end(i) for i in range(ready)]
        logits: list[Tensor] = []
        while len(logits) < ready:
            first = len(logits)
            longest = max(1, stops[first] - first)
            rows = next(n for n in count(1) if n * longest >= BATCH_STEPS or first + n >= ready)
            logits += self._run_back(range(first, first + rows), stops[first : first + rows])
        done, task = [], self._session.model.task
        for waiting, backward in zip(self._waiting, logits, strict=False):
            prediction = waiting.prediction
            scores = task.scores(task.mix(waiting.logits, backward)).cpu().numpy()
            done.append(
                (
                    waiting.frame,
                    replace(prediction, scores=scores, causal_scores=prediction.scores, look_ahead=float(self.seconds)),
                )
            )
        del self._waiting[:ready]
        return done

    def _window_end(self, place: int) -> int:
        """Return the place after the last waiting frame that the one at `place` may know of."""
        own = self._waiting[place]
        end = place + 1
        for later in self._waiting[end:]:
            if later.segment != own.segment or later.clock - own.clock > self.seconds + ROUNDING:
                break
            end += 1
        return end

    def _run_back(self, places: range, stops: Sequence[int]) -> list[Tensor]:
        """Return the logits (classes,) of the backward head at each place, after the frames up to its stop."""
        lengths = [stop - place for place, stop in zip(places, stops, strict=True)]
        first_dt = self._session.model.first_dt
        xs = torch.nn.utils.rnn.pad_sequence(
            [
                torch.stack([self._waiting[i].embedding for i in range(stop - 1, place - 1, -1)])
                for place, stop in zip(places, stops, strict=True)
            ],
            batch_first=True,
        )
        dts = torch.zeros(xs.shape[:2], device=xs.device)
        for row, (place, stop) in enumerate(zip(places, stops, strict=True)):
            own = [first_dt, *(self._waiting[i].dt for i in range(stop - 1, place, -1))]
            dts[row, : len(own)] = torch.tensor(own, device=xs.device)
        out = self._head(xs, dts, self._head.initial(len(xs)), lengths)
        return [out.logits[row, length - 1] for row, length in enumerate(lengths)]
