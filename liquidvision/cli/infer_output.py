"""What `infer`, `explain` and `webcam` print: progress while they run, a summary at the end."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from liquidvision.cli.command import Messages
from liquidvision.errors import SinkError, SourceError
from liquidvision.inference.summary import Summary
from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import VideoReader
from liquidvision.workflows.listener import SourceListener
from liquidvision.workflows.plans import InferPlan

MAX_LABELS = 6  # in a summary


class InferOutput(SourceListener):
    """Prints progress on the error stream, if that is a terminal, and summaries on the output stream.

    Args:
        messages: what the user wants to read.
        plan: the plan of the job. Where it sends a video to the output stream, summaries go to the error stream. Where
            several sources run at once, each line names its source. Default: one source, no video there.
    """

    def __init__(self, messages: Messages, plan: InferPlan | None = None) -> None:
        self._messages, self._plan = messages, plan
        self._out = Console(stderr=plan is not None and plan.piped, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[frames]} frames · {task.fields[rate]:.0f} frames/s · {task.fields[label]}"),
            TimeRemainingColumn(),
        )
        err = Console(stderr=True, highlight=False)
        self._bars = Progress(*columns, console=err, transient=True, disable=messages.quiet or not sys.stderr.isatty())
        self._lock, self._shown = threading.Lock(), 0

    def begin(self, plan: InferPlan) -> None:
        """Print how many sources are skipped."""
        if plan.resumed and not self._messages.quiet:
            print(f"{plan.done_before} of {plan.count} sources are already complete", file=sys.stderr)

    @contextmanager
    def progress(
        self, reader: VideoReader, max_frames: int | None, *, first_pass: bool = False
    ) -> Iterator[Callable[[Prediction], None]]:
        """Show a bar with frames per second and the time left; yields what to call with each prediction."""
        info, window = reader.info, reader.window
        end = info.duration if window.stop is None else min(window.stop, info.duration or window.stop)
        total = max_frames if max_frames else None if end is None else max(end - window.start, 0.0)
        last: Prediction | None = None
        frames, started = 0, time.monotonic()
        with self._bar(f"{info.name}, first pass" if first_pass else info.name, total) as task:

            def on_frame(prediction: Prediction) -> None:
                nonlocal last, frames
                frames += 1
                if self._messages.verbose and not first_pass and (last is None or prediction.label != last.label):
                    where = f"{info.name}  " if self._plan is not None and self._plan.at_once > 1 else ""
                    self._out.print(
                        f"{where}{prediction.time:9.3f} s  {prediction.label}  {prediction.score:.0%}", markup=False
                    )
                last = prediction
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
        """Show a bar for one source; the bars are on the screen while there is at least one."""
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

    def failed(self, name: str, error: SourceError | SinkError) -> None:
        """Print why a source failed; raise it where there is no other source, or the user is debugging."""
        if self._messages.debug or self._plan is None or self._plan.count == 1:
            raise error
        print(f"liquidvision: {error}", file=sys.stderr)

    def finished(self, name: str, summary: Summary) -> None:
        """Print the summary of one source."""
        if self._messages.quiet:
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
            seen = ", ".join(f"{label} {count / summary.frames:.0%}" for label, count in shares[:MAX_LABELS])
            lines.append(f"  labels: {seen}{', ...' if len(shares) > MAX_LABELS else ''}")
            lines.append(f"  flips: {summary.flips} with memory, {summary.frame_flips} by each frame alone")
            lines += describe_intervals(summary)
        lines += [f"  events: {rule} {count}" for rule, count in summary.events.items()]
        if summary.adapted:
            lines.append("  adapted to the stream")
        counted = {
            "steps back in time": summary.backwards,
            "repeated frames": summary.repeated,
            "gaps": summary.gaps,
            "damaged packets or pictures": summary.damaged,
            "frames with an impossible time, placed between the frames around them": summary.outliers,
            "frames dropped because later ones had arrived": summary.dropped,
            "frames dropped because they had waited too long": summary.stale,
            "times reconnected": summary.reconnects,
            "frames skipped because they add nothing new": summary.skipped,
        }
        lines += [f"  {count} {what}" for what, count in counted.items() if count]
        lines += [f"  {note}" for note in summary.notes]
        lines += [f"  → {path}" for path in summary.outputs]
        for line in lines:
            self._out.print(line, markup=False)


def describe_intervals(summary: Summary) -> list[str]:
    """Return a line for each label that has intervals, those with most time first."""
    ordered = sorted(summary.intervals.items(), key=lambda item: -item[1].seconds)
    lines = [
        f"  {label}: {own.count} interval{'' if own.count == 1 else 's'}, {own.seconds:.1f} s, "
        f"mean {own.mean_seconds:.1f} s, first after {own.latency:.1f} s"
        for label, own in ordered[:MAX_LABELS]
    ]
    return [*lines, f"  {len(ordered) - MAX_LABELS} more labels have intervals"] if ordered[MAX_LABELS:] else lines
