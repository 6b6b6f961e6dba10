"""Finds clips that are copies of each other, also encoded again, from their embeddings: most clips are not decoded."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from liquidvision.data.dataset import Clip
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.frame_times import read_look
from liquidvision.data.looks import DURATION_SECONDS, DURATION_SHARE, Look, duration_limit, find_alike
from liquidvision.errors import SourceError
from liquidvision.video.read.file_options import FileOptions

MOMENTS = 8  # of a clip at which its embeddings are compared
WIDTH = 64  # of an embedding after a random projection, which nearly keeps the distances
# Of 54 copies of real clips in three encodings, half size among them, each had its source as its nearest clip.
NEAREST = 2  # clips that are compared with each clip by what is seen
MAX_COMPARED = 1000  # pairs whose pictures are compared, the nearest first
MAX_STRETCH = 0.05  # share by which the durations of copies may differ, if they are short
LOOK_SECONDS = 10.0  # of each video that are decoded for that


def find_copies(
    clips: Sequence[Clip],
    embedded: Callable[[Clip], ClipEmbeddings],
    matters: Callable[[Clip, Clip], bool],
    contents: Mapping[str, str],
    files: FileOptions,
) -> list[tuple[Clip, Clip]]:
    """Return the pairs of clips that look the same.

    Pairs of about the same duration that are nearest to each other by their embeddings are compared by their pictures:
    how much embeddings differ depends on the backbone and the encoding.

    Args:
        clips: the clips.
        embedded: returns a clip's embeddings.
        matters: whether a pair is of interest; others are not compared.
        contents: a hash of each clip's bytes, by name. Where these are equal, nothing is decoded.
        files: how files are read.
    """
    points, seconds = describe_clips(clips, embedded)
    looks: dict[str, Look | None] = {}

    def look(clip: Clip) -> Look | None:
        if clip.name not in looks:
            looks[clip.name] = look_of(clip, files)
        return looks[clip.name]

    def same(one: Clip, other: Clip) -> bool:
        if contents[one.name] == contents[other.name]:
            return True
        pair = [found for found in (look(one), look(other)) if found is not None]
        return len(pair) == 2 and bool(find_alike(pair))

    pairs = ((clips[i], clips[j]) for i, j in nearest_pairs(points, seconds))
    compared = [pair for pair in pairs if matters(*pair)][:MAX_COMPARED]
    return [pair for pair in compared if same(*pair)]


def describe_clips(clips: Sequence[Clip], embedded: Callable[[Clip], ClipEmbeddings]) -> tuple[np.ndarray, np.ndarray]:
    """Return each clip as a point, (n, MOMENTS * WIDTH) float32, and its duration in seconds, (n,) float64."""
    points, seconds = [], []
    projection: np.ndarray | None = None
    for clip in clips:
        found = embedded(clip)
        times = found.times - found.times[0]
        pace = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        last = max(float(int(found.durations[-1]) * found.time_base), pace)
        seconds.append(float(times[-1]) + last)
        moments = (np.arange(MOMENTS) + 0.5) / MOMENTS * seconds[-1]
        shown = np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 1)
        chosen = found.embeddings[shown].numpy()
        if projection is None:
            projection = np.random.default_rng(0).standard_normal((chosen.shape[1], WIDTH)).astype(np.float32)
        points.append((chosen @ projection).reshape(-1))
    return np.array(points, np.float32), np.array(seconds)


def nearest_pairs(points: np.ndarray, seconds: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (first, second) of clips of which one is among the nearest of the other, the nearest pair first.

    Args:
        points: (n, d).
        seconds: (n,) durations; clips whose durations differ by more than those of copies are no pairs.
    """
    order = np.argsort(seconds, kind="stable")
    points, seconds = points[order], seconds[order]  # so that clips of about the same duration are side by side
    squares = np.square(points).sum(1)
    near: dict[tuple[int, int], float] = {}
    for place, clip in enumerate(order):
        low, high = np.searchsorted(seconds, (shortest(seconds[place]), longest(seconds[place])))
        distances = squares[low:high] + squares[place] - 2 * points[low:high] @ points[place]
        distances[place - low] = np.inf  # itself
        for other in np.argsort(distances, kind="stable")[:NEAREST]:
            if np.isfinite(distances[other]):
                pair = sorted((int(clip), int(order[low + other])))
                near[pair[0], pair[1]] = float(distances[other])
    return sorted(near, key=lambda pair: (near[pair], pair))


def longest(seconds: float) -> float:
    """Return the duration of the longest clip that may be a copy of one of `seconds`."""
    return min(duration_limit(seconds), seconds * (1 + MAX_STRETCH))


def shortest(seconds: float) -> float:
    """Return the duration of the shortest clip that may be a copy of one of `seconds`."""
    return max((seconds - DURATION_SECONDS) / (1 + DURATION_SHARE), seconds / (1 + MAX_STRETCH))


def look_of(clip: Clip, files: FileOptions) -> Look | None:
    """Return what the beginning of a clip looks like; None where its pictures cannot be read."""
    try:
        return read_look(clip.path, files, LOOK_SECONDS)
    except (SourceError, OSError):
        return None
