"""From a source to predictions: read, prepare, embed, and update the memory."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.adaptive import ADAPTIVE_BATCH, AdaptiveEmbedder
from liquidvision.inference.session import Session
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionState
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame
from liquidvision.video.read.open import as_reader
from liquidvision.video.read.reader import VideoReader

FILE_BATCH = 8  # frames of a file that are embedded at once
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
    source: str | Path | int | VideoReader | Iterable[Frame],
    model: Model,
    *,
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
) -> Generator[tuple[Frame, Prediction], None, None]:
    """Yield each frame of a source with its prediction.

    Frames are read as the loop asks for them, and none is kept. Closing the generator, or leaving the loop, closes the
    source and ends its threads.

    Example:
        >>> model = Model.from_pretrained("actions")
        >>> for frame, prediction in predict("clip.mp4", model):
        ...     print(frame.time, prediction.label)

    Args:
        source: a path, a URL, a camera index, a reader that `open_video` returned, or an iterable of frames.
        model: see `Model.from_pretrained`.
        session: the memory to continue with, of the same model; None starts a new one. At any time it has seen exactly
            the frames that were yielded.
        batch: frames embedded at once, 1 or more. The results do not depend on it, but memory and latency do. None: 8
            frames of a file (16 with `adaptive`), 1 of a live source.
        adaptive: reuse the embedding of a neighbouring frame for frames that add nothing new. Which frames are skipped
            is decided per batch, so results then depend on `batch`.

    Yields:
        Pairs of the frame and its prediction, in the order of the source.

    Raises:
        SourceError: the source cannot be opened, or breaks off; raised after the frames before it were yielded.
        UsageError: `batch` is below 1, the session belongs to another model, or the items are not frames.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; expected 1 or more")
    session = session or Session(model)
    if session.model is not model:
        raise UsageError(f"the session belongs to another model than {model.name}; use the model it was made with")
    with closing(embed_chunks(source, session, batch, adaptive, max_live_batch=1)) as chunks:
        for chunk in chunks:
            for i, frame in enumerate(chunk.frames):  # one by one, so that the memory is never ahead of the caller
                (prediction,) = session.push_embeddings([frame], chunk.embeddings[i : i + 1], chunk.crops[i])
                yield frame, prediction


def embed_chunks(
    source: str | Path | int | VideoReader | Iterable[Frame],
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
