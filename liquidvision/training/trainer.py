"""Trains one head from its first epoch to its last: validation, early stopping, and a state file to resume from."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liquidvision.errors import ModelError, SinkError, UsageError
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.training.optimise import EpochLoop
from liquidvision.training.scoring import clip_correctness, clip_logits, score_logits
from liquidvision.training.sequences import SequenceDataset

TRAINER_FORMAT = "liquidvision-training-3"
# Standard errors by which an epoch must be worse in validation to count as worse. Of dozens of epochs, one is always
# the best on a few clips by chance, at a learning rate whose weights are worse on other clips.
CLEAR_GAIN = 3.0


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of metrics.csv; the last five are None without validation.

    Attributes:
        epoch: counted from 1.
        learning_rate: the learning rate at the beginning of the epoch.
        loss: mean over the epoch's batches.
        validation_loss, validation_accuracy, validation_frame_accuracy: see `LogitScore`.
        best: whether no earlier epoch was right on more of the validation clips.
        behind: whether it is clearly worse on them than the best epoch so far.
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
    """Trains the one head of an `EpochLoop`. The head ends with its last weights, those of the lowest learning rate.

    If validation finds these clearly worse than those of its best epoch, the head ends with the best epoch's weights.
    Training stops early after `Recipe.patience` clearly worse epochs in a row.

    Args:
        loop: computes the epochs.
        validation: sequences that decide when to stop; None: train for all epochs.
        state_file: a file to write after every epoch; None: write none.
        identity: what the weights depend on (data, embeddings, options) by name; `resume` refuses a state file with
            another.
        last_epoch: the epoch to stop after, if not after all epochs of the recipe; the learning rates stay the
            recipe's.

    Attributes:
        choices: what was chosen before the first epoch, by name; the state file keeps it.
    """

    def __init__(
        self,
        loop: EpochLoop,
        validation: SequenceDataset | None = None,
        *,
        state_file: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        last_epoch: int | None = None,
    ) -> None:
        (self.head,) = loop.heads
        self.last_epoch = loop.recipe.epochs if last_epoch is None else last_epoch
        self.choices: dict[str, Any] = {}
        self.loop, self.validation, self.state_file = loop, validation, state_file
        self.identity = json.loads(json.dumps({"recipe": loop.recipe.to_json(), **(identity or {})}))
        self.history: list[EpochRow] = []
        self.best_weights: dict[str, Tensor] = {}
        self._best_correctness = torch.zeros(0)  # of each validation clip in the best epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ones were clearly worse for as long as patience lasts."""
        if len(self.history) >= self.last_epoch:
            return True
        recent = self.history[-self.loop.recipe.patience :]
        return len(recent) == self.loop.recipe.patience and all(row.behind for row in recent)

    @property
    def chosen_epoch(self) -> int:
        """The epoch whose weights the head ends with."""
        last = self.history[-1]
        return max(row.epoch for row in self.history if row.best) if last.behind else last.epoch

    def run(self, on_epoch: Callable[[EpochRow], None] = lambda row: None) -> list[EpochRow]:
        """Train to the end, from the beginning or from where `resume` left off; return the rows of all epochs.

        Raises:
            SinkError: the state file cannot be written.
        """
        while not self.finished:
            rate = self.loop.optimiser.param_groups[0]["lr"]
            (loss,) = self.loop.run_epoch()
            row = EpochRow(len(self.history) + 1, rate, loss)
            if self.validation is not None:
                row = self.validate(row)
            self.history.append(row)
            if row.best:
                self.best_weights = {name: value.clone() for name, value in self.head.state_dict().items()}
            if self.state_file is not None:
                self.save(self.state_file)
            on_epoch(row)
        if self.history[-1].behind:
            self.head.load_state_dict(self.best_weights)
        return self.history

    def validate(self, row: EpochRow) -> EpochRow:
        """Return the row with the figures of the validation."""
        assert self.validation is not None
        sequences = list(self.validation)
        (logits,) = clip_logits([self.head], sequences, self.loop.first_dt)
        score, correctness = score_logits(sequences, logits), clip_correctness(sequences, logits)
        best = not self.history or float(correctness.mean()) >= float(self._best_correctness.mean())
        if best:
            self._best_correctness = correctness
        return replace(
            row,
            validation_loss=score.loss,
            validation_accuracy=score.accuracy,
            validation_frame_accuracy=score.frame_accuracy,
            best=best,
            behind=clearly_better(self._best_correctness, correctness),
        )

    def save(self, path: Path) -> None:
        """Write everything that the rest of the training depends on.

        Raises:
            SinkError: the file cannot be written.
        """
        optimiser = self.loop.optimiser.state_dict()
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_weights.items()}
        tensors |= {"best_correctness": self._best_correctness}
        tensors |= {f"optimiser.{i}.{k}": v for i, own in optimiser["state"].items() for k, v in own.items()}
        tensors |= {f"random.{name}": value for name, value in random_state(self.loop.device).items()}
        progress = {
            "identity": self.identity,
            "groups": optimiser["param_groups"],
            "schedule": self.loop.schedule.state_dict(),
            "history": [asdict(row) for row in self.history],
            "choices": self.choices,
        }
        try:
            write_tensors(path, tensors, {"format": TRAINER_FORMAT, "training": json.dumps(progress)})
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error

    def resume(self, path: Path) -> None:
        """Continue exactly where the training that wrote `path` was after its last complete epoch.

        Raises:
            ModelError: the file is truncated or of another format.
            UsageError: it belongs to a training with other data or options.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != TRAINER_FORMAT:
            raise ModelError(f"{path} is no training that can be resumed; start again without --resume")
        progress = json.loads(metadata["training"])
        for name in self.identity | progress["identity"]:
            if progress["identity"].get(name) != self.identity.get(name):
                raise UsageError(
                    f"the training in {path.parent} differs in its {name}; give the data and options that it was begun "
                    "with, or start again in another folder"
                )

        def part(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): v.clone() for key, v in tensors.items() if key.startswith(prefix)}

        self.head.load_state_dict(part("head."))
        self.best_weights, self._best_correctness = part("best."), tensors["best_correctness"].clone()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimiser.").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        self.loop.optimiser.load_state_dict({"state": state, "param_groups": progress["groups"]})
        self.loop.schedule.load_state_dict(progress["schedule"])
        self.history = [EpochRow(**row) for row in progress["history"]]
        self.choices = progress.get("choices", {})
        set_random_state(part("random."), self.loop.device)


def clearly_better(one: Tensor, other: Tensor) -> bool:
    """Return whether the first shares (clips,) are higher on average, by more than chance among these clips explains.

    Args:
        one, other: share of each clip that is right, 0..1.
    """
    lead = one - other
    lead = torch.cat([lead, -lead.abs().amax()[None]])  # one more that disagrees, or two that agree would be certain
    return float(lead.mean()) > CLEAR_GAIN * float(lead.std()) / math.sqrt(len(lead))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators that a training on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])
