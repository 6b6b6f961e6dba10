"""The window of `liquidvision webcam`: shows a source with what the model makes of it, and obeys keys."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SinkError
from liquidvision.inference.pipeline import predict
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.rendering.panels import format_clock
from liquidvision.rendering.window import ESCAPE, ScreenWindow, StatusLine
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.read.open import open_video
from liquidvision.video.read.playback import Playback
from liquidvision.video.read.reader import VideoReader
from liquidvision.video.write.av_writer import AVVideoSink
from liquidvision.workflows import io_paths
from liquidvision.workflows.listener import SourceListener
from liquidvision.workflows.source_summary import SummaryBuilder

PARTS = ("label", "bars", "timeline", "tau")
MEMORY, ALONE, BOTH = VIEWS = ("with memory", "each frame alone", "each frame alone, and with memory")
KEYS = (
    ("space", "pause, and go on"),
    ("r", "reset the memory"),
    ("c", "with memory, each frame alone, or both"),
    ("v", "record to a file, and stop"),
    ("h", "show or hide this help"),
    ("q", "quit"),
)
TICK = 0.02  # seconds that the window may wait for a frame without looking at its keys
RECENT = 2.0  # seconds over which frames per second and delay are told


def view_source(
    source: str, model: str, recordings: Path, *, device: str = "auto", listener: SourceListener | None = None
) -> Summary:
    """Show a source in a window with what a model predicts, until the source ends or the user quits.

    Args:
        source: a path, a URL, or a camera index.
        model: a bundled model, a model folder, or torchvision:NAME.
        recordings: the folder for recordings.
        device: see `Model.from_pretrained`.
        listener: gets the summary.

    Raises:
        SourceError: the source cannot be opened, or broke off.
        SinkError: there is no display, or a recording cannot be written.
    """
    loaded = Model.from_pretrained(model, device=device)
    stem = io_paths.output_stem(source)
    with open_video(source) as reader:
        info = reader.info
        # The first frame is slow: kernels are compiled and memory is allocated. Not while the source plays.
        Session(loaded).push(Frame(np.zeros((info.height, info.width, 3), np.uint8), 0, 0, Fraction(1)))
        with ScreenWindow(f"liquidvision · {info.name}", info.width, info.height, info.pixel_aspect) as screen:
            viewer = Viewer(reader, Session(loaded), screen, lambda: io_paths.free_file(recordings, stem, ".mp4"))
            summary = viewer.run()
    if listener is not None:
        listener.finished(info.name, summary)
    return summary


class Screen(Protocol):
    """What the viewer asks of a window; see `ScreenWindow`."""

    @property
    def closed(self) -> bool: ...

    def show(self, image: np.ndarray, said: StatusLine) -> None: ...

    def key(self, seconds: float) -> str: ...


class Recorder:
    """Writes annotated frames to a new file for each recording, at the frames' own times. A context manager.

    Args:
        info: of the source.
        free: gives the next recording's path.
    """

    def __init__(self, info: VideoInfo, free: Callable[[], Path]) -> None:
        self.wanted, self.paths = False, list[Path]()
        self._info, self._free = info, free
        self._sink: AVVideoSink | None = None
        self._begin = 0.0

    def write(self, frame: Frame) -> None:
        """Take in an annotated frame: begin a file, write on, or finish it, as is wanted."""
        if not self.wanted:
            self.close()
            return
        if self._sink is None:
            self._sink = AVVideoSink(self._free(), self._info, start_time=frame.pts * frame.time_base)
            self._begin = frame.time
        self._sink.write(frame)

    @property
    def path(self) -> Path | None:
        """The file that is being written, if one is."""
        return None if self._sink is None else self._sink.path

    def seconds(self, time: float) -> float:
        """How long the file is that is being written, when the source's clock shows `time`."""
        return time - self._begin

    def close(self) -> None:
        """Finish the file that is being written, if one is."""
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.close()
            self.paths.append(sink.path)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._sink is not None and kind is not None and issubclass(kind, SinkError):
            self._sink.keep()  # the disk is full, say: what is written plays, under its temporary name
        else:
            self.close()  # a recording ends where its source does


class Viewer:
    """Plays a source in a window, until it ends or the person has seen enough.

    Args:
        reader: the source, open; it is closed here.
        session: the memory to go on with.
        screen: where it is shown.
        free: gives the path of the next recording.
    """

    def __init__(self, reader: VideoReader, session: Session, screen: Screen, free: Callable[[], Path]) -> None:
        self._source, self._session, self._screen = Playback(reader), session, screen
        self._recorder = Recorder(reader.info, free)
        self._view, self._paused, self._help, self._quit = MEMORY, False, False, False
        self._last: tuple[Frame, Prediction] | None = None
        self._annotated: Frame | None = None
        self._shown: deque[tuple[float, float]] = deque()  # when, and how long after the frame had come
        self._newest = time.monotonic()  # when the last frame was shown
        self._told = 0.0  # when the screen was last drawn
        self._forget()

    def _forget(self) -> None:
        self._session.reset()
        self._memory, self._alone = Overlay(PARTS).stream(), Overlay(PARTS).stream()

    def run(self) -> Summary:
        """Show the source until it ends, q is pressed or the window is closed; Ctrl-C too finishes a recording.

        Raises:
            SourceError: the source broke off.
            SinkError: a recording cannot be written.
        """
        counter = SummaryBuilder(self._source, self._session)
        with (
            DeferredInterrupt() as interrupt,
            self._recorder,
            Prefetcher(self._source, 1, policy="latest", counts=self._source.counts) as ahead,
        ):
            loop = predict(self._frames(ahead), self._session.model, session=self._session, batch=1)
            try:
                for frame, prediction in interrupt.interruptible(loop):
                    self._last = frame, prediction
                    self._recorder.write(self._annotate(frame, prediction))
                    self._newest = time.monotonic()
                    self._shown.append((self._newest, self._newest - ahead.arrival_time))
                    self._show()
                    counter.add(prediction)
            except KeyboardInterrupt:
                counter.summary.interrupted = True
            finally:
                loop.close()
                self._source.close()  # the thread may be waiting for a frame that nobody needs any more
        return counter.finish(list(self._recorder.paths))

    def _frames(self, ahead: Prefetcher[Frame]) -> Iterator[Frame]:
        """The frames to predict; between them, and while none comes, the window lives and its keys are obeyed."""
        frames = iter(ahead)
        while True:
            self._listen(TICK if self._paused else 0.0)
            if self._quit:
                return
            if self._paused or not ahead.wait_ready(TICK):
                if time.monotonic() - self._told > RECENT / 4:
                    self._show()
                continue
            frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def _listen(self, seconds: float) -> None:
        key = self._screen.key(seconds)
        if key in ("q", ESCAPE) or self._screen.closed:
            self._quit = True
        elif key == " ":
            self._paused = not self._paused
            self._source.set_paused(self._paused)
            self._shown.clear()  # the pause is no delay
        elif key == "r":
            self._forget()
            self._annotate_again()
        elif key == "c":
            self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
            self._annotate_again()
        elif key == "v":
            self._recorder.wanted = not self._recorder.wanted
        elif key in ("h", "?"):
            self._help = not self._help
        else:
            return
        self._show()

    def _annotate(self, frame: Frame, prediction: Prediction) -> Frame:
        """Draw what is to be seen of a frame; the timeline that is not shown takes note of it too."""
        by_frame = replace(prediction, scores=prediction.frame_scores, time_constants=None)
        self._memory.style = Overlay(PARTS, compare=self._view == BOTH)
        if self._view == ALONE:
            self._memory.see(prediction)
            self._annotated = self._alone.annotate(frame, by_frame)
        else:
            self._alone.see(by_frame)
            self._annotated = self._memory.annotate(frame, prediction)
        return self._annotated

    def _annotate_again(self) -> None:
        if self._last is not None:
            self._annotate(*self._last)

    def _show(self) -> None:
        if self._annotated is not None:
            self._screen.show(self._annotated.image, self._said())
        self._told = time.monotonic()

    def _said(self) -> StatusLine:
        now, left, right = time.monotonic(), [self._view], "h: help"
        while self._shown and self._shown[0][0] < now - RECENT:
            self._shown.popleft()
        if self._paused:
            left.append("paused")
        elif len(self._shown) > 1:
            span = self._shown[-1][0] - self._shown[0][0]
            delay = sum(delay for _, delay in self._shown) / len(self._shown)
            left += [f"{(len(self._shown) - 1) / span:.0f} frames/s", f"delay {1000 * delay:.0f} ms"]
        elif now - self._newest > RECENT:
            left.append(f"no picture for {now - self._newest:.0f} s")
        recording = self._recorder.path if self._recorder.wanted else None
        if recording is not None and self._last is not None:
            right = f"{recording.name} {format_clock(int(self._recorder.seconds(self._last[0].time)))}"
        elif self._recorder.paths:
            right = f"{self._recorder.paths[-1].name} is saved · {right}"
        return StatusLine(" · ".join(left), right, recording is not None, KEYS if self._help else ())
