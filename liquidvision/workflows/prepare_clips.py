"""Prepares annotated clips for training and evaluation: embeds them and leaves out what cannot be used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from liquidvision.concurrency.cores import half_of_cores
from liquidvision.data.audit import describe_copies, fit_to_video
from liquidvision.data.copies import find_copies
from liquidvision.data.dataset import Clip, Dataset, labels_in, single_line
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.data.frame_times import FrameTimes
from liquidvision.data.splits import Split
from liquidvision.errors import SourceError
from liquidvision.workflows.progress import ProgressListener

MAX_COPIES = 10  # pairs of copies that are named in warnings


@contextmanager
def embedding_threads() -> Iterator[None]:
    """Give torch half of the cores inside the block: the other half decodes and prepares frames."""
    threads = torch.get_num_threads()
    torch.set_num_threads(half_of_cores())
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def embed_dataset(
    dataset: Dataset, store: EmbeddingStore, views: Sequence[str], listener: ProgressListener
) -> dict[Path, SourceError]:
    """Embed what is not in the cache yet; return the files that cannot be read, as `EmbeddingStore.fill` does."""
    done, total = 0, len(dataset.clips) * len(views)

    def on_video(path: Path, view: str, new: bool) -> None:
        nonlocal done
        done += 1
        listener.progress("embedding", done, total, path.name)

    listener.progress("embedding", 0, total)
    return store.fill([clip.path for clip in dataset.clips], views, on_video=on_video)


def prepare_clips(
    dataset: Dataset, store: EmbeddingStore, views: Sequence[str], listener: ProgressListener
) -> tuple[Dataset, list[dict[str, str]]]:
    """Embed what is not in the cache yet, and leave out what cannot be used, with a warning for each.

    The dataset's notes are warnings too.

    Returns:
        The dataset without unreadable files and without intervals beyond the ends of their videos; its labels stay.
        And the files left out, as in the evaluation: [{"name", "error"}].

    Raises:
        SourceError: no file can be read.
    """
    for note in dataset.notes:
        listener.warning(note)
    failed = embed_dataset(dataset, store, views, listener)
    clips = []
    for clip in dataset.clips:
        if clip.path in failed:
            listener.warning(single_line(f"left out {clip.name}: {failed[clip.path]}"))
            continue
        problems: list[str] = []
        if clip.label is None:
            clip, problems = fit_to_video(clip, embedded_frame_times(store.get(clip.path), store.stride))
        clips.append(clip)
        for problem in problems:
            listener.warning(single_line(f"{clip.name}: {problem}"))
    if not clips:
        raise SourceError(f"none of the {len(dataset.clips)} videos of {dataset.root} can be read")
    left = labels_in(clips, dataset.background)
    lost = [label for label in labels_in(dataset.clips, dataset.background) if label not in left]
    notes = [f"no usable clip shows {label}, which stays among the labels" for label in lost]
    for note in notes:
        listener.warning(note)
    skipped = [{"name": clip.name, "error": str(failed[clip.path])} for clip in dataset.clips if clip.path in failed]
    return replace(dataset, clips=tuple(clips), notes=(*dataset.notes, *notes)), skipped


def describe_copies_across(dataset: Dataset, store: EmbeddingStore, split: Split) -> Iterator[str]:
    """Yield a sentence on each pair of clips that look the same and are in two classes, or two parts of a split.

    Args:
        dataset: clips that are in the store.
        store: their embeddings.
        split: where the clips are; with one part, its groups are in different folds.
    """
    part_of = {name: part for part, names in split.parts.items() for name in names}

    def places(clip: Clip) -> tuple[str, str]:
        return (part_of[clip.name], clip.group if len(split.parts) == 1 else "")

    def matters(one: Clip, other: Clip) -> bool:
        return places(one) != places(other) or (one.label, one.intervals) != (other.label, other.intervals)

    pairs = find_copies(dataset.clips, lambda clip: store.get(clip.path), matters, split.contents, store.files)
    for one, other in pairs[:MAX_COPIES]:
        if (one.label, one.intervals) != (other.label, other.intervals):
            yield single_line(f"{one.name}: {describe_copies('looks the same as', one, other)}")
            continue
        parts = sorted({part_of[one.name], part_of[other.name]})
        where = f"is in the part {parts[0]}, and that in {parts[1]}" if len(parts) > 1 else "may be in another fold"
        yield single_line(f"{one.name}: looks the same as {other.name}; this {where}: give both one group")
    if len(pairs) > MAX_COPIES:
        yield f"{len(pairs) - MAX_COPIES} more pairs of clips look the same; liquidvision check lists them"


def hash_clips(dataset: Dataset, store: EmbeddingStore) -> dict[str, str]:
    """Return a hash of each clip's bytes by name; "" where the file cannot be read."""
    hashes = {}
    for clip in dataset.clips:
        try:
            hashes[clip.name] = store.hash_content(clip.path)
        except SourceError:
            hashes[clip.name] = ""
    return hashes


def embedded_frame_times(clip: ClipEmbeddings, stride: int) -> FrameTimes:
    """Return the times of embedded frames; the last is shown as long as it says, or as long as the median frame."""
    steps = np.maximum(np.diff(clip.times), 0.0)
    last = float(int(clip.durations[-1]) * clip.time_base)
    median = float(np.median(steps)) if len(steps) else 0.0
    return FrameTimes(clip.times, np.append(steps, max(last, median)), clip.damaged, stride)
