"""Segments in time: how well runs of one label agree with the true ones, in order, in extent, in haste and in calm.

Everywhere `truth` and `predicted` are class indices, (n,) integers, one for each frame of one video, and `times` its
frames' times in seconds, (n,), never decreasing. A frame lasts until the next one's time, the last frame as long as
the median step; a video's only frame lasts 0 s. `background` is the index of a class that is no action, or None.
"""

import numpy as np

# Times are sums of fractions of a second: overlaps that differ only by what was rounded there are equal.
DECIMALS = 9


def last_frame_end(times: np.ndarray) -> float:
    """When the last frame ends, in seconds."""
    return float(times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0.0))


def find_segments(
    classes: np.ndarray, times: np.ndarray, background: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of one class, those of `background` left out: classes (s,), starts (s,) and ends (s,) in seconds."""
    first = np.flatnonzero(np.append(True, classes[1:] != classes[:-1]))
    labels, starts, ends = classes[first], times[first], np.append(times[first[1:]], last_frame_end(times))
    kept = labels != background if background is not None else slice(None)
    return labels[kept], starts[kept], ends[kept]


def edit_score(truth: np.ndarray, predicted: np.ndarray, background: int | None = None) -> float:
    """How well the order of the segments agrees, whatever their extent: 0 to 100, 100 where both have no segment.

    100 (1 − d / max(s, p)), d being the Levenshtein distance between the s true and the p predicted segments' labels.
    Source: Lea et al. 2016, "Segmental spatiotemporal CNNs for fine-grained action segmentation".
    """
    frames = np.arange(len(truth), dtype=float)
    short, long = sorted((find_segments(classes, frames, background)[0] for classes in (truth, predicted)), key=len)
    if not len(long):
        return 100.0
    # The distance's table row by row. Along a row, insertions cost one a place: a running minimum of what is left
    # once the place is taken off.
    places = np.arange(len(long) + 1)
    row = places
    for number, label in enumerate(short, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (long != label))
        row = np.minimum.accumulate(np.append(number, best) - places) + places
    return float(100 * (1 - row[-1] / len(long)))


def match_segments(
    truth: np.ndarray,
    predicted: np.ndarray,
    times: np.ndarray,
    overlaps: tuple[float, ...],
    background: int | None = None,
) -> tuple[np.ndarray, int, int]:
    """What F1 at each overlap is made of: matched segments (overlaps,), predicted segments, true segments.

    A predicted segment is matched with the true one of its class that it overlaps most (intersection over union in
    seconds; the earlier one of equals), where that is the overlap at least and no earlier predicted segment has it.
    F1 = 2 matched / (predicted + true), the three summed over videos.
    Source: Lea et al. 2017, "Temporal convolutional networks for action segmentation and detection".
    """
    true_labels, true_starts, true_ends = find_segments(truth, times, background)
    labels, starts, ends = find_segments(predicted, times, background)
    if not len(true_labels) or not len(labels):
        return np.zeros(len(overlaps), dtype=int), len(labels), len(true_labels)
    shared = np.minimum.outer(ends, true_ends) - np.maximum.outer(starts, true_starts)
    spanned = np.maximum.outer(ends, true_ends) - np.minimum.outer(starts, true_starts)
    # Two segments that span nothing are the one frame of a video without extent: they coincide.
    iou = np.divide(shared, spanned, out=np.ones_like(shared), where=spanned > 0).round(DECIMALS)
    iou[np.not_equal.outer(labels, true_labels)] = 0
    best, reached = iou.argmax(1), iou.max(1)
    # However many predicted segments reach one true segment, one of them is matched.
    matched = [len(np.unique(best[reached >= overlap])) for overlap in overlaps]
    return np.array(matched), len(labels), len(true_labels)


def count_flips(truth: np.ndarray, predicted: np.ndarray) -> int:
    """How many more times the prediction changes than the truth does; 0 where it changes less often."""
    return max(0, int(np.count_nonzero(np.diff(predicted)) - np.count_nonzero(np.diff(truth))))


def onset_delays(
    truth: np.ndarray, predicted: np.ndarray, times: np.ndarray, background: int | None = None
) -> np.ndarray:
    """Seconds from each onset to the first frame that is predicted right, (onsets,) float64; NaN where missed.

    An onset is the first frame of a true segment that is not background and does not begin with the video. It is
    missed if no frame of its segment is predicted right. Later changes of the prediction count in `count_flips`.
    """
    first = np.flatnonzero(truth[1:] != truth[:-1]) + 1
    delays = []
    for start, stop in zip(first, np.append(first[1:], len(truth)), strict=False):
        if truth[start] != background:
            right = np.flatnonzero(predicted[start:stop] == truth[start])
            delays.append(times[start + right[0]] - times[start] if len(right) else np.nan)
    return np.array(delays, dtype=np.float64)
