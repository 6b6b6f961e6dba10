"""What `infer` tells the person at the terminal: progress while it runs, a summary at the end."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from liquidvision.inference.summary import Summary
from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import VideoReader
from liquidvision.workflows.monitoring import MonitoredSource


class InferOutput:
    """Progress on the error stream, where that is a terminal; summaries on the output stream.

    Where a video is on the output stream (`piped`), the summaries too are on the error stream. Where there are
    `many` sources at once, lines say of which they speak.
    """

    def __init__(self, *, quiet: bool, verbose: bool, piped: bool = False, many: bool = False) -> None:
        self._quiet, self._verbose, self._many = quiet, verbose, many
        self._out = Console(stderr=piped, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[frames]} frames · {task.fields[rate]:.0f} frames/s · {task.fields[label]}"),
            TimeRemainingColumn(),
        )
        err = Console(stderr=True, highlight=False)
        self._bars = Progress(*columns, console=err, transient=True, disable=quiet or not sys.stderr.isatty())
        self._lock, self._shown = threading.Lock(), 0

    @contextmanager
    def progress(
        self, reader: VideoReader, max_frames: int | None, watched: MonitoredSource | None = None
    ) -> Iterator[Callable[[Prediction], None]]:
        """A bar with frames per second and time left; gives what to call with each prediction."""
        info, window = reader.info, reader.window
        end = info.duration if window.stop is None else min(window.stop, info.duration or window.stop)
        total = max_frames if max_frames else None if end is None else max(end - window.start, 0.0)
        last: Prediction | None = None
        frames, started = 0, time.monotonic()
        with self._bar(info.name, total) as task:

            def on_frame(prediction: Prediction) -> None:
                nonlocal last, frames
                frames += 1
                if self._verbose and (last is None or prediction.label != last.label):
                    where = f"{info.name}  " if self._many else ""
                    self._out.print(
                        f"{where}{prediction.time:9.3f} s  {prediction.label}  {prediction.score:.0%}", markup=False
                    )
                last = prediction
                if watched is not None:
                    watched.count(prediction)
                elapsed = time.monotonic() - started
                self._bars.update(
                    task,
                    completed=frames if max_frames else prediction.time - float(reader.start_time) - window.start,
                    frames=frames,
                    rate=frames / elapsed if elapsed else 0.0,
                    label=prediction.label,
                )

            yield on_frame

    @contextmanager
    def _bar(self, name: str, total: float | None) -> Iterator[TaskID]:
        """A bar of its own; they are on the screen while there is one."""
        with self._lock:
            self._shown += 1
            if self._shown == 1:
                self._bars.start()
        task = self._bars.add_task(name, total=total, frames=0, rate=0.0, label="")
        try:
            yield task
        finally:
            self._bars.remove_task(task)
            with self._lock:
                self._shown -= 1
                if self._shown == 0:
                    self._bars.stop()

    def done(self, name: str, summary: Summary) -> None:
        """What came of one source."""
        if self._quiet:
            return
        rate = summary.frames / summary.wall_seconds if summary.wall_seconds else 0.0
        pace = summary.media_seconds / summary.wall_seconds if summary.wall_seconds else 0.0
        stopped = ", interrupted" if summary.interrupted else ""
        lines = [
            f"{name}: {summary.frames} frames in {summary.wall_seconds:.1f} s{stopped} "
            f"({rate:.0f} frames/s, {pace:.1f} times the clip's own speed)"
        ]
        if summary.frames:
            shares = sorted(summary.label_frames.items(), key=lambda item: -item[1])
            seen = ", ".join(f"{label} {count / summary.frames:.0%}" for label, count in shares[:6])
            lines.append(f"  labels: {seen}{', ...' if len(shares) > 6 else ''}")
            lines.append(f"  flips: {summary.flips} with memory, {summary.frame_flips} by each frame alone")
        counted = {
            "times ran backwards": summary.backwards,
            "repeated frames": summary.repeated,
            "gaps": summary.gaps,
            "damaged packets or pictures": summary.damaged,
            "frames dropped, since later ones were there": summary.dropped,
            "frames dropped, since they had waited too long": summary.stale,
            "times lost and connected again": summary.reconnects,
            "frames added nothing, and were not embedded": summary.still,
        }
        lines += [f"  {count} {what}" for what, count in counted.items() if count]
        lines += [f"  {note}" for note in summary.notes]
        lines += [f"  → {path}" for path in summary.outputs]
        for line in lines:
            self._out.print(line, markup=False)
