"""What `infer` does with events, from the fields of a job."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from liquidvision.annotation.interval_rule import IntervalRule
from liquidvision.errors import SourceError
from liquidvision.inference.session import Session
from liquidvision.triggers.actions import Program, Webhook
from liquidvision.triggers.clips import EventClips
from liquidvision.triggers.courier import Receiver
from liquidvision.triggers.dispatch import EventDispatcher, EventSink
from liquidvision.triggers.engine import EventEngine, EventOptions
from liquidvision.triggers.event import format_wall_clock
from liquidvision.triggers.event_log import EventLog
from liquidvision.triggers.mqtt import MqttBroker
from liquidvision.triggers.outbox import Outbox
from liquidvision.video.read.reader import VideoReader
from liquidvision.workflows.jobs import InferJob
from liquidvision.workflows.plans import parse_rules
from liquidvision.workflows.source_summary import describe_recording

DEFAULT_QUEUE = Path("runs") / "events.sqlite"


class EventOutputs:
    """The rules of a job, and who gets their events. A context manager, entered while sources run.

    Args:
        job: the job.
        labels: names of the model's classes.
        interval_rule: when a label holds.

    Raises:
        UsageError: a rule or an address is not valid, or a rule names a label that the model does not have.
        DependencyError: paho-mqtt is needed and not installed.
        SinkError: the log or the queue cannot be used.
    """

    def __init__(self, job: InferJob, labels: Sequence[str], interval_rule: IntervalRule) -> None:
        self._job, self._interval_rule = job, interval_rule
        self._rules = parse_rules(job)
        for rule in self._rules:
            rule.check_labels(labels)
        self._options = EventOptions(job.cooldown, job.update_every)
        self._clips = None
        if job.event_clips is not None:
            self._clips = EventClips(job.event_clips, job.clip_lead, job.clip_tail)
        receivers: list[Receiver] = [Program(command) for command in job.exec or ()]
        receivers += [Webhook(url) for url in job.webhook or ()]
        receivers += [MqttBroker(url) for url in job.mqtt or ()]
        self._stack = ExitStack()
        self._receivers, self._dispatcher = receivers, EventDispatcher(None, [], None)

    def __enter__(self) -> "EventOutputs":
        job = self._job
        with ExitStack() as failed:
            log = None
            if job.event_log is not None:
                log = EventLog(job.event_log, replace=job.exist_ok and not job.resume)
                failed.callback(log.close)
            outbox = Outbox(job.event_queue or DEFAULT_QUEUE) if self._receivers else None
            failed.pop_all()
        self._dispatcher = self._stack.enter_context(EventDispatcher(log, self._receivers, outbox))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sink(self, reader: VideoReader, session: Session) -> EventSink:
        """Return what fires the events of a source."""
        source, live = describe_recording(reader), reader.info.live
        engine = EventEngine(
            session.model.labels,
            self._rules,
            source=source,
            origin=float(reader.start_time),
            run=format_wall_clock(time.time()) if live else "",
            interval_rule=self._interval_rule,
            options=self._options,
            max_gap=session.clock.max_gap,
        )
        finish = None
        if self._clips is not None:
            if reader.path is None or live:
                raise SourceError(f"{reader.info.name} is no file, and --event-clips cuts from files; leave it out")
            finish = partial(self._clips.cut, source=reader.path, video_track=self._job.video_track)
        self._dispatcher.announce(source, [rule.name for rule in self._rules])
        return EventSink(
            engine, self._dispatcher.send, live=live, finish=finish, resumable=self._job.resume and not live
        )
