"""`liquidvision convert`: turn annotations of one tool into those of another."""

from liquidvision.cli.command import Messages, Option, job_command
from liquidvision.cli.options import SHARED
from liquidvision.workflows.jobs import ConvertJob

FORMATS = (
    "csv, jsonl, boris, boris-tabular, boris-aggregated, boris-binary, elan, textgrid, audacity, webvtt, srt, cvat, "
    "label-studio, via, frame-table, activitynet or create-ml"
)
OPTIONS = {
    "source": Option("A file of annotations, or a folder of them.", flags=(), metavar="IN"),
    "out": Option("The file to write, or a folder for a file of each video.", flags=(), metavar="OUT"),
    "from_format": Option(
        f"Of {FORMATS}. Default: by the ending and what the file holds.", flags=("--from",), metavar="FORMAT"
    ),
    "to_format": Option("The same, or edl. Default: by the ending of OUT.", flags=("--to",), metavar="FORMAT"),
    "video": Option("The video, or the folder of the videos, if the annotations do not lead to them.", metavar="PATH"),
    "exist_ok": SHARED["exist_ok"],
}


@job_command(ConvertJob, OPTIONS, quiet=True)
def convert_command(job: ConvertJob, messages: Messages) -> None:
    """Convert annotations between BORIS, ELAN, Praat, CVAT, Label Studio, VIA and other tools, both ways.

    Examples: liquidvision convert labels.boris intervals.csv · liquidvision convert intervals.csv eaf/ --to elan
    """
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.workflows.convert import run_convert

    with TrainingOutput(messages) as output:
        done = run_convert(job, output)
        output.print(f"{done.intervals} intervals of {done.videos} videos, {done.title}")
        for path in done.files:
            output.print(f"  → {path}")
