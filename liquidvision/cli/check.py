"""`liquidvision check`: find problems of annotated videos before training."""

from liquidvision.cli.command import DONE, SOME_FAILED, Messages, job_command
from liquidvision.cli.options import FILES, SHARED
from liquidvision.errors import SourceError
from liquidvision.workflows.jobs import CheckJob

OPTIONS = {"data": SHARED["data"], "background": SHARED["background"], **FILES}


@job_command(CheckJob, OPTIONS)
def check_command(job: CheckJob, messages: Messages) -> int:
    """Read every file of annotated videos, and print what they contain and what is wrong.

    Examples: liquidvision check clips/ · liquidvision check intervals.csv --background idle
    """
    from liquidvision.cli.check_output import print_audit
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.workflows.check import check

    with TrainingOutput(messages) as output:
        report = check(job.data, background=job.background, rate=job.rate, deinterlace=job.deinterlace, listener=output)
    errors = report.errors
    if not report.usable.clips:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise SourceError(f"none of the videos of {job.data} can be read: {errors[0].text}{more}")
    print_audit(job.data, report, output)
    return SOME_FAILED if errors else DONE
