"""A recording: what a model saw of a whole source, kept on disk while a second pass looks at it from its end."""

import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import torch
from torch import Tensor

from liquidvision.errors import SinkError
from liquidvision.inference.calm import SHORTEST_RUN, calm_labels
from liquidvision.inference.clock import Step, monotonic_times
from liquidvision.inference.session import Session, run_head
from liquidvision.models.heads.base import ADAPTATION, HeadOutput
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

CHUNK_FRAMES = 256  # frames that are in memory at once


class Rows:
    """Rows of float32 numbers of one width, in a temporary file that has no name and vanishes with the process.

    Args:
        folder: where the file is; None: the system's folder for temporary files.

    Raises:
        SinkError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self.width = folder, 0
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> SinkError:
        folder = self._folder or tempfile.gettempdir()
        return SinkError(
            f"cannot keep the first pass in {folder}: {error.strerror or error}; two passes need room there, "
            f"{4 * self.width:,} bytes a frame"
        )

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (n, width) from row `start` on.

        Raises:
            SinkError: the disk is full.
        """
        self.width = rows.shape[1]
        left = memoryview(np.ascontiguousarray(rows, np.float32).data).cast("B")
        try:
            self._file.seek(4 * self.width * start)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._error(error) from error

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows `start` to `stop`, (stop - start, width)."""
        rows = np.empty((stop - start, self.width), np.float32)
        left = memoryview(rows.data).cast("B")
        self._file.seek(4 * self.width * start)
        while left:
            left = left[self._file.readinto(left) :]  # type: ignore[attr-defined]
        return rows

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return 0 if self._file.closed else os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Remove the file; harmless when called twice."""
        self._file.close()


class Recording:
    """The first pass over a source: times, steps and outputs of every frame. A context manager.

    Memory holds about 40 bytes a frame. Everything else is on disk: the outputs, and for a second pass the embeddings.

    Args:
        model: the model.
        keep_embeddings: whether they are kept, for `add_second_pass`.
        folder: see `Rows`.

    Attributes:
        look_ahead: seconds after a frame that its scores know of: 0 until `add_second_pass`, then infinity.

    Raises:
        SinkError: the folder cannot be written.
    """

    def __init__(self, model: Model, *, keep_embeddings: bool, folder: Path | None = None) -> None:
        self._model, self.look_ahead = model, 0.0
        self._embeddings = Rows(folder) if keep_embeddings else None
        self._outputs, self._mixed = Rows(folder), Rows(folder)
        self._splits: list[int] = []  # where the parts of a row of outputs end
        self._indices, self._pts = array("q"), array("q")
        self._times, self._dts, self._resets = array("d"), array("d"), array("b")
        self._labels: np.ndarray | None = None
        self._adapted = False
        self._classes = len(model.labels)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def disk_bytes(self) -> int:
        """The size of the temporary files so far."""
        return sum(rows.size for rows in (self._embeddings, self._outputs, self._mixed) if rows is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for rows in (self._embeddings, self._outputs, self._mixed):
            if rows is not None:
                rows.close()

    def append(
        self, frames: Sequence[Frame], embeddings: Tensor, steps: Sequence[Step], outputs: Sequence[HeadOutput]
    ) -> None:
        """Add frames with their embeddings and what `Session.run` returned for them.

        Raises:
            SinkError: the disk is full.
        """
        parts = [
            torch.cat([getattr(out, name)[0] for out in outputs]).float().cpu().numpy()
            for name in ("logits", "frame_logits", "hidden", "time_constants")
        ]
        self._adapted |= any(ADAPTATION in out.state for out in outputs)
        self._splits = np.cumsum([part.shape[1] for part in parts[:-1]]).tolist()
        self._outputs.write(len(self), np.concatenate(parts, 1))
        if self._embeddings is not None:
            self._embeddings.write(len(self), embeddings[: len(frames)].float().cpu().numpy())
        for frame, step in zip(frames, steps, strict=True):
            self._indices.append(frame.index)
            self._pts.append(frame.pts)
            self._times.append(frame.time)
            self._dts.append(step.dt)
            self._resets.append(step.reset)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Yield the limits of chunks of frames, in order."""
        for start in range(0, len(self), CHUNK_FRAMES):
            yield start, min(start + CHUNK_FRAMES, len(self))

    def _logits(self, start: int, stop: int) -> np.ndarray:
        """Return the logits of frames, (stop - start, classes): mixed, if there was a second pass."""
        rows = self._outputs if self.look_ahead == 0 else self._mixed
        return rows.read(start, stop)[:, : self._classes]

    @torch.inference_mode()
    def add_second_pass(self, *, adapt: bool = False) -> None:
        """Run the backward head from the last frame to the first, and mix its scores with those of the head.

        Args:
            adapt: whether the backward head adapts to the recording, from its end.

        Raises:
            UsageError: the model has no backward head.
            SinkError: the disk is full.
        """
        assert self._embeddings is not None
        head, device = self._model.required_backward_head, self._model.device
        state = head.initial(1, adapt=adapt)
        for start, stop in reversed(list(self._chunks())):
            steps = backward_steps(
                self._dts[start : stop + 1], self._resets[start : stop + 1], stop - start, self._model.first_dt
            )
            embeddings = torch.from_numpy(self._embeddings.read(start, stop)).flip(0).to(device)
            outputs, state = run_head(head, embeddings, steps, state)
            backward = torch.cat([out.logits[0] for out in outputs]).flip(0)
            forward = torch.from_numpy(self._outputs.read(start, stop)[:, : self._classes]).to(device)
            self._mixed.write(start, self._model.task.mix(forward, backward).cpu().numpy())
        self._embeddings.close()
        self.look_ahead = float("inf")

    def dissolve_runs(self, shortest: float, max_gap: float) -> None:
        """Decide the labels again without runs shorter than `shortest` seconds, see `calm_labels`.

        Nothing is carried over a step longer than `max_gap`, a reset, or a step back of the source's clock.
        """
        times = np.array(self._times)
        steps = np.diff(times, prepend=times[:1])
        breaks = np.flatnonzero((steps > max_gap) | (steps < 0) | np.array(self._resets, bool))
        decide = self._model.task.decide
        labels = [decide(self._logits(start, stop)) for start, stop in self._chunks()]
        self._labels = calm_labels(
            np.concatenate(labels), monotonic_times(times), self._logits, shortest=shortest, breaks=breaks
        )

    def predictions(self) -> Iterator[Prediction]:
        """Yield the prediction of every frame, in order."""
        scores_of, model = self._model.task.scores, self._model
        for start, stop in self._chunks():
            rows = self._outputs.read(start, stop)
            forward, alone, hidden, taus = np.split(rows, self._splits, axis=1)
            causal, frame_scores = (scores_of(torch.from_numpy(part)).numpy() for part in (forward, alone))
            scores = scores_of(torch.from_numpy(self._logits(start, stop))).numpy() if self.look_ahead else causal
            for row, i in enumerate(range(start, stop)):
                yield Prediction(
                    self._indices[i],
                    self._times[i],
                    self._dts[i],
                    model.labels,
                    scores[row].copy(),
                    frame_scores[row].copy(),
                    time_constants=taus[row].copy() if taus.shape[1] else None,
                    hidden_state=hidden[row].copy() if hidden.shape[1] else None,
                    look_ahead=float("inf"),
                    causal_scores=causal[row].copy(),
                    decided=None if self._labels is None else int(self._labels[i]),
                    adapted=self._adapted,
                )

    def holds(self, place: int, frame: Frame) -> bool:
        """Return whether a frame that was read again is the one at this place."""
        return place < len(self) and self._pts[place] == frame.pts and self._indices[place] == frame.index


@torch.inference_mode()
def predict_embeddings(
    session: Session, frames: Sequence[Frame], embeddings: Tensor, *, shortest: float = SHORTEST_RUN
) -> Iterator[Prediction]:
    """Yield the predictions of two passes over frames whose embeddings are already computed.

    Args:
        session: a session; it has seen all frames when the first prediction comes.
        frames: 1 or more frames, in order.
        embeddings: (n, backbone.dim), of these frames.
        shortest: see `calm_labels`; 0: labels stay the most probable ones.
    """
    with Recording(session.model, keep_embeddings=True) as recording:
        recording.append(frames, embeddings, *session.run(frames, embeddings))
        recording.add_second_pass(adapt=session.adapt)
        if shortest:
            recording.dissolve_runs(shortest, session.clock.max_gap)
        yield from recording.predictions()


def backward_steps(dts: Sequence[float], resets: Sequence[int], count: int, first_dt: float) -> list[Step]:
    """Return the steps of a backward head, from the last of `count` frames to the first.

    The step from a frame back to the one before it is as long as the step between them was. Where the memory started
    from scratch, the backward head does too, and the last frame of the source is the first that it sees.

    Args:
        dts, resets: of the frames' forward steps, and of the frame after them, if there is one.
        count: number of frames.
        first_dt: see `Model`.
    """
    last = count - 1
    steps = []
    for i in range(last, -1, -1):
        if i + 1 < len(dts):
            steps.append(Step(first_dt, reset=True) if resets[i + 1] else Step(dts[i + 1]))
        else:
            steps.append(Step(first_dt))
    return steps
