"""infer(): run a model over one source and write its outputs."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from liquidvision.concurrency.cores import available_cores, batch_scheduling
from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.write_behind import WriteBehind, queue_limits
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.pipeline import FILE_BATCH, embed_chunks
from liquidvision.inference.records import RecordSink
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.video.frame import Frame
from liquidvision.video.read.open import as_reader
from liquidvision.video.read.reader import ReadWindow, VideoReader
from liquidvision.video.write.image_folder import FrameFolder
from liquidvision.video.write.open import open_video_sink
from liquidvision.video.write.sink import STDOUT

MANY_CORES = 4  # on fewer, a thread more costs a few percent


def infer(
    source: str | Path | int | VideoReader | Iterable[Frame],
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
        source: a path, a URL, a camera index, a reader that `open_video` returned, or an iterable of frames.
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
        reader = stack.enter_context(as_reader(source))
        target = stack.enter_context(open_video_sink(Path(video), reader, codec, writer, stack)) if video else None
        if reader.live_options is None:
            stack.enter_context(batch_scheduling())
        room, burst = queue_limits(
            reader.info.width * reader.info.height * 3 // 2, live=reader.live_options is not None
        )
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
        at_once = FILE_BATCH if reader.live_options is None or reader.live_options.max_staleness is None else 1
        last: Prediction | None = None
        first_time = 0.0
        try:
            with closing(embed_chunks(reader, session, batch, adaptive, at_once=at_once)) as chunks:
                for shown, embeddings, looked in patience.interruptible(chunks):
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
            target.finish_side_tracks(whole=not summary.interrupted and summary.frames != max_frames)
            summary.notes += target.notes
        for name in ("damaged", "dropped", "stale", "reconnects"):
            setattr(summary, name, getattr(reader.counts, name))
        summary.media_seconds = last.time - first_time if last else 0.0
        if summary.interrupted and whole:
            raise UnfinishedError
    summary.interrupted |= patience.requested
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
