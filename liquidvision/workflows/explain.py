"""run_explain(): one picture of labels, scores, hidden state and time constants over a video."""

from contextlib import ExitStack, closing
from pathlib import Path

from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.inference.pipeline import LookPlan, predict, predict_recorded
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.rendering.chart import ChartSink
from liquidvision.video.read.open import open_video
from liquidvision.workflows.jobs import ExplainJob
from liquidvision.workflows.listener import SourceListener
from liquidvision.workflows.plans import plan_explain
from liquidvision.workflows.source_summary import SummaryBuilder


def run_explain(job: ExplainJob, listener: SourceListener | None = None, *, path: Path | None = None) -> Summary:
    """Draw what a model's memory does over a video, in one picture.

    Ctrl-C ends the reading; what was seen is drawn. Nothing is drawn if a source that is read twice was not read once.

    Args:
        job: what to do.
        listener: gets progress and the summary.
        path: from `plan_explain(job)`, where the caller has it already.

    Raises:
        UsageError: an impossible value, or an output that already exists.
        ModelError, WeightsError: the model cannot be loaded.
        SourceError: the source cannot be opened, breaks off, or has no frame.
        SinkError: the picture cannot be written.
    """
    listener, path = listener or SourceListener(), path or plan_explain(job)
    model = Model.from_pretrained(job.model, device=job.device)
    session, plan = Session(model), LookPlan(job.two_pass, None, job.shortest_run).checked(model)
    with ExitStack() as stack:
        interrupt = stack.enter_context(DeferredInterrupt())
        reader = stack.enter_context(
            open_video(
                job.source,
                start=job.start,
                stop=job.end,
                stride=job.vid_stride,
                reader=job.reader,
                video_track=job.video_track,
                rate=job.rate,
                deinterlace=job.deinterlace,
            )
        )
        counter = SummaryBuilder(reader, session)
        chart = stack.enter_context(ChartSink(path, title=f"{reader.info.name} · model {model.name}"))
        if plan.whole:
            pairs = predict_recorded(reader, session, plan, max_frames=job.max_frames)
        else:
            pairs = predict(reader, model, session=session)
        loop = stack.enter_context(closing(pairs))
        on_frame = stack.enter_context(listener.progress(reader, job.max_frames))
        try:
            for frame, prediction in interrupt.interruptible(loop):
                chart.write(frame, prediction)
                counter.add(prediction, frame)
                on_frame(prediction)
                if counter.summary.frames == job.max_frames:
                    break
        except KeyboardInterrupt:
            counter.summary.interrupted = True
        counter.require_frames()
        counter.close_intervals()
    counter.summary.interrupted |= interrupt.requested
    summary = counter.finish([path])
    listener.finished(reader.info.name, summary)
    return summary
