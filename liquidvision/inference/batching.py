"""Many streams, one model: what they have waiting is embedded in one batch, and their memories step in another."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from liquidvision.models.backbone import Backbone
from liquidvision.models.heads.base import Head, HeadOutput, State
from liquidvision.models.model import Model

MAX_BATCH = 32  # pictures in one batch
T = TypeVar("T")
R = TypeVar("R")
HeadInput = tuple[Tensor, Tensor, State]  # what a head takes of one stream: xs (1, steps, d), dts (1, steps), its state


class Batcher(Generic[T, R]):
    """One thread that works for many: what waits when it is free is done in one go. A context manager.

    Args:
        name: of the thread.
        work: several items to their results.
        size: how much of a batch's `MAX_BATCH` an item takes.
    """

    def __init__(self, name: str, work: Callable[[list[T]], list[R]], size: Callable[[T], int]) -> None:
        self._work, self._size = work, size
        self._waiting: deque[tuple[T, Future[R]]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def do(self, item: T) -> R:
        """The item's result, once it is there; raises what the work raises."""
        done: Future[R] = Future()
        with self._change:
            if self._closed:
                raise RuntimeError("the shared model is closed")
            self._waiting.append((item, done))
            self._change.notify()
        return done.result()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if not self._waiting:
                    return
                taken = [self._waiting.popleft()]
                taken_up = self._size(taken[0][0])
                while self._waiting and taken_up + self._size(self._waiting[0][0]) <= MAX_BATCH:
                    taken.append(self._waiting.popleft())
                    taken_up += self._size(taken[-1][0])
            try:
                with torch.inference_mode():
                    results = self._work([item for item, _ in taken])
            except BaseException as error:  # handed to those who wait, who raise it again
                for _, done in taken:
                    done.set_exception(error)
                continue
            for (_, done), result in zip(taken, results, strict=True):
                done.set_result(result)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()


class BatchedBackbone:
    """Stands for a backbone in streams that each run in a thread of their own, since it runs one batch at a time."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.together = Batcher("liquidvision-backbone", self._embed, len)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, dim) of standardised input (n, 3, *size); raises what the backbone raises."""
        return self.together.do(pixels)

    def _embed(self, inputs: list[Tensor]) -> list[Tensor]:
        return list(self._backbone(torch.cat(inputs)).split([len(pixels) for pixels in inputs]))


class BatchedHead:
    """Stands for a head in streams that each run in a thread of their own: a step costs its calls, not its numbers."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.together = Batcher("liquidvision-head", self.step, num_steps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._head, name)

    def eval(self) -> Self:
        """As it is: a model's head is in that mode."""
        return self

    def __call__(self, xs: Tensor, dts: Tensor, state: State) -> HeadOutput:
        """As `LiquidHead.forward`, of one stream: xs (1, steps, d), dts (1, steps)."""
        return self.together.do((xs, dts, state))

    def step(self, items: list[HeadInput]) -> list[HeadOutput]:
        """The outputs of several streams, as `__call__` takes and gives them each."""
        if len(items) == 1:
            return [self._head(*items[0])]
        lengths = [num_steps(item) for item in items]
        xs = torch.nn.utils.rnn.pad_sequence([xs[0] for xs, _, _ in items], batch_first=True)
        dts = torch.nn.utils.rnn.pad_sequence([dts[0] for _, dts, _ in items], batch_first=True)
        states = [state for _, _, state in items]
        out = self._head(xs, dts, {key: torch.cat([state[key] for state in states]) for key in states[0]}, lengths)
        return [
            HeadOutput(
                out.logits[i : i + 1, :steps],
                out.frame_logits[i : i + 1, :steps],
                out.hidden[i : i + 1, :steps],
                out.time_constants[i : i + 1, :steps],
                {key: value[i : i + 1] for key, value in out.state.items()},
            )
            for i, steps in enumerate(lengths)
        ]


def num_steps(item: HeadInput) -> int:
    return item[0].shape[1]


@contextmanager
def batched_model(model: Model) -> Iterator[Model]:
    """The model for streams that each run in a thread of their own: the numbers are those of each alone."""
    backbone, head = BatchedBackbone(model.backbone), BatchedHead(model.head)
    with backbone.together, head.together:
        yield Model(backbone, head, model.labels, name=model.name, first_dt=model.first_dt)  # type: ignore[arg-type]
