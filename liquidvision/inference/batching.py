"""Batch the work of streams that share a model and run in threads of their own."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
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
HeadInput = tuple[Tensor, Tensor, State]  # of one stream: xs (1, steps, d), dts (1, steps), state


class Batcher(Generic[T, R]):
    """A worker thread that processes the items of many threads in batches. A context manager.

    Whenever the worker is free, it takes all waiting items that fit into one batch.

    Args:
        name: the thread's name.
        process: turns a list of items into the list of their results.
        size: returns the size of an item; the sizes of a batch add up to at most `MAX_BATCH`, unless one item exceeds
            it.
    """

    def __init__(self, name: str, process: Callable[[list[T]], list[R]], size: Callable[[T], int]) -> None:
        self._process, self._size = process, size
        self._waiting: deque[tuple[T, Future[R]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, item: T) -> R:
        """Wait for the result of an item and return it; re-raise the error if its batch failed."""
        result: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the shared model is closed")
            self._waiting.append((item, result))
            self._changed.notify()
        return result.result()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft()]
                size = self._size(batch[0][0])
                while self._waiting and size + self._size(self._waiting[0][0]) <= MAX_BATCH:
                    batch.append(self._waiting.popleft())
                    size += self._size(batch[-1][0])
            try:
                with torch.inference_mode():
                    results = self._process([item for item, _ in batch])
            except BaseException as error:  # `submit` re-raises it in the waiting threads
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()


class BatchedBackbone:
    """A backbone that streams in different threads can call; their pictures are embedded in common batches."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.batcher = Batcher("liquidvision-backbone", self._embed, len)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return embeddings (n, dim) of standardised input (n, 3, *size), see `Backbone.forward`."""
        return self.batcher.submit(pixels)

    def _embed(self, inputs: list[Tensor]) -> list[Tensor]:
        return list(self._backbone(torch.cat(inputs)).split([len(pixels) for pixels in inputs]))


class BatchedHead:
    """A head that streams in different threads can call; their steps are computed in common batches.

    The cost of a step is in launching operations: a batch costs about as much as one stream.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self.batcher = Batcher("liquidvision-head", self.step, num_steps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._head, name)

    def eval(self) -> Self:
        """Return the head unchanged: a model's head is already in eval mode."""
        return self

    def __call__(self, xs: Tensor, dts: Tensor, state: State, lengths: Sequence[int] | None = None) -> HeadOutput:
        """Run the frames of one stream, xs (1, steps, d) and dts (1, steps), see `Head.forward`.

        With `lengths`, xs and dts are a batch already, which is computed at once.
        """
        if lengths is not None:
            return self._head(xs, dts, state, lengths)
        return self.batcher.submit((xs, dts, state))

    def step(self, items: list[HeadInput]) -> list[HeadOutput]:
        """Return the outputs of several streams, each as `__call__` takes and returns it."""
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
    """Return the number of frames of one stream's input."""
    return item[0].shape[1]


@contextmanager
def batched_model(model: Model) -> Iterator[Model]:
    """Provide a model for streams that run in threads of their own; each gets the same numbers as alone."""
    backbone, head = BatchedBackbone(model.backbone), BatchedHead(model.head)
    backward = None if model.backward_head is None else BatchedHead(model.backward_head)
    with backbone.batcher, head.batcher, backward.batcher if backward is not None else nullcontext():
        yield Model(
            backbone,  # type: ignore[arg-type]
            head,  # type: ignore[arg-type]
            model.labels,
            name=model.name,
            first_dt=model.first_dt,
            backward_head=backward,  # type: ignore[arg-type]
            interval_rule=model.interval_rule,
        )
