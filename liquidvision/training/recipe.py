"""How a head is trained: every number of it, and defaults for the size of the data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from liquidvision.errors import UsageError

TAUS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of a training. Trained models record them under these names.

    Attributes:
        epochs: number of passes over all clips.
        batch: clips, or passages of long videos, per batch.
        learning_rate: peak of the one-cycle schedule (Smith and Topin 2018, arXiv 1708.07120).
        warm_up: share of the training in which the learning rate rises, 0..1.
        weight_decay: weight decay of AdamW.
        clip_norm: maximum norm of a head's gradient.
        smoothing: label smoothing, 0..1.
        calm: flicker penalty, in seconds: the weight of the change of the probabilities per second (absolute changes
            from frame to frame, summed over classes), added to the cross-entropy of a clip of one label. Without it
            labels flicker.
        noise: standard deviation of the Gaussian noise on the cell's standardised features: half of its variance is
            drawn once per clip, half for each frame.
        most_dropped: maximum share of a clip's frames left out at random, 0..1; the other frames keep their times.
        preceded: share of clips of one label that are preceded by the end of another clip in training, 0..1, as in a
            stream. Those frames update the memory but do not count in the loss.
        mixup: share of batches in which clips and their labels are blended with others of the batch, 0..1 (Zhang et
            al. 2018, arXiv 1710.09412).
        balance: class weights are the inverse class frequencies to this power, 0..1.
        window: frames after which backpropagation is truncated; the state is carried on.
        passage: maximum length in frames; longer videos are cut into passages that are trained on separately.
        patience: training stops after this many epochs in a row that are clearly worse than the best in validation.
        seed: seed of all random numbers.

    Raises:
        UsageError: a number outside its range.
    """

    epochs: int = 40
    batch: int = 32
    learning_rate: float = 4e-3
    warm_up: float = 0.2
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    smoothing: float = 0.05
    calm: float = 0.05
    noise: float = 0.3
    most_dropped: float = 0.6
    preceded: float = 0.5
    mixup: float = 0.0
    balance: float = 0.5
    window: int = 128
    passage: int = 1024
    patience: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "window", "passage", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value}; expected a whole number, 1 or more")
        for name in ("smoothing", "most_dropped", "preceded", "mixup", "warm_up", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a share from 0 to 1")
        for name in ("learning_rate", "weight_decay", "clip_norm", "calm", "noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}; expected a number, 0 or more")

    def to_json(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train.

    Attributes:
        head: fields of `LiquidHeadConfig`, without layouts and classes.
        recipe: the numbers of the training.
        views: the views of every clip in training; the first is "plain".
        folds: number of folds of a cross-validation, after which the model is trained on all clips; 0: one split into
            training, validation and test.
        seeds: repetitions of the cross-validation, each with its own folds and initial weights.
        first_dt: see `Model`.
        two_pass: also train a backward head, see `Model`.
        refit: after training on one split, train again on all of its parts.
    """

    head: Mapping[str, Any]
    recipe: Recipe
    views: tuple[str, ...] = ("plain",)
    folds: int = 0
    seeds: int = 1
    first_dt: float = 1.0
    two_pass: bool = False
    refit: bool = True


def default_plan(
    clips: int, *, cell: str = "gated", taus: tuple[float, ...] = TAUS, motion_crop: bool = False, grids: int = 1
) -> Plan:
    """Return a plan for a number of training clips: the fewer clips, the fewer dimensions and the more epochs.

    Args:
        clips: number of training clips; a long video counts as one.
        cell: see `LiquidHeadConfig`.
        taus: time constants of the traces, in seconds.
        motion_crop: whether the backbone has a motion crop. The crop shows well what moves and hides where it moves
            to, so each frame alone has more weight.
        grids: number of the backbone's maps that are kept on grids; each adds dimensions. More than one serve to
            distinguish directions of movement: traces are then straight.
    """
    head = {
        "components": (48 if clips < 1000 else 128) * max(1, grids),
        "taus": taus,
        "width": 32,
        "units": 64,
        "cell": cell,
        "straight": grids > 1,
        "restart_at_cuts": True,
        "class_means": True,
    }
    epochs = min(80, max(10, 8_000 // max(1, clips)))
    recipe = Recipe(epochs=epochs, patience=max(5, epochs // 2), batch=16 if clips < 100 else 32)
    share = 4.0 if motion_crop else 0.3
    return Plan({**head, "dropout": 0.3, "appearance": 0.1, "frame_share": share}, recipe)
