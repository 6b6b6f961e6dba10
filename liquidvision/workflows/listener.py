"""What a run over sources reports while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from liquidvision.errors import SinkError, SourceError
from liquidvision.inference.summary import Summary
from liquidvision.prediction import Prediction
from liquidvision.video.read.reader import VideoReader
from liquidvision.workflows.plans import InferPlan

OnFrame = Callable[[Prediction], None]


class SourceListener:
    """What `run_infer` and `run_explain` report while they run. Does nothing; override the methods of interest.

    Sources that run at the same time report from threads of their own.
    """

    def begin(self, plan: InferPlan) -> None:
        """Called once by `run_infer`, when the job is checked and the model is loaded."""

    @contextmanager
    def progress(self, reader: VideoReader, max_frames: int | None, *, first_pass: bool = False) -> Iterator[OnFrame]:
        """Entered while a source runs; yields what to call with each prediction.

        A source that is read twice has two: `first_pass` is for the reading before anything is written.
        """
        yield lambda prediction: None

    def finished(self, name: str, summary: Summary) -> None:
        """Called when a source has ended and its outputs are written."""

    def failed(self, name: str, error: SourceError | SinkError) -> None:
        """Called by `run_infer` when a source could not be run. An exception raised here ends the job."""
