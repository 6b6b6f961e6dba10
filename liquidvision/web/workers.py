"""The two threads that compute for all clients: one for inference, one for training and packing."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from liquidvision.errors import first_line
from liquidvision.training.few_shot import Example, TeachResult, teach
from liquidvision.web.connection import Connection, note_message
from liquidvision.web.shared_model import SharedModel
from liquidvision.web.teaching import TaughtClass

log = logging.getLogger(__name__)
T = TypeVar("T")
SendMessage = Callable[[dict[str, Any]], Any]  # sends a message to one client
PROGRESS_INTERVAL = 0.1  # seconds between two checks of a training's progress
TRAINING_SECONDS = 3.5  # so that a head is in use within 5 seconds, including all overhead


class Workers:
    """The two threads. Each works through its tasks in order.

    A connection submits one inference task at a time, so that all connections take turns.

    Args:
        shared: the networks.
    """

    def __init__(self, shared: SharedModel) -> None:
        self.shared = shared
        self._inference = ThreadPoolExecutor(1, "liquidvision-inference")
        self._background = ThreadPoolExecutor(1, "liquidvision-background")

    async def run_inference(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` in the inference thread and return its result. All access to a `Connection` goes here."""
        return await asyncio.get_running_loop().run_in_executor(self._inference, work, *arguments)

    async def run_background(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` in the background thread, for training, packing and unpacking, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._background, work, *arguments)

    def close(self) -> None:
        """Finish running tasks and cancel waiting ones."""
        for executor in (self._inference, self._background):
            executor.shutdown(wait=True, cancel_futures=True)


class TrainingCancelledError(Exception):
    """The training is no longer needed: another was requested, or the client is gone."""


class TrainingQueue:
    """Runs the trainings of one connection, one at a time.

    Args:
        workers: the threads.
        connection: provides the examples and gets the head.
    """

    def __init__(self, workers: Workers, connection: Connection) -> None:
        self._workers, self._connection = workers, connection
        self._requested = self._closed = False
        self._task: asyncio.Task[None] | None = None

    def request(self, send: SendMessage) -> None:
        """Train on all examples; a running training is cancelled and replaced."""
        self._requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(send))

    async def close(self) -> None:
        """Cancel all trainings, because the client is gone, and wait for the end of the running one."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, send: SendMessage) -> None:
        while self._requested and not self._closed:
            self._requested = False
            classes, examples = await self._workers.run_inference(self._connection.teaching.training_set)
            if len(classes) < 2:
                await send(note_message("record examples of at least two classes; three or more of each are better"))
                return
            try:
                result = await self._train(classes, examples, send)
            except Exception as error:
                log.exception("a training failed")
                await send(note_message(f"the training failed: {first_line(error)}"))
                return
            if result is None or self._closed:
                continue
            await self._workers.run_inference(self._connection.use_head, result.head, classes, result.plan.first_dt)
            await send(
                {
                    "type": "trained",
                    "seconds": round(result.seconds, 2),
                    "epochs": result.epochs,
                    "examples": len(examples),
                    "right": result.right,
                }
            )
            await send(await self._workers.run_inference(self._connection.teaching_message))

    async def _train(
        self, classes: list[TaughtClass], examples: list[Example], send: SendMessage
    ) -> TeachResult | None:
        """Train in the background thread and report progress; None if it was cancelled."""
        progress: list[tuple[int, int]] = [(0, 0)]  # written by the background thread
        job = asyncio.ensure_future(self._workers.run_background(self._teach, classes, examples, progress))
        reported = None
        while not job.done():
            await asyncio.wait([job], timeout=PROGRESS_INTERVAL)
            if progress[0] != reported and not self._closed:
                reported = progress[0]
                await send({"type": "training", "done": reported[0], "of": reported[1]})
        return job.result()

    def _teach(
        self, classes: list[TaughtClass], examples: list[Example], progress: list[tuple[int, int]]
    ) -> TeachResult | None:
        """Train a head, in the background thread; None if it was cancelled."""

        def on_epoch(done: int, of: int) -> None:
            progress[0] = (done, of)
            if self._requested or self._closed:
                raise TrainingCancelledError

        try:
            labels = [each.label for each in classes]
            return teach(self._workers.shared.layouts, examples, labels, seconds=TRAINING_SECONDS, on_epoch=on_epoch)
        except TrainingCancelledError:
            return None
