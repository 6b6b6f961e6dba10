"""The conclusion of an evaluation in words: whether memory helped, and whether the difference may be chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from liquidvision.metrics.bootstrap import paired_bootstrap
from liquidvision.report.number_formats import count, decimal, is_number, number_at, percent, points

ROUNDING_ERROR = 1e-9  # differences below this are zero
MIN_DIFFERENCE = 0.0005  # smaller differences of shares round to 0.0 points
MIN_DT_GAIN = 0.005
MIN_GROUPS = 10  # with fewer groups, the interval is too narrow
HEADLINES = {
    "helps": "Memory helps.",
    "harms": "Memory hurts here.",
    "may help": "Memory may help, but these videos cannot confirm it.",
    "does not help": "Memory does not help here.",
    "same": "Memory makes no difference here.",
}
SECOND_PASS = {
    "helps": "A second pass helps.",
    "harms": "A second pass hurts here.",
    "may help": "A second pass may help, but these videos cannot confirm it.",
    "does not help": "A second pass does not help here.",
    "same": "A second pass makes no difference here.",
}
SEGMENT_METRICS = ((("f1", "50"), "Segment F1 at 50 % overlap"), (("flips_per_minute",), "Excess flips per minute"))
CLIP_PREDICTIONS = {
    "memory": "clip_prediction",
    "frame": "frame_clip_prediction",
    "two_pass": "two_pass_clip_prediction",
    "adapted": "adapted_clip_prediction",
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the page says first.

    Attributes:
        stance: a key of `HEADLINES`.
        unit: what is counted, "clip" or "frame".
        memory: accuracy with memory, 0 to 1.
        frame: accuracy by each frame alone, 0 to 1.
        most_common: accuracy of always predicting the most common class, 0 to 1.
        sentences: details of the difference.
    """

    stance: str
    unit: str
    memory: float
    frame: float
    most_common: float | None
    sentences: list[str]

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        return HEADLINES[self.stance]


def draw_conclusion(evaluation: Mapping[str, Any]) -> Conclusion | None:
    """Return the conclusion; None if either side has no accuracy."""
    sides = evaluation["memory"], evaluation["frame"]
    of_clips = all(is_number(side.get("clip_accuracy")) for side in sides)
    memory, frame = (side.get("clip_accuracy" if of_clips else "frame_accuracy") for side in sides)
    if not is_number(memory) or not is_number(frame):
        return None
    videos = evaluation.get("videos") or []
    interval = difference_interval(videos, of_clips)
    stance = choose_stance(memory - frame, interval)
    sentences = [describe_difference(memory, frame, evaluation["data"].get("videos") if of_clips else None)]
    if stance != "same":
        sentences.append(describe_interval(interval, stance, of_clips))
        groups = len(set(video_groups(videos)))
        if interval and 0 < groups < MIN_GROUPS:
            sentences.append(f"The interval is rough: the videos form only {groups} group{'' if groups == 1 else 's'}.")
    flips = [side.get("flips_per_minute") for side in sides]
    if all(is_number(value) for value in flips):
        sentences.append(
            f"Excess flips per minute (changes of the prediction beyond those of the truth): {decimal(flips[0])} with "
            f"memory, {decimal(flips[1])} by each frame alone."
        )
    if adapting := describe_adapting(evaluation, of_clips):
        sentences.append(adapting)
    most_common = most_common_class(evaluation, of_clips)
    if most_common:
        label, share = most_common
        prefix = "Neither beats this baseline: always" if max(memory, frame) <= share else "As a baseline, always"
        sentences.append(
            f"{prefix} predicting “{label}”, the most common class, is correct {percent(share)} of the time."
        )
    return Conclusion(
        stance, "clip" if of_clips else "frame", memory, frame, most_common[1] if most_common else None, sentences
    )


def choose_stance(gain: float, interval: tuple[float, float] | None) -> str:
    """Return a key of `HEADLINES` for a gain by memory and its 95 % interval, if known."""
    if abs(gain) < MIN_DIFFERENCE:
        return "same"
    low, high = interval or (-math.inf, math.inf)
    if gain > 0:
        return "helps" if low > ROUNDING_ERROR else "may help"
    return "harms" if high < -ROUNDING_ERROR else "does not help"


def describe_difference(memory: float, frame: float, clips: float | None) -> str:
    """Return a sentence on the difference of accuracies; `clips` is the number of clips, None if frames are counted."""
    gain = memory - frame
    if abs(gain) < MIN_DIFFERENCE:
        return "The accuracy is the same with memory and by each frame alone."
    size = f"{decimal(abs(100 * gain))} percentage points"
    if clips:
        more = "more" if gain > 0 else "fewer"
        return f"With memory, {count(abs(round(gain * clips)))} {more} of {count(clips)} clips are correct: {size}."
    return f"With memory, frame accuracy is {size} {'higher' if gain > 0 else 'lower'}."


def describe_interval(interval: tuple[float, float] | None, stance: str, of_clips: bool) -> str:
    """Return a sentence on whether the difference may be chance."""
    if interval is None:
        return "There are too few videos to tell whether the difference is chance."
    what = "The difference" if of_clips else "The mean difference over videos"
    meaning = (
        "which excludes zero: it is unlikely to be chance."
        if stance in ("helps", "harms")
        else "which includes zero: it may be chance, and more videos are needed to tell."
    )
    return f"{what} has a 95 % interval of {points(interval[0])} to {points(interval[1])} points, {meaning}"


def describe_adapting(evaluation: Mapping[str, Any], of_clips: bool) -> str | None:
    """Return a sentence on what adapting to the clips of each group is worth; None if it was not evaluated."""
    adapted = evaluation.get("adapted") or {}
    name = "clip_accuracy" if of_clips else "frame_accuracy"
    share, without = adapted.get(name), evaluation["memory"].get(name)
    if not is_number(share) or not is_number(without):
        return None
    gain = share - without
    if abs(gain) < MIN_DIFFERENCE:
        return f"Adapting to each group (--adapt) makes no difference here: {percent(share)} are correct."
    interval = difference_interval(evaluation.get("videos") or [], of_clips, ("adapted", "memory"))
    verdict = {
        "helps": "helps here",
        "harms": "hurts here",
        "may help": "may help, but these videos cannot confirm it",
        "does not help": "does not help here",
    }[choose_stance(gain, interval)]
    found = "" if interval is None else f" (95 % interval {points(interval[0])} to {points(interval[1])} points)"
    return (
        f"Adapting to each group (--adapt) {verdict}: {percent(share)} are correct with it, {percent(without)} without"
        f"{found}."
    )


def difference_interval(
    videos: Sequence[Mapping[str, Any]], of_clips: bool, sides: tuple[str, str] = ("memory", "frame")
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean accuracy difference over videos; None if there is only one group.

    Only videos with a prediction of both sides count. Whole groups are resampled. The accuracy is that of the clips,
    or the share of correct frames.
    """
    one_side, other_side = sides
    pairs = [
        (video, accuracy_of_side(video, one_side, of_clips), accuracy_of_side(video, other_side, of_clips))
        for video in videos
    ]
    known = [(video, one, other) for video, one, other in pairs if one is not None and other is not None]
    groups = video_groups([video for video, *_ in known])
    if len(set(groups)) < 2:
        return None
    one, other = (np.array([row[side] for row in known]) for side in (1, 2))
    _, low, high = paired_bootstrap(one, other, groups=groups)
    return low, high


def describe_second_pass(evaluation: Mapping[str, Any]) -> list[str]:
    """Return sentences on whether a second pass helps; none where none was evaluated."""
    memory, second = evaluation["memory"], evaluation.get("two_pass")
    if not second:
        return []
    of_clips = all(is_number(side.get("clip_accuracy")) for side in (memory, second))
    one, other = (side.get("clip_accuracy" if of_clips else "frame_accuracy") for side in (second, memory))
    if not is_number(one) or not is_number(other):
        return []
    interval = difference_interval(evaluation.get("videos") or [], of_clips, ("two_pass", "memory"))
    stance = choose_stance(one - other, interval)
    unit = "Clip" if of_clips else "Frame"
    sentences = [f"{SECOND_PASS[stance]} {unit} accuracy: {percent(one)} with two passes, {percent(other)} with one."]
    if stance != "same":
        sentences.append(describe_interval(interval, stance, of_clips))
    for keys, name in SEGMENT_METRICS:
        values = [number_at(side, keys) for side in (second, memory)]
        if None not in values:
            sentences.append(f"{name}: {decimal(values[0])} with two passes, {decimal(values[1])} with one.")
    return [
        *sentences,
        "Two passes read a recording to its end before they label it, and dissolve runs of under 0.3 s.",
    ]


def accuracy_of_side(video: Mapping[str, Any], side: str, of_clips: bool) -> float | None:
    """Return one side's accuracy on a video, 0 to 1: of the clip, or the share of its frames; None if unknown."""
    if not video.get("times"):
        return None
    if not of_clips:
        return share_correct(video, side) if side in video else None
    predicted = video.get(CLIP_PREDICTIONS[side])
    return None if predicted is None else float(predicted == video["truth"][0])


def video_groups(videos: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the group of each video; a video without a group is its own."""
    return [str(video.get("group") or video["name"]) for video in videos]


def share_correct(video: Mapping[str, Any], side: str) -> float:
    """Return the share of a timeline's points that one side predicts correctly, 0 to 1."""
    pairs = list(zip(video["truth"], video[side], strict=True))
    return sum(a == b for a, b in pairs) / len(pairs)


def most_common_class(evaluation: Mapping[str, Any], of_clips: bool) -> tuple[str, float] | None:
    """Return the most common true class and its share of clips or frames."""
    matrix = evaluation["memory"].get("clip_confusion" if of_clips else "confusion")
    totals = [sum(row) for row in matrix or []]
    if not sum(totals):
        return None
    most = max(range(len(totals)), key=totals.__getitem__)
    return str(evaluation["model"]["labels"][most]), totals[most] / sum(totals)


def describe_dt_gain(robustness: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """Return a sentence on what the true Δt was worth, at the level where it mattered most; None if not evaluated."""
    gains = [
        (row["memory"] - row["memory_without_dt"], str(row.get("text") or ""))
        for rows in robustness.values()
        for row in rows
        if is_number(row.get("memory")) and is_number(row.get("memory_without_dt"))
    ]
    if not gains:
        return None
    gain, text = max(gains, key=lambda pair: abs(pair[0]))
    if abs(gain) < MIN_DT_GAIN:
        return "The true time between frames made no difference here."
    word = "better" if gain > 0 else "worse"
    return (
        f"The true time between frames mattered most at “{text}”: {decimal(abs(100 * gain))} points {word} than with a "
        "constant Δt."
    )
