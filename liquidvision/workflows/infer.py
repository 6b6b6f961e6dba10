"""run_infer(): everything that `liquidvision infer` does, from a job to its outputs."""

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from liquidvision.annotation.interval_rule import SETTING_NAMES, IntervalRule
from liquidvision.errors import DependencyError, SinkError, SourceError, UsageError, WeightsError
from liquidvision.inference.batching import batched_model
from liquidvision.inference.interval_records import IntervalRecordSink, IntervalSink
from liquidvision.inference.intervals import IntervalTracker
from liquidvision.inference.pipeline import LookPlan
from liquidvision.inference.records import PredictionSink, RecordSink, StdoutRecordSink
from liquidvision.inference.session import Session, check_adapts, read_session_state
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import Overlay
from liquidvision.rendering.subtitle_sink import SubtitleSink, check_subtitle_suffix
from liquidvision.video.read.names import names_pictures, rate_missing
from liquidvision.video.read.open import open_video
from liquidvision.video.read.reader import LiveOptions, VideoReader
from liquidvision.video.write.image_folder import FrameFolder, check_image_format
from liquidvision.video.write.open import check_video_output
from liquidvision.video.write.sink import STDOUT
from liquidvision.workflows.annotation_sink import AnnotationSink
from liquidvision.workflows.event_outputs import EventOutputs
from liquidvision.workflows.infer_source import infer
from liquidvision.workflows.jobs import InferJob
from liquidvision.workflows.listener import OnFrame, SourceListener
from liquidvision.workflows.monitoring import SourceMonitor, serve_monitoring
from liquidvision.workflows.output_names import remember_output
from liquidvision.workflows.plans import (
    DRAWN,
    INTERVAL_SUFFIXES,
    SUBTITLES,
    InferPlan,
    SourceOutputs,
    check_look_ahead,
    plan_infer,
)
from liquidvision.workflows.source_pool import SourcePool
from liquidvision.workflows.source_summary import describe_recording


@dataclass(frozen=True, slots=True)
class InferResult:
    """What `run_infer` did.

    Attributes:
        summaries: the summaries of the sources that ran, by name, in the order in which they ended.
        errors: the errors of the sources that failed, by name.
        done_before: how many sources were skipped, since their outputs were complete.
        interrupted: whether Ctrl-C ended the job.
    """

    summaries: dict[str, Summary] = field(default_factory=dict)
    errors: dict[str, SourceError | SinkError] = field(default_factory=dict)
    done_before: int = 0
    interrupted: bool = False


def run_infer(job: InferJob, listener: SourceListener | None = None, *, plan: InferPlan | None = None) -> InferResult:
    """Run a model over all sources of a job, and write what it asks for.

    A source that fails does not end the others. Ctrl-C ends the job; sources that have ended keep their outputs.

    Args:
        job: what to do.
        listener: gets progress, and the summary or the error of each source.
        plan: from `plan_infer(job)`, where the caller has it already.

    Raises:
        UsageError: options with impossible values, or an output that already exists.
        ModelError, WeightsError: the model cannot be loaded.
        SinkError: the metrics port is not free, the folder for the state cannot be made, or the log or the queue of
            events cannot be used.
        DependencyError: metrics or MQTT are asked for, and their package is not installed.
    """
    listener, plan = listener or SourceListener(), plan or plan_infer(job)
    check_infer(job, plan)
    model = Model.from_pretrained(job.model, device=job.device, half=job.half)
    _look_plan(job).checked(model)
    if job.adapt:
        check_adapts(model)
    rule = interval_rule(job, model)
    listener.begin(plan)
    with ExitStack() as stack:
        monitor = None
        if job.metrics_port is not None:
            monitor = stack.enter_context(serve_monitoring(job.metrics_port, 2 * job.timeout))
        if plan.at_once > 1:
            model = stack.enter_context(batched_model(model))
        events = stack.enter_context(EventOutputs(job, model.labels, rule)) if job.on else None
        return _InferRun(job, plan, model, rule, listener, monitor, events).run()


def check_infer(job: InferJob, plan: InferPlan) -> None:
    """Raise UsageError for impossible values, before the model is loaded; make the folder for `state_out`.

    Raises:
        UsageError: a value out of its range.
        SinkError: the folder cannot be made.
        ModelError: `state_out` exists and is not a saved state, which is never overwritten.
    """
    _live_options(job)
    check_image_format(job.frames_format)
    _overlay(job)
    if job.annotate not in (DRAWN, SUBTITLES):
        raise UsageError(f"--annotate is {job.annotate!r}; expected {DRAWN} or {SUBTITLES}")
    for outputs in plan.sources:
        if outputs.video is not None and job.annotate == SUBTITLES:
            check_subtitle_suffix(outputs.video)
        elif outputs.video is not None:
            check_video_output(outputs.video, job.codec, job.writer)
    check_look_ahead(job.look_ahead)
    for name, value in (("--batch", job.batch), ("--max-frames", job.max_frames), ("--jobs", job.jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")
    if job.state_out:
        _make_parent(job.state_out)
        if os.path.exists(job.state_out):
            read_session_state(job.state_out)


def interval_rule(job: InferJob, model: Model) -> IntervalRule:
    """Return a model's rule for intervals, changed by the options of a job.

    Raises:
        UsageError: an option has an impossible value, or names a label that the model does not have.
    """
    options = {name: getattr(job, name) for name in SETTING_NAMES}
    rule = (model.interval_rule or IntervalRule()).change(**options)
    IntervalTracker(model.labels, rule)
    return rule


class _InferRun:
    """Runs the sources of one job."""

    def __init__(
        self,
        job: InferJob,
        plan: InferPlan,
        model: Model,
        rule: IntervalRule,
        listener: SourceListener,
        monitor: SourceMonitor | None,
        events: EventOutputs | None,
    ) -> None:
        self._job, self._plan, self._model, self._rule = job, plan, model, rule
        self._listener, self._monitor, self._events = listener, monitor, events
        self._names_lock = threading.Lock()
        self._pool, self._result = SourcePool(plan.at_once), InferResult(done_before=plan.done_before)

    def run(self) -> InferResult:
        try:
            self._pool.run_all(self._plan.sources, self._attempt)
        except _InterruptedError:
            return replace(self._result, interrupted=True)
        return self._result

    def _attempt(self, outputs: SourceOutputs) -> None:
        """Run one source; a fault of the source or of its outputs does not end the others."""
        try:
            summary = self._run_source(outputs)
        except (WeightsError, DependencyError, BrokenPipeError):
            raise
        except OSError as fault:
            if isinstance(fault, SourceError | SinkError):
                error: SourceError | SinkError = fault
            else:  # such as a name that is too long, or a folder that must not be read
                error = SourceError(f"{outputs.source} cannot be read: {fault.strerror or fault}")
                error.__cause__ = fault
            self._result.errors[outputs.source] = error
            self._listener.failed(outputs.source, error)
            return
        self._result.summaries[outputs.source] = summary
        if summary.interrupted:
            raise _InterruptedError

    def _run_source(self, outputs: SourceOutputs) -> Summary:
        """Run one source, from opening it to the final names of its outputs."""
        job = self._job
        session = Session(self._model, max_gap=job.max_gap, gap_policy=job.gap_policy, adapt=job.adapt)
        if job.state_in:
            session.load(job.state_in)
        with ExitStack() as stack:
            reader = stack.enter_context(_open_source(job, outputs.source))
            stack.enter_context(self._pool.closing_live(reader))
            intervals = [_interval_sink(outputs.intervals, reader, stack)] if outputs.intervals is not None else []
            video, records = outputs.video, _record_sinks(job, outputs, stack)
            if video is not None and job.annotate == SUBTITLES:
                records.append(SubtitleSink(video, reader, _overlay(job)))
                video = None
            fired = None if self._events is None else self._events.sink(reader, session)
            records += [] if fired is None else [fired]  # the last one: it is closed before the others are complete
            watched = None if self._monitor is None else stack.enter_context(self._monitor.watch(reader, session))
            on_first_look = None
            if _look_plan(job).whole:
                first = stack.enter_context(self._listener.progress(reader, job.max_frames, first_pass=True))
                on_first_look = self._pool.stoppable(first if watched is None else _both(first, watched.touch))
            with self._listener.progress(reader, job.max_frames) as on_frame:
                summary = infer(
                    reader,
                    self._model,
                    video=video,
                    records=records,
                    intervals=intervals,
                    interval_rule=self._rule,
                    frames=FrameFolder(outputs.frames, job.frames_format) if outputs.frames else None,
                    overlay=_overlay(job),
                    codec=job.codec,
                    writer=job.writer,
                    sound=not job.no_sound,
                    session=session,
                    batch=job.batch,
                    adaptive=job.adaptive,
                    two_pass=job.two_pass,
                    look_ahead=job.look_ahead,
                    shortest_run=job.shortest_run,
                    max_frames=job.max_frames,
                    continues=job.state_out is not None,
                    complete_only=job.resume or self._plan.count > 1,
                    on_frame=self._pool.stoppable(on_frame if watched is None else _both(on_frame, watched.record)),
                    on_first_look=on_first_look,
                )
        summary.events = {} if fired is None else fired.counts
        if job.state_out:
            _save_state(session, job.state_out)
        if not summary.interrupted:
            self._remember(outputs)
        self._listener.finished(reader.info.name, summary)
        return summary

    def _remember(self, outputs: SourceOutputs) -> None:
        """Note in folders of outputs which source the complete files belong to, for a later run with `resume`."""
        given = (self._job.out, self._job.save_json, self._job.save_csv, self._job.save_intervals)
        with self._names_lock:
            for path in outputs.files:
                if path is not None and path not in given and path != STDOUT:
                    remember_output(path, outputs.source)


class _InterruptedError(Exception):
    """Ends the other sources after Ctrl-C has ended one."""


def _both(first: OnFrame, second: OnFrame) -> OnFrame:
    def on_frame(prediction: Prediction) -> None:
        first(prediction)
        second(prediction)

    return on_frame


def _live_options(job: InferJob) -> LiveOptions:
    return LiveOptions(job.policy, job.max_staleness, job.reconnect, job.timeout)


def _look_plan(job: InferJob) -> LookPlan:
    return LookPlan(job.two_pass, job.look_ahead, job.shortest_run)


def _overlay(job: InferJob) -> Overlay:
    parts = [] if job.overlay == "none" else [part.strip() for part in job.overlay.split(",")]
    return Overlay(parts, top_k=job.top_k, conf=job.conf, compare=job.compare)


def _open_source(job: InferJob, source: str) -> VideoReader:
    pictures = names_pictures(source)
    if pictures and job.rate is None:  # one source among several: the others run
        raise SourceError(rate_missing(source))
    return open_video(
        source,
        start=job.start,
        stop=job.end,
        stride=job.vid_stride,
        reader=job.reader,
        strict=job.strict,
        max_pixels=job.max_pixels,
        live=_live_options(job),
        follow=job.follow,
        hwaccel=job.hwaccel,
        video_track=job.video_track,
        rate=job.rate if pictures else None,
        deinterlace=job.deinterlace,
    )


def _record_sinks(job: InferJob, outputs: SourceOutputs, stack: ExitStack) -> list[PredictionSink]:
    return [_record_sink(job, path, stack) for path in (outputs.json, outputs.csv) if path is not None]


def _record_sink(job: InferJob, path: Path, stack: ExitStack) -> RecordSink:
    """Return a sink for records; the stack removes its file where nothing was written to it."""
    contents: dict[str, Any] = {
        "top_k": job.top_k,
        "conf": job.conf,
        "per_frame": job.per_frame,
        "time_constants": job.time_constants,
        "hidden_state": job.hidden_state,
    }
    if path == STDOUT:
        return StdoutRecordSink(as_csv=job.save_csv == STDOUT, **contents)
    sink = RecordSink(path, **contents)
    stack.callback(sink.remove_empty_part)
    return sink


def _interval_sink(path: Path, reader: VideoReader, stack: ExitStack) -> IntervalSink:
    """Return a sink for intervals; the stack removes its file where nothing was written to it."""
    kind = IntervalRecordSink if path.suffix.lower() in INTERVAL_SUFFIXES[:2] else AnnotationSink
    sink = kind(path, describe_recording(reader))
    stack.callback(sink.remove_empty_part)
    return sink


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {path.parent}: {error.strerror}") from error


def _save_state(session: Session, path: Path) -> None:
    try:
        session.save(path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
