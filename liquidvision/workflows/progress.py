"""How a long job reports its progress and its warnings."""

import logging

logger = logging.getLogger("liquidvision")


class ProgressListener:
    """Receives the progress and the warnings of a job. Override either method; both are called in the job's thread.

    By default warnings are logged by the logger "liquidvision", and progress is ignored.
    """

    def progress(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show how far the job is.

        Args:
            stage: what the job does now: "reading", "embedding", "training", "cross-validating", "evaluating" or
                "comparing". A new stage begins with its first call.
            done: steps of this stage that are done, 0..total. A resumed stage may start above 0.
            total: steps of this stage.
            detail: a few words on the last step, such as the file's name or the epoch's loss.
        """

    def warning(self, message: str) -> None:
        """Show a warning of one line, such as a clip that was left out."""
        logger.warning("%s", message)
