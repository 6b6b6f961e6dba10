"""check(): read every file of annotated videos and list what is wrong."""

from pathlib import Path

from liquidvision.data.audit import AuditReport, audit_dataset
from liquidvision.data.formats import read_clips
from liquidvision.video.read.file_options import FileOptions
from liquidvision.workflows.progress import ProgressListener


def check(
    data: str | Path,
    *,
    background: str = "background",
    rate: float | None = None,
    deinterlace: str = "auto",
    listener: ProgressListener | None = None,
) -> AuditReport:
    """Decode every file of annotated videos and compare it with its annotations, before training.

    Args:
        data: a folder of class folders (`clips/CLASS/clip.mp4`), a CSV with columns file,label or
            file,start,end,label, and group or split if there are, or a JSON in ActivityNet's form.
        background: the class of the time outside all intervals.
        rate: pictures per second; folders of pictures (`clips/CLASS/CLIP/0001.jpg`) are then clips too.
        deinterlace: see `open_video`.
        listener: receives the progress.

    Returns:
        The problems, errors first; the clips that can be used; clips, frames and seconds of each class. Printed, it
        lists the problems. Unreadable files are errors in the report and raise nothing.

    Raises:
        UsageError: the annotations cannot be read.

    Examples:
        >>> report = lv.check("clips/")
        >>> print(report)
        >>> for problem in report.errors:
        ...     print(problem.name, problem.text)
    """
    listener = listener or ProgressListener()
    files = FileOptions(rate, deinterlace)
    dataset = read_clips(data, background, files)
    done, total = 0, len(dataset.clips)

    def on_file(name: str) -> None:
        nonlocal done
        done += 1
        listener.progress("reading", done, total, name)

    listener.progress("reading", 0, total)
    return audit_dataset(dataset, files=files, on_file=on_file)
