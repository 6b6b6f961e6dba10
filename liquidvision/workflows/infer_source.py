"""infer(): run a model over one source and write its outputs."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from liquidvision.annotation.interval import Interval
from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.concurrency.cores import available_cores, batch_scheduling
from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.interval_records import IntervalSink
from liquidvision.inference.look_ahead import LookAhead
from liquidvision.inference.pipeline import (
    FILE_BATCH,
    Chunk,
    LookPlan,
    embed_chunks,
    finish_recording,
    read_recorded,
    record_chunk,
    require_second_reading,
)
from liquidvision.inference.recording import Recording
from liquidvision.inference.records import PredictionSink
from liquidvision.inference.session import Session, session_of
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_objects import BinaryFile
from liquidvision.video.read.local_files import is_same_file
from liquidvision.video.read.open import as_reader
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.open import open_video_sink
from liquidvision.video.write.sink import STDOUT, VideoSink
from liquidvision.workflows.source_summary import SummaryBuilder

log = logging.getLogger(__name__)
MANY_CORES = 4  # on fewer cores, one more thread costs a few percent


def infer(
    source: str | Path | int | BinaryFile | bytes | VideoReader | Iterable[Frame],
    model: Model,
    *,
    video: str | Path | None = None,
    records: Sequence[PredictionSink] = (),
    intervals: Sequence[IntervalSink] = (),
    interval_rule: IntervalRule | None = None,
    frames: FrameFolder | None = None,
    overlay: Overlay | None = None,
    codec: str = "h264",
    writer: str = "av",
    sound: bool = True,
    session: Session | None = None,
    batch: int | None = None,
    adaptive: bool = False,
    adapt: bool = False,
    two_pass: bool = False,
    look_ahead: float | None = None,
    shortest_run: float | None = None,
    max_frames: int | None = None,
    continues: bool = False,
    complete_only: bool = False,
    on_frame: Callable[[Prediction], None] | None = None,
    on_first_look: Callable[[Prediction], None] | None = None,
) -> Summary:
    """Run a model over one source and write an annotated video, pictures or records.

    Ctrl-C ends the loop and finishes the files. If the source breaks off or the disk is full, partial files stay under
    temporary names; after any other error they are deleted.

    With `two_pass` or `shortest_run` the source is read before anything is written, and for pictures again: it must be
    one that can be read twice. Ctrl-C while it is read ends the reading, and the frames read so far are written.

    Args:
        source: a path, a URL, a camera index, a file object or the content of a file (see `open_video`), a reader that
            `open_video` returned, or an iterable of frames.
        model: see `Model.from_pretrained`.
        video: the annotated video; its suffix selects the container; "-" streams Matroska to standard output.
        records: record files, such as `RecordSink`; they are closed here.
        intervals: the same for intervals, such as `IntervalRecordSink`.
        interval_rule: how scores become intervals. None: the model's rule, see `Model`.
        frames: where to write the annotated frames as pictures.
        overlay: what to draw on video and pictures; None takes the default.
        codec: h264, h265, vp9, av1, prores or mjpeg (writer "av"); h264-hardware, h265-hardware or av1-hardware
            for an encoder of this machine's GPU.
        writer: "av" (exact times, sound and subtitles copied), or "opencv" (constant rate, no sound).
        sound: whether the video gets the source's sound.
        session: the memory to continue with; None starts a new one.
        batch: as in `predict`, but None takes up to 8 waiting frames of a live source (1 with `max_staleness`).
        adaptive: see `predict`.
        adapt: see `predict`.
        two_pass: see `predict`.
        look_ahead: see `predict`.
        shortest_run: see `predict`.
        max_frames: stop after this many frames.
        continues: leave intervals that are unfinished at the end in the session, for `Session.save` and the next run.
        complete_only: after Ctrl-C, leave files (which are playable) under their temporary names.
        on_frame: called with each prediction.
        on_first_look: called with each causal prediction while the whole source is read first.

    Raises:
        UsageError: an argument has an impossible value, an output is the source, or it or the model cannot look ahead.
        SourceError: the source cannot be opened, breaks off, or has no frame.
        SinkError: an output cannot be written.
    """
    _require_positive(max_frames=max_frames, batch=batch)
    started, plan = time.perf_counter(), LookPlan(two_pass, look_ahead, shortest_run).checked(model)
    tables: Sequence[PredictionSink | IntervalSink] = (*intervals, *records)
    session, path = session_of(model, session, adapt=adapt), None if video is None else Path(video)
    outputs = [each for each in (path, *(table.path for table in tables)) if each is not None]
    with suppress(UnfinishedError), ExitStack() as stack:
        interrupt = stack.enter_context(DeferredInterrupt())
        for table in tables:
            stack.enter_context(table)
        reader = stack.enter_context(as_reader(source))
        _refuse_source(outputs, reader)
        summary = (counter := SummaryBuilder(reader, session, started, interval_rule)).summary
        sink = None
        if path is not None:
            sink = stack.enter_context(open_video_sink(path, reader, codec, writer, stack, sound=sound))
        if reader.live_options is None:
            stack.enter_context(batch_scheduling())
        pictures = AnnotatedWriter(reader, overlay or Overlay(), sink, frames, stack)

        loop = _Loop(reader, session, plan, counter, max_frames, records, intervals, pictures, on_frame, interrupt)
        files = [each for each in outputs if each != STDOUT]
        with closing(embed_chunks(reader, session, batch, adaptive, max_live_batch=_max_burst(reader))) as chunks:
            loop.run_all(chunks, files, on_first_look, complete_only=complete_only, continues=continues)
        pictures.flush()
        if sink is not None:
            sink.finish_side_tracks(whole=not summary.interrupted and summary.frames != max_frames)
            summary.notes += sink.notes
        if summary.interrupted and complete_only:
            raise UnfinishedError
    unfinished = complete_only and summary.interrupted
    summary.interrupted |= interrupt.requested
    return counter.finish([*([] if unfinished else files), *([frames.path] if frames else [])])


def _refuse_source(outputs: Sequence[Path], reader: VideoReader) -> None:
    """Raise UsageError where an output is the source."""
    for output in outputs:
        if is_same_file(output, reader.path):
            raise UsageError(f"{output} is the source, or a link to it; choose another output")


def _require_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")


def write_intervals(done: Iterable[Interval], files: Sequence[IntervalSink]) -> None:
    """Write intervals to all files."""
    for interval in done:
        for file in files:
            file.write(interval)


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

    @property
    def active(self) -> bool:
        """Whether there is anything to write to."""
        return bool(self._sinks)

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


@dataclass(frozen=True, slots=True)
class _Loop:
    """Predicts the frames of one source and writes each.

    Attributes:
        reader: the source.
        session: its memory.
        plan: how much of the future predictions know of.
        counter: counts frames, and notes an interrupt of the first pass.
        max_frames: stop after this many frames.
        records: what predictions are written to.
        intervals: what intervals are written to.
        pictures: what frames are drawn and written to.
        on_frame: called with each prediction.
        interrupt: delays Ctrl-C.
    """

    reader: VideoReader
    session: Session
    plan: LookPlan
    counter: SummaryBuilder
    max_frames: int | None
    records: Sequence[PredictionSink]
    intervals: Sequence[IntervalSink]
    pictures: AnnotatedWriter
    on_frame: Callable[[Prediction], None] | None
    interrupt: DeferredInterrupt

    def run_all(
        self,
        chunks: Iterator[Chunk],
        outputs: Sequence[Path],
        on_first_look: Callable[[Prediction], None] | None,
        *,
        complete_only: bool,
        continues: bool,
    ) -> None:
        """Predict and write all frames and intervals, until the source ends, breaks off, or Ctrl-C.

        Args:
            chunks: the frames.
            outputs: see `run_twice`.
            on_first_look: see `run_twice`.
            complete_only: see `run_twice`.
            continues: leave unfinished intervals in the session.
        """
        try:
            if self.plan.whole:
                self.run_twice(chunks, outputs, on_first_look, complete_only=complete_only)
            else:
                self.run(chunks)
        except KeyboardInterrupt:
            self.counter.summary.interrupted = True
        except SourceError:
            write_intervals(self.counter.close_intervals(), self.intervals)
            raise
        self.counter.require_frames()
        write_intervals(self.counter.close_intervals(continues=continues), self.intervals)

    def run(self, chunks: Iterator[Chunk]) -> None:
        """Predict and write the frames of chunks as they come."""
        if self.plan.look_ahead is None:
            for frames, chunk in self._limited(chunks):
                predictions = self.session.push_embeddings(frames, chunk.embeddings, chunk.crops[len(frames) - 1])
                for frame, prediction in zip(frames, predictions, strict=True):
                    self.write(frame, prediction)
            return
        waiting = LookAhead(self.session, self.plan.look_ahead)
        try:
            for frames, chunk in self._limited(chunks):
                for pair in waiting.push(frames, chunk.embeddings, chunk.crops[len(frames) - 1]):
                    self.write(*pair)
        except (KeyboardInterrupt, SourceError):
            self._write_all(waiting)
            raise
        self._write_all(waiting)

    def write(self, frame: Frame | None, prediction: Prediction) -> None:
        """Write a prediction and its frame; None where no pictures are written."""
        for record in self.records:
            record.write(prediction)
        if frame is not None:
            self.pictures.write(frame, prediction)
        write_intervals(self.counter.add(prediction, frame), self.intervals)
        if self.on_frame is not None:
            self.on_frame(prediction)

    def _write_all(self, waiting: LookAhead) -> None:
        for pair in waiting.finish():
            self.write(*pair)

    def run_twice(
        self,
        chunks: Iterator[Chunk],
        outputs: Sequence[Path],
        on_first_look: Callable[[Prediction], None] | None,
        *,
        complete_only: bool,
    ) -> None:
        """Read all chunks, look at them again from their end, and write every frame.

        Args:
            chunks: of the whole source.
            outputs: the files to write; the first pass is kept beside the first of them.
            on_first_look: see `infer`.
            complete_only: after Ctrl-C in the first pass, write nothing.
        """
        reopen = require_second_reading(self.reader) if self.pictures.active else None
        folder = outputs[0].parent if outputs else None
        failure: SourceError | None = None
        with Recording(self.session.model, keep_embeddings=self.plan.two_pass, folder=folder) as recording:
            try:
                for frames, chunk in self._limited(chunks):
                    for prediction in record_chunk(recording, self.session, chunk, len(frames)):
                        if on_first_look is not None:
                            on_first_look(prediction)
            except SourceError as error:  # raised after the frames before it
                failure = error
            except KeyboardInterrupt:
                if complete_only or not len(recording):
                    raise
                log.warning(
                    "stopped reading; %d frames get their second look and are written (Ctrl-C again: stop)",
                    len(recording),
                )
                self.counter.summary.interrupted = True
                self.interrupt.clear()
            finish_recording(recording, self.session, self.plan)
            if reopen is None:
                for prediction in self.interrupt.interruptible(recording.predictions()):
                    self.write(None, prediction)
            elif len(recording):
                with reopen() as again, closing(read_recorded(again, recording)) as pairs:
                    for pair in self.interrupt.interruptible(pairs):
                        self.write(*pair)
        if failure is not None:
            raise failure

    def _limited(self, chunks: Iterator[Chunk]) -> Iterator[tuple[list[Frame], Chunk]]:
        """Yield the frames of each chunk to predict, at most `max_frames` in all; Ctrl-C comes between them."""
        done = 0
        for chunk in self.interrupt.interruptible(chunks):
            frames = chunk.frames if self.max_frames is None else chunk.frames[: self.max_frames - done]
            self.counter.summary.skipped += chunk.embedded[: len(frames)].count(False)
            done += len(frames)
            yield frames, chunk
            if done == self.max_frames:
                return


def _max_burst(reader: VideoReader) -> int:
    """Return how many waiting frames of a live source are embedded at once: 1 where they must not grow stale."""
    live = reader.live_options
    return FILE_BATCH if live is None or live.max_staleness is None else 1
