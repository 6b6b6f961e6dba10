"""infer(): run a model over one source and write its outputs."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from liquidvision.concurrency.cores import available_cores, batch_scheduling
from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.pipeline import FILE_BATCH, Chunk, embed_chunks
from liquidvision.inference.records import PredictionSink
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame
from liquidvision.video.read.local_files import is_same_file
from liquidvision.video.read.open import as_reader
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.open import open_video_sink
from liquidvision.video.write.sink import STDOUT, VideoSink
from liquidvision.workflows.source_summary import SummaryBuilder

MANY_CORES = 4  # on fewer cores, one more thread costs a few percent


def infer(
    source: str | Path | int | VideoReader | Iterable[Frame],
    model: Model,
    *,
    video: str | Path | None = None,
    records: Sequence[PredictionSink] = (),
    frames: FrameFolder | None = None,
    overlay: Overlay | None = None,
    codec: str = "h264",
    writer: str = "av",
    sound: bool = True,
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
    max_frames: int | None = None,
    complete_only: bool = False,
    on_frame: Callable[[Prediction], None] | None = None,
) -> Summary:
    """Run a model over one source and write an annotated video, pictures or records.

    Ctrl-C ends the loop and finishes the files. If the source breaks off or the disk is full, partial files stay under
    temporary names; after any other error they are deleted.

    Args:
        source: a path, a URL, a camera index, a reader that `open_video` returned, or an iterable of frames.
        model: see `Model.from_pretrained`.
        video: the annotated video; its suffix selects the container; "-" streams Matroska to standard output.
        records: record files, such as `RecordSink`; they are closed here.
        frames: where to write the annotated frames as pictures.
        overlay: what to draw on video and pictures; None takes the default.
        codec: h264, h265, vp9, av1, prores or mjpeg (writer "av"); h264-hardware, h265-hardware or av1-hardware
            for an encoder of this machine's GPU.
        writer: "av" (exact times, sound and subtitles copied), or "opencv" (constant rate, no sound).
        sound: whether the video gets the source's sound.
        session: the memory to continue with; None starts a new one.
        batch: as in `predict`, but None takes up to 8 waiting frames of a live source (1 with `max_staleness`).
        adaptive: see `predict`.
        max_frames: stop after this many frames.
        complete_only: after Ctrl-C, leave files under their temporary names (they are playable) instead of renaming
            them.
        on_frame: called with each prediction.

    Raises:
        UsageError: an argument has an impossible value, or an output is the source.
        SourceError: the source cannot be opened, breaks off, or has no frame.
        SinkError: an output cannot be written.
    """
    for name, value in (("max_frames", max_frames), ("batch", batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")
    started = time.perf_counter()
    session, path = session or Session(model), None if video is None else Path(video)
    with suppress(UnfinishedError), ExitStack() as stack:
        interrupt = stack.enter_context(DeferredInterrupt())
        for record in records:
            stack.enter_context(record)
        reader = stack.enter_context(as_reader(source))
        for output in (path, *(record.path for record in records)):
            if output is not None and is_same_file(output, reader.path):
                raise UsageError(f"{output} is the source, or a link to it; choose another output")
        counter = SummaryBuilder(reader, session, started)
        summary = counter.summary
        sink = None
        if path is not None:
            sink = stack.enter_context(open_video_sink(path, reader, codec, writer, stack, sound=sound))
        if reader.live_options is None:
            stack.enter_context(batch_scheduling())
        pictures = AnnotatedWriter(reader, overlay or Overlay(), sink, frames, stack)

        def write(frame: Frame, prediction: Prediction) -> None:
            for record in records:
                record.write(prediction)
            pictures.write(frame, prediction)
            counter.add(prediction)
            if on_frame is not None:
                on_frame(prediction)

        try:
            with closing(embed_chunks(reader, session, batch, adaptive, max_live_batch=_max_burst(reader))) as chunks:
                _predict_chunks(interrupt.interruptible(chunks), session, summary, max_frames, write)
        except KeyboardInterrupt:
            summary.interrupted = True
        counter.require_frames()
        pictures.flush()
        if sink is not None:
            sink.finish_side_tracks(whole=not summary.interrupted and summary.frames != max_frames)
            summary.notes += sink.notes
        if summary.interrupted and complete_only:
            raise UnfinishedError
    unfinished = complete_only and summary.interrupted
    files = [each for each in (path, *(record.path for record in records)) if each is not None and each != STDOUT]
    summary.interrupted |= interrupt.requested
    return counter.finish([*([] if unfinished else files), *([frames.path] if frames else [])])


class UnfinishedError(SourceError):
    """Closes the outputs as after a source that broke off: they are kept under their temporary names."""


class AnnotatedWriter:
    """Draws the overlay on frames and writes them to a video and as pictures.

    The video is encoded in a thread of its own, and the overlay is drawn in another where there are enough cores.

    Args:
        reader: the source; its size limits how many frames may wait.
        overlay: what to draw.
        video: the video, or None.
        frames: the folder for pictures, or None.
        stack: ends the threads.
    """

    def __init__(
        self,
        reader: VideoReader,
        overlay: Overlay,
        video: VideoSink | None,
        frames: FrameFolder | None,
        stack: ExitStack,
    ) -> None:
        size = reader.info.width * reader.info.height * 3 // 2
        room, burst = queue_limits(size, live=reader.live_options is not None)
        self._overlay = overlay.stream()
        self._encoder = None if video is None else stack.enter_context(WriteBehind(video.write, room, burst))
        self._sinks = [sink.write for sink in (self._encoder, frames) if sink is not None]
        parallel = bool(self._sinks) and available_cores() >= MANY_CORES
        self._drawer = stack.enter_context(WriteBehind(self._draw, burst, 1)) if parallel else None

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Draw and write one frame, or leave it to the threads; does nothing without outputs."""
        if self._drawer is not None:
            self._drawer.write((frame, prediction))
        elif self._sinks:
            self._draw((frame, prediction))

    def flush(self) -> None:
        """Wait until every frame is written."""
        for thread in (self._drawer, self._encoder):
            if thread is not None:
                thread.flush()

    def _draw(self, pair: tuple[Frame, Prediction]) -> None:
        annotated = self._overlay.annotate(*pair)
        for write in self._sinks:
            write(annotated)


def _predict_chunks(
    chunks: Iterable[Chunk],
    session: Session,
    summary: Summary,
    max_frames: int | None,
    write: Callable[[Frame, Prediction], None],
) -> None:
    """Predict the frames of chunks and write each, at most `max_frames` of them."""
    for chunk in chunks:
        frames = chunk.frames
        if max_frames is not None:
            frames = frames[: max_frames - summary.frames]
        summary.skipped += chunk.embedded[: len(frames)].count(False)
        predictions = session.push_embeddings(frames, chunk.embeddings, chunk.crops[len(frames) - 1])
        for frame, prediction in zip(frames, predictions, strict=True):
            write(frame, prediction)
        if summary.frames == max_frames:
            break


def _max_burst(reader: VideoReader) -> int:
    """Return how many waiting frames of a live source are embedded at once: 1 where they must not grow stale."""
    live = reader.live_options
    return FILE_BATCH if live is None or live.max_staleness is None else 1
