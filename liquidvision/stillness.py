"""Less work for the same answer: a picture that adds nothing is not embedded again, for time is real to the memory."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.frame import Frame
from liquidvision.model import Model
from liquidvision.prediction import Prediction

CELLS = 11  # along each side; within one, the noise of a camera averages out
LEAST, MOST = 0.3, 16.0  # of 255: how much one cell may change for the picture to count as still
LEEWAY = 30.0  # of 255, times the lead of the label: what is all but undecided is looked at again


class Stillness:
    """Embeds a stream's pictures one by one, those that hold still only once.

    A picture holds still while no cell of a coarse grid differs from the picture that was embedded last by more
    than a limit, which is the lower the less the best label leads. The memory is stepped at every frame all the
    same, by the time that really passed, with the last embedding.

    Attributes:
        still: frames whose picture was not embedded.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        std = torch.tensor(model.backbone.preprocessing.std).view(3, 1, 1) * 255
        self._std = std
        self._cells: Tensor | None = None  # of the picture that was embedded last
        self._embedding = torch.empty(0)
        self._lead = 0.0
        self.still = 0

    def embedded(self, prepared: Iterable[tuple[Frame, Tensor]]) -> Iterator[tuple[list[Frame], Tensor]]:
        """Frames with their embeddings, one at once; `see` what came of each before the next is asked for."""
        for frame, pixels in prepared:
            cells = functional.adaptive_avg_pool2d(pixels[0] * self._std.to(pixels.device), CELLS)
            limit = min(MOST, max(LEAST, LEEWAY * self._lead))
            if self._cells is not None and float((cells - self._cells).abs().amax()) <= limit:
                self.still += 1
            else:
                self._cells = cells
                with torch.inference_mode():
                    self._embedding = self._model.backbone(pixels.to(self._model.device))
            yield [frame], self._embedding

    def see(self, prediction: Prediction) -> None:
        """Take note of how sure the memory is."""
        best = prediction.top(2)
        self._lead = best[0][1] - best[1][1] if len(best) > 1 else 1.0
