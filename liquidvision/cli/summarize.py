"""`liquidvision summarize`: a page about recordings."""

import sys

from liquidvision.cli.command import DONE, INTERRUPTED, SOME_FAILED, Messages, Option, job_command
from liquidvision.cli.options import OUTPUT, SHARED
from liquidvision.cli.startup import prepare_torch
from liquidvision.workflows.jobs import SummarizeJob

OPTIONS = {
    **{name: SHARED[name] for name in ("sources", "start", "end", "vid_stride", "rate", "deinterlace", "reader")},
    **{name: SHARED[name] for name in ("model", "device")},
    "out": Option("The page, an .html file, or a folder. Default: runs/summarize.", OUTPUT, ("-o", "--out")),
    "exist_ok": SHARED["exist_ok"],
}


@job_command(SummarizeJob, OPTIONS, quiet=True)
def summarize_command(job: SummarizeJob, messages: Messages) -> int:
    """Write a page about recordings: timelines, time budgets, and the moments to look at.

    Examples: liquidvision summarize night.mp4 -m my-model · liquidvision summarize recordings/ -o week.html
    """
    from liquidvision.workflows.summarize import plan_summarize

    plan_summarize(job)  # a wrong path is reported before the slow imports
    prepare_torch()
    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.workflows.summarize import run_summarize

    result, _ = run_summarize(job, InferOutput(messages))
    for error in result.errors.values():
        print(f"liquidvision: {error}", file=sys.stderr)
    if any(summary.interrupted for summary in result.summaries.values()):
        return INTERRUPTED
    return SOME_FAILED if result.errors else DONE
