"""What can happen to a video on its way to a model: frames left out, other rates, blackouts, noise, blur, darkness."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.views import PLAIN_VIEW
from liquidvision.metrics.segments import last_frame_end
from liquidvision.models.preprocessing import image_size
from liquidvision.video.frame import Frame

FrameChange = Callable[[np.ndarray, np.random.Generator], "KeptFrames"]
BURST = 0.4  # seconds of black at a time


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrames:
    """What is left of a clip.

    Attributes:
        places: (n,) the frames that are left, by their numbers in the clip, rising; one at least.
        black: (n,) bool, which of these are black.
    """

    places: np.ndarray
    black: np.ndarray


@dataclass(frozen=True, slots=True)
class DegradationLevel:
    """One point of a robustness curve.

    Attributes:
        level: how much, on the curve's axis.
        text: the same in words.
        view: what every frame looks like, see `views`.
        change: what is left of a clip, by its frames' times (n,) in seconds; None: all of it.
        blind: whether the model is also run without Δt, see `evenly_spaced`.
    """

    level: float
    text: str
    view: str = PLAIN_VIEW
    change: FrameChange | None = None
    blind: bool = False

    @property
    def untouched(self) -> bool:
        """Whether the clip is as it was."""
        return self.view == PLAIN_VIEW and self.change is None


def degradation_curves(*, look: str, degrade: bool) -> dict[str, list[DegradationLevel]]:
    """All curves, the mildest level, at which nothing happens, first.

    Args:
        look: of the backbone, see `Backbone`.
        degrade: also those for which every clip is embedded again: noise, blur and darkness, and where what the
            backbone is shown of a picture hangs on those before it, all.
    """
    left = {
        "drop": [
            DegradationLevel(
                share, f"{share:.0%} of frames dropped", change=partial(drop, share) if share else None, blind=True
            )
            for share in (0.0, 0.25, 0.5, 0.75)
        ],
        "rate": [
            DegradationLevel(
                1 / n,
                "every frame" if n == 1 else f"one frame in {n}",
                change=partial(thin, n) if n > 1 else None,
                blind=True,
            )
            for n in (1, 2, 3, 4)
        ],
        "blackout": [
            DegradationLevel(
                share,
                f"{share:.0%} of the time black, {BURST} s at a time",
                change=partial(black_out, share) if share else None,
            )
            for share in (0.0, 0.1, 0.25, 0.5)
        ],
    }
    seen = {
        "noise": [
            DegradationLevel(
                sigma, f"noise of {sigma:.0%} of the range", view=f"noise:{sigma}" if sigma else PLAIN_VIEW
            )
            for sigma in (0.0, 0.05, 0.1, 0.2)
        ],
        "blur": [
            DegradationLevel(
                sigma, f"blur of {sigma:g} % of the shorter side", view=f"blur:{sigma}" if sigma else PLAIN_VIEW
            )
            for sigma in (0.0, 1.0, 2.0, 4.0)
        ],
        "dark": [
            DegradationLevel(1 - gain, f"{gain:.0%} of the light", view=f"dark:{gain}" if gain < 1 else PLAIN_VIEW)
            for gain in (1.0, 0.5, 0.25, 0.1)
        ],
    }
    if degrade:
        return left | seen
    return left if look == "whole" else {}


def drop(share: float, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Leave out frames at random, the others at their own times; one is always left."""
    keep = random.random(len(times)) >= share
    keep[random.integers(len(keep))] = True
    return lit(np.flatnonzero(keep))


def thin(every: int, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Take every so-manieth frame at its own time, beginning with any of the first."""
    start = int(random.integers(min(every, len(times))))
    return lit(np.arange(start, len(times), every))


def black_out(share: float, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Bursts of black frames of `BURST` seconds at random places, until so much of the clip's time is covered."""
    lasting = np.maximum(np.diff(times, append=last_frame_end(times)), 0.0)
    hidden = np.zeros(len(times), bool)
    for place in random.permutation(len(times)):
        left = share * lasting.sum() - lasting[hidden].sum()
        if left <= 0:
            break
        hidden |= (times >= times[place]) & (times < times[place] + min(BURST, left))
    return KeptFrames(np.arange(len(times)), hidden)


def lit(places: np.ndarray) -> KeptFrames:
    """These frames, none of them black."""
    return KeptFrames(places, np.zeros(len(places), bool))


def keep_frames(features: ClipEmbeddings, left: KeptFrames, black: Tensor) -> ClipEmbeddings:
    """What is left of an embedded clip; `black` is the embedding (d,) of a black picture."""
    places = torch.from_numpy(left.places)
    return replace(
        features,
        embeddings=torch.where(torch.from_numpy(left.black)[:, None], black, features.embeddings[places]),
        pts=features.pts[places],
        durations=features.durations[places],
    )


def evenly_spaced(features: ClipEmbeddings, whole: ClipEmbeddings) -> ClipEmbeddings:
    """The same frames as a model without Δt takes them: always as far apart as frames of the `whole` clip mostly are.

    These times are for the model alone; what is true of a frame hangs on its own.
    """
    steps = whole.pts.diff()
    step = int(steps.median()) if len(steps) else 0
    return replace(features, pts=whole.pts[0] + step * torch.arange(len(features.pts)))


def keep_pictures(frames: Iterable[Frame], left: KeptFrames) -> Iterator[Frame]:
    """What is left of a clip's frames."""
    black = dict(zip(left.places.tolist(), left.black.tolist(), strict=True))
    for place, frame in enumerate(frames):
        if place in black:
            yield replace(frame, pixels=np.zeros((*image_size(frame.pixels), 3), np.uint8)) if black[place] else frame
