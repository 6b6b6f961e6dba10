"""The window of `liquidvision webcam`: plays a source with the model's predictions, and is controlled by keys."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.errors import SinkError
from liquidvision.inference.pipeline import LookPlan, predict
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
    ("space", "pause and resume"),
    ("r", "reset the memory"),
    ("c", "show the answer with memory, of each frame alone, or both"),
    ("v", "start and stop recording to a file"),
    ("h", "show or hide this help"),
    ("q", "quit"),
)
KEY_INTERVAL = 0.02  # seconds at most between two looks at the keys
RATE_WINDOW = 2.0  # seconds over which the frame rate and the delay are averaged


def view_source(
    source: str,
    model: str,
    recordings: Path,
    *,
    rate: float | None = None,
    deinterlace: str = "auto",
    device: str = "auto",
    adapt: bool = False,
    look_ahead: float | None = None,
    listener: SourceListener | None = None,
) -> Summary:
    """Show a source in a window with what a model predicts, until the source ends or the user quits.

    Args:
        source: a path, a URL, or a camera index.
        model: a bundled model, a model folder, or torchvision:NAME.
        recordings: the folder for recordings.
        rate, deinterlace: see `open_video`.
        device: see `Model.from_pretrained`.
        adapt: see `Session`.
        look_ahead: see `predict`.
        listener: gets the summary.

    Raises:
        UsageError: the model cannot adapt, or has no backward head to look ahead with.
        SourceError: the source cannot be opened, or broke off.
        SinkError: there is no display, or a recording cannot be written.
    """
    loaded = Model.from_pretrained(model, device=device)
    session = Session(loaded, adapt=adapt)
    LookPlan(look_ahead=look_ahead).checked(loaded)
    stem = io_paths.output_stem(source)
    with open_video(source, rate=rate, deinterlace=deinterlace) as reader:
        info = reader.info
        # The first frame is slow: kernels are compiled and memory is allocated. Not while the source plays.
        Session(loaded).push(Frame(np.zeros((info.height, info.width, 3), np.uint8), 0, 0, Fraction(1)))
        with ScreenWindow(f"liquidvision · {info.name}", info.width, info.height, info.pixel_aspect) as screen:
            next_path = partial(io_paths.free_file, recordings, stem, ".mp4")
            summary = Viewer(reader, session, screen, next_path, look_ahead).run()
    if listener is not None:
        listener.finished(info.name, summary)
    return summary


class Screen(Protocol):
    """What the viewer needs of a window; see `ScreenWindow`."""

    @property
    def closed(self) -> bool: ...

    def show(self, image: np.ndarray, status: StatusLine, /) -> None: ...

    def read_key(self, seconds: float, /) -> str: ...


class Recorder:
    """Writes annotated frames to a new file for each recording, at the frames' own times. A context manager.

    Args:
        info: the source's `VideoInfo`.
        next_path: returns the path of the next recording.

    Attributes:
        wanted: whether the next frame is to be recorded.
        paths: the finished recordings.
    """

    def __init__(self, info: VideoInfo, next_path: Callable[[], Path]) -> None:
        self.wanted, self.paths = False, list[Path]()
        self._info, self._next_path = info, next_path
        self._sink: AVVideoSink | None = None
        self._start = 0.0

    def write(self, frame: Frame) -> None:
        """Record an annotated frame if `wanted`, in a new file if none is open; else finish the file."""
        if not self.wanted:
            self.close()
            return
        if self._sink is None:
            self._sink = AVVideoSink(self._next_path(), self._info, start_time=frame.pts * frame.time_base)
            self._start = frame.time
        self._sink.write(frame)

    @property
    def path(self) -> Path | None:
        """The file that is being written, or None."""
        return None if self._sink is None else self._sink.path

    def seconds(self, time: float) -> float:
        """Return the length of the file that is being written when the source's clock shows `time`."""
        return time - self._start

    def close(self) -> None:
        """Finish the file that is being written, if any."""
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.close()
            self.paths.append(sink.path)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._sink is not None and kind is not None and issubclass(kind, SinkError):
            self._sink.keep()  # such as a full disk: what is written plays, under its temporary name
        else:
            self.close()  # a recording ends where its source does


class Viewer:
    """Plays a source in a window until it ends or the user quits.

    Args:
        reader: the source, open; it is closed here.
        session: the memory; it is reset.
        screen: the window.
        next_path: returns the path of the next recording.
        look_ahead: see `predict`; frames are shown that much later.
    """

    def __init__(
        self,
        reader: VideoReader,
        session: Session,
        screen: Screen,
        next_path: Callable[[], Path],
        look_ahead: float | None = None,
    ) -> None:
        self._look_ahead = look_ahead
        self._source, self._session, self._screen = Playback(reader), session, screen
        self._recorder = Recorder(reader.info, next_path)
        self._view, self._paused, self._help, self._quit = MEMORY, False, False, False
        self._last: tuple[Frame, Prediction] | None = None
        self._annotated: Frame | None = None
        self._recent: deque[tuple[float, float]] = deque()  # of frames: when shown, and how long after their arrival
        self._last_frame_at = time.monotonic()
        self._last_drawn_at = 0.0
        self._reset()

    def _reset(self) -> None:
        """Forget the stream."""
        self._session.reset()
        self._memory, self._alone = Overlay(PARTS).stream(), Overlay(PARTS).stream()

    def run(self) -> Summary:
        """Play the source until it ends, q is pressed, the window is closed, or Ctrl-C; a recording is finished.

        Raises:
            SourceError: the source broke off.
            SinkError: a recording cannot be written.
        """
        counter = SummaryBuilder(self._source, self._session)
        with (
            DeferredInterrupt() as interrupt,
            self._recorder,
            Prefetcher(self._source, 1, policy="latest", counts=self._source.counts) as prefetcher,
        ):
            loop = predict(
                self._frames(prefetcher),
                self._session.model,
                session=self._session,
                batch=1,
                look_ahead=self._look_ahead,
            )
            try:
                for frame, prediction in interrupt.interruptible(loop):
                    self._last = frame, prediction
                    self._recorder.write(self._annotate(frame, prediction))
                    self._last_frame_at = time.monotonic()
                    self._recent.append((self._last_frame_at, self._last_frame_at - prefetcher.arrival_time))
                    self._draw()
                    counter.add(prediction, frame)
            except KeyboardInterrupt:
                counter.summary.interrupted = True
            finally:
                loop.close()
                self._source.close()  # the thread may be waiting for a frame that nobody needs any more
        counter.close_intervals()
        return counter.finish(list(self._recorder.paths))

    def _frames(self, prefetcher: Prefetcher[Frame]) -> Iterator[Frame]:
        """Yield the frames to predict; between them, and while none comes, handle keys and draw the window."""
        frames = iter(prefetcher)
        while True:
            self._handle_key(KEY_INTERVAL if self._paused else 0.0)
            if self._quit:
                return
            if self._paused or not prefetcher.wait_ready(KEY_INTERVAL):
                if time.monotonic() - self._last_drawn_at > RATE_WINDOW / 4:
                    self._draw()
                continue
            frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def _handle_key(self, seconds: float) -> None:
        """Wait up to `seconds` for a key, and do what it stands for."""
        key = self._screen.read_key(seconds)
        if key in ("q", ESCAPE) or self._screen.closed:
            self._quit = True
        elif key == " ":
            self._paused = not self._paused
            self._source.set_paused(self._paused)
            self._recent.clear()  # a pause is not a delay
        elif key == "r":
            self._reset()
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
        self._draw()

    def _annotate(self, frame: Frame, prediction: Prediction) -> Frame:
        """Draw the current view of a frame; the timeline of the other view takes the prediction in, too."""
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
        """Draw the last frame again, after the view has changed."""
        if self._last is not None:
            self._annotate(*self._last)

    def _draw(self) -> None:
        """Show the last annotated frame and the status line."""
        if self._annotated is not None:
            self._screen.show(self._annotated.image, self._status())
        self._last_drawn_at = time.monotonic()

    def _status(self) -> StatusLine:
        """Return the view, the frame rate and the delay for the left end, the recording for the right end."""
        now, left, right = time.monotonic(), [self._view], "h: help"
        if self._look_ahead is not None:
            left.append(f"looking {self._look_ahead:g} s ahead, that much later")
        while self._recent and self._recent[0][0] < now - RATE_WINDOW:
            self._recent.popleft()
        if self._paused:
            left.append("paused")
        elif len(self._recent) > 1:
            span = self._recent[-1][0] - self._recent[0][0]
            delay = sum(delay for _, delay in self._recent) / len(self._recent)
            left += [f"{(len(self._recent) - 1) / span:.0f} frames/s", f"delay {1000 * delay:.0f} ms"]
        elif now - self._last_frame_at > RATE_WINDOW:
            left.append(f"no picture for {now - self._last_frame_at:.0f} s")
        recording = self._recorder.path if self._recorder.wanted else None
        if recording is not None and self._last is not None:
            right = f"{recording.name} {format_clock(int(self._recorder.seconds(self._last[0].time)))}"
        elif self._recorder.paths:
            right = f"{self._recorder.paths[-1].name} is saved · {right}"
        return StatusLine(" · ".join(left), right, recording is not None, KEYS if self._help else ())
