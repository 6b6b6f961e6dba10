"""`liquidvision explain`: one picture of what the memory does over a video."""

from liquidvision.cli.command import DONE, INTERRUPTED, Messages, Option, job_command
from liquidvision.cli.options import OUTPUT, SHARED
from liquidvision.cli.startup import prepare_torch
from liquidvision.workflows.jobs import ExplainJob
from liquidvision.workflows.plans import plan_explain

OPTIONS = {
    **{name: SHARED[name] for name in ("source", "start", "end", "vid_stride", "max_frames", "video_track")},
    **{name: SHARED[name] for name in ("rate", "deinterlace", "reader")},
    **{name: SHARED[name] for name in ("model", "device", "two_pass", "shortest_run")},
    "out": Option("A .png, .svg or .pdf, or a folder. Default: runs/explain.", OUTPUT, ("-o", "--out")),
    "exist_ok": SHARED["exist_ok"],
}


@job_command(ExplainJob, OPTIONS, quiet=True)
def explain_command(job: ExplainJob, messages: Messages) -> int:
    """Draw labels, scores, hidden state and time constants over time, in one picture.

    Examples: liquidvision explain clip.mp4 · liquidvision explain clip.mp4 --start 60 --end 90 -o minute.svg
    """
    path = plan_explain(job)  # a wrong path is reported before the slow imports
    prepare_torch()
    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.workflows.explain import run_explain

    summary = run_explain(job, InferOutput(messages), path=path)
    return INTERRUPTED if summary.interrupted else DONE
