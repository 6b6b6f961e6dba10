"""The one loop: predict() yields the frames of a source with their predictions."""

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

FILE_BATCH = 8  # frames embedded at once where there is no hurry
LIVE_DEPTH = 16  # frames of a live source that may wait: a burst after a hitch of the network
AHEAD_BYTES = 128 * 2**20  # decoded pictures that may wait


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
        embedded: for each frame, whether its own picture was embedded; see `AdaptiveEmbedder`.
        crops: the state of the motion crop after each.
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
    """Yield each frame of a source with the model's prediction for it; nothing is kept.

    Stop whenever you like: closing the generator closes the source and ends its reading threads.

    Args:
        source: a path, a URL, a camera index, a reader that `open_video` returned, or an iterable of frames.
        model: see `Model.from_pretrained`.
        session: the memory to continue with, of the same model; None starts a new one. It has seen exactly the frames
            that were yielded.
        batch: frames embedded at once; the results do not depend on it. None: 8 for files, 1 for live sources.
        adaptive: reuse the embedding of a neighbouring frame for frames that add nothing new. Results then depend on
            `batch`, the number of frames that are decided on together (16 for a file).

    Raises:
        SourceError: the source cannot be opened, or breaks off. Raised when a frame is asked for.
        UsageError: a batch below 1, a session of another model, or items that are no frames.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; expected 1 or more")
    session = session or Session(model)
    if session.model is not model:
        raise UsageError(f"the session belongs to another model than {model.name}; give the one it was made with")
    with closing(embed_chunks(source, session, batch, adaptive, at_once=1)) as chunks:
        for chunk in chunks:
            for i, frame in enumerate(chunk.frames):  # one by one: the memory never runs ahead of the caller
                (prediction,) = session.push_embeddings([frame], chunk.embeddings[i : i + 1], chunk.crops[i])
                yield frame, prediction


def embed_chunks(
    source: str | Path | int | VideoReader | Iterable[Frame],
    session: Session,
    batch: int | None,
    adaptive: bool,
    *,
    at_once: int,
) -> Generator[Chunk, None, None]:
    """A source's frames with their embeddings (n, d) for a session, a few at once; closes the source with itself.

    Of a live source none is waited for: what waits already is taken together, but no more than `at_once`.
    A file's are decoded and shrunk in one thread and embedded in another, ahead of the caller.
    """
    embed = AdaptiveEmbedder(session).embed if adaptive else partial(_embed_all, session.model)
    source = as_reader(source)
    size = batch or (at_once if source.info.live else ADAPTIVE_BATCH if adaptive else FILE_BATCH)
    with source, ExitStack() as threads:  # the threads must have ended before the reader is closed under them
        if not source.allows_prefetch:
            yield from _embedded(_prepared(source, session), embed, size)
            return
        picture = source.info.width * source.info.height * 3
        if source.live_options is None:
            depth = max(2, min(2 * size, AHEAD_BYTES // max(1, picture)))
            prepared = threads.enter_context(Prefetcher(_prepared(source, session), depth, burst=depth // 2))
            yield from threads.enter_context(Prefetcher(_embedded(prepared, embed, size), 1))
        else:
            depth = max(2, min(LIVE_DEPTH, AHEAD_BYTES // max(1, picture)))
            ahead = Prefetcher(
                source,
                depth,
                policy=source.live_options.policy,
                max_staleness=source.live_options.max_staleness,
                counts=source.counts,
            )
            shrunk = _prepared(threads.enter_context(ahead), session)
            yield from _embedded(shrunk, embed, size, more=partial(ahead.wait_ready, 0.0))


def _prepared(frames: Iterable[Frame], session: Session) -> Iterator[Prepared]:
    """Yield frames with the network's input for each.

    Frames may be prepared long before the session sees them, so this moves a copy of its motion crop.
    """
    origin, crop = session.motion_crop, session.motion_crop.copy()
    for frame in frames:
        if session.motion_crop is not origin:  # the session was reset
            origin, crop = session.motion_crop, session.motion_crop.copy()
        pixels = crop.prepare(frame)
        yield Prepared(frame, pixels, crop.last)


@torch.inference_mode()
def _embed_all(model: Model, frames: Sequence[Frame], pixels: Tensor) -> tuple[Tensor, list[bool]]:
    """As `AdaptiveEmbedder.embed`, but each picture is embedded."""
    return model.backbone(pixels), [True] * len(frames)


def _embedded(
    prepared: Iterable[Prepared],
    embed: Callable[[Sequence[Frame], Tensor], tuple[Tensor, list[bool]]],
    size: int,
    more: Callable[[], bool] = lambda: True,
) -> Iterator[Chunk]:
    """Frames with their embeddings, `size` at once while there are `more`."""
    rest = iter(prepared)
    while True:
        chunk: list[Prepared] = []
        broke: SourceError | None = None
        ended = True
        try:
            for item in rest:
                chunk.append(item)
                if len(chunk) == size or not more():
                    ended = False
                    break
        except SourceError as error:  # told after the frames that came before it
            broke = error
        if chunk:
            frames = [item.frame for item in chunk]
            embeddings, embedded = embed(frames, torch.cat([item.pixels for item in chunk]))
            yield Chunk(frames, embeddings, embedded, [item.crop for item in chunk])
        if broke is not None:
            raise broke
        if ended:
            return
