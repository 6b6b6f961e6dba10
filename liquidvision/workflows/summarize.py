"""run_summarize(): a page about recordings: what happens in them, and when."""

from contextlib import ExitStack, closing
from pathlib import Path

from liquidvision.concurrency.interrupt import DeferredInterrupt
from liquidvision.errors import SourceError, UsageError
from liquidvision.inference.pipeline import predict
from liquidvision.inference.session import Session
from liquidvision.inference.summary import Summary
from liquidvision.models.model import Model
from liquidvision.report.digest import RecordingDigest
from liquidvision.report.recording_page import write_recording_page
from liquidvision.video.read.names import check_rate, names_pictures
from liquidvision.video.read.open import open_video
from liquidvision.workflows import io_paths
from liquidvision.workflows.infer import InferResult
from liquidvision.workflows.jobs import SummarizeJob
from liquidvision.workflows.listener import SourceListener
from liquidvision.workflows.source_summary import SummaryBuilder

FEW, MANY = 24, 8  # thumbnails of a recording, where there are few recordings, and many
MANY_RECORDINGS = 5


def plan_summarize(job: SummarizeJob) -> tuple[list[str], Path]:
    """Return the sources of a job and the path of the page. Nothing is created.

    Raises:
        UsageError: the output is no .html, or already exists; or there are no sources.
        SourceError: a list of sources that cannot be read.
    """
    names = io_paths.expand_sources(job.sources, pictures=job.rate is not None)
    check_rate(names, job.rate, " ".join(job.sources))
    if not names:
        raise UsageError(f"{' '.join(job.sources)} holds no videos")
    if job.out is not None:
        io_paths.check_output_suffix(job.out, (".html",))
    first = [names[0] if len(names) == 1 else "summary"]
    (path,) = io_paths.output_paths(
        first, job.out, exist_ok=job.exist_ok, suffix=".html", default=Path("runs") / "summarize"
    )
    return names, path


def run_summarize(job: SummarizeJob, listener: SourceListener | None = None) -> tuple[InferResult, Path]:
    """Predict recordings and write a page about them: timelines, time budgets, and stills.

    A recording that fails is named on the page. Ctrl-C ends the reading; the page shows what was seen.

    Returns:
        The summaries and errors by source, and the path of the page.

    Raises:
        UsageError: an impossible value, or an output that already exists.
        ModelError, WeightsError: the model cannot be loaded.
        SourceError: no recording can be read.
        SinkError: the page cannot be written.
    """
    listener, (names, path) = listener or SourceListener(), plan_summarize(job)
    model = Model.from_pretrained(job.model, device=job.device)
    result, pictures = InferResult(), FEW if len(names) < MANY_RECORDINGS else MANY
    pages: list[tuple[RecordingDigest, Summary]] = []
    for name in names:
        try:
            digest, summary = summarize_source(job, name, model, listener, pictures)
        except SourceError as error:
            if len(names) == 1:
                raise
            result.errors[name] = error
            continue
        pages.append((digest, summary))
        result.summaries[name] = summary
        listener.finished(digest.name, summary)
        if summary.interrupted:
            break
    if not pages:
        raise SourceError(f"none of the {len(names)} recordings can be read")
    failed = {name: str(error) for name, error in result.errors.items()}
    write_recording_page(path, pages, model.labels, model.name, failed)
    for _, summary in pages:
        summary.outputs = [path]
    return result, path


def summarize_source(
    job: SummarizeJob, source: str, model: Model, listener: SourceListener, pictures: int
) -> tuple[RecordingDigest, Summary]:
    """Predict one recording; return what the page needs, and the summary.

    Raises:
        SourceError: the source cannot be opened, breaks off, or has no frame.
    """
    session = Session(model)
    with ExitStack() as stack:
        interrupt = stack.enter_context(DeferredInterrupt())
        reader = stack.enter_context(
            open_video(
                source,
                start=job.start,
                stop=job.end,
                stride=job.vid_stride,
                reader=job.reader,
                rate=job.rate if names_pictures(source) else None,
                deinterlace=job.deinterlace,
            )
        )
        if reader.live_options is not None:
            raise SourceError(f"{source} is live and has no end; record it first, or use infer --save-intervals")
        counter = SummaryBuilder(reader, session)
        digest = RecordingDigest(reader.info.name, pictures, float(reader.start_time))
        loop = stack.enter_context(closing(predict(reader, model, session=session)))
        on_frame = stack.enter_context(listener.progress(reader, None))
        try:
            for frame, prediction in interrupt.interruptible(loop):
                digest.see(frame, prediction, counter.add(prediction, frame))
                on_frame(prediction)
        except KeyboardInterrupt:
            counter.summary.interrupted = True
        counter.require_frames()
        digest.intervals += counter.close_intervals()
    counter.summary.interrupted |= interrupt.requested
    return digest, counter.finish([])
