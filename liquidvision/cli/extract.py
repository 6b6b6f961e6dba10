"""`liquidvision extract`: embed videos ahead of training and evaluation."""

from dataclasses import replace

from liquidvision.cli.command import DONE, FAILED, SOME_FAILED, Messages, Option, job_command
from liquidvision.cli.options import DATA, FILES, MODEL, MOTION_CROP, SHARED
from liquidvision.cli.startup import import_torch
from liquidvision.workflows.jobs import ExtractJob

OPTIONS = {
    "sources": Option(
        "Annotated data (a folder of class folders, a CSV, a JSON), or videos and folders of them.",
        flags=(),
        metavar="SOURCE",
    ),
    "views": Option(
        "What to embed, comma-separated: plain, mirror, crop:SEED, light:SEED, noise:SIGMA, blur:PERCENT, dark:GAIN.",
        DATA,
    ),
    "vid_stride": replace(SHARED["vid_stride"], panel=DATA),
    **FILES,
    "cache": SHARED["cache"],
    "model": Option("Take the backbone of this model.", MODEL, ("-m", "--model")),
    "backbone": Option("A torchvision classifier. Default: mobilenet_v2.", MODEL),
    "weights": Option("A file with the classifier's weights. Default: ImageNet's, downloaded.", MODEL),
    "features": Option("Nodes of the classifier and the sides of their grids.", MODEL, metavar="NODE:SIDE,..."),
    "motion_crop": MOTION_CROP,
    "device": SHARED["device"],
}


@job_command(ExtractJob, OPTIONS, quiet=True)
def extract_command(job: ExtractJob, messages: Messages) -> int:
    """Embed videos and keep the result, so that `train` and `eval` start at once. Can be interrupted and repeated.

    Examples: liquidvision extract clips/ --views plain,mirror · liquidvision extract clips.csv -m my-model
    """
    import_torch()
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.workflows.embed import run_extract

    with TrainingOutput(messages) as output:
        result = run_extract(job, output)
    for error in result.failed.values():
        output.warning(str(error))
    pace = "nothing to embed"
    if result.new:
        rate = result.frames / result.seconds
        pace = f"{result.frames} frames in {result.seconds:.1f} s ({rate:.0f} frames/s)"
    existed = f"{result.done - result.new} of {result.done} already existed"
    output.print(f"{result.videos} videos, views {', '.join(result.views)}: {pace}; {existed}")
    output.print(f"  → {result.folder}")
    if not result.failed:
        return DONE
    return FAILED if len(result.failed) == result.videos else SOME_FAILED
