"""Degradations of a video on its way to a model: lost frames, lower rates, blackouts, noise, blur, darkness."""

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

FrameSelector = Callable[[np.ndarray, np.random.Generator], "KeptFrames"]
BLACKOUT_SECONDS = 0.4  # length of one blackout
DROPPED_SHARES = (0.0, 0.25, 0.5, 0.75)
RATE_DIVISORS = (1, 2, 3, 4)
BLACKOUT_SHARES = (0.0, 0.1, 0.25, 0.5)
NOISE_SIGMAS = (0.0, 0.05, 0.1, 0.2)  # as a share of the value range
BLUR_SIGMAS = (0.0, 1.0, 2.0, 4.0)  # % of the shorter side
LIGHT_GAINS = (1.0, 0.5, 0.25, 0.1)


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrames:
    """The frames of a clip that reach the model.

    Attributes:
        indices: (n,) frame numbers in the clip, increasing; at least one.
        black: (n,) bool, which of them are replaced by black.
    """

    indices: np.ndarray
    black: np.ndarray


@dataclass(frozen=True, slots=True)
class DegradationLevel:
    """One point of a robustness curve.

    Attributes:
        level: position on the curve's axis.
        text: description of the level.
        view: how every frame is changed, see `views`.
        select: which frames of a clip are kept, from the frame times (n,) in seconds; None: all.
        without_dt: whether the model is also run without true times, see `evenly_spaced`.
    """

    level: float
    text: str
    view: str = PLAIN_VIEW
    select: FrameSelector | None = None
    without_dt: bool = False

    @property
    def unchanged(self) -> bool:
        """Whether the clip is as it was recorded."""
        return self.view == PLAIN_VIEW and self.select is None


def degradation_curves(*, motion_crop: bool, degrade: bool) -> dict[str, list[DegradationLevel]]:
    """Return all curves, each from its mildest level, which changes nothing.

    Args:
        motion_crop: whether the backbone has a motion crop, see `Backbone`.
        degrade: include the curves that need every clip embedded again: noise, blur and darkness, and with a motion
            crop all curves, because what the backbone sees then depends on the frames before.
    """
    curves = lost_frame_curves() if degrade or not motion_crop else {}
    return curves | image_curves() if degrade else curves


def lost_frame_curves() -> dict[str, list[DegradationLevel]]:
    """Return the curves of lost and black frames."""
    return {
        "drop": [
            DegradationLevel(
                share,
                f"{share:.0%} of frames dropped",
                select=partial(drop_random_frames, share) if share else None,
                without_dt=True,
            )
            for share in DROPPED_SHARES
        ],
        "rate": [
            DegradationLevel(
                1 / n,
                "every frame" if n == 1 else f"one frame in {n}",
                select=partial(keep_every_nth, n) if n > 1 else None,
                without_dt=True,
            )
            for n in RATE_DIVISORS
        ],
        "blackout": [
            DegradationLevel(
                share,
                f"{share:.0%} of the time black, {BLACKOUT_SECONDS} s at a time",
                select=partial(black_out, share) if share else None,
            )
            for share in BLACKOUT_SHARES
        ],
    }


def image_curves() -> dict[str, list[DegradationLevel]]:
    """Return the curves of degraded pictures."""
    return {
        "noise": [
            DegradationLevel(
                sigma, f"noise of {sigma:.0%} of the range", view=f"noise:{sigma}" if sigma else PLAIN_VIEW
            )
            for sigma in NOISE_SIGMAS
        ],
        "blur": [
            DegradationLevel(
                sigma, f"blur of {sigma:g} % of the shorter side", view=f"blur:{sigma}" if sigma else PLAIN_VIEW
            )
            for sigma in BLUR_SIGMAS
        ],
        "dark": [
            DegradationLevel(1 - gain, f"{gain:.0%} of the light", view=f"dark:{gain}" if gain < 1 else PLAIN_VIEW)
            for gain in LIGHT_GAINS
        ],
    }


def drop_random_frames(share: float, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Drop each frame with probability `share`; the others keep their times. At least one frame stays."""
    keep = random.random(len(times)) >= share
    keep[random.integers(len(keep))] = True
    return _kept_unchanged(np.flatnonzero(keep))


def keep_every_nth(n: int, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Keep every nth frame with its time, from a random one of the first n on."""
    start = int(random.integers(min(n, len(times))))
    return _kept_unchanged(np.arange(start, len(times), n))


def black_out(share: float, times: np.ndarray, random: np.random.Generator) -> KeptFrames:
    """Replace frames by black for `BLACKOUT_SECONDS` at random places, until `share` of the clip's time is covered."""
    durations = np.maximum(np.diff(times, append=last_frame_end(times)), 0.0)
    hidden = np.zeros(len(times), bool)
    for start in random.permutation(len(times)):
        missing = share * durations.sum() - durations[hidden].sum()
        if missing <= 0:
            break
        hidden |= (times >= times[start]) & (times < times[start] + min(BLACKOUT_SECONDS, missing))
    return KeptFrames(np.arange(len(times)), hidden)


def _kept_unchanged(indices: np.ndarray) -> KeptFrames:
    return KeptFrames(indices, np.zeros(len(indices), bool))


def select_embeddings(clip: ClipEmbeddings, kept: KeptFrames, black: Tensor) -> ClipEmbeddings:
    """Return the kept frames of an embedded clip; `black` is the embedding (d,) of a black frame."""
    indices = torch.from_numpy(kept.indices)
    return replace(
        clip,
        embeddings=torch.where(torch.from_numpy(kept.black)[:, None], black, clip.embeddings[indices]),
        pts=clip.pts[indices],
        durations=clip.durations[indices],
    )


def select_frames(frames: Iterable[Frame], kept: KeptFrames) -> Iterator[Frame]:
    """Yield the kept frames of a clip."""
    black = dict(zip(kept.indices.tolist(), kept.black.tolist(), strict=True))
    for index, frame in enumerate(frames):
        if index in black:
            yield replace(frame, pixels=np.zeros((*image_size(frame.pixels), 3), np.uint8)) if black[index] else frame


def evenly_spaced(clip: ClipEmbeddings, whole: ClipEmbeddings) -> ClipEmbeddings:
    """Return the frames of `clip` with constant Δt, as a model without Δt takes them: the median step of `whole`.

    These times are for the model only; the truth of each frame still follows from its own time.
    """
    steps = whole.pts.diff()
    step = int(steps.median()) if len(steps) else 0
    return replace(clip, pts=whole.pts[0] + step * torch.arange(len(clip.pts)))
