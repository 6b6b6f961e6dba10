"""The one loop: predict() hands out frames with their predictions, infer() writes them."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from liquidvision.errors import SourceError, UsageError
from liquidvision.frame import Frame
from liquidvision.interrupt import Patience
from liquidvision.model import Model
from liquidvision.prediction import Prediction
from liquidvision.session import Session
from liquidvision.sinks.frames import FrameFolder
from liquidvision.sinks.overlay import Overlay
from liquidvision.sinks.records import RecordSink
from liquidvision.sinks.sink import STDOUT, VideoSink
from liquidvision.sources.ahead import Ahead
from liquidvision.sources.open import open_video
from liquidvision.sources.reader import VideoReader, Window

FILE_BATCH = 8  # frames embedded at once where there is no hurry
LIVE_DEPTH = 16  # frames of a live source that may wait: a burst after a hitch of the network
AHEAD_BYTES = 128 * 2**20  # decoded pictures that may wait
WRITERS = ("av", "opencv")


def predict(
    source: str | Path | int | VideoReader | Iterable[Frame],
    model: Model,
    *,
    session: Session | None = None,
    batch: int | None = None,
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

    Raises, with the first frame asked for:
        SourceError: the source cannot be opened; later, that it broke off.
        UsageError: a batch below 1, a session of another model, or items that are no frames.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch is {batch}; expected 1 or more")
    session = session or Session(model)
    if session.model is not model:
        raise UsageError(f"the session belongs to another model than {model.name}; give the one it was made with")
    if isinstance(source, str | Path | int):
        source = open_video(source)
    if not isinstance(source, VideoReader):
        yield from _in_batches(source, session, batch or 1)
        return
    size = batch or (1 if source.info.live else FILE_BATCH)
    with source:
        if not source.ahead:
            yield from _in_batches(source, session, size)
            return
        picture = source.info.width * source.info.height * 3
        depth = max(2, min(2 * size, AHEAD_BYTES // max(1, picture)))
        # The thread must have ended before the reader is closed under it: the inner context.
        if source.live is None:
            ahead = Ahead(source, depth)
        else:
            depth = max(2, min(LIVE_DEPTH, AHEAD_BYTES // max(1, picture)))
            ahead = Ahead(
                source,
                depth,
                policy=source.live.policy,
                max_staleness=source.live.max_staleness,
                counts=source.counts,
            )
        with ahead as frames:
            yield from _in_batches(frames, session, size)


def _in_batches(frames: Iterable[Frame], session: Session, size: int) -> Iterator[tuple[Frame, Prediction]]:
    """Embeds `size` frames at once, but steps the memory one by one: it never runs ahead of the caller."""
    rest = iter(frames)
    while True:
        chunk: list[Frame] = []
        broke: SourceError | None = None
        try:
            for frame in rest:
                if not isinstance(frame, Frame):
                    raise UsageError(f"got {type(frame).__name__}; expected Frames (ArrayReader makes them of arrays)")
                chunk.append(frame)
                if len(chunk) == size:
                    break
        except SourceError as error:  # told after the frames that came before it
            broke = error
        embeddings = session.model.embed([frame.pixels for frame in chunk]) if chunk else None
        for i, frame in enumerate(chunk):
            assert embeddings is not None
            yield frame, session.push_embeddings([frame], embeddings[i : i + 1])[0]
        if broke is not None:
            raise broke
        if len(chunk) < size:
            return


@dataclass(slots=True)
class Summary:
    """What a run of `infer` did.

    Attributes:
        frames: frames predicted.
        media_seconds: from the first frame's time to the last one's.
        wall_seconds: what it took.
        flips, frame_flips: changes of the most probable label, with memory and by each frame alone.
        label_frames: for each label, the frames on which it was the most probable.
        repeated, backwards, gaps: as counted by `Session`.
        damaged, dropped, stale, reconnects: see `Counts`.
        interrupted: whether Ctrl-C ended it.
        outputs: the files and folders written.
        notes: what an output could not keep of its source, a line each.
    """

    frames: int = 0
    media_seconds: float = 0.0
    wall_seconds: float = 0.0
    flips: int = 0
    frame_flips: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    backwards: int = 0
    gaps: int = 0
    damaged: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
    interrupted: bool = False
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, prediction: Prediction, last: Prediction | None) -> None:
        """Take in one more frame's prediction, and that of the last instant before it."""
        self.frames += 1
        self.label_frames[prediction.label] = self.label_frames.get(prediction.label, 0) + 1
        if last is not None and prediction.time > last.time:  # as the overlay counts
            self.flips += prediction.label != last.label
            self.frame_flips += prediction.frame_label != last.frame_label


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
        batch: frames embedded at once, see `predict`.
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
        patience = stack.enter_context(Patience())
        for record in records:
            stack.enter_context(record)
        reader = stack.enter_context(source if isinstance(source, VideoReader) else open_video(source))
        target = stack.enter_context(_open_video_sink(Path(video), reader, codec, writer, stack)) if video else None
        last: Prediction | None = None
        first_time = 0.0
        loop = predict(reader, model, session=session, batch=batch)
        try:
            for frame, prediction in patience.over(loop):
                for record in records:
                    record.write(prediction)
                if target is not None or frames is not None:
                    annotated = overlay.annotate(frame, prediction)
                    for sink in (target, frames):
                        if sink is not None:
                            sink.write(annotated)
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
        finally:
            loop.close()  # type: ignore[attr-defined]  # a generator; ends the reading thread
        if last is None and summary.interrupted:
            raise KeyboardInterrupt  # there is nothing to finish
        if last is None:
            raise SourceError(f"{reader.info.name} has no frame {_between(reader.window)}")
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


def _between(window: Window) -> str:
    """A window in words."""
    if window.stop is None:
        return f"from second {window.start:g} on"
    return f"between {window.start:g} and {window.stop:g} s"


def _open_video_sink(path: Path, reader: VideoReader, codec: str, writer: str, stack: ExitStack) -> VideoSink:
    check_output(path, codec, writer)
    if writer == "opencv":
        from liquidvision.sinks.cvvideo import OpenCVVideoSink

        rate = reader.info.rate and reader.info.rate / reader.window.stride
        return OpenCVVideoSink(path, replace(reader.info, rate=rate))
    from liquidvision.sinks.video import AVVideoSink, StdoutVideoSink

    tracks = reader.tracks()
    if tracks is not None:
        stack.callback(tracks.close)
    begin = reader.begin + Fraction(reader.window.start)
    if path == STDOUT:
        return StdoutVideoSink(reader.info, begin=begin, codec=codec, tracks=tracks)
    return AVVideoSink(path, reader.info, begin=begin, codec=codec, tracks=tracks)


def check_output(path: Path, codec: str, writer: str) -> None:
    """Raise UsageError, before anything is read, where no such video can be written to `path`."""
    if writer not in WRITERS:
        raise UsageError(f"writer is {writer!r}; expected one of {', '.join(WRITERS)}")
    if writer == "opencv":
        from liquidvision.sinks.cvvideo import check_suffix

        check_suffix(path)
    else:
        from liquidvision.sinks.codecs import check_codec

        check_codec(path, codec)
