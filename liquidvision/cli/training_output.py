"""What `train` and `eval` tell the person at the terminal, and how they pass over clips that cannot be read."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from liquidvision.data.audit import FrameSpan, fit_to_video
from liquidvision.data.dataset import Dataset, labels_in
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import SourceError

PIPE_WIDTH = 200  # characters


class TrainingOutput:
    """Bars on the error stream, where that is a terminal; results on the output stream."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        # Where nobody looks, in a file or a pipe, lines are as long as they need to be.
        self._out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
        self._err = Console(stderr=True, highlight=False)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """A bar of `total` steps; gives what to call at each step, with what to say beside it."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
        )
        disable = self._quiet or not sys.stderr.isatty()
        with Bars(*columns, console=self._err, transient=True, disable=disable) as bars:
            task = bars.add_task(what, total=total, said="")
            yield lambda said: bars.update(task, advance=1, said=said)

    def say(self, line: str) -> None:
        """A line of results."""
        if not self._quiet:
            self._out.print(line, markup=False)

    def scores(self, evaluation: Mapping[str, Any]) -> None:
        """The headline of an evaluation."""
        data = evaluation["data"]
        self.say(f"{data['name']}: {data['videos']} videos, {data['frames']} frames, {data['seconds']:.0f} s")
        rows = (("clip_accuracy", "clips right"), ("frame_accuracy", "frames right"), ("map", "mean average precision"))
        for name, text in rows:
            memory, frame = evaluation["memory"][name], evaluation["frame"][name]
            if memory is not None and frame is not None:
                self.say(f"  {text}: {memory:.1%} with memory, {frame:.1%} by each frame alone")

    def table(self, evaluation: Mapping[str, Any]) -> None:
        """The comparison, a line for each rival."""
        found = evaluation.get("compare")
        if not found or self._quiet:
            return
        title = f"{found['metric'].replace('_', ' ')}, {found['folds']} folds, {found['seeds']} seeds"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("")
        for column in ("%", "95 % interval", "less the first"):
            table.add_column(column, no_wrap=True)
        harder = {} if found.get("dropped") is None else {"mean_dropped": f"{100 * found['dropped']:.0f} %\ndropped"}
        harder |= {"mean_after": "after\nanother"} if found.get("after") else {}
        for column in (*harder.values(), "flips\na min"):
            table.add_column(column, no_wrap=True)
        for row in found["rows"]:
            less = row["minus_reference"]
            table.add_row(
                row["text"],
                f"{100 * row['mean']:.1f}",
                f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                "" if less is None else f"{100 * less['low']:+.1f} to {100 * less['high']:+.1f}",
                *[f"{100 * row[mean]:.1f}" for mean in harder],
                "" if row["flips_per_minute"] is None else f"{row['flips_per_minute']:.0f}",
            )
        self._out.print(table)


def embed_dataset(
    dataset: Dataset, store: EmbeddingStore, views: Sequence[str], progress: TrainingOutput
) -> dict[Path, SourceError]:
    """Embed what is not kept yet; the files that cannot be read, as `EmbeddingStore.fill`."""
    with progress.bar("embedding", len(dataset.clips) * len(views)) as advance:
        return store.fill(
            [clip.path for clip in dataset.clips], views, on_video=lambda path, view, new: advance(path.name)
        )


def usable_clips(
    dataset: Dataset, store: EmbeddingStore, views: Sequence[str], progress: TrainingOutput
) -> tuple[Dataset, list[dict[str, str]]]:
    """Embed what is not kept yet, tell the dataset's notes, and leave out, with a line each, what cannot be used.

    Returns:
        The dataset without files that cannot be read and intervals beyond their videos, its labels as they were; and
        the files left out, as in the evaluation: [{"name", "error"}].

    Raises:
        SourceError: nothing can be read.
    """
    for note in dataset.notes:
        print_warning(note)
    failed = embed_dataset(dataset, store, views, progress)
    clips = []
    for clip in dataset.clips:
        if clip.path in failed:
            print_warning(f"left out {clip.name}: {failed[clip.path]}")
        else:
            fitted, texts = (
                (clip, []) if clip.label is not None else fit_to_video(clip, frame_span(store.get(clip.path)))
            )
            clips.append(fitted)
            for text in texts:
                print_warning(f"{clip.name}: {text}")
    if not clips:
        raise SourceError(f"none of the {len(dataset.clips)} videos of {dataset.root} can be read")
    left = labels_in(clips, dataset.background)
    lost = [label for label in labels_in(dataset.clips, dataset.background) if label not in left]
    notes = [f"nothing is left of {label}, which stays among the labels" for label in lost]
    for note in notes:
        print_warning(note)
    skipped = [{"name": clip.name, "error": str(failed[clip.path])} for clip in dataset.clips if clip.path in failed]
    return replace(dataset, clips=tuple(clips), notes=(*dataset.notes, *notes)), skipped


def content_hashes(dataset: Dataset, store: EmbeddingStore) -> dict[str, str]:
    """A hash of each clip's bytes by name, empty where the file cannot be read."""
    contents = {}
    for clip in dataset.clips:
        try:
            contents[clip.name] = store.content(clip.path)
        except SourceError:
            contents[clip.name] = ""
    return contents


def frame_span(features: ClipEmbeddings) -> FrameSpan:
    """What embedded frames show of their video; the last is taken to be shown as long as others, if not longer."""
    steps = np.maximum(np.diff(features.times), 0.0)
    last = float(int(features.durations[-1]) * features.time_base)
    usual = float(np.median(steps)) if len(steps) else 0.0
    return FrameSpan(features.times, np.append(steps, max(last, usual)), features.damaged)


def print_warning(line: str) -> None:
    """Say what is amiss, on the error stream."""
    print(f"liquidvision: {line}", file=sys.stderr)
