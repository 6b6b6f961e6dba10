"""The one loop: predict() hands out frames with their predictions, infer() writes them."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from liquidvision.concurrency.cores import available_cores, batch_scheduling
from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.adaptive import ADAPTIVE_BATCH, AdaptiveEmbedder
from liquidvision.inference.records import RecordSink
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame
from liquidvision.video.read.open import open_video
from liquidvision.video.read.reader import ReadWindow, VideoReader
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.open import open_video_sink
from liquidvision.video.write.sink import STDOUT

FILE_BATCH = 8  # frames embedded at once where there is no hurry
LIVE_DEPTH = 16  # frames of a live source that may wait: a burst after a hitch of the network
AHEAD_BYTES = 128 * 2**20  # decoded pictures that may wait
MANY_CORES = 4  # on fewer, a thread more costs a few percent
Chunk = tuple[list[Frame], Tensor, list[bool]]  # with their embeddings, and whether their own pictures gave them


def predict(
    source: str | Path | int | VideoReader | Iterable[Frame],
    model: Model,
    *,
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
) -> Iterator[tuple[Frame, Prediction]]:
    """Frames of a source with what the model makes of them, one after the other; nothing is kept.

    Stop whenever you like: the source is closed and the reading thread ended with the generator.

    Args:
        source: a path, a URL, a camera's index, a reader that `open_video` gave, or frames.
        model: see `Model.from_pretrained`.
        session: the memory to go on with, of the same model; None starts a new one. It has seen the
            frames that were handed out and no others.
        batch: frames embedded at once; the numbers are the same for any. None takes 8 for files
            and 1 for what arrives live.
        adaptive: skip frames that add nothing new, see `AdaptiveEmbedder`. Results then depend on `batch`, the number
            of frames that are decided on together (16 for a file).

    Raises, with the first frame asked for:
        SourceError: the source cannot be opened; later, that it broke off.
        UsageError: a batch below 1, a session of another model, or items that are no frames.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; expected 1 or more")
    session = session or Session(model)
    if session.model is not model:
        raise UsageError(f"the session belongs to another model than {model.name}; give the one it was made with")
    with closing(_chunks(source, session, batch, adaptive, at_once=1)) as chunks:
        for frames, embeddings, _ in chunks:
            for i, frame in enumerate(frames):  # one by one: the memory never runs ahead of the caller
                (prediction,) = session.push_embeddings([frame], embeddings[i : i + 1])
                yield frame, prediction


def _chunks(
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
    if isinstance(source, str | Path | int):
        source = open_video(source)
    if not isinstance(source, VideoReader):
        yield from _embedded(_prepared(source, session.gaze), embed, batch or 1)
        return
    size = batch or (at_once if source.info.live else ADAPTIVE_BATCH if adaptive else FILE_BATCH)
    with source, ExitStack() as threads:  # the threads must have ended before the reader is closed under them
        if not source.ahead:
            yield from _embedded(_prepared(source, session.gaze), embed, size)
            return
        picture = source.info.width * source.info.height * 3
        if source.live is None:
            depth = max(2, min(2 * size, AHEAD_BYTES // max(1, picture)))
            prepared = threads.enter_context(Prefetcher(_prepared(source, session.gaze), depth, at_once=depth // 2))
            yield from threads.enter_context(Prefetcher(_embedded(prepared, embed, size), 1))
        else:
            depth = max(2, min(LIVE_DEPTH, AHEAD_BYTES // max(1, picture)))
            ahead = Prefetcher(
                source,
                depth,
                policy=source.live.policy,
                max_staleness=source.live.max_staleness,
                counts=source.counts,
            )
            shrunk = _prepared(threads.enter_context(ahead), session.gaze)
            yield from _embedded(shrunk, embed, size, more=partial(ahead.ready, 0.0))


def _prepared(frames: Iterable[Frame], gaze: MotionCrop) -> Iterator[tuple[Frame, Tensor]]:
    """Frames with what the network takes of them."""
    for frame in frames:
        if not isinstance(frame, Frame):
            raise UsageError(f"got {type(frame).__name__}; expected Frames (ArrayReader makes them of arrays)")
        yield frame, gaze.prepare(frame)


@torch.inference_mode()
def _embed_all(model: Model, frames: Sequence[Frame], pixels: Tensor) -> tuple[Tensor, list[bool]]:
    """As `AdaptiveEmbedder.embed`, but each picture is embedded."""
    return model.backbone(pixels), [True] * len(frames)


def _embedded(
    prepared: Iterable[tuple[Frame, Tensor]],
    embed: Callable[[Sequence[Frame], Tensor], tuple[Tensor, list[bool]]],
    size: int,
    more: Callable[[], bool] = lambda: True,
) -> Iterator[Chunk]:
    """Frames with their embeddings, `size` at once while there are `more`."""
    rest = iter(prepared)
    while True:
        chunk: list[tuple[Frame, Tensor]] = []
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
            frames = [frame for frame, _ in chunk]
            yield frames, *embed(frames, torch.cat([pixels for _, pixels in chunk]))
        if broke is not None:
            raise broke
        if ended:
            return


def infer(
    source: str | Path | int | VideoReader,
    model: Model,
    *,
    video: str | Path | None = None,
    records: Sequence[RecordSink] = (),
    frames: FrameFolder | None = None,
    overlay: Overlay | None = None,
    codec: str = "h264",
    writer: str = "av",
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
    max_frames: int | None = None,
    whole: bool = False,
    on_frame: Callable[[Prediction], None] | None = None,
) -> Summary:
    """Run a model over a video and write what comes out.

    Ctrl-C ends the loop and finishes the files. When the source breaks off or a disk is full, what
    was written until then is kept under the temporary name; any other failure leaves no file behind.

    Args:
        source: a path, a URL, a camera's index, or a reader that `open_video` gave.
        model: see `Model.from_pretrained`.
        video: the annotated video to write; its ending chooses the container; "-" streams Matroska
            to standard output.
        records: record files to write; they are closed here.
        frames: where to write the annotated frames as pictures.
        overlay: what to draw on video and frames; None takes the default.
        codec: h264, h265, vp9, av1, prores or mjpeg (writer "av"); h264-hardware, h265-hardware or av1-hardware
            for an encoder of this machine's GPU.
        writer: "av" (exact times, sound and subtitles copied), or "opencv" (constant rate, no sound).
        session: the memory to go on with; None starts a new one.
        batch, adaptive: see `predict`; of a live source up to 8 frames that wait already are embedded at once.
        max_frames: stop after so many.
        whole: when Ctrl-C ends the loop, the files keep their temporary names: they play, but are not all.
        on_frame: called with each prediction.

    Raises:
        UsageError: an argument that cannot be meant.
        SourceError: the source cannot be opened, or breaks off.
        SinkError: an output cannot be written.
    """
    for name, value in (("max_frames", max_frames), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")
    session, summary, started = session or Session(model), Summary(), time.perf_counter()
    overlay = overlay or Overlay()
    with suppress(UnfinishedError), ExitStack() as stack:
        patience = stack.enter_context(DeferredInterrupt())
        for record in records:
            stack.enter_context(record)
        reader = stack.enter_context(source if isinstance(source, VideoReader) else open_video(source))
        target = stack.enter_context(open_video_sink(Path(video), reader, codec, writer, stack)) if video else None
        if reader.live is None:
            stack.enter_context(batch_scheduling())
        room, burst = queue_limits(reader.info.width * reader.info.height * 3 // 2, live=reader.live is not None)
        encoder = stack.enter_context(WriteBehind(target.write, room, burst)) if target is not None else None
        writers = [sink.write for sink in (encoder, frames) if sink is not None]

        def draw(pair: tuple[Frame, Prediction]) -> None:
            annotated = overlay.annotate(*pair)
            for write in writers:
                write(annotated)

        aside = bool(writers) and available_cores() >= MANY_CORES
        drawer = stack.enter_context(WriteBehind(draw, burst, 1)) if aside else None
        show = draw if drawer is None else drawer.write
        # Frames that may not grow stale are not kept waiting for each other.
        at_once = FILE_BATCH if reader.live is None or reader.live.max_staleness is None else 1
        last: Prediction | None = None
        first_time = 0.0
        try:
            with closing(_chunks(reader, session, batch, adaptive, at_once=at_once)) as chunks:
                for shown, embeddings, looked in patience.over(chunks):
                    if max_frames is not None:
                        shown = shown[: max_frames - summary.frames]
                    summary.still += looked[: len(shown)].count(False)
                    for frame, prediction in zip(shown, session.push_embeddings(shown, embeddings), strict=True):
                        for record in records:
                            record.write(prediction)
                        if writers:
                            show((frame, prediction))
                        first_time = prediction.time if last is None else first_time
                        summary.count(prediction, last)
                        if last is None or prediction.time != last.time:
                            last = prediction
                        if on_frame is not None:
                            on_frame(prediction)
                    if summary.frames == max_frames:
                        break
        except KeyboardInterrupt:
            summary.interrupted = True
        if last is None and summary.interrupted:
            raise KeyboardInterrupt  # there is nothing to finish
        if last is None:
            raise SourceError(f"{reader.info.name} has no frame {_between(reader.window)}")
        for behind in (drawer, encoder):
            if behind is not None:
                behind.flush()
        if target is not None:
            target.end(whole=not summary.interrupted and summary.frames != max_frames)
            summary.notes += target.notes
        for name in ("damaged", "dropped", "stale", "reconnects"):
            setattr(summary, name, getattr(reader.counts, name))
        summary.media_seconds = last.time - first_time if last else 0.0
        if summary.interrupted and whole:
            raise UnfinishedError
    summary.interrupted |= patience.asked
    summary.repeated, summary.backwards, summary.gaps = session.repeated, session.backwards, session.gaps
    files = [Path(video)] if video and Path(video) != STDOUT else []
    files += [record.path for record in records]
    summary.outputs = [path for path in files if not (whole and summary.interrupted)]
    summary.outputs += [frames.path] if frames else []
    summary.wall_seconds = time.perf_counter() - started
    return summary


class UnfinishedError(SourceError):
    """Leaves the outputs as one that broke off does: kept, and without their final names."""


def _between(window: ReadWindow) -> str:
    """A window in words."""
    if window.stop is None:
        return f"from second {window.start:g} on"
    return f"between {window.start:g} and {window.stop:g} s"
