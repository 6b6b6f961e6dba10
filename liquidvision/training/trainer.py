"""A training from its first epoch to its last: validation, early stopping, and a file to go on from after a kill."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liquidvision.errors import ModelError, SinkError, UsageError
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.training.optimise import EpochLoop
from liquidvision.training.scoring import clip_correctness, clip_logits, score_logits
from liquidvision.training.sequences import SequenceDataset

TRAINER_FORMAT = "liquidvision-training-2"
# Standard errors by which validation must find an epoch worse for it to count: of dozens of epochs one is always the
# best of a few clips by chance, at a learning rate whose weights are worse on others.
CLEAR_GAIN = 3.0


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of metrics.csv; the last five are None without validation.

    Attributes:
        epoch: counted from 1.
        learning_rate: at its beginning.
        loss: mean over the epoch's batches.
        validation_loss, validation_accuracy, validation_frame_accuracy: see `Score`.
        best: whether no epoch before was right on more of the validation clips.
        behind: whether it is clearly worse on them than the best so far.
    """

    epoch: int
    learning_rate: float
    loss: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_frame_accuracy: float | None = None
    best: bool | None = None
    behind: bool | None = None


class Trainer:
    """Trains the one head of a `EpochLoop`, and leaves it with its last weights, whose learning rate was the lowest.

    Where validation finds these clearly worse than its best epoch's, it is left with those; and where it has found as
    many epochs in turn clearly worse as patience says, training ends early.

    Args:
        fit: the training.
        validation: lessons that decide when to stop; None trains for all epochs.
        kept: a file to write after every epoch; None keeps nothing.
        about: what the training hangs on (data, embeddings, options) by name: `resume` refuses a file of another.
    """

    def __init__(
        self,
        fit: EpochLoop,
        validation: SequenceDataset | None = None,
        *,
        kept: Path | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        (self.head,) = fit.heads
        self.fit, self.validation, self.kept = fit, validation, kept
        self.about = json.loads(json.dumps({"recipe": fit.recipe.to_json(), **(about or {})}))
        self.history: list[EpochRow] = []
        self.best: dict[str, Tensor] = {}
        self._right = torch.zeros(0)  # of the best epoch, for each validation clip

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        if len(self.history) >= self.fit.recipe.epochs:
            return True
        recent = self.history[-self.fit.recipe.patience :]
        return len(recent) == self.fit.recipe.patience and all(row.behind for row in recent)

    @property
    def chosen(self) -> int:
        """The epoch whose weights the head is left with."""
        last = self.history[-1]
        return max(row.epoch for row in self.history if row.best) if last.behind else last.epoch

    def run(self, on_epoch: Callable[[EpochRow], None] = lambda _: None) -> list[EpochRow]:
        """Train to the end, from where `resume` left it; the rows of all epochs.

        Raises:
            SinkError: the file cannot be written.
        """
        while not self.over:
            rate = self.fit.optimiser.param_groups[0]["lr"]
            (loss,) = self.fit.epoch()
            row = EpochRow(len(self.history) + 1, rate, loss)
            if self.validation is not None:
                row = self.validate(row)
            self.history.append(row)
            if row.best:
                self.best = {name: value.clone() for name, value in self.head.state_dict().items()}
            if self.kept is not None:
                self.keep(self.kept)
            on_epoch(row)
        if self.history[-1].behind:
            self.head.load_state_dict(self.best)
        return self.history

    def validate(self, row: EpochRow) -> EpochRow:
        assert self.validation is not None
        lessons = list(self.validation)
        (said,) = clip_logits([self.head], lessons, self.fit.first_dt)
        now, right = score_logits(lessons, said), clip_correctness(lessons, said)
        best = not self.history or float(right.mean()) >= float(self._right.mean())
        if best:
            self._right = right
        behind = clearly_better(self._right, right)
        return EpochRow(
            row.epoch, row.learning_rate, row.loss, now.loss, now.accuracy, now.frame_accuracy, best, behind
        )

    def keep(self, path: Path) -> None:
        """Write everything that the rest of the training hangs on."""
        optimiser = self.fit.optimiser.state_dict()
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()} | {"right": self._right}
        tensors |= {f"optimiser.{i}.{k}": v for i, own in optimiser["state"].items() for k, v in own.items()}
        tensors |= {f"random.{name}": value for name, value in random_state(self.fit.device).items()}
        told = {
            "about": self.about,
            "groups": optimiser["param_groups"],
            "schedule": self.fit.schedule.state_dict(),
            "history": [asdict(row) for row in self.history],
        }
        try:
            write_tensors(path, tensors, {"format": TRAINER_FORMAT, "training": json.dumps(told)})
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error

    def resume(self, path: Path) -> None:
        """Go on exactly where the training that wrote `path` was after its last whole epoch.

        Raises:
            ModelError: the file is cut short or another.
            UsageError: it is of a training with other data or options.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != TRAINER_FORMAT:
            raise ModelError(f"{path} is no training to go on with; start anew without --resume")
        told = json.loads(metadata["training"])
        for name in self.about | told["about"]:
            if told["about"].get(name) != self.about.get(name):
                raise UsageError(
                    f"the training in {path.parent} differs in its {name}; give the data and options that it was begun "
                    "with, or start anew in another folder"
                )

        def part(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): v.clone() for key, v in tensors.items() if key.startswith(prefix)}

        self.head.load_state_dict(part("head."))
        self.best, self._right = part("best."), tensors["right"].clone()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimiser.").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        self.fit.optimiser.load_state_dict({"state": state, "param_groups": told["groups"]})
        self.fit.schedule.load_state_dict(told["schedule"])
        self.history = [EpochRow(**row) for row in told["history"]]
        set_random_state(part("random."), self.fit.device)


def clearly_better(one: Tensor, other: Tensor) -> bool:
    """Whether the shares right (clips,) of the one are higher, by more than chance among so many clips explains."""
    lead = one - other
    lead = torch.cat([lead, -lead.abs().amax()[None]])  # one more that disagrees, or two that agree would be certain
    return float(lead.mean()) > CLEAR_GAIN * float(lead.std()) / math.sqrt(len(lead))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a training on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])
