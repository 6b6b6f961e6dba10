"""From a source to predictions: read, prepare, embed, and update the memory."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.adaptive import ADAPTIVE_BATCH, AdaptiveEmbedder
from liquidvision.inference.calm import SHORTEST_RUN
from liquidvision.inference.look_ahead import LookAhead
from liquidvision.inference.recording import Recording
from liquidvision.inference.session import Session, make_predictions, session_of
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionState
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_objects import BinaryFile
from liquidvision.video.read.open import as_reader
from liquidvision.video.read.reader import VideoReader

FILE_BATCH = 8  # frames of a file that are embedded at once
READ_AGAIN_DEPTH = 4  # decoded pictures that wait in the second reading
LIVE_DEPTH = 16  # frames of a live source that may wait, such as a burst after a network delay
MAX_PREFETCH_BYTES = 128 * 2**20  # of decoded pictures that wait


class Prepared(NamedTuple):
    """A frame with the network's input (1, 3, h, w) and the state of the motion crop after it."""

    frame: Frame
    pixels: Tensor
    crop: MotionState | None


class Chunk(NamedTuple):
    """Consecutive frames with their embeddings.

    Attributes:
        frames: n frames.
        embeddings: (n, d).
        embedded: for each frame, whether it was embedded itself; see `AdaptiveEmbedder`.
        crops: the state of the motion crop after each frame.
    """

    frames: list[Frame]
    embeddings: Tensor
    embedded: list[bool]
    crops: list[MotionState | None]


def predict(
    source: str | Path | int | BinaryFile | bytes | VideoReader | Iterable[Frame],
    model: Model,
    *,
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
    adapt: bool = False,
    look_ahead: float | None = None,
    two_pass: bool = False,
    shortest_run: float | None = None,
) -> Generator[tuple[Frame, Prediction], None, None]:
    """Yield each frame of a source with its prediction.

    Frames are read as the loop asks for them, and none is kept. Closing the generator, or leaving the loop, closes the
    source and ends its threads.

    Example:
        >>> model = Model.from_pretrained("actions")
        >>> for frame, prediction in predict("clip.mp4", model):
        ...     print(frame.time, prediction.label)

    Args:
        source: a path, a URL, a camera index, a file object or the content of a file (see `open_video`), a reader that
            `open_video` returned, or an iterable of frames.
        model: see `Model.from_pretrained`.
        session: the memory to continue with, of the same model; None starts a new one. At any time it has seen exactly
            the frames that were yielded.
        batch: frames embedded at once, 1 or more. The results do not depend on it, but memory and latency do. None: 8
            frames of a file (16 with `adaptive`), 1 of a live source.
        adaptive: reuse the embedding of a neighbouring frame for frames that add nothing new. Which frames are skipped
            is decided per batch, so results then depend on `batch`.
        adapt: adapt to what is lastingly different in the source, see `Session`.
        look_ahead: seconds by which each frame is held back, so that its prediction knows of what comes after it, see
            `LookAhead`; for files and streams. None: predictions are causal. The model needs a backward head.
        two_pass: read the whole source first, and predict each frame from both sides: by the head, which has seen what
            came before it, and by the backward head, which has seen what comes after it. Embeddings are computed once
            and kept in a temporary file. For sources that can be read twice. The model needs a backward head.
        shortest_run: with `two_pass` or without it, read the whole source first, and dissolve runs of a label that are
            shorter than this many seconds, see `calm_labels`. None: 0.3 with `two_pass`, else none; 0: none.

    Yields:
        Pairs of the frame and its prediction, in the order of the source.

    Raises:
        SourceError: the source cannot be opened, or breaks off; raised after the frames before it were yielded.
        UsageError: `batch` is below 1, the session belongs to another model, the items are not frames, the model has
            no backward head or cannot adapt, or the source cannot be read twice.
        SinkError: there is no room for the temporary file.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; expected 1 or more")
    session = session_of(model, session, adapt=adapt)
    plan = LookPlan(two_pass, look_ahead, shortest_run).checked(model)
    if plan.whole:
        yield from predict_recorded(as_reader(source), session, plan, batch=batch, adaptive=adaptive)
        return
    with closing(embed_chunks(source, session, batch, adaptive, max_live_batch=1)) as chunks:
        if look_ahead is not None:
            waiting = LookAhead(session, look_ahead)
            for chunk in chunks:
                yield from waiting.push(chunk.frames, chunk.embeddings, chunk.crops[-1])
            yield from waiting.finish()
            return
        for chunk in chunks:
            for i, frame in enumerate(chunk.frames):  # one by one, so that the memory is never ahead of the caller
                (prediction,) = session.push_embeddings([frame], chunk.embeddings[i : i + 1], chunk.crops[i])
                yield frame, prediction


@dataclass(frozen=True, slots=True)
class LookPlan:
    """How much of the future predictions may know of; see `predict` for the fields.

    Attributes:
        whole: whether the whole source is read before the first prediction.
        shortest: runs shorter than this many seconds are dissolved; 0: none.
    """

    two_pass: bool = False
    look_ahead: float | None = None
    shortest_run: float | None = None

    @property
    def whole(self) -> bool:
        return self.two_pass or self.shortest > 0

    @property
    def shortest(self) -> float:
        if self.shortest_run is None:
            return SHORTEST_RUN if self.two_pass else 0.0
        return self.shortest_run

    def checked(self, model: Model) -> "LookPlan":
        """Return the plan, if the model can follow it.

        Raises:
            UsageError: a number is out of its range, two options contradict each other, or the model has no backward
                head.
        """
        if self.look_ahead is not None and not self.look_ahead > 0:
            raise UsageError(f"look_ahead is {self.look_ahead}; expected seconds above 0")
        if not 0 <= self.shortest < float("inf"):
            raise UsageError(f"shortest_run is {self.shortest_run}; expected seconds, 0 or more")
        if self.look_ahead is not None and self.whole:
            raise UsageError(
                "two_pass and shortest_run see the whole future, and look_ahead bounds it; give one of them"
            )
        if self.two_pass or self.look_ahead is not None:
            _ = model.required_backward_head
        return self


def predict_recorded(
    source: VideoReader,
    session: Session,
    plan: LookPlan,
    *,
    batch: int | None = None,
    adaptive: bool = False,
    max_frames: int | None = None,
) -> Generator[tuple[Frame, Prediction], None, None]:
    """Yield the frames of a source with the predictions of `predict` that know all of them.

    Args:
        source: a source that can be read twice.
        session: see `predict`.
        plan: how much of the future predictions know of.
        batch: see `predict`.
        adaptive: see `predict`.
        max_frames: read this many frames only.

    Raises:
        UsageError: the source can be read only once.
        SourceError: see `predict`.
        SinkError: there is no room for the temporary file.
    """
    reopen = require_second_reading(source)
    failure: SourceError | None = None
    with Recording(session.model, keep_embeddings=plan.two_pass) as recording:
        with closing(embed_chunks(source, session, batch, adaptive, max_live_batch=FILE_BATCH)) as chunks:
            try:
                for chunk in chunks:
                    left = len(chunk.frames) if max_frames is None else max_frames - len(recording)
                    record_chunk(recording, session, chunk, min(left, len(chunk.frames)))
                    if len(recording) == max_frames:
                        break
            except SourceError as error:  # raised after the frames before it
                failure = error
        finish_recording(recording, session, plan)
        if len(recording):
            with reopen() as again:
                yield from read_recorded(again, recording)
        if failure is not None:
            raise failure


def require_second_reading(source: VideoReader) -> Callable[[], VideoReader]:
    """Return what opens the source of a reader again.

    Raises:
        UsageError: the source can be read only once.
    """
    if source.reopen is None:
        raise UsageError(
            f"{source.info.name} can be read only once, and two passes and the calm timeline read a source twice; save "
            "it to a file first, use a look-ahead, or let infer write records without a video"
        )
    return source.reopen


def record_chunk(recording: Recording, session: Session, chunk: Chunk, count: int) -> list[Prediction]:
    """Run the first `count` frames of a chunk through a session, add them to a recording, and predict them causally."""
    frames = chunk.frames[:count]
    steps, outputs = session.run(frames, chunk.embeddings, chunk.crops[count - 1])
    recording.append(frames, chunk.embeddings, steps, outputs)
    return make_predictions(session.model, frames, steps, outputs)


def finish_recording(recording: Recording, session: Session, plan: LookPlan) -> None:
    """Look at a recording from its end, and dissolve short runs, as the plan says; does nothing without frames."""
    if not len(recording):
        return
    if plan.two_pass:
        recording.add_second_pass(adapt=session.adapt)
    if plan.shortest:
        recording.dissolve_runs(plan.shortest, session.clock.max_gap)


def read_recorded(reader: VideoReader, recording: Recording) -> Generator[tuple[Frame, Prediction], None, None]:
    """Yield the frames of a source that is read again, with the predictions of its recording.

    Raises:
        SourceError: the source does not give the same frames as before.
    """
    predictions = recording.predictions()
    with Prefetcher(reader, READ_AGAIN_DEPTH) as frames:
        for place, frame in enumerate(frames):
            if not recording.holds(place, frame):
                break
            yield frame, next(predictions)
            if place + 1 == len(recording):
                return
    raise SourceError(f"{reader.info.name} gave other frames when it was read again; was it changed meanwhile?")


def embed_chunks(
    source: str | Path | int | BinaryFile | bytes | VideoReader | Iterable[Frame],
    session: Session,
    batch: int | None,
    adaptive: bool,
    *,
    max_live_batch: int,
) -> Generator[Chunk, None, None]:
    """Yield the frames of a source in chunks, with their embeddings for a session.

    Closing the generator closes the source. A file is decoded and resized in one thread and embedded in another, ahead
    of the caller. The frames of a live source are embedded without delay: a chunk holds the frames that already wait.

    Args:
        source: see `predict`.
        session: its model embeds the frames; its state is not modified.
        batch: frames per chunk; None selects it by the kind of source.
        adaptive: skip frames that add nothing new, see `AdaptiveEmbedder`.
        max_live_batch: frames per chunk of a live source, if `batch` is None.
    """
    embed = AdaptiveEmbedder(session).embed if adaptive else partial(_embed_every, session.model)
    source = as_reader(source)
    size = batch or (max_live_batch if source.info.live else ADAPTIVE_BATCH if adaptive else FILE_BATCH)
    with source, ExitStack() as threads:  # the threads end before the reader is closed
        if not source.allows_prefetch:
            yield from _embed_prepared(_prepare(source, session), embed, size)
            return
        picture_bytes = source.info.width * source.info.height * 3
        if source.live_options is None:
            depth = max(2, min(2 * size, MAX_PREFETCH_BYTES // max(1, picture_bytes)))
            prepared = threads.enter_context(Prefetcher(_prepare(source, session), depth, burst=depth // 2))
            yield from threads.enter_context(Prefetcher(_embed_prepared(prepared, embed, size), 1))
        else:
            depth = max(2, min(LIVE_DEPTH, MAX_PREFETCH_BYTES // max(1, picture_bytes)))
            prefetcher = Prefetcher(
                source,
                depth,
                policy=source.live_options.policy,
                max_staleness=source.live_options.max_staleness,
                counts=source.counts,
            )
            live = _prepare(threads.enter_context(prefetcher), session)
            yield from _embed_prepared(live, embed, size, more_ready=partial(prefetcher.wait_ready, 0.0))


def _prepare(frames: Iterable[Frame], session: Session) -> Iterator[Prepared]:
    """Yield frames with the network's input for each.

    Frames may be prepared long before the session sees them, so this advances a copy of its motion crop.
    """
    original, crop = session.motion_crop, session.motion_crop.copy()
    for frame in frames:
        if session.motion_crop is not original:  # the session was reset
            original, crop = session.motion_crop, session.motion_crop.copy()
        pixels = crop.prepare(frame)
        yield Prepared(frame, pixels, crop.last)


@torch.inference_mode()
def _embed_every(model: Model, frames: Sequence[Frame], pixels: Tensor) -> tuple[Tensor, list[bool]]:
    """Embed every frame; arguments and results are those of `AdaptiveEmbedder.embed`."""
    return model.backbone(pixels), [True] * len(frames)


def _embed_prepared(
    prepared: Iterable[Prepared],
    embed: Callable[[Sequence[Frame], Tensor], tuple[Tensor, list[bool]]],
    size: int,
    more_ready: Callable[[], bool] = lambda: True,
) -> Iterator[Chunk]:
    """Yield chunks of `size` frames with their embeddings; fewer when no more frames are ready.

    A SourceError is raised after the frames that were read before it.
    """
    items = iter(prepared)
    while True:
        chunk: list[Prepared] = []
        failure: SourceError | None = None
        ended = True
        try:
            for item in items:
                chunk.append(item)
                if len(chunk) == size or not more_ready():
                    ended = False
                    break
        except SourceError as error:
            failure = error
        if chunk:
            frames = [item.frame for item in chunk]
            embeddings, embedded = embed(frames, torch.cat([item.pixels for item in chunk]))
            yield Chunk(frames, embeddings, embedded, [item.crop for item in chunk])
        if failure is not None:
            raise failure
        if ended:
            return
