"""What `infer` tells the person at the terminal: progress while it runs, a summary at the end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from liquidvision.cli.metrics import Metrics
from liquidvision.prediction import Prediction
from liquidvision.sources.reader import VideoReader
from liquidvision.summary import Summary


class Report:
    """Progress on the error stream, where that is a terminal; summaries on the output stream.

    Where a video is on the output stream (`piped`), the summaries too are on the error stream.
    """

    def __init__(self, *, quiet: bool, verbose: bool, piped: bool = False) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._out = Console(stderr=piped, highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False)

    @contextmanager
    def progress(
        self, reader: VideoReader, max_frames: int | None, metrics: Metrics | None = None
    ) -> Iterator[Callable[[Prediction], None]]:
        """A bar with frames per second and time left; gives what to call with each prediction."""
        info, window = reader.info, reader.window
        end = info.duration if window.stop is None else min(window.stop, info.duration or window.stop)
        total = max_frames if max_frames else None if end is None else max(end - window.start, 0.0)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[frames]} frames · {task.fields[rate]:.0f} frames/s · {task.fields[label]}"),
            TimeRemainingColumn(),
        )
        disable = self._quiet or not sys.stderr.isatty()
        with Progress(*columns, console=self._err, transient=True, disable=disable) as bar:
            task = bar.add_task(info.name, total=total, frames=0, rate=0.0, label="")
            last: Prediction | None = None
            frames = 0

            def on_frame(prediction: Prediction) -> None:
                nonlocal last, frames
                frames += 1
                if self._verbose and (last is None or prediction.label != last.label):
                    self._out.print(
                        f"{prediction.time:9.3f} s  {prediction.label}  {prediction.score:.0%}", markup=False
                    )
                last = prediction
                if metrics is not None:
                    metrics.count(prediction)
                elapsed = bar.tasks[task].elapsed or 0.0
                place = frames if max_frames else prediction.time - float(reader.begin) - window.start
                bar.update(
                    task,
                    completed=place,
                    frames=frames,
                    rate=frames / elapsed if elapsed else 0.0,
                    label=prediction.label,
                )

            yield on_frame

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
        }
        lines += [f"  {count} {what}" for what, count in counted.items() if count]
        lines += [f"  {note}" for note in summary.notes]
        lines += [f"  → {path}" for path in summary.outputs]
        for line in lines:
            self._out.print(line, markup=False)
