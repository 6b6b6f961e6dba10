"""Many streams, one backbone: what they have waiting is embedded in one batch."""

import threading
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from liquidvision.backbone import Backbone
from liquidvision.model import Model

MOST = 32  # pictures in one batch


class SharedBackbone:
    """Stands for a backbone in streams that each run in a thread of their own. A context manager.

    A call waits until its pictures are embedded, together with those of the other streams that wait; the numbers
    are the same as alone. One thread embeds, since a compiled network runs one batch at a time.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._waiting: deque[tuple[Tensor, Future[Tensor]]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="liquidvision-backbone", daemon=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, dim) of standardised input (n, 3, *size); raises what the backbone raises."""
        done: Future[Tensor] = Future()
        with self._change:
            if self._closed:
                raise RuntimeError("the shared backbone is closed")
            self._waiting.append((pixels, done))
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
                while self._waiting and sum(len(pixels) for pixels, _ in taken) + len(self._waiting[0][0]) <= MOST:
                    taken.append(self._waiting.popleft())
            try:
                with torch.inference_mode():
                    found = self._backbone(torch.cat([pixels for pixels, _ in taken]))
                parts = found.split([len(pixels) for pixels, _ in taken])
            except BaseException as error:  # handed to those who wait, who raise it again
                for _, done in taken:
                    done.set_exception(error)
                continue
            for (_, done), part in zip(taken, parts, strict=True):
                done.set_result(part)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()


def sharing(model: Model, backbone: SharedBackbone) -> Model:
    """The model with a backbone that other threads use too."""
    return Model(backbone, model.head, model.labels, name=model.name, first_dt=model.first_dt)  # type: ignore[arg-type]
