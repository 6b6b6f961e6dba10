"""What an evaluation's figures say in words: whether memory helped, and whether that may be chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from liquidvision.metrics.bootstrap import paired_bootstrap
from liquidvision.report.formats import count, decimal, is_number, percent, points

NOTHING = 1e-9  # what is smaller is the rounding of a difference that is zero
FEW_GROUPS = 10  # with fewer, an interval is too narrow, if it is over groups, and far too narrow if it is not
HEADLINES = {
    "helps": "Memory helps.",
    "harms": "Memory does harm here.",
    "may help": "Memory may help, but these videos do not show it.",
    "does not help": "Memory does not help here.",
    "same": "Memory makes no difference here.",
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The page's first answer.

    Attributes:
        stance: a key of `HEADLINES`.
        unit: what is counted, "clips" or "frames".
        memory, frame, commonest: shares right, 0 to 1: with memory, by each frame alone, by always answering with
            the commonest class.
        sentences: what is to be known of the difference.
    """

    stance: str
    unit: str
    memory: float
    frame: float
    commonest: float | None
    sentences: list[str]

    @property
    def headline(self) -> str:
        return HEADLINES[self.stance]


def draw_conclusion(evaluation: Mapping[str, Any]) -> Conclusion | None:
    """What to say first; None where either side has no accuracy."""
    sides = evaluation["memory"], evaluation["frame"]
    metric = "clip_accuracy" if all(is_number(side.get("clip_accuracy")) for side in sides) else "frame_accuracy"
    memory, frame = (side.get(metric) for side in sides)
    if not is_number(memory) or not is_number(frame):
        return None
    clips = metric == "clip_accuracy"
    videos = evaluation["data"].get("videos")
    interval = by_video(evaluation.get("videos") or [], clips)
    stance = stance_of(memory - frame, interval)
    sentences = [difference(memory, frame, videos if clips else None)]
    if stance != "same":
        sentences.append(chance(interval, stance, clips))
        groups = len(set(videos_by_group(evaluation.get("videos") or [])))
        if interval and 0 < groups < FEW_GROUPS:
            sentences.append(
                f"The videos are of {groups} group{'' if groups == 1 else 's'} only: the interval is rough."
            )
    flips = [side.get("flips_per_minute") for side in sides]
    if all(is_number(value) for value in flips):
        sentences.append(
            f"Needless changes of the answer, beyond those of the truth: {decimal(flips[0])} a minute with memory, "
            f"{decimal(flips[1])} by each frame alone."
        )
    commonest = commonest_class(evaluation, clips)
    if commonest:
        name, share = commonest
        than = "Neither does better than this: always" if max(memory, frame) <= share else "To compare: always"
        sentences.append(f"{than} answering “{name}”, the commonest class, is right in {percent(share)}.")
    return Conclusion(
        stance, "clips" if clips else "frames", memory, frame, commonest[1] if commonest else None, sentences
    )


def stance_of(gain: float, interval: tuple[float, float] | None) -> str:
    """A key of `HEADLINES`: what a difference is worth whose interval is known, or not."""
    if abs(gain) < 0.0005:
        return "same"
    low, high = interval or (-math.inf, math.inf)
    if gain > 0:
        return "helps" if low > NOTHING else "may help"
    return "harms" if high < -NOTHING else "does not help"


def difference(memory: float, frame: float, clips: float | None) -> str:
    gain = memory - frame
    if abs(gain) < 0.0005:
        return "With memory and by each frame alone, the same share is right."
    size = f"{decimal(abs(100 * gain))} percentage points"
    if clips:
        more = "more" if gain > 0 else "fewer"
        return f"With memory, {count(abs(round(gain * clips)))} {more} of {count(clips)} clips are right: {size}."
    return f"With memory, the share of frames right is {size} {'higher' if gain > 0 else 'lower'}."


def chance(interval: tuple[float, float] | None, stance: str, clips: bool) -> str:
    if interval is None:
        return "How much of that is chance cannot be said of so few videos."
    what = "The difference" if clips else "The mean difference over the videos"
    means = (
        "which leaves out zero: chance alone would rarely do that."
        if stance in ("helps", "harms")
        else "which holds zero: it may be chance, and more videos would tell."
    )
    return f"{what} has a 95 % interval of {points(interval[0])} to {points(interval[1])} points, {means}"


def by_video(videos: Sequence[Mapping[str, Any]], clips: bool) -> tuple[float, float] | None:
    """The 95 % interval of the mean difference over videos that both sides judged; None of a single group.

    Whole groups are resampled. The difference is in clips right, or in the share of frames right.
    """
    pairs = [(video, right(video, "memory", clips), right(video, "frame", clips)) for video in videos]
    both = [(video, memory, frame) for video, memory, frame in pairs if memory is not None and frame is not None]
    groups = videos_by_group([video for video, *_ in both])
    if len(set(groups)) < 2:
        return None
    memory, frame = (np.array([row[side] for row in both]) for side in (1, 2))
    _, low, high = paired_bootstrap(memory, frame, groups=groups)
    return low, high


def right(video: Mapping[str, Any], side: str, clip: bool) -> float | None:
    """How right one side has a video, 0 to 1: the clip itself, or the share of its frames; None where not told."""
    if not video.get("times"):
        return None
    if not clip:
        return share_right(video, side)
    said = video.get("clip_prediction" if side == "memory" else "frame_clip_prediction")
    return None if said is None else float(said == video["truth"][0])


def videos_by_group(videos: Sequence[Mapping[str, Any]]) -> list[str]:
    """The group of each video; a video without one is a group by itself."""
    return [str(video.get("group") or video["name"]) for video in videos]


def share_right(video: Mapping[str, Any], side: str) -> float:
    """The share of a timeline's points that one side has right, 0 to 1."""
    pairs = list(zip(video["truth"], video[side], strict=True))
    return sum(a == b for a, b in pairs) / len(pairs)


def commonest_class(evaluation: Mapping[str, Any], clips: bool) -> tuple[str, float] | None:
    """The class that is true most often, and the share of clips or frames it is true of."""
    matrix = evaluation["memory"].get("clip_confusion" if clips else "confusion")
    rows = [sum(row) for row in matrix or []]
    if not sum(rows):
        return None
    most = max(range(len(rows)), key=rows.__getitem__)
    return str(evaluation["model"]["labels"][most]), rows[most] / sum(rows)


def worth_of_time(robustness: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """What knowing the true Δt was worth, at the level where it mattered most; None where it was not tried."""
    tried = [
        (row["memory"] - row["memory_without_dt"], str(row.get("text") or ""))
        for rows in robustness.values()
        for row in rows
        if is_number(row.get("memory")) and is_number(row.get("memory_without_dt"))
    ]
    if not tried:
        return None
    gain, text = max(tried, key=lambda pair: abs(pair[0]))
    if abs(gain) < 0.005:
        return "Knowing the time that really passed between frames made no difference here."
    word = "better" if gain > 0 else "worse"
    return (
        f"Knowing the time that really passed between frames made the most difference at “{text}”: "
        f"{decimal(abs(100 * gain))} points {word} than with Δt pretended constant."
    )


def standing(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """How the reference of a comparison stands against the other rows; None where no difference is known."""
    words = [relation(row.get("minus_reference")) for row in rows]
    others = [word for word in words if word]
    if not others:
        return None
    better, worse, open_ = (others.count(word) for word in ("better", "worse", "not told apart"))
    return (
        f"Of {len(others)} alternative{'' if len(others) == 1 else 's'}, {worse} {is_are(worse)} clearly worse than "
        f"the reference, {better} {is_are(better)} clearly better, and {open_} cannot be told apart from it with these "
        "videos."
    )


def is_are(number: int) -> str:
    return "is" if number == 1 else "are"


def relation(minus_reference: Mapping[str, Any] | None) -> str | None:
    """A row's relation to the reference by its 95 % interval: better, worse, not told apart; None: not known."""
    if not minus_reference or not all(is_number(minus_reference.get(end)) for end in ("low", "high")):
        return None
    if minus_reference["low"] > NOTHING:
        return "better"
    return "worse" if minus_reference["high"] < -NOTHING else "not told apart"
