"""Chooses the thresholds of intervals on clips that the model was not trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from liquidvision.annotation.interval_rule import IntervalRule, IntervalSettings
from liquidvision.inference.intervals import IntervalTracker
from liquidvision.metrics.classification import MIN_PROBABILITY, ClipScores
from liquidvision.metrics.segments import match_segments

OVERLAPS = (0.1, 0.25, 0.5)
ENTERS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAVES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SECONDS = (0.0, 0.25, 0.5, 1.0, 2.0)  # of min_duration and merge_gap
MAX_FRAMES = 20_000  # of more, evenly spaced clips are used


def tune_intervals(
    clips: Sequence[ClipScores], temperature: float, labels: Sequence[str], background: str
) -> IntervalRule:
    """Return the rule whose intervals agree best with the truth: the mean F1 at overlaps of 10, 25 and 50 %.

    The two scores are searched first, then the two times, then the scores again; of equal ones, those nearest to the
    default settings in this order are kept.

    Args:
        clips: scores of clips that the model was not trained on.
        temperature: the logits are divided by it from now on.
        labels: names of the classes.
        background: the class outside all intervals.
    """
    frames = sum(len(clip.truth) for clip in clips)
    some = [calibrate_scores(clip, temperature) for clip in clips[:: max(1, -(-frames // MAX_FRAMES))]]
    best = IntervalSettings()
    reached = segment_f1(some, IntervalRule(best, background=background), labels)
    for search in (search_scores, search_times, search_scores):
        for settings in search(best):
            f1 = segment_f1(some, IntervalRule(settings, background=background), labels)
            if f1 > reached + 1e-9:
                best, reached = settings, f1
    return IntervalRule(best, background=background)


def search_scores(settings: IntervalSettings) -> Iterator[IntervalSettings]:
    """Yield settings with other scores, those near the default first."""
    pairs = [(enter, leave) for enter, leave in product(ENTERS, LEAVES) if leave <= enter]
    default = IntervalSettings()
    pairs.sort(key=lambda pair: abs(pair[0] - default.enter) + abs(pair[1] - default.leave))
    for enter, leave in pairs:
        yield replace(settings, enter=enter, leave=leave)


def search_times(settings: IntervalSettings) -> Iterator[IntervalSettings]:
    """Yield settings with other times, those near the default first."""
    pairs, default = list(product(SECONDS, SECONDS)), IntervalSettings()
    pairs.sort(key=lambda pair: abs(pair[0] - default.min_duration) + abs(pair[1] - default.merge_gap))
    for min_duration, merge_gap in pairs:
        yield replace(settings, min_duration=min_duration, merge_gap=merge_gap)


def calibrate_scores(clip: ClipScores, temperature: float) -> ClipScores:
    """Return a clip's scores as they are after its logits are divided by a temperature."""
    powers = np.maximum(clip.scores, MIN_PROBABILITY, dtype=np.float64) ** (1 / temperature)
    return replace(clip, scores=powers / powers.sum(1, keepdims=True))


def segment_f1(clips: Sequence[ClipScores], rule: IntervalRule, labels: Sequence[str]) -> float:
    """Return the mean F1 of intervals at overlaps of 10, 25 and 50 %, 0 to 1; see `match_segments`."""
    background = labels.index(rule.background) if rule.background is not None else None
    matched, predicted, true = np.zeros(len(OVERLAPS)), 0, 0
    for clip in clips:
        classes = interval_classes(clip, rule, labels)
        own, found, wanted = match_segments(clip.truth, classes, clip.times, OVERLAPS, background)
        matched, predicted, true = matched + own, predicted + found, true + wanted
    return float(np.mean(2 * matched / (predicted + true))) if predicted + true else 0.0


def interval_classes(clip: ClipScores, rule: IntervalRule, labels: Sequence[str]) -> np.ndarray:
    """Return the class of each frame (n,) by a clip's intervals; where two overlap, the later one applies."""
    assert rule.background is not None
    tracker = IntervalTracker(labels, rule)
    found = [each for time, row in zip(clip.times, clip.scores, strict=True) for each in tracker.see(float(time), row)]
    classes = np.full(len(clip.times), labels.index(rule.background))
    for each in sorted([*found, *tracker.close()], key=lambda each: (each.start, -each.end)):
        classes[(clip.times >= each.start) & (clip.times < each.end)] = labels.index(each.label)
    return classes
