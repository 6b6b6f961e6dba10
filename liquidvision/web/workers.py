"""Where the server computes: one thread sees, one learns; each works off what it is given in turn."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from liquidvision.errors import first_line
from liquidvision.training.few_shot import Example, TeachResult, teach
from liquidvision.web.connection import Connection, note
from liquidvision.web.sight import SharedModel
from liquidvision.web.teach import Class

log = logging.getLogger(__name__)
T = TypeVar("T")
Answer = Callable[[dict[str, Any]], Any]  # sends a message to one client
GLANCE = 0.1  # seconds between two looks at how far a training is
SECONDS = 3.5  # of a training, so that with all around it a head is there within 5


class Workers:
    """The two threads. A connection asks the first for one thing at a time, so that all have their turn.

    Args:
        sight: what is seen by.
    """

    def __init__(self, sight: SharedModel) -> None:
        self.sight = sight
        self._seeing = ThreadPoolExecutor(1, "liquidvision-seeing")
        self._learning = ThreadPoolExecutor(1, "liquidvision-learning")

    async def see(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives, done in the thread that sees."""
        return await asyncio.get_running_loop().run_in_executor(self._seeing, work, *arguments)

    async def learn(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives, done in the thread that learns, packs and unpacks."""
        return await asyncio.get_running_loop().run_in_executor(self._learning, work, *arguments)

    def close(self) -> None:
        """Work that waits is dropped; what is in hand is finished."""
        for threads in (self._seeing, self._learning):
            threads.shutdown(wait=True, cancel_futures=True)


class Training:
    """The trainings of one connection, one at a time; when more was shown meanwhile, another follows.

    Args:
        workers: who does it.
        connection: whose.
    """

    def __init__(self, workers: Workers, connection: Connection) -> None:
        self._workers, self._connection = workers, connection
        self._wanted = self._gone = False
        self._task: asyncio.Task[None] | None = None

    def want(self, answer: Answer) -> None:
        """Train on all that was shown; a training that is under way is given up for it."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(answer))

    async def leave(self) -> None:
        """The client is gone."""
        self._gone = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, answer: Answer) -> None:
        while self._wanted and not self._gone:
            self._wanted = False
            classes, examples = await self._workers.see(self._connection.teaching.both)
            if len(classes) < 2:
                await answer(note("show examples of two classes at least; three or more of each are better"))
                return
            progress: list[tuple[int, int]] = [(0, 0)]
            job = asyncio.ensure_future(self._workers.learn(self._teach, classes, examples, progress))
            told = None
            while not job.done():
                await asyncio.wait([job], timeout=GLANCE)
                if progress[0] != told and not self._gone:
                    told = progress[0]
                    await answer({"type": "training", "done": told[0], "of": told[1]})
            try:
                taught = job.result()
            except Exception as error:
                log.exception("a training failed")
                await answer(note(f"the training failed: {first_line(error)}"))
                return
            if taught is None or self._gone:
                continue
            await self._workers.see(self._connection.adopt, taught.head, classes, taught.plan.first_dt)
            await answer(
                {
                    "type": "trained",
                    "seconds": round(taught.seconds, 2),
                    "epochs": taught.epochs,
                    "examples": len(examples),
                    "right": taught.right,
                }
            )
            await answer(await self._workers.see(self._connection.state))

    def _teach(
        self, classes: list[Class], examples: list[Example], progress: list[tuple[int, int]]
    ) -> TeachResult | None:
        """In the thread that learns; None where it was given up."""

        def on_epoch(done: int, of: int) -> None:
            progress[0] = (done, of)
            if self._wanted or self._gone:
                raise GivenUpError

        try:
            labels = [each.label for each in classes]
            return teach(self._workers.sight.layouts, examples, labels, seconds=SECONDS, on_epoch=on_epoch)
        except GivenUpError:
            return None


class GivenUpError(Exception):
    """Nobody wants this training any more."""
