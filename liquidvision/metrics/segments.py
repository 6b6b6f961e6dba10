"""Metrics of segments in time: order (edit score), overlap (F1), flips, and delays of onsets.

All functions take frames of one video: `truth` and `predicted` are class indices, (n,) integers, and `times` the frame
times, (n,) seconds, non-decreasing. A frame lasts until the time of the next one, the last frame as long as the median
step; the only frame of a video lasts 0 s. `background` is the index of the class that is not an action, or None.
"""

import numpy as np

# Times are sums of fractions of a second: overlaps that differ only by rounding must count as equal.
IOU_DECIMALS = 9


def last_frame_end(times: np.ndarray) -> float:
    """Return when the last frame ends, in seconds."""
    return float(times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0.0))


def find_segments(
    classes: np.ndarray, times: np.ndarray, background: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the runs of one class except `background`: classes (s,), starts (s,) and ends (s,) in seconds."""
    first = np.flatnonzero(np.append(True, classes[1:] != classes[:-1]))
    labels, starts, ends = classes[first], times[first], np.append(times[first[1:]], last_frame_end(times))
    kept = labels != background if background is not None else slice(None)
    return labels[kept], starts[kept], ends[kept]


def edit_score(truth: np.ndarray, predicted: np.ndarray, background: int | None = None) -> float:
    """Return how well the order of segments agrees, whatever their lengths: 0 to 100; 100 if neither has a segment.

    100 (1 − d / max(s, p)), where d is the Levenshtein distance between the labels of the s true and the p predicted
    segments. Source: Lea et al. 2016, "Segmental spatiotemporal CNNs for fine-grained action segmentation".
    """
    frames = np.arange(len(truth), dtype=float)
    short, long = sorted((find_segments(classes, frames, background)[0] for classes in (truth, predicted)), key=len)
    if not len(long):
        return 100.0
    # The distance table, row by row. Within a row an insertion costs one per column: subtract the column number, take
    # the running minimum, and add the column number again.
    columns = np.arange(len(long) + 1)
    row = columns
    for number, label in enumerate(short, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (long != label))
        row = np.minimum.accumulate(np.append(number, best) - columns) + columns
    return float(100 * (1 - row[-1] / len(long)))


def match_segments(
    truth: np.ndarray,
    predicted: np.ndarray,
    times: np.ndarray,
    overlaps: tuple[float, ...],
    background: int | None = None,
) -> tuple[np.ndarray, int, int]:
    """Return the counts for F1: matched segments at each overlap (overlaps,), predicted segments, true segments.

    A predicted segment is compared with the true segment of its class that it overlaps most (intersection over union
    of seconds; the earlier one of equals). It matches if the overlap reaches the threshold and no earlier predicted
    segment matches the same true segment. F1 = 2 matched / (predicted + true), each summed over videos.
    Source: Lea et al. 2017, "Temporal convolutional networks for action segmentation and detection".
    """
    true_labels, true_starts, true_ends = find_segments(truth, times, background)
    labels, starts, ends = find_segments(predicted, times, background)
    if not len(true_labels) or not len(labels):
        return np.zeros(len(overlaps), dtype=int), len(labels), len(true_labels)
    shared = np.minimum.outer(ends, true_ends) - np.maximum.outer(starts, true_starts)
    spanned = np.maximum.outer(ends, true_ends) - np.minimum.outer(starts, true_starts)
    # Segments that span no time belong to a video of one frame: they coincide.
    iou = np.divide(shared, spanned, out=np.ones_like(shared), where=spanned > 0).round(IOU_DECIMALS)
    iou[np.not_equal.outer(labels, true_labels)] = 0
    best, reached = iou.argmax(1), iou.max(1)
    # Several predicted segments may reach the same true segment: it counts once.
    matched = [len(np.unique(best[reached >= overlap])) for overlap in overlaps]
    return np.array(matched), len(labels), len(true_labels)


def count_excess_flips(truth: np.ndarray, predicted: np.ndarray) -> int:
    """Return how many more times the prediction changes than the truth; 0 if it changes less often."""
    return max(0, int(np.count_nonzero(np.diff(predicted)) - np.count_nonzero(np.diff(truth))))


def onset_delays(
    truth: np.ndarray, predicted: np.ndarray, times: np.ndarray, background: int | None = None
) -> np.ndarray:
    """Return seconds from each onset to the first correct frame, (onsets,) float64; NaN for a missed onset.

    An onset is the first frame of a true segment that is not background and does not start with the video. It is
    missed if no frame of its segment is predicted correctly. Later changes of the prediction are flips, see
    `count_excess_flips`.
    """
    first = np.flatnonzero(truth[1:] != truth[:-1]) + 1
    delays = []
    for start, stop in zip(first, np.append(first[1:], len(truth)), strict=False):
        if truth[start] != background:
            correct = np.flatnonzero(predicted[start:stop] == truth[start])
            delays.append(times[start + correct[0]] - times[start] if len(correct) else np.nan)
    return np.array(delays, dtype=np.float64)
