"""What can happen to a video on its way to a model: frames left out, other rates, blackouts, noise, blur, darkness."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from liquidvision.learn.features import Features

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
        blind: the same with the true times kept from the model, where that makes a difference.
    """

    level: float
    text: str
    view: str = "plain"
    change: Change | None = None
    blind: Change | None = None


def curves(black: Tensor) -> dict[str, list[Level]]:
    """All curves, the mildest level first.

    Args:
        black: the embedding (d,) of a black picture.
    """
    return {
        "drop": [
            Level(
                share,
                f"{share:.0%} of frames dropped",
                change=partial(drop, share),
                blind=partial(drop, share, blind=True),
            )
            for share in (0.0, 0.25, 0.5, 0.75)
        ],
        "rate": [
            Level(
                1 / n,
                "every frame" if n == 1 else f"one frame in {n}",
                change=partial(thin, n),
                blind=partial(thin, n, blind=True),
            )
            for n in (1, 2, 3, 4)
        ],
        "blackout": [
            Level(share, f"{share:.0%} of the time black, {BURST} s at a time", change=partial(black_out, share, black))
            for share in (0.0, 0.1, 0.25, 0.5)
        ],
        "noise": [
            Level(sigma, f"noise of {sigma:.0%} of the range", view=f"noise:{sigma}" if sigma else "plain")
            for sigma in (0.0, 0.05, 0.1, 0.2)
        ],
        "blur": [
            Level(sigma, f"blur of {sigma:g} % of the shorter side", view=f"blur:{sigma}" if sigma else "plain")
            for sigma in (0.0, 1.0, 2.0, 4.0)
        ],
        "dark": [
            Level(1 - gain, f"{gain:.0%} of the light", view=f"dark:{gain}" if gain < 1 else "plain")
            for gain in (1.0, 0.5, 0.25, 0.1)
        ],
    }


def drop(share: float, features: Features, random: np.random.Generator, *, blind: bool = False) -> Features:
    """Leave out frames at random; one is always left."""
    keep = random.random(len(features.pts)) >= share
    keep[random.integers(len(keep))] = True
    return kept(features, np.flatnonzero(keep), blind=blind)


def thin(every: int, features: Features, random: np.random.Generator, *, blind: bool = False) -> Features:
    """Take every so-manieth frame, beginning with any of the first."""
    start = int(random.integers(min(every, len(features.pts))))
    return kept(features, np.arange(start, len(features.pts), every), blind=blind)


def kept(features: Features, places: np.ndarray, *, blind: bool) -> Features:
    """The frames at `places`; `blind` gives them the times of as many first frames, as if none were missing."""
    index = torch.from_numpy(places)
    clock = torch.arange(len(places)) if blind else index
    return replace(
        features,
        embeddings=features.embeddings[index],
        pts=features.pts[clock],
        durations=features.durations[clock],
    )


def black_out(share: float, black: Tensor, features: Features, random: np.random.Generator) -> Features:
    """Bursts of black frames of `BURST` seconds at random places, until so much of the time is covered."""
    times = features.times
    hidden = np.zeros(len(times), bool)
    for place in random.permutation(len(times)):
        if hidden.mean() >= share:
            break
        hidden |= (times >= times[place]) & (times < times[place] + BURST)
    return replace(features, embeddings=torch.where(torch.from_numpy(hidden)[:, None], black, features.embeddings))
