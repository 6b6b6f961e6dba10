"""`liquidvision eval`: measure a model on annotated clips."""

from dataclasses import replace

from liquidvision.cli.command import Messages, OldOption, Option, job_command
from liquidvision.cli.options import FILES, MODEL, OUTPUT, SHARED
from liquidvision.cli.startup import import_torch
from liquidvision.workflows.jobs import EvaluateJob

TESTS, COMPARISON = "What to evaluate", "Comparison"

OPTIONS = {
    "data": SHARED["data"],
    "background": SHARED["background"],
    **FILES,
    "cache": SHARED["cache"],
    "model": Option("A model folder or a bundled model.", MODEL, ("-m", "--model")),
    "device": SHARED["device"],
    "part": Option(
        "auto, all, or the train, validation or test part of the data's split, else of the model's own. auto: clips "
        "that training did not see.",
        TESTS,
    ),
    "degrade": Option(
        "Test with noise, blur and darkness too, and with lost frames if the model crops around motion. Embeds every "
        "clip 9 more times, 18 with a motion crop.",
        TESTS,
    ),
    "two_pass": Option("Test two passes over each clip too; the model needs a backward head.", TESTS),
    "adapt": replace(SHARED["adapt"], panel=TESTS),
    "compare": Option(
        "Compare the head with other heads and simpler methods: cross-validated, or on the data's own split.",
        COMPARISON,
    ),
    "folds": Option("Folds of the comparison, where the data gives no split.", COMPARISON),
    "seeds": Option("Repetitions of the comparison, each with its own folds and initial weights.", COMPARISON),
    "save_json": Option("Write all figures into this file.", OUTPUT, old=OldOption("--json")),
    "report": Option("Write the report into this file, an HTML page.", OUTPUT),
    "exist_ok": SHARED["exist_ok"],
}


@job_command(EvaluateJob, OPTIONS, quiet=True)
def evaluate_command(job: EvaluateJob, messages: Messages) -> None:
    """Measure a model on annotated clips: accuracy, segments, flips, delays, calibration, robustness, speed.

    Example: liquidvision eval clips/ -m my-model --save-json scores.json --report scores.html
    """
    import_torch()
    from liquidvision.cli.training_output import TrainingOutput
    from liquidvision.workflows.evaluate import run_evaluate

    with TrainingOutput(messages) as output:
        evaluation = run_evaluate(job, output)
    output.print(evaluation.summary())
    output.print_comparison(evaluation.figures)
    for path in (job.save_json, job.report):
        if path is not None:
            output.print(f"  → {path}")
