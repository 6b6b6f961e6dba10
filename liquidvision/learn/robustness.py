"""What can happen to a video on its way to a model: frames left out, other rates, blackouts, noise, blur, darkness."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from liquidvision.learn.features import Features
from liquidvision.learn.segments import end_of
from liquidvision.learn.views import PLAIN

Change = Callable[[Features, np.random.Generator], Features]
BURST = 0.4  # seconds of black at a time


@dataclass(frozen=True, slots=True)
class Level:
    """One point of a robustness curve.

    Attributes:
        level: how much, on the curve's axis.
        text: the same in words.
        view: what every frame looks like, see `views`.
        change: what happens to the embedded clip; None: nothing.
        blind: whether the model is also run without Δt, see `evenly`.
    """

    level: float
    text: str
    view: str = PLAIN
    change: Change | None = None
    blind: bool = False

    @property
    def untouched(self) -> bool:
        """Whether the clip is as it was."""
        return self.view == PLAIN and self.change is None


def curves(black: Tensor, *, degrade: bool) -> dict[str, list[Level]]:
    """All curves, the mildest level, at which nothing happens, first.

    Args:
        black: the embedding (d,) of a black picture.
        degrade: also noise, blur and darkness, for each level of which every clip is embedded again.
    """
    embedded = {
        "drop": [
            Level(share, f"{share:.0%} of frames dropped", change=partial(drop, share) if share else None, blind=True)
            for share in (0.0, 0.25, 0.5, 0.75)
        ],
        "rate": [
            Level(
                1 / n,
                "every frame" if n == 1 else f"one frame in {n}",
                change=partial(thin, n) if n > 1 else None,
                blind=True,
            )
            for n in (1, 2, 3, 4)
        ],
        "blackout": [
            Level(
                share,
                f"{share:.0%} of the time black, {BURST} s at a time",
                change=partial(black_out, share, black) if share else None,
            )
            for share in (0.0, 0.1, 0.25, 0.5)
        ],
    }
    seen = {
        "noise": [
            Level(sigma, f"noise of {sigma:.0%} of the range", view=f"noise:{sigma}" if sigma else PLAIN)
            for sigma in (0.0, 0.05, 0.1, 0.2)
        ],
        "blur": [
            Level(sigma, f"blur of {sigma:g} % of the shorter side", view=f"blur:{sigma}" if sigma else PLAIN)
            for sigma in (0.0, 1.0, 2.0, 4.0)
        ],
        "dark": [
            Level(1 - gain, f"{gain:.0%} of the light", view=f"dark:{gain}" if gain < 1 else PLAIN)
            for gain in (1.0, 0.5, 0.25, 0.1)
        ],
    }
    return embedded | seen if degrade else embedded


def drop(share: float, features: Features, random: np.random.Generator) -> Features:
    """Leave out frames at random, the others at their own times; one is always left."""
    keep = random.random(len(features.pts)) >= share
    keep[random.integers(len(keep))] = True
    return kept(features, np.flatnonzero(keep))


def thin(every: int, features: Features, random: np.random.Generator) -> Features:
    """Take every so-manieth frame at its own time, beginning with any of the first."""
    start = int(random.integers(min(every, len(features.pts))))
    return kept(features, np.arange(start, len(features.pts), every))


def kept(features: Features, places: np.ndarray) -> Features:
    """The frames at `places`."""
    index = torch.from_numpy(places)
    return replace(
        features,
        embeddings=features.embeddings[index],
        pts=features.pts[index],
        durations=features.durations[index],
    )


def evenly(features: Features, whole: Features) -> Features:
    """The same frames as a model without Δt takes them: always as far apart as frames of the `whole` clip mostly are.

    These times are for the model alone; what is true of a frame hangs on its own.
    """
    steps = whole.pts.diff()
    step = int(steps.median()) if len(steps) else 0
    return replace(features, pts=whole.pts[0] + step * torch.arange(len(features.pts)))


def black_out(share: float, black: Tensor, features: Features, random: np.random.Generator) -> Features:
    """Bursts of black frames of `BURST` seconds at random places, until so much of the clip's time is covered."""
    times = features.times
    lasting = np.maximum(np.diff(times, append=end_of(times)), 0.0)
    hidden = np.zeros(len(times), bool)
    for place in random.permutation(len(times)):
        left = share * lasting.sum() - lasting[hidden].sum()
        if left <= 0:
            break
        hidden |= (times >= times[place]) & (times < times[place] + min(BURST, left))
    return replace(features, embeddings=torch.where(torch.from_numpy(hidden)[:, None], black, features.embeddings))
