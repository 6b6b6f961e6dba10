"""How a head is trained: every number of it, and the defaults by the size of the data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from liquidvision.errors import UsageError

TAUS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of a training, as written beside the model.

    Attributes:
        epochs: times that every clip is seen.
        batch: clips, or passages of long videos, in a batch.
        learning_rate: the peak of the one-cycle schedule (Smith and Topin 2018, arXiv 1708.07120).
        warm_up: share of the training in which the learning rate rises.
        weight_decay: of AdamW.
        clip_norm: the largest norm of a head's gradient.
        smoothing: label smoothing, 0..1.
        calm: seconds: weight, beside the cross-entropy of a clip of one label, of the change of the probabilities in
            a second (the magnitudes from frame to frame, summed over classes); without it labels flicker.
        noise: standard deviation of the Gaussian noise on the cell's standardised features: half of its
            variance drawn once for a clip, half for each frame.
        most_dropped: the largest share of a clip's frames left out at random, their Δt handed over; 0..1.
        preceded: share of clips of one label that come, in training, after the end of another clip, as in a stream that
            does not begin anew with each; what went before is seen and not judged; 0..1.
        mixup: share of batches in which clips are blended with others of the batch, labels likewise
            (Zhang et al. 2018, arXiv 1710.09412); 0..1.
        balance: class weights are the inverse frequency of a class to this power, 0..1.
        window: frames after which backpropagation is cut; the state is carried on.
        passage: frames after which a long video is cut into passages that are learnt by themselves.
        patience: epochs in turn, clearly worse in validation than the best, after which training stops.
        seed: of everything random.

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
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, beside the data.

    Attributes:
        head: as `LiquidHeadConfig`, without layouts and classes.
        recipe: the numbers of the training.
        views: what the head sees of every clip in training; "plain" is the first.
        folds: cross-validate by so many folds, and train the model on all clips; 0: one split into training,
            validation and test.
        seeds: of the heads in cross-validation.
        first_dt: see `Model`.
    """

    head: Mapping[str, Any]
    recipe: Recipe
    views: tuple[str, ...] = ("plain",)
    folds: int = 0
    seeds: int = 1
    first_dt: float = 1.0


def default_plan(
    clips: int, *, cell: str = "gated", taus: tuple[float, ...] = TAUS, motion_crop: bool = False, grids: int = 1
) -> Plan:
    """What suits so many training clips: few clips, few dimensions and many epochs.

    Args:
        clips: for training; a long video counts as one.
        cell: see `LiquidHeadConfig`.
        taus: time constants of the traces, in seconds.
        motion_crop: of the backbone. The crop shows well what moves and hides where it moves to, so that what a frame
            alone says weighs more.
        grids: how many maps of the backbone are kept on grids; each has dimensions of its own. More than one are for
            which way something moves: traces are then straight.
    """
    head = {
        "components": (48 if clips < 1000 else 128) * max(1, grids),
        "taus": taus,
        "width": 32,
        "units": 64,
        "cell": cell,
        "straight": grids > 1,
    }
    epochs = min(80, max(10, 8_000 // max(1, clips)))
    recipe = Recipe(epochs=epochs, patience=max(5, epochs // 2), batch=16 if clips < 100 else 32)
    share = 4.0 if motion_crop else 0.3
    return Plan({**head, "dropout": 0.3, "appearance": 0.1, "frame_share": share}, recipe)
