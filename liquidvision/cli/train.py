"""`liquidvision train`: train a classifier with memory on your own clips."""

import shlex
from dataclasses import replace

from liquidvision.cli.command import Messages, Option, job_command
from liquidvision.cli.options import DATA, FILES, MODEL, MOTION_CROP, OUTPUT, SHARED
from liquidvision.cli.startup import import_torch
from liquidvision.workflows.jobs import TrainJob

TRAINING = "Training"

OPTIONS = {
    "data": SHARED["data"],
    "background": SHARED["background"],
    "vid_stride": replace(SHARED["vid_stride"], panel=DATA),
    **FILES,
    "views": Option("Also train on augmented copies, comma-separated: mirror, crop:SEED, light:SEED.", DATA),
    "cache": SHARED["cache"],
    "backbone": Option("A torchvision classifier, or a liquidvision model to take the backbone from.", MODEL),
    "weights": Option("A file with the classifier's weights. Default: ImageNet's, downloaded.", MODEL),
    "features": Option("Nodes of the classifier and the sides of their grids.", MODEL, metavar="NODE:SIDE,..."),
    "motion_crop": MOTION_CROP,
    "traces": Option("Time constants of the traces in seconds.", MODEL, metavar="S,S,..."),
    "head": Option(
        "The cell: gated, ltc, conductance, cfc, selective, resonant or lru; to compare with: gru, gru-dt, gru-d, "
        "gru-power, gru-no-reset, min-gru, lstm or none.",
        MODEL,
    ),
    "device": SHARED["device"],
    "epochs": Option("Passes over all clips. Default: by the number of clips, 10 to 80.", TRAINING),
    "seed": Option("Seed of all random numbers.", TRAINING),
    "folds": Option(
        "Cross-validate with this many folds, then train on all clips. 0: one split. Default: up to 5 with fewer than "
        "50 groups, else 0.",
        TRAINING,
    ),
    "seeds": Option("Repetitions of the cross-validation, each with its own folds and initial weights.", TRAINING),
    "two_pass": Option("Also train a backward head, for two passes of infer. Takes twice as long.", TRAINING),
    "refit": Option(
        "After one split, train again on all clips, except on a test part that the data gives.",
        TRAINING,
        ("--refit/--no-refit",),
    ),
    "out": Option("The model folder to make.", OUTPUT, ("-o", "--out")),
    "resume": Option("Continue the training that was begun in the model folder.", OUTPUT),
    "tensorboard": Option("Write TensorBoard scalars into the model folder too.", OUTPUT),
    "exist_ok": SHARED["exist_ok"],
}


@job_command(TrainJob, OPTIONS, quiet=True)
def train_command(job: TrainJob, messages: Messages) -> None:
    """Train a classifier with memory on your own clips.

    The clips are split by group into training, validation and test, or with few groups cross-validated: every clip is
    judged by heads that never saw it. Then the model is trained on all clips; the scores are those of before. A test
    part that the data gives is never trained on. Embeddings are computed once and kept.

    Examples: liquidvision train clips/ -o my-model · liquidvision train clips.csv -o my-model --folds 5 --seeds 3
    """
    import_torch()
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.workflows.train import run_train

    with TrainingOutput(messages) as output:
        result = run_train(job, output)
    training = result.evaluation["training"]
    epochs, best = training["epochs"], training["best"]
    earlier = "" if best == epochs[-1] else f", best at {best}"
    output.print(f"trained: {len(epochs)} epochs{earlier}, {output.seconds('training'):.0f} s")
    output.print(result.evaluation.summary())
    if "refit" in training:
        output.print(f"trained again: {len(training['refit']['epochs'])} epochs, {output.seconds('refitting'):.0f} s")
    if job.seeds > 1:
        output.print(f"  these of the first seed; of all {job.seeds}:")
    output.print_comparison(result.evaluation.figures)
    output.print(f"  → {job.out}: liquidvision infer clip.mp4 -m {shlex.quote(str(job.out))}")
