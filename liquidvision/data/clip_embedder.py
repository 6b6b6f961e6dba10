"""Embeds whole videos with a frozen backbone: decodes once, in several views, in batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from liquidvision.concurrency.prefetch import Prefetcher
from liquidvision.data.embedding_file import NO_PIXELS, ClipEmbeddings
from liquidvision.data.views import PLAIN_VIEW, make_view
from liquidvision.errors import SourceError, UsageError
from liquidvision.models.backbone import Backbone
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_options import FileOptions

CPU_BATCH, GPU_BATCH = 4, 32  # a CPU's caches hold at most about 4 pictures at full speed


class ClipEmbedder:
    """Embeds videos and keeps nothing; `EmbeddingStore` keeps the results.

    Args:
        backbone: frozen.
        stride: use every Nth frame; times are kept.
        max_frames: use at most the first N of these frames; None: all.
        batch: pictures embedded at once; None: 4 on a CPU, else 32.
        files: how files are read; None: by the defaults.

    Raises:
        UsageError: stride, max_frames or batch is below 1.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        stride: int = 1,
        max_frames: int | None = None,
        batch: int | None = None,
        files: FileOptions | None = None,
    ) -> None:
        for name, value in (("stride", stride), ("max_frames", max_frames), ("batch", batch)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected 1 or more")
        self.backbone, self.stride, self.max_frames = backbone, stride, max_frames
        self.files = files or FileOptions()
        self.batch = batch or (CPU_BATCH if backbone.device.type == "cpu" else GPU_BATCH)

    @torch.no_grad()  # not inference mode: heads are trained on the result
    def embed(
        self,
        path: Path,
        views: Sequence[str] = (PLAIN_VIEW,),
        *,
        on_frame: Callable[[], None] = lambda: None,
        change: Callable[[Iterable[Frame]], Iterable[Frame]] = iter,
    ) -> list[ClipEmbeddings]:
        """Embed a video in each of several views; it is decoded once.

        Args:
            path: the video file, or a folder or pattern of pictures.
            views: see `make_view`.
            on_frame: called after each picture is embedded.
            change: maps the video's frames to those that are embedded.

        Raises:
            SourceError: the video cannot be read to its end.
            UsageError: no such view.
        """
        transforms = [None if name == PLAIN_VIEW else make_view(name) for name in views]
        crops = [MotionCrop(self.backbone) for _ in views]
        size = max(1, self.batch // len(views))
        embeddings: list[Tensor] = []
        shown: list[Frame] = []
        with name_in_errors(path), self.files.open(path, stride=self.stride) as reader:

            def prepare_inputs() -> Iterator[tuple[Frame, Tensor]]:
                for frame in change(islice(reader, self.max_frames)):
                    pixels = (view(frame.image, frame.index) if view else frame.pixels for view in transforms)
                    frames = (replace(frame, pixels=each) for each in pixels)
                    # Some views are made on the backbone's device, others on the CPU.
                    inputs = [
                        crop.prepare(each).to(self.backbone.device) for crop, each in zip(crops, frames, strict=True)
                    ]
                    yield replace(frame, pixels=NO_PIXELS), torch.cat(inputs)

            # The reading thread also prepares the network's input, so that the backbone never waits for it.
            with Prefetcher(prepare_inputs(), 2 * size) as items:
                rest = iter(items)
                while chunk := list(islice(rest, size)):
                    batch = self.backbone(torch.cat([inputs for _, inputs in chunk])).cpu()
                    embeddings.append(batch.unflatten(0, (len(chunk), len(views))))
                    shown += [frame for frame, _ in chunk]
                    for _ in batch:
                        on_frame()
            begin, damaged = reader.start_time, reader.counts.damaged
        stacked = torch.cat(embeddings)
        pts = torch.tensor([frame.pts for frame in shown])
        durations = torch.tensor([frame.duration or 0 for frame in shown])
        base = shown[0].time_base
        return [
            ClipEmbeddings(stacked[:, i].contiguous(), pts, durations, base, begin, damaged) for i in range(len(views))
        ]


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Add the file's name to a SourceError that does not mention it."""
    try:
        yield
    except SourceError as error:
        raise error if path.name in str(error) else SourceError(f"{path}: {error}") from error
